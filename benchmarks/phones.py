"""Seconds for phone relation maps, segmentation and the bootstrap: a table on the terminal out.

Relation maps take turns with `np.add.at` over positions on the same maps in memory, one core a
side. Segmentation is timed on maps of the shape of the base model; the bootstrap beside one pass.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from head_metrics import restart_on_one_core

HEADS, UTTERANCES, POSITIONS, STACK, PHONES, REPEATS = 144, 4, 150, 3, 39, 3
SEGMENTED, LONGEST = 4, 300
DRAWS = 1000


def add_at(maps: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Relation maps (H, P, P) of one utterance, frame pair by frame pair."""
    frames = len(labels)
    place = np.arange(frames) // STACK
    joint = np.zeros((len(maps), PHONES, PHONES), np.float32)
    query, key = np.repeat(labels, frames), np.tile(labels, frames)
    for head, probs in enumerate(maps):
        up = (probs / STACK)[place][:, place].ravel()
        np.add.at(joint[head], (query, key), up)
    return joint / frames


def median_seconds(*sides: Callable[[], object]) -> list[float]:
    """Medians of the sides, which take turns; the first turn warms up and does not count."""
    taken: list[list[float]] = [[] for _ in sides]
    for turn in range(REPEATS + 1):
        for side, run in enumerate(sides):
            began = time.perf_counter()
            run()
            if turn:
                taken[side].append(time.perf_counter() - began)
    return [statistics.median(each) for each in taken]


def main() -> None:
    """Measure and print."""
    import jax
    import jax.numpy as jnp

    from sat_jax.analysis import phone_maps, segmentation
    from sat_jax.analysis.phone_summary import Attention, summarise_phones
    from sat_jax.analysis.segment_score import half_frame_times, targets

    rng = np.random.default_rng(0)
    shape = (UTTERANCES, HEADS, POSITIONS, POSITIONS)
    logits = rng.normal(size=shape).astype(np.float32) * 3
    maps = np.exp(logits - logits.max(-1, keepdims=True))
    maps /= maps.sum(-1, keepdims=True)
    labels = np.repeat(rng.integers(0, PHONES, (UTTERANCES, POSITIONS * STACK // 9 + 1)), 9, 1)[
        :, : POSITIONS * STACK
    ]
    valid = np.ones((UTTERANCES, POSITIONS), bool)

    @jax.jit
    def relate(maps: jax.Array) -> phone_maps.PhoneShares:
        frames = phone_maps.phone_frames(jnp.asarray(labels), jnp.asarray(valid), STACK, PHONES)
        return phone_maps.phone_attention(maps, jnp.asarray(valid), frames)

    placed = jnp.asarray(maps)
    ours = lambda: jax.block_until_ready(relate(placed))  # noqa: E731
    theirs = lambda: [add_at(each, row) for each, row in zip(maps, labels, strict=True)]  # noqa: E731
    assert np.abs(np.stack(theirs()) - np.asarray(ours()[0])).max() < 1e-6
    fast, slow = median_seconds(ours, theirs)
    print(f"relation maps, {HEADS} heads x {UTTERANCES} utterances of {POSITIONS * STACK} frames:")
    print(f"  {fast * 1e3:.0f} ms, np.add.at {slow * 1e3:.0f} ms: {slow / fast:.1f}x")

    shares = phone_maps.PhoneShares(*(np.asarray(part) for part in ours()))
    many = 320
    summed = Attention(
        n=np.ones(many, int),
        joint=np.resize(shares.joint[:, None], (many, 12, 12, PHONES, PHONES)),
        own=np.resize(shares.own[:, None], (many, 12, 12, PHONES)),
        recurring=np.resize(shares.recurring[:, None], (many, 12, 12, PHONES)),
        joint_uniform=np.full((many, PHONES, PHONES), PHONES**-2.0),
        own_uniform=np.full((many, PHONES), 0.02 / PHONES),
        recurring_uniform=np.full((many, PHONES), PHONES**-2.0 - 0.02 / PHONES),
    )
    (drawn,) = median_seconds(lambda: summarise_phones(summed, 0, DRAWS))
    print(f"bootstrap, {DRAWS} draws, {HEADS} heads, {many} utterances: {drawn:.1f} s")
    print(f"  relation maps alone of as many utterances: {fast * many / UTTERANCES:.1f} s")

    times = half_frame_times(LONGEST * STACK, 200.0, 160)
    target = jnp.asarray(targets(np.arange(1600, 140000, 1440), times))
    rows = jnp.asarray(rng.dirichlet(np.full(LONGEST, 0.05), (SEGMENTED, LONGEST)), jnp.float32)
    real = jnp.ones(LONGEST, bool)
    alpha = jnp.asarray(0.3 * 2.0 ** np.linspace(-3, 2, 4), jnp.float32)

    def seconds_per_map(settings: tuple[jax.Array, jax.Array]) -> float:
        @jax.jit
        def run(rows: jax.Array) -> jax.Array:
            def one(each: jax.Array) -> jax.Array:
                apart = segmentation.distances(each, real)
                return segmentation.boundary_counts(apart, real, target, *settings, STACK)

            return jax.lax.map(one, rows)

        (seconds,) = median_seconds(lambda: jax.block_until_ready(run(rows)))
        return seconds / SEGMENTED

    betas = jnp.linspace(0.5, 1.35, 6)
    search = seconds_per_map((alpha, jnp.tile(betas, (4, 1))))
    score = seconds_per_map((alpha[:1], betas[:1][None]))
    hundred = 100 * HEADS / 60
    print(f"segmentation of maps of {LONGEST} positions, per map and core:")
    print(f"  24 settings {search * 1e3:.1f} ms, 1 setting {score * 1e3:.1f} ms")
    print(
        f"  100 utterances x {HEADS} heads on one core: two searches {2 * search * hundred:.1f} "
        f"min, scores {score * hundred:.1f} min"
    )


if __name__ == "__main__":
    restart_on_one_core()
    main()
