"""Pages of models that were never trained: any number of heads and any lengths, in seconds."""

import io

import numpy as np
import soundfile

from sat_jax.explorer.pack import deflated
from sat_jax.study.explorer.known import Known
from sat_jax.study.explorer.maps import UtteranceMaps
from sat_jax.study.explorer.sounds import Sound
from sat_jax.study.explorer.study import fitted_page

SECONDS = 0.03
RATE = 16_000
PHONES = ("sil", "iy", "s", "t", "ah", "n")


def made_up_page(layers, heads, lengths, megabytes=60.0, name="made up", seed=0):
    """The page of a model and its control on utterances of so many seconds; what was fitted."""
    generator = np.random.default_rng(seed)
    models = [
        Known(model_entry(layers, heads, name, key, generator), relation(layers, heads, key), None)
        for key in ("trained", "untrained")
    ]
    models[1].entry["control"] = True
    maps = [
        {
            number: UtteranceMaps(made_up_maps(layers, heads, length, generator), None)
            for number, length in enumerate(lengths)
        }
        for _ in models
    ]
    sounds = [sound(number, length, name, generator) for number, length in enumerate(lengths)]
    return fitted_page(f"Heads of {name}", models, maps, sounds, [], megabytes)


def made_up_maps(layers, heads, seconds, generator):
    """Sharp diagonals to nearly flat maps, with stripes: as large on disk as real ones."""
    positions = int(seconds / SECONDS)
    place = np.arange(positions)
    apart = np.abs(place[:, None] - place[None, :])
    found = np.empty((layers, heads, positions, positions), np.float16)
    for at in np.ndindex(layers, heads):
        width = 1 + generator.random() ** 2 * positions
        stripes = 2 * generator.standard_normal(positions)
        noise = 0.3 * generator.standard_normal((positions, positions)).astype(np.float32)
        scores = -apart / width + stripes[None, :] + noise
        maps = np.exp(scores - scores.max(-1, keepdims=True))
        found[at] = maps / maps.sum(-1, keepdims=True)
    return found


def model_entry(layers, heads, name, key, generator):
    """Metrics, categories and curves of every head, drawn at random."""
    shape = (layers, heads)
    kinds = np.array(["global", "vertical", "diagonal"])[generator.integers(0, 3, shape)]
    metrics = [
        {
            "name": metric,
            "label": metric,
            "values": generator.random(shape).tolist(),
            "low": np.zeros(shape).tolist(),
            "high": np.ones(shape).tolist(),
            "rank": (1 + generator.permutation(layers * heads).reshape(shape)).tolist(),
            "rankLow": np.ones(shape).tolist(),
            "rankHigh": np.full(shape, layers * heads).tolist(),
        }
        for metric in ("globalness", "verticality", "diagonality")
    ]
    curve = {
        "ordering": "globalness",
        "pruned": [0, layers * heads],
        **{field: [1.0, 0.0] for field in ("value", "low", "high")},
    }
    task = {"name": "phone", "label": "phone accuracy (%)", "lower": False, "chance": 0.1}
    return {
        "key": key,
        "name": f"{name} {key}",
        "control": False,
        "layers": layers,
        "heads": heads,
        "seconds": SECONDS,
        "start": SECONDS / 2,
        "utterances": 4,
        "metrics": metrics,
        "category": kinds.tolist(),
        "share": np.ones(shape).tolist(),
        "operations": np.full(shape, f"focus: {name}").tolist(),
        "cumulative": {
            "radii": list(range(30)),
            "uniform": np.linspace(0.1, 1, 30).tolist(),
            "curves": np.sort(generator.random((*shape, 30))).tolist(),
        },
        "relation": {
            "blob": f"relation-{key}",
            "phones": [name, *PHONES[1:]],
        },
        "segments": None,
        "ablation": {
            "tasks": [{**task, "curves": [curve]}],
            "orders": {"globalness": metrics[0]["rank"]},
        },
        "missing": [],
    }


def relation(layers, heads, key):
    """Relation maps of uniform attention."""
    maps = np.zeros((2, layers, heads, len(PHONES), len(PHONES)), "<f4")
    return {f"relation-{key}": deflated(maps)}


def sound(number, seconds, name, generator):
    """A tone in noise, with a phone every tenth of a second."""
    times = np.arange(int(seconds * RATE)) / RATE
    tone = np.sin(2 * np.pi * 220 * times) + 0.1 * generator.standard_normal(len(times))
    file = io.BytesIO()
    audio = (8000 * tone).clip(-32768, 32767).astype(np.int16)
    soundfile.write(file, audio, RATE, format="FLAC", subtype="PCM_16")
    frames = int(seconds * 100)
    phones = [
        {"start": at / 10, "end": (at + 1) / 10, "label": name if not at else PHONES[at % 6]}
        for at in range(int(seconds * 10))
    ]
    entry = {
        "id": f"{name} {number}",
        "speaker": name,
        "seconds": len(audio) / RATE,
        "phones": phones,
        "sound": f"sound-{number}",
        "spectrogram": {
            "blob": f"spectrogram-{number}",
            "frames": frames,
            "bins": 40,
            "hop": 0.01,
            "start": 0.0125,
        },
    }
    cells = generator.integers(0, 256, (frames, 40)).astype(np.uint8)
    blobs = {f"sound-{number}": file.getvalue(), f"spectrogram-{number}": deflated(cells)}
    return Sound(entry, blobs)
