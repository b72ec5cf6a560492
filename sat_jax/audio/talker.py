"""A seed, a speaker and a sentence in, an utterance with exact phone boundaries out.

Sixty-four speakers by default: a voice of eSpeak NG, an accent, a pitch, a pitch range and a rate
each; every utterance has its own rate, level, padding and noise. Everything is a function of
(seed, speaker, utterance), so any part of the corpus can be spoken alone, anywhere, to the bit.
"""

from typing import NamedTuple

import numpy as np
import soxr

from sat_jax.audio import espeak
from sat_jax.audio.ipa import ipa_classes
from sat_jax.audio.phones import SILENCE, Segment, join_silences
from sat_jax.audio.sentences import sentences
from sat_jax.errors import InputError
from sat_jax.grid import SAMPLE_RATE

# Voices that sound like people; the package's robots, whispers and demons are left out.
_NAMES = """
Alex Alicia Andrea Andy Annie Denis Diogo Gene Gene2 Henrique Hugo Jacky Lee Marco Mario
Michael Mike Nguyen Reed adam anika antonio aunty belinda benjamin boris caleb david ed edward
edward2 f1 f2 f3 f4 f5 grandma grandpa gustave ian iven iven2 iven3 iven4 john kaukovalta linda
m1 m2 m3 m4 m5 m6 m7 m8 marcelo max michel miguel mike2 norbert pablo paul pedro quincy rob
robert sandro shelby steph steph2 steph3 travis victor zac
"""
VARIANTS = tuple(_NAMES.split())
ACCENTS = ("en-us", "en-gb-scotland", "en-gb-x-rp", "en-us-nyc")

# Independent streams of random numbers; 1 is the sentences'.
_VOICES, _CAST, _TAKES = 2, 3, 4

# Share of a unit's time that its vowel gets where one name stands for two classes (near, fire).
_FIRST_SHARE = 0.6


class Line(NamedTuple):
    """One line of the script: what to say, who says it, and the seed of how."""

    id: str
    speaker: str
    text: str
    subset: str
    seed: int
    voice: espeak.Voice
    take: tuple[int, int]


class Take(NamedTuple):
    """int16 samples of 16 kHz `(N,)`, and segments that tile them."""

    audio: np.ndarray
    segments: list[Segment]


def script(speakers: int, utterances: int, seed: int) -> list[Line]:
    """Who says what: `speakers * utterances` lines, no sentence twice, sorted by id."""
    texts = iter(sentences(speakers * utterances, seed))
    width = max(3, len(str(max(speakers, utterances) - 1)))
    lines = []
    for speaker in range(speakers):
        voice = cast(speaker, seed)
        name = f"talker{speaker:0{width}d}"
        lines += [
            Line(f"{name}_{u:0{width}d}", name, next(texts), "", seed, voice, (speaker, u))
            for u in range(utterances)
        ]
    return lines


def cast(speaker: int, seed: int) -> espeak.Voice:
    """The voice of a speaker; the first 4 x 75 speakers differ in variant or accent."""
    order = np.random.default_rng([seed, _CAST]).permutation(len(VARIANTS))
    round_, turn = divmod(speaker, len(VARIANTS))
    variant, accent = VARIANTS[order[turn]], ACCENTS[(turn + round_) % len(ACCENTS)]
    rng = np.random.default_rng([seed, _VOICES, speaker])
    return espeak.Voice(
        name=f"{accent}+{variant}",
        pitch=int(rng.integers(25, 81)),
        pitch_range=int(rng.integers(30, 81)),
        rate=int(rng.integers(135, 186)),
    )


def perform(line: Line) -> Take:
    """Speak a line: 0.1-0.4 s around it, level -12 to 0 dB, white noise at 25-45 dB SNR.

    Segments carry Lee & Hon's classes; where one name of eSpeak NG stands for two of them, the
    first takes 60 % of the time. Raises `InputError` if eSpeak NG is missing or says nothing, and
    `KeyError` for a name that has no class.
    """
    rng = np.random.default_rng([line.seed, _TAKES, *line.take])
    rate = round(line.voice.rate * rng.uniform(0.95, 1.05))
    lead, tail = (int(pause * SAMPLE_RATE) for pause in rng.uniform(0.1, 0.4, 2))
    level = 10 ** (rng.uniform(-12, 0) / 20)
    snr = 10 ** (rng.uniform(25, 45) / 20)
    spoken = espeak.speak(line.text, line.voice._replace(rate=rate))
    if not any(name for _, name in spoken.events):
        raise InputError(f"{line.id}: eSpeak NG said nothing for {line.text!r}")
    # Resampling integers would dither, differently every time.
    speech = soxr.resample(spoken.samples.astype(np.float32), espeak.RATE, SAMPLE_RATE)
    audio = np.zeros(lead + len(speech) + tail)
    audio[lead : lead + len(speech)] = level * speech
    loudness = level * np.sqrt(np.mean(np.square(speech, dtype=np.float64)))
    audio += rng.standard_normal(len(audio)) * (loudness / snr)
    samples = np.clip(np.rint(audio), -32768, 32767).astype(np.int16)
    return Take(samples, _segments(spoken, lead, len(samples)))


def _segments(spoken: espeak.Speech, lead: int, samples: int) -> list[Segment]:
    times = [
        min(lead + round(sample * SAMPLE_RATE / espeak.RATE), samples)
        for sample, _ in spoken.events
    ] + [samples]
    segments = [Segment(0, times[0], SILENCE)]
    for (_, name), start, end in zip(spoken.events, times[:-1], times[1:], strict=True):
        units = ipa_classes(name)
        middle = start + round(_FIRST_SHARE * (end - start)) if len(units) == 2 else end
        segments.append(Segment(start, middle, units[0]))
        segments.append(Segment(middle, end, units[-1]))
    return join_silences([s for s in segments if s.end > s.start])
