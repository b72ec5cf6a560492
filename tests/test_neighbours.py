"""Heads that begin by looking at their neighbours: what their kernels make of bare positions."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from test_model import MODEL, built, start

from sat_jax.config import Config, Convolutions, QueryKey
from sat_jax.config.check import check
from sat_jax.errors import InputError
from sat_jax.model.attention.query_key import neighbour_kernels
from sat_jax.model.positions import sinusoids


@pytest.mark.parametrize(("heads", "size"), [(4, 6), (1, 4), (3, 5)])
def test_heads_begin_by_looking_at_their_neighbours(heads, size):
    width, base, neighbours = 32, 100.0, (-1, 2)
    kernels = np.asarray(neighbour_kernels(width, heads, size, neighbours, base), np.float64)
    assert kernels.shape == (width, heads, 2, size - size % 2)
    positions = np.asarray(sinusoids(jnp.arange(40), width, base), np.float64)
    query, key = np.einsum("td,dhpk->phtk", positions, kernels)
    logits = np.einsum("htk,hsk->hts", query, key)
    place = np.arange(40)
    every = min(2, heads)
    for head in range(heads):
        rates = base ** (-2 * (np.arange(size // 2) * every + head % every) / width)
        away = place[None] - place[:, None] - neighbours[head % 2]
        expected = np.cos(away[..., None] * rates).sum(-1)
        np.testing.assert_allclose(logits[head], expected, atol=1e-4)
        assert (logits[head].argmax(-1) == place + neighbours[head % 2])[3:-3].all()


def test_a_model_begins_as_its_attention_says():
    attention = QueryKey(neighbours=(1, 0), init_scale=2.0)
    model = built(dataclasses.replace(MODEL, attention=attention, width=20))  # an odd head width
    kernel = start(model)["encoder"]["layer_1"]["attention"]["streams"]["kernel"]
    query, key, value = np.moveaxis(np.asarray(kernel).reshape(20, 4, 3, 5), 2, 0)
    first = neighbour_kernels(20, 4, 5, (1, 0), MODEL.frontend.position_base)
    np.testing.assert_allclose(query[..., :4], 2 * first[:, :, 0])
    np.testing.assert_allclose(key[..., :4], 2 * first[:, :, 1])
    np.testing.assert_array_equal(query[..., 4], key[..., 4])
    assert np.std(query[..., 4]) > 0.1 and np.std(value) > 0.1


def test_without_sinusoids_there_are_no_neighbours():
    model = dataclasses.replace(
        MODEL, kind="hubert", frontend=Convolutions(), attention=QueryKey(neighbours=(1,))
    )
    with pytest.raises(InputError, match="neighbours is given, and a model on raw audio has no"):
        check(Config(model=model))
