"""Grids: positions, frames and samples into each other, for stacked frames and convolutions."""

import numpy as np
import pytest

from sat_jax.grid import Grid, frame_count, stacked_grid

SAMPLES = np.arange(4000)


@pytest.mark.parametrize(("window", "hop", "stack"), [(400, 160, 3), (400, 160, 1), (300, 100, 4)])
def test_stacked_frames_are_counted_as_frames_and_then_stacks(window, hop, stack):
    grid = stacked_grid(window, hop, stack)
    frames = frame_count(SAMPLES, window, hop)
    np.testing.assert_array_equal(grid.positions(SAMPLES), frames // stack)
    np.testing.assert_array_equal(grid.frame_count(SAMPLES), frames)
    np.testing.assert_array_equal(grid.whole_frames(SAMPLES), frames // stack * stack)
    assert (grid.hop, grid.frame_window, grid.frames) == (hop, window, stack)
    centres = grid.frame_centres(7)
    np.testing.assert_array_equal(centres, np.arange(7) * hop + window // 2)


@pytest.mark.parametrize(
    ("kernels", "strides"),
    [((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)), ((400,), (320,)), ((5, 4), (3, 2))],
)
def test_a_chain_of_convolutions_is_a_grid(kernels, strides):
    window, stride = 1, 1
    for kernel, step in zip(kernels, strides, strict=True):
        window, stride = window + (kernel - 1) * stride, stride * step
    grid = Grid(stride, window)
    counts = SAMPLES
    for kernel, step in zip(kernels, strides, strict=True):
        counts = np.maximum((counts - kernel) // step + 1, 0)
    np.testing.assert_array_equal(grid.positions(SAMPLES), counts)
    if len(kernels) == 7:  # wav2vec 2.0 and HuBERT
        assert (stride, window, grid.positions(16_000)) == (320, 400, 49)


def test_samples_are_those_that_positions_cover():
    grid = stacked_grid(400, 160, 3)
    for positions in (1, 2, 50):
        samples = grid.samples(positions)
        assert (grid.positions(samples), grid.positions(samples - 1)) == (positions, positions - 1)
        assert grid.covered(samples + 100) == samples
    assert grid.covered(grid.window - 1) == grid.covered(0) == 0
    np.testing.assert_array_equal(grid.covered(np.array([0, 719, 720, 1300])), [0, 0, 720, 1200])


def test_a_position_is_centred_in_its_samples():
    grid = stacked_grid(400, 160, 3)
    assert grid.centre(0) == 360
    assert grid.centre(10) == 10 * 480 + 360
    # The middle one of its three frames is centred there as well.
    assert grid.frame_centres(33)[31] == grid.centre(10)
    assert grid.seconds == pytest.approx(0.03)


def test_padding_is_not_valid():
    grid = Grid(320, 400)
    valid = grid.valid(np.array([0, 399, 400, 720, 5000]), 3)
    np.testing.assert_array_equal(valid.sum(1), [0, 0, 1, 2, 3])
    assert (np.diff(valid.astype(int), axis=1) <= 0).all()
