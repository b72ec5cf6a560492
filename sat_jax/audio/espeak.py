"""Text and a voice in, a waveform and its phone events out: eSpeak NG through ctypes.

eSpeak NG keeps state in C statics that survive its own re-initialisation, and draws from libc's
generator. So that an utterance is the same bits in any order and any process, each one gets a
freshly loaded library, both generators seeded, and one thread at a time.
"""

import ctypes
import os
import sys
import threading
from typing import NamedTuple

import numpy as np

from sat_jax.errors import InputError

RATE = 22_050
"""Samples per second of every voice."""

_SYNCHRONOUS = 2
_PHONEME_EVENTS, _IPA_NAMES = 1, 2
_UTF8 = 1
_LIST_END, _PHONEME = 0, 7
_SPEECH_RATE, _PITCH, _PITCH_RANGE = 1, 3, 4

_one_at_a_time = threading.Lock()


class _Name(ctypes.Union):
    _fields_ = (
        ("number", ctypes.c_int),
        ("pointer", ctypes.c_void_p),
        ("string", ctypes.c_char * 8),
    )


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Name),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Voice(NamedTuple):
    """A speaker to eSpeak NG: voice name (`en-us+Annie`), pitch and range 0-100, words a minute."""

    name: str
    pitch: int
    pitch_range: int
    rate: int


class Speech(NamedTuple):
    """int16 samples at 22.05 kHz, and events (sample, IPA name); an empty name is a pause."""

    samples: np.ndarray
    events: list[tuple[int, str]]


def speak(text: str, voice: Voice) -> Speech:
    """Speak a text; the same arguments give the same bits.

    An event lasts until the next one. Raises `InputError` if eSpeak NG is not installed or refuses
    the voice, `RuntimeError` if a copy of it is loaded already (its state would leak into ours).
    """
    library, data = _installed()
    with _one_at_a_time:
        if _is_loaded(library):
            raise RuntimeError(
                "eSpeak NG is already loaded in this process: its speech would depend on what was "
                "spoken before"
            )
        handle = ctypes.CDLL(library)
        try:
            return _speak(handle, data, text, voice)
        finally:
            handle.espeak_Terminate()
            _unload(handle)


def _installed() -> tuple[str, str]:
    try:
        import espeakng_loader
    except ImportError as error:
        raise InputError(
            "corpus.kind talker needs eSpeak NG, which is not installed: "
            "run pip install -r requirements-demo.txt, or give another --corpus.kind"
        ) from error
    return espeakng_loader.get_library_path(), espeakng_loader.get_data_path()


def _is_loaded(library: str) -> bool:
    try:
        handle = ctypes.CDLL(library, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
    except OSError:
        return False
    _unload(handle)
    return True


def _unload(handle: ctypes.CDLL) -> None:
    import _ctypes

    _ctypes.dlclose(handle._handle)


def _speak(handle: ctypes.CDLL, data: str, text: str, voice: Voice) -> Speech:
    chunks: list[bytes] = []
    events: list[tuple[int, str]] = []

    def receive(samples, count, event) -> int:
        i = 0
        while event[i].type != _LIST_END:
            if event[i].type == _PHONEME:
                events.append((event[i].sample, event[i].id.string.decode("utf-8")))
            i += 1
        if samples and count:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = _Callback(receive)
    rate = handle.espeak_Initialize(
        _SYNCHRONOUS, 0, os.fsencode(data), _PHONEME_EVENTS | _IPA_NAMES
    )
    if rate != RATE:
        raise RuntimeError(f"espeak_Initialize gave {rate} instead of {RATE} Hz")
    ctypes.CDLL(None).srand(1)
    handle.espeak_ng_SetRandSeed(ctypes.c_long(0))
    handle.espeak_SetSynthCallback(callback)
    # Without this an unknown name leaves the voice before it in place.
    if code := handle.espeak_SetVoiceByName(voice.name.encode()):
        raise InputError(f"eSpeak NG has no voice {voice.name!r} (code {code}): update its package")
    for parameter, value in (
        (_SPEECH_RATE, voice.rate),
        (_PITCH, voice.pitch),
        (_PITCH_RANGE, voice.pitch_range),
    ):
        if code := handle.espeak_SetParameter(parameter, value, 0):
            raise RuntimeError(f"espeak_SetParameter({parameter}, {value}) gave code {code}")
    encoded = text.encode()
    code = handle.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8, None, None)
    if code:
        raise RuntimeError(f"espeak_Synth gave code {code} for {text!r}")
    samples = np.frombuffer(b"".join(chunks), np.int16 if sys.byteorder == "little" else ">i2")
    return Speech(samples, events)
