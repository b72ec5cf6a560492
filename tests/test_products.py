"""Products with gradients written by hand, against JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sat_jax.model.products import mixture, rows_by_kernel, scores

B, H, T, S, K = 2, 3, 5, 7, 4
CASES = {
    "rows_by_kernel": (rows_by_kernel, "nd,df->nf", (T, K), (K, S)),
    "scores": (scores, "bhtk,bhsk->bhts", (B, H, T, K), (B, H, S, K)),
    "mixture": (mixture, "bhts,bhsk->bhtk", (B, H, T, S), (B, H, S, K)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_products_and_their_gradients_are_those_of_einsum(name, dtype):
    product, letters, *shapes = CASES[name]
    left, right = (jax.random.normal(jax.random.key(i), s, dtype) for i, s in enumerate(shapes))
    tolerance = 1e-6 if dtype == "float32" else 0.03
    ours, pull_ours = jax.vjp(product, left, right)
    exact, pull = jax.vjp(
        lambda *operands: jnp.einsum(letters, *operands),
        left.astype(jnp.float32),
        right.astype(jnp.float32),
    )
    np.testing.assert_allclose(ours.astype(jnp.float32), exact, rtol=tolerance, atol=tolerance)
    change = jax.random.normal(jax.random.key(2), ours.shape, ours.dtype)
    pairs = zip(pull_ours(change), pull(change.astype(jnp.float32)), strict=True)
    for (own, wanted), operand in zip(pairs, (left, right), strict=True):
        assert own.dtype == operand.dtype and own.shape == operand.shape
        scale = 4 * tolerance
        np.testing.assert_allclose(own.astype(jnp.float32), wanted, rtol=scale, atol=scale)


def test_scores_are_float32_whatever_the_operands():
    query = jnp.ones((1, 1, 2, 4), jnp.bfloat16)
    assert scores(query, query).dtype == jnp.float32
