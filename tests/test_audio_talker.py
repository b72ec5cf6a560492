"""The talker: the same bits in any order and process, phones where the sound is."""

import _ctypes
import ctypes
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import espeakng_loader
import numpy as np
import pytest
import soxr

from sat_jax.audio import espeak
from sat_jax.audio.corpora import CORPORA, list_items
from sat_jax.audio.ipa import ipa_classes
from sat_jax.audio.phones import PHONES
from sat_jax.audio.sentences import sentences, vocabulary
from sat_jax.audio.talker import ACCENTS, VARIANTS, cast, perform, script
from sat_jax.config import Corpus
from sat_jax.errors import InputError

LINES = script(6, 3, seed=0)


def test_the_same_bits_in_any_order_and_in_other_processes():
    forwards = [perform(line) for line in LINES]
    backwards = [perform(line) for line in reversed(LINES)][::-1]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        elsewhere = list(pool.map(perform, LINES))
    for one, two, three in zip(forwards, backwards, elsewhere, strict=True):
        assert one.audio.tobytes() == two.audio.tobytes() == three.audio.tobytes()
        assert one.segments == two.segments == three.segments


def test_neither_the_clock_nor_libc_s_random_numbers_are_heard():
    """Of these voices one draws from libc, and the other from a generator seeded by the second."""
    voices = [espeak.Voice(f"en-us+{name}", 50, 50, 160) for name in ("Reed", "f2")]
    text = "the fair farmer saw three ships in the house."
    before = [espeak.speak(text, voice).samples.tobytes() for voice in voices]
    ctypes.CDLL(None).srand(77)
    time.sleep(1.1)
    assert [espeak.speak(text, voice).samples.tobytes() for voice in voices] == before


def test_integers_are_never_resampled(monkeypatch):
    """soxr dithers integers by the clock and an address: rarely twice the same, hard to catch."""
    kinds, resample = [], soxr.resample

    def spy(samples, *rates):
        kinds.append(samples.dtype)
        return resample(samples, *rates)

    monkeypatch.setattr(soxr, "resample", spy)
    perform(LINES[0])
    assert kinds == [np.float32]


def test_a_corpus_is_a_function_of_its_seed():
    assert script(6, 3, seed=0) == LINES
    assert [line.text for line in script(6, 3, seed=1)] != [line.text for line in LINES]
    assert cast(2, 1) != cast(2, 0)
    other = perform(script(6, 3, seed=1)[0]).audio
    assert other.tobytes() != perform(LINES[0]).audio.tobytes()


def test_speakers_differ_in_voice():
    voices = [cast(speaker, 0) for speaker in range(4 * len(VARIANTS))]
    assert len({voice.name for voice in voices}) == 4 * len(VARIANTS)
    assert {voice.name.split("+")[0] for voice in voices} == set(ACCENTS)
    assert all(25 <= v.pitch <= 80 and 30 <= v.pitch_range <= 80 for v in voices)
    assert all(135 <= v.rate <= 185 for v in voices)


def test_every_variant_is_a_voice_of_its_own():
    sounds = {
        espeak.speak("ah", espeak.Voice(f"en-us+{v}", 50, 50, 160)).samples.tobytes()
        for v in VARIANTS
    }
    assert len(sounds) == len(VARIANTS)


def test_no_sentence_is_spoken_twice_and_a_longer_corpus_starts_with_a_shorter():
    assert len(set(sentences(3072, 0))) == 3072
    assert sentences(50, 0) == sentences(200, 0)[:50]


def test_a_grammar_that_runs_dry_says_so(monkeypatch):
    monkeypatch.setattr("sat_jax.audio.sentences._TEMPLATES", (["det", "person"],))
    assert len(sentences(100, 0)) == 100
    with pytest.raises(InputError, match=r"lower corpus\.talker"):
        sentences(1000, 0)


def test_phones_tile_the_utterance_with_silence_at_both_ends():
    for line in LINES:
        take = perform(line)
        starts = [s.start for s in take.segments]
        ends = [s.end for s in take.segments]
        assert starts == [0, *ends[:-1]]
        assert ends[-1] == len(take.audio)
        assert take.segments[0].label == take.segments[-1].label == "sil"
        assert {s.label for s in take.segments} <= set(PHONES)
        assert all(s.end > s.start for s in take.segments)
        # 0.1 to 0.4 s of padding at either end, and the voice's own pause after the last word.
        assert take.segments[0].end >= 1600
        assert take.segments[-1].end - take.segments[-1].start >= 1600


def test_phones_lie_where_the_sound_is():
    """Sibilants hold more of their energy above 4 kHz than vowels, silence is the quietest."""
    high = {"sibilant": [], "vowel": []}
    loud = {"speech": [], "silence": []}
    for line in LINES:
        take = perform(line)
        for start, end, label in take.segments:
            part = take.audio[start:end].astype(float)
            if len(part) < 320:
                continue
            power = np.abs(np.fft.rfft(part)) ** 2
            share = power[len(power) // 2 :].sum() / power.sum()
            if label in ("s", "z", "sh", "ch"):
                high["sibilant"].append(share)
            elif label in ("aa", "iy", "ow", "ey", "ah"):
                high["vowel"].append(share)
            loud["silence" if label == "sil" else "speech"].append(np.mean(part**2))
    assert np.median(high["sibilant"]) > 10 * np.median(high["vowel"])
    assert np.median(loud["speech"]) > 100 * np.median(loud["silence"])


def test_every_word_has_classes_in_every_accent():
    labels = set()
    words = vocabulary()
    for accent in ACCENTS:
        # Words in short phrases: as many events, a tenth of the library loads.
        for i in range(0, len(words), 12):
            text = ", ".join(words[i : i + 12])
            spoken = espeak.speak(text, espeak.Voice(f"{accent}+Annie", 50, 50, 185))
            for _, name in spoken.events:
                labels.update(ipa_classes(name))
    assert labels == set(PHONES)


def test_a_voice_that_is_not_there_is_refused_instead_of_the_last_one():
    with pytest.raises(InputError, match="no voice 'en-gb'"):
        espeak.speak("ah", espeak.Voice("en-gb", 50, 50, 160))


def test_text_without_words_is_refused():
    with pytest.raises(InputError, match="said nothing"):
        perform(LINES[0]._replace(text=" . "))


def test_a_copy_that_is_already_loaded_is_refused():
    handle = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        with pytest.raises(RuntimeError, match="already loaded"):
            perform(LINES[0])
    finally:
        _ctypes.dlclose(handle._handle)
    assert len(perform(LINES[0]).audio)


def test_without_espeak_the_cure_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(InputError, match=r"pip install -r requirements-demo\.txt"):
        CORPORA["talker"].read(list_items(Corpus())[0], Corpus())
