"""Positions in, sinusoids out (Vaswani et al. 2017, section 3.5)."""

import jax
import jax.numpy as jnp


def sinusoid_rates(width: int, base: float) -> jax.Array:
    """Radians per position of each pair of dimensions, falling from 1: (width / 2,) float32."""
    return base ** (-jnp.arange(0, width, 2, dtype=jnp.float32) / width)


def sinusoids(positions: jax.Array, width: int, base: float) -> jax.Array:
    """Sinusoidal positions (..., width), sin on even and cos on odd dimensions."""
    angles = positions[..., None].astype(jnp.float32) * sinusoid_rates(width, base)
    return jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(*positions.shape, width)
