"""Studies' own steps: shifted passes in turn, the same search for every candidate, what to make."""

from types import SimpleNamespace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from segment_oracles import oracle

from sat_jax.audio.prepared import spread
from sat_jax.commands.analyze import wanted
from sat_jax.config import Analysis
from sat_jax.grid import Grid, stacked_grid
from sat_jax.records.phones import Interval
from sat_jax.study.compared import mean_of_heads
from sat_jax.study.heads import uniform_within
from sat_jax.study.phone_rows import extreme_rows
from sat_jax.study.phones import most_extreme
from sat_jax.study.segments.entries import Entry, model_entries, spectral_entries
from sat_jax.study.segments.search import (
    BETAS,
    FINE_ALPHAS,
    FINE_BETAS,
    Chosen,
    Source,
    first_time,
    interleaved,
    only,
    rows_of_trace,
    shifted,
)
from sat_jax.study.segments.study import frame_scale

STACK = 3


class Trace(NamedTuple):
    """What `rows_of_trace` needs of a trace."""

    probs: tuple
    hidden: tuple
    valid: jnp.ndarray


class Tuned(NamedTuple):
    r: np.ndarray


@pytest.mark.parametrize("frames", [12, 13, 14])
def test_rows_of_shifted_passes_come_in_the_order_of_their_time(frames):
    positions = 5
    passes = []
    for shift in range(STACK):
        first_frame = np.arange(positions) * STACK + shift
        rows = jnp.asarray(np.tile(first_frame[None, None, :, None], (2, 4, 1, 1)), jnp.float32)
        valid = np.arange(positions) < (frames - shift) // STACK
        passes.append(([rows, 10 * rows], jnp.asarray(np.tile(valid, (2, 1)))))
    (once, tenfold), valid = interleaved(passes)
    assert once.shape == (2, 4, positions * STACK, 1)
    np.testing.assert_array_equal(once[1, 2, :, 0], np.arange(positions * STACK))
    np.testing.assert_array_equal(tenfold[0, 0], 10 * once[0, 0])
    # Every row whose frames all exist is real, and the real ones come first.
    assert valid.sum(1).tolist() == [frames - STACK + 1] * 2
    assert bool(valid[0, : frames - STACK + 1].all())


def test_a_shifted_row_is_centred_in_the_frames_that_it_hears():
    assert first_time(Source(None, rows_of_trace, stacked_grid(400, 160, STACK), None)) == 200
    # Frames 0, 1 and 2 cover samples 0 to 720.
    assert first_time(Source(None, rows_of_trace, Grid(160, 720), None)) == 360


def test_a_source_of_few_candidates_holds_those():
    probs = tuple(
        jnp.full((2, 3, 4, 4), layer * 10.0) + jnp.arange(3)[:, None, None] for layer in (0, 1)
    )
    hidden = tuple(jnp.full((2, 4, 5), 100.0 + layer) for layer in range(3))
    source = Source(None, rows_of_trace, stacked_grid(400, 160, STACK), None)
    trace = Trace(probs, hidden, jnp.ones((2, 4), bool))
    (head, state), _ = only(source, [Chosen(1, 2), Chosen(2 + 1, 0)]).rows(trace)
    assert head.shape == (2, 1, 4, 4)
    assert bool((head == 12).all())
    assert state.shape == (2, 1, 4, 5)
    assert bool((state == 101).all())


def test_the_best_of_each_kind_stands_for_it():
    heads, states = [60.0, 61, 70, 62, 50, 51], [80.0, 90, 85]
    state, head = model_entries(Tuned(np.array(heads + states)), np.ones((2, 3), bool))
    assert (head.name, head.index, head.place, head.tried) == ("head L1 H3", 2, Chosen(0, 2), 6)
    assert (state.name, state.index, state.place) == ("hidden layer 1", 7, Chosen(3, 0))
    assert state.tried == 3
    mfcc, mel = spectral_entries(Tuned(np.array([70.0, 72, 75, 71])))
    assert (mfcc.name, mfcc.index, mfcc.tried) == ("MFCC", 1, 2)
    assert (mel.name, mel.index) == ("log-mel", 2)


def test_the_second_search_lies_between_the_points_of_the_first():
    assert FINE_BETAS.min() == pytest.approx(-FINE_BETAS.max())
    assert FINE_BETAS.max() < np.diff(BETAS).min()
    assert FINE_ALPHAS.prod() == pytest.approx(1)


@pytest.mark.parametrize("length", [1, 2, 7])
def test_uniform_attention_within_a_radius(length):
    offset = np.abs(np.arange(length) - np.arange(length)[:, None])
    radii = np.arange(9)
    expected = [(offset <= radius).mean() for radius in radii]
    np.testing.assert_allclose(uniform_within(length, radii), expected)


def test_studies_come_in_order_and_heads_first_where_they_are_missing(tmp_path):
    assert wanted(tmp_path, ()) == [
        *("heads", "phones", "segments", "ablate", "patterns", "similarity", "explorer")
    ]
    assert wanted(tmp_path, ("segments",)) == ["heads", "segments"]
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "heads.npz").write_text("")
    assert wanted(tmp_path, ("segments", "phones")) == ["phones", "segments"]


def test_few_utterances_are_spread_and_none_is_taken_twice(monkeypatch):
    taken = []
    monkeypatch.setattr("sat_jax.audio.prepared.take", lambda split, index: taken.append(index))
    assert spread(range(5), 0) == range(5)
    assert spread(range(5), 9) == range(5)
    spread(range(100), 7)
    assert taken[0][0] == 0
    assert taken[0][-1] == 99
    assert len(set(taken[0].tolist())) == 7


def test_a_phone_that_never_occurs_is_no_focus_and_no_neglect():
    c = np.array([[[np.nan, -0.5, -0.2], [np.nan, 0.3, 2.0]]])
    table = SimpleNamespace(
        phones=("zh", "a", "b"),
        category=np.full((1, 2), "global"),
        verticality=np.zeros((1, 2)),
        summary=SimpleNamespace(concentration=Interval(c, c - 1, c + 1)),
    )
    first, second = extreme_rows(table)
    assert (first["focus_phone"], first["focus"], first["neglect_phone"]) == ("b", -0.2, "a")
    assert (second["focus_phone"], second["focus_high"]) == ("b", 3.0)
    assert most_extreme(table, 2) == [(0, 1), (0, 0)]


def test_without_diagonal_heads_their_mean_offset_is_unknown():
    assert np.isnan(mean_of_heads(np.zeros(0))).all()
    mean, low, high = mean_of_heads(np.array([0.0, 30.0, 30.0, 60.0]))
    assert mean == 30
    assert low < 30 < high


@pytest.mark.parametrize("stack", [2, 3])
def test_the_alpha_of_a_head_gives_its_boundaries_at_frames(stack):
    """By the literal definition, on maps as the specification has them at frames."""
    rng = np.random.default_rng(stack)
    maps = rng.dirichlet(np.full(12, 0.5), 12)
    frames = np.repeat(np.repeat(maps, stack, 0), stack, 1) / stack
    spec = SimpleNamespace(grid=stacked_grid(400, 160, stack))
    loaded = SimpleNamespace(analysis=Analysis(), model=SimpleNamespace(spec=spec))
    head = Entry("head L1 H1", 0, Chosen(0, 0), 1, attention=True)
    moved = []
    for tuned, beta in ((0.1, 0.9), (0.2, 0.9), (0.5, 1.0)):
        ours, _ = oracle(np.repeat(maps, stack, 0), tuned, beta)
        printed = tuned * frame_scale(loaded, head)
        literal, _ = oracle(frames, printed, beta)
        np.testing.assert_array_equal(literal, ours)
        moved.append((oracle(frames, tuned, beta)[0] != ours).any())
    assert any(moved)
    state = head._replace(attention=False)
    assert frame_scale(loaded, state) == 1
    loaded.analysis = Analysis(segment_rows="sqrt")
    assert frame_scale(loaded, head) == 1


def test_shifted_passes_hear_the_same_audio_one_frame_later_each():
    audio = np.arange(2000, dtype=np.int16)[None]
    lengths = np.array([1500])
    spec = SimpleNamespace(grid=stacked_grid(400, 160, STACK))
    passes = SimpleNamespace(trace_fn=lambda params, heard, samples: (heard, samples))
    loaded = SimpleNamespace(model=SimpleNamespace(spec=spec), passes=passes)
    found = shifted(loaded)(None, audio, lengths)
    assert [int(samples[0]) for _, samples in found] == [1500, 1340, 1180]
    for shift, (heard, _) in enumerate(found):
        assert heard.shape == audio.shape
        np.testing.assert_array_equal(heard[0, : 2000 - 160 * shift], audio[0, 160 * shift :])
