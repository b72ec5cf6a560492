"""Speed of the road from disk to features: a prepared corpus in, a table on the terminal out.

All rows are medians over repetitions that take turns in this one process. "per core" is per second
of CPU time of the whole process, reader threads included.
"""

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import numpy as np

from sat_jax.audio.dataset import prepare
from sat_jax.audio.prepared import Split, open_split
from sat_jax.config import Batches, Corpus, Features
from sat_jax.features.batches import Batch, train_batches, train_plan
from sat_jax.features.frontend import featurize
from sat_jax.grid import SAMPLE_RATE, stacked_grid

REPETITIONS = 7
FEATURES = replace(Features(), normalize=False)
GRID = stacked_grid(FEATURES.window, FEATURES.hop, 3)
BATCHES = Batches()
GOAL = 3.0  # hours of audio per second of one core


def read_in_random_order(split: Split) -> float:
    """Seconds of audio in every utterance of the split, decoded one by one."""
    order = np.random.default_rng(0).permutation(len(split))
    return sum(len(split[i].audio) for i in order.tolist()) / SAMPLE_RATE


def load_an_epoch(split: Split) -> float:
    """Seconds of audio in the batches of one epoch of training (padding does not count)."""
    batches = train_plan(split, BATCHES, GRID, seed=0).batches_per_epoch
    with closing(train_batches(split, BATCHES, GRID, seed=0)) as stream:
        return sum(int(batch.lengths.sum()) for batch in islice(stream, batches)) / SAMPLE_RATE


def longest_batch(split: Split) -> Batch:
    """A training batch of the longest bucket."""
    edges = train_plan(split, BATCHES, GRID, seed=0).edges
    with closing(train_batches(split, BATCHES, GRID, seed=0)) as stream:
        samples = GRID.frame_samples(edges[-1])
        return next(batch for batch in stream if batch.audio.shape[1] == samples)


def frontends(batch: Batch) -> dict[str, Callable[[], float]]:
    """Log-mel of the same batch by each way there is; each answers with its seconds of audio."""
    seconds = batch.audio.size / SAMPLE_RATE
    compute = jax.jit(featurize, static_argnums=(2, 3))

    def by_jax(method: str) -> float:
        jax.block_until_ready(compute(batch.audio, batch.lengths, FEATURES, method))
        return seconds

    ways = {f"log-mel, JAX ({method})": lambda m=method: by_jax(m) for method in ("rfft", "matmul")}
    if importlib.util.find_spec("librosa") is None:
        print("librosa is not installed: no comparison with it (requirements-dev.txt brings it)")
        return ways
    import librosa

    def by_librosa() -> float:
        power = librosa.feature.melspectrogram(
            y=batch.audio.astype(np.float32) / 32768,
            sr=SAMPLE_RATE,
            n_fft=FEATURES.n_fft,
            hop_length=FEATURES.hop,
            win_length=FEATURES.window,
            center=False,
            n_mels=FEATURES.mels,
        )
        np.log(power + 1e-7)
        return seconds

    return {**ways, "log-mel, librosa": by_librosa}


def timed(runs: dict[str, Callable[[], float]]) -> dict[str, tuple[float, float]]:
    """Median seconds of audio per second of wall time and of CPU time, for each run."""
    for run in runs.values():
        run()  # compiles, fills the file cache
    speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(REPETITIONS):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            audio = run()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            speeds[name].append((audio / wall, audio / cpu))
    return {name: tuple(map(statistics.median, zip(*s, strict=True))) for name, s in speeds.items()}


def main() -> None:
    split = open_split(prepare(Corpus()), "all")
    hours = split.lengths.sum() / SAMPLE_RATE / 3600
    print(
        f"{len(split)} utterances, {hours:.2f} h; {REPETITIONS} repetitions; "
        f"batches of {BATCHES.size}, {BATCHES.threads} reader threads"
    )
    data = timed(
        {
            "read, random order": lambda: read_in_random_order(split),
            "train_batches": lambda: load_an_epoch(split),
        }
    )
    print(f"\n{'hours of audio per second':28}{'wall':>10}{'per core':>10}")
    for name, (wall, cpu) in data.items():
        print(f"{name:28}{wall / 3600:10.2f}{cpu / 3600:10.2f}")
    reached = data["train_batches"][1] / 3600
    print(f"goal of the loader: {GOAL} h per second and core; reached {reached / GOAL:.2f} of it")

    features = timed(frontends(longest_batch(split)))
    print(f"\n{'times real time':28}{'wall':>10}{'per core':>10}")
    for name, (wall, cpu) in features.items():
        print(f"{name:28}{wall:10.0f}{cpu:10.0f}")
    if "log-mel, librosa" in features:
        ratio = features["log-mel, JAX (rfft)"][1] / features["log-mel, librosa"][1]
        print(f"JAX (rfft) over librosa, per core: {ratio:.2f}")


if __name__ == "__main__":
    main()
