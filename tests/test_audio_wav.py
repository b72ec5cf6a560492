"""Audio files: what is kept to the bit, what is converted and told, and what each fault gets."""

import struct

import numpy as np
import pytest
import soundfile
import soxr
from trees import RATE, sphere

from sat_jax.audio.faults import BadItem
from sat_jax.audio.wav import read_audio

AUDIO = np.random.default_rng(0).integers(-20000, 20000, 8000).astype(np.int16)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".WAV", ".aiff"])
def test_sixteen_bits_come_back_as_they_are(tmp_path, suffix):
    soundfile.write(tmp_path / f"a{suffix}", AUDIO, RATE)
    recording = read_audio(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(recording.audio, AUDIO)
    assert recording.audio.dtype == np.int16
    assert recording.notes == ()


def test_sphere_comes_back_as_it_is(tmp_path):
    (tmp_path / "a.WAV").write_bytes(sphere(AUDIO))
    np.testing.assert_array_equal(read_audio(tmp_path / "a.WAV").audio, AUDIO)


def test_ogg_is_read(tmp_path):
    tone = (8000 * np.sin(np.arange(RATE) * 2 * np.pi * 440 / RATE)).astype(np.int16)
    soundfile.write(tmp_path / "a.ogg", tone, RATE)
    heard = read_audio(tmp_path / "a.ogg").audio.astype(float)
    assert len(heard) == len(tone)
    assert np.corrcoef(heard, tone)[0, 1] > 0.99


@pytest.mark.parametrize("subtype", ["PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_other_sample_formats_are_the_same_sound(tmp_path, subtype):
    soundfile.write(tmp_path / "a.wav", AUDIO / 32768, RATE, subtype=subtype)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav").audio, AUDIO)


def test_stereo_is_the_mean_of_its_channels_and_told(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([AUDIO, np.zeros_like(AUDIO)], axis=1), RATE)
    recording = read_audio(tmp_path / "a.wav")
    np.testing.assert_allclose(recording.audio, AUDIO / 2, atol=0.5)
    assert recording.notes == ("of 2 channels and were mixed down to one",)


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
def test_another_rate_is_resampled_and_told(tmp_path, rate):
    tone = 0.5 * np.sin(np.arange(rate) * 2 * np.pi * 440 / rate)
    soundfile.write(tmp_path / "a.wav", tone, rate, subtype="PCM_16")
    recording = read_audio(tmp_path / "a.wav")
    expected = 0.5 * np.sin(np.arange(RATE) * 2 * np.pi * 440 / RATE)
    middle = slice(1000, -1000)
    assert len(recording.audio) == RATE
    np.testing.assert_allclose(recording.audio[middle] / 32768, expected[middle], atol=2e-3)
    assert recording.rate == rate
    assert recording.notes == (f"{rate} Hz and were resampled to 16000 Hz",)


def test_integers_are_never_resampled(tmp_path, monkeypatch):
    """soxr dithers integers by the clock and an address: rarely twice the same, hard to catch."""
    kinds, resample = [], soxr.resample

    def spy(samples, *rates):
        kinds.append(samples.dtype)
        return resample(samples, *rates)

    monkeypatch.setattr(soxr, "resample", spy)
    soundfile.write(tmp_path / "a.wav", AUDIO, 8000)
    read_audio(tmp_path / "a.wav")
    assert kinds == [np.float32]


def make_file(path, kind):
    """One broken file of each kind; returns nothing."""
    soundfile.write(path, AUDIO, RATE, format="WAV")
    whole = path.read_bytes()
    if kind == "no bytes":
        path.write_bytes(b"")
    elif kind == "no samples":
        soundfile.write(path, AUDIO[:0], RATE, format="WAV")
    elif kind == "cut wav":
        path.write_bytes(whole[:4000])
    elif kind == "cut wav header":
        path.write_bytes(whole[:30])
    elif kind in ("cut flac", "cut ogg"):
        loud = np.tile(AUDIO, 20)
        soundfile.write(path, loud, RATE, format=kind[4:].upper())
        path.write_bytes(path.read_bytes()[:-3000])
    elif kind == "cut sphere":
        path.write_bytes(sphere(AUDIO)[:-10])
    elif kind == "long sphere header":
        path.write_bytes(sphere(AUDIO, count=len(AUDIO) + 1))
    elif kind == "text":
        path.write_text("no audio at all\n" * 100)
    elif kind in ("nan", "inf"):
        samples = AUDIO / 32768
        samples[700] = float(kind)
        soundfile.write(path, samples, RATE, format="WAV", subtype="FLOAT")
    elif kind == "integers as floats":
        soundfile.write(path, AUDIO.astype(float), RATE, format="WAV", subtype="FLOAT")
    elif kind == "too short":
        soundfile.write(path, AUDIO[:399], RATE, format="WAV")
    elif kind == "directory":
        path.unlink()
        path.mkdir()
    elif kind == "absent":
        path.unlink()
    elif kind == "shortened sphere":
        path.write_bytes(sphere(AUDIO).replace(b"-s3 pcm\n", b"-s26 pcm,embedded-shorten-v2.00\n"))


FAULTS = {
    "no bytes": ("empty audio", "empty"),
    "no samples": ("empty audio", "no samples"),
    "cut wav": ("truncated audio", "promises 16000 bytes and 3956 follow"),
    "cut wav header": ("truncated audio", "truncated"),
    "cut flac": ("truncated audio", "truncated"),
    "cut ogg": ("truncated audio", "truncated"),
    "cut sphere": ("truncated audio", "promises 16000 bytes and 15990 follow"),
    "long sphere header": ("truncated audio", "promises 16002 bytes and 16000 follow"),
    "text": ("unreadable audio", "convert it"),
    "nan": ("NaN or Inf samples", "the first at 0.044 s"),
    "inf": ("NaN or Inf samples", "1 samples"),
    "integers as floats": ("samples beyond full scale", "expected -1 to 1"),
    "too short": ("audio shorter than one window", "25 ms"),
    "directory": ("unreadable audio", "Is a directory"),
    "absent": ("unreadable audio", "No such file"),
    "shortened sphere": ("unreadable audio", "sph2pipe"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_broken_file_is_one_line_with_its_name(tmp_path, kind):
    path = tmp_path / "broken.wav"
    make_file(path, kind)
    reason, told = FAULTS[kind]
    with pytest.raises(BadItem) as caught:
        read_audio(path)
    message = str(caught.value)
    assert caught.value.reason == reason
    assert message.startswith(f"{path}: ")
    assert told in message
    assert "\n" not in message
    assert ";" in message  # the cure


def test_a_streamed_wav_that_could_not_state_its_size_is_read(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, AUDIO, RATE)
    raw = bytearray(path.read_bytes())
    raw[40:44] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(raw)
    np.testing.assert_array_equal(read_audio(path).audio, AUDIO)


def test_chunks_before_the_samples_are_skipped(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, AUDIO, RATE)
    raw = path.read_bytes()
    extra = b"LIST" + struct.pack("<I", 5) + b"hello\0"  # odd sizes are padded
    path.write_bytes(raw[:36] + extra + raw[36:])
    np.testing.assert_array_equal(read_audio(path).audio, AUDIO)


UNSIZED = "with a header that says 0 bytes and were read to the end of the file"


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW"])
@pytest.mark.parametrize("fields", [("data",), ("RIFF", "data")])
def test_a_recorder_that_was_cut_off_leaves_its_samples(tmp_path, subtype, fields):
    """Its header says 0 bytes, to which libsndfile keeps."""
    path = tmp_path / "a.wav"
    soundfile.write(path, AUDIO / 32768, RATE, subtype=subtype)
    whole = read_audio(path)
    raw = bytearray(path.read_bytes())
    for name in fields:
        at = raw.index(name.encode()) + 4
        raw[at : at + 4] = bytes(4)
    path.write_bytes(raw)
    recording = read_audio(path)
    np.testing.assert_array_equal(recording.audio, whole.audio)
    assert recording.notes == (UNSIZED,)
    assert path.read_bytes() == raw


@pytest.mark.parametrize("length", [2000, 2001])
def test_chunks_after_no_samples_are_not_samples(tmp_path, length):
    path = tmp_path / "a.wav"
    soundfile.write(path, AUDIO[:0], RATE)
    after = b"LIST" + struct.pack("<I", length) + b"INFO".ljust(length + length % 2, b"x")
    path.write_bytes(path.read_bytes() + after + b"bext" + bytes(4))
    with pytest.raises(BadItem, match="holds no samples"):
        read_audio(path)


def test_digital_silence_is_told(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros_like(AUDIO), RATE)
    recording = read_audio(tmp_path / "a.wav")
    assert recording.notes == ("digital silence from end to end",)
    almost = np.zeros_like(AUDIO)
    almost[-1] = 1
    soundfile.write(tmp_path / "a.wav", almost, RATE)
    assert read_audio(tmp_path / "a.wav").notes == ()
