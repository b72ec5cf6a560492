"""MP3, Opus, AIFF and CAF: what comes back, and that none of them is cut without a word."""

import io
import struct

import numpy as np
import pytest
import soundfile
from trees import RATE

from sat_jax.audio.faults import BadItem
from sat_jax.audio.mpeg import measure
from sat_jax.audio.wav import read_audio

TONE = 0.3 * np.sin(np.arange(3 * RATE) * 2 * np.pi * 440 / RATE)
QUIET_FIRST = np.concatenate([np.zeros(3 * RATE), 0.1 * np.random.default_rng(0).normal(size=RATE)])
ID3V2 = b"ID3\4\0\0" + bytes([0, 0, 7, 104]) + b"\xff\xf3" * 500  # 1000 = 7 << 7 | 104 bytes
ID3V1 = b"TAG".ljust(128, b"\0")


def mp3(path, samples=TONE, rate=RATE, mode="CONSTANT", counted=True):
    """The bytes of an MP3 file, with or without the first frame, which counts the others."""
    soundfile.write(path, samples, rate, format="MP3", bitrate_mode=mode, compression_level=0.5)
    raw = path.read_bytes()
    assert b"Info" in raw[:60] or b"Xing" in raw[:60]
    return raw if counted else raw[raw.index(raw[:2], 2) :]


def read(path, raw):
    path.write_bytes(raw)
    return read_audio(path)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
def test_mp3_has_its_length_and_its_sound(tmp_path, rate, mode):
    """The encoder's delay is taken off again, so the sound stands where it stood."""
    tone = 0.3 * np.sin(np.arange(3 * rate) * 2 * np.pi * 440 / rate)
    recording = read(tmp_path / "a.mp3", mp3(tmp_path / "x", tone, rate, mode))
    assert len(recording.audio) == 3 * RATE
    assert recording.rate == rate
    middle = slice(2000, -2000)
    assert np.corrcoef(recording.audio[middle], TONE[middle])[0, 1] > 0.99


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("loud_first", [True, False])
def test_frames_are_counted_where_the_file_does_not_say_how_many_there_are(
    tmp_path, mode, loud_first, rate, channels
):
    """libsndfile guesses by the size of the first: twice as many, or half, and reads no more.

    The same sound follows, only later: nobody says that LAME's delay is 576 samples. The 529 that
    any decoder adds are taken off.
    """
    mono = QUIET_FIRST[::-1] if loud_first else QUIET_FIRST
    samples = np.stack([mono] * channels, axis=1)
    counted, _ = soundfile.read(io.BytesIO(mp3(tmp_path / "x", samples, rate, mode)), dtype="int16")
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3(tmp_path / "x", samples, rate, mode, counted=False))
    stream = measure(path)
    heard, _ = soundfile.read(io.BytesIO(stream.count + path.read_bytes()), dtype="int16")
    assert (len(heard) + 529) % stream.frame == 0
    assert 0 <= len(heard) - len(samples) - 576 < 2 * stream.frame
    np.testing.assert_allclose(heard[576 : 576 + len(samples)], counted, atol=1)
    assert len(read_audio(path).audio) == pytest.approx(len(heard) * RATE / rate, abs=1)


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize(("before", "after"), [(ID3V2, b""), (b"", ID3V1), (ID3V2, ID3V1)])
def test_tags_are_no_frames(tmp_path, before, after, counted):
    raw = mp3(tmp_path / "x", counted=counted)
    plain = read(tmp_path / "a.mp3", raw).audio
    tagged = read(tmp_path / "b.mp3", before + raw + after).audio
    np.testing.assert_array_equal(tagged, plain)


def test_frames_in_a_tag_are_not_those_of_the_file(tmp_path):
    """A tag may hold anything, for instance a picture or a jingle."""
    raw = mp3(tmp_path / "x", counted=False)
    jingle = mp3(tmp_path / "y", np.resize(TONE, 44_100), 44_100)
    size = bytes(len(jingle) >> shift & 127 for shift in (21, 14, 7, 0))
    plain = read(tmp_path / "a.mp3", raw).audio
    tagged = read(tmp_path / "b.mp3", b"ID3\4\0\0" + size + jingle + raw).audio
    np.testing.assert_array_equal(tagged, plain)


@pytest.mark.parametrize("left", [1, 3, 4, 100])
def test_an_mp3_that_ends_with_the_beginning_of_a_frame_is_named(tmp_path, left):
    raw = mp3(tmp_path / "x", counted=False)
    last = raw.rindex(raw[:3])
    assert len(raw) - last == 360
    with pytest.raises(BadItem, match="it ends within MP3 frame"):
        read(tmp_path / "a.mp3", raw[: last + left])


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("lost", [1, 10, 1000])
def test_a_cut_mp3_is_named(tmp_path, counted, lost, mode):
    raw = mp3(tmp_path / "x", mode=mode, counted=counted)
    with pytest.raises(BadItem, match=r"a\.mp3: it is truncated") as caught:
        read(tmp_path / "a.mp3", raw[:-lost])
    assert caught.value.reason == "truncated audio"


def test_an_mp3_that_lost_whole_frames_is_named_by_its_count(tmp_path):
    raw = mp3(tmp_path / "x")
    frame = raw.index(raw[:3], 3)
    with pytest.raises(BadItem, match="promises 48000 samples") as caught:
        read(tmp_path / "a.mp3", raw[: -2 * frame])
    assert caught.value.reason == "truncated audio"


def test_an_encoder_may_count_the_frame_that_holds_the_count(tmp_path):
    raw = bytearray(mp3(tmp_path / "x"))
    at = raw.index(b"Info") + 8
    [count] = struct.unpack_from(">I", raw, at)
    raw[at : at + 4] = struct.pack(">I", count + 1)
    assert 0 <= len(read(tmp_path / "a.mp3", raw).audio) - 3 * RATE <= 576
    raw[at : at + 4] = struct.pack(">I", count + 2)
    with pytest.raises(BadItem, match="promises 49152 samples"):
        read(tmp_path / "a.mp3", raw)


def test_joined_mp3s_are_named_not_cut_after_the_first(tmp_path):
    raw = mp3(tmp_path / "x")
    with pytest.raises(BadItem, match=r"counts \d+ MP3 frames and \d+ follow.*take them apart"):
        read(tmp_path / "a.mp3", raw + raw)


@pytest.mark.parametrize("raw", [b"no audio at all\n" * 100, b"\xff" * 3000, ID3V2])
def test_what_is_no_mp3_is_named(tmp_path, raw):
    with pytest.raises(BadItem, match=r"a\.mp3: it holds no whole MP3 frame"):
        read(tmp_path / "a.mp3", raw)


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
def test_opus_has_its_length_and_its_sound(tmp_path, rate):
    tone = 0.3 * np.sin(np.arange(3 * rate) * 2 * np.pi * 440 / rate)
    soundfile.write(tmp_path / "a.opus", tone, rate, format="OGG", subtype="OPUS")
    heard = read_audio(tmp_path / "a.opus").audio
    assert len(heard) == 3 * RATE
    assert np.corrcoef(heard[2000:-2000], TONE[2000:-2000])[0, 1] > 0.98


@pytest.mark.parametrize("lost", [1, 300, 6000])
@pytest.mark.parametrize(
    ("suffix", "form"),
    [
        (".opus", {"format": "OGG", "subtype": "OPUS"}),
        (".oga", {"format": "OGG"}),
        (".aiff", {}),
        (".aif", {"format": "AIFF", "subtype": "PCM_24"}),
        (".caf", {}),
        (".sph", {"format": "NIST"}),
    ],
)
def test_other_containers_are_read_whole_or_named(tmp_path, suffix, form, lost):
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).normal(size=3 * RATE) * 0.1
    soundfile.write(path, noise, RATE, **form)
    assert len(read_audio(path).audio) == len(noise)
    raw = path.read_bytes()
    path.write_bytes(raw[:-lost])
    with pytest.raises(BadItem, match="it is truncated") as caught:
        read_audio(path)
    assert caught.value.reason == "truncated audio"


def test_a_caf_of_unknown_length_is_named(tmp_path):
    path = tmp_path / "a.caf"
    soundfile.write(path, TONE, RATE, subtype="PCM_16")
    raw = bytearray(path.read_bytes())
    at = raw.index(b"data") + 4
    raw[at : at + 8] = struct.pack(">q", -1)
    with pytest.raises(BadItem, match="libsndfile cannot read it.*convert it"):
        read(path, raw)
