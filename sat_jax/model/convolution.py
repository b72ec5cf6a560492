"""Raw audio in, convolutional features out; and the convolutions that tell positions apart.

Shapes are (B, T, C), time before channels.
"""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sat_jax.config.model import Convolutions, Model
from sat_jax.mesh import on_own_rows, platform
from sat_jax.model.attention.self_attention import kernel_init
from sat_jax.model.encoder import gelu

AXES = ("NTC", "TIO", "NTC")
ROWS = 1000
"""Windows that are copied and multiplied at a time on a CPU."""
MOST_BLOCKS = 32
"""Most blocks of windows: each is a piece of its own in the compiled program."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def strided(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolve `x` (B, T, C) with `kernel` (W, C, O), unpadded: (B, (T - W) // stride + 1, O)."""
    if platform() != "cpu" or x.shape[-1] == 1:
        return _convolve(x, kernel, stride)
    # XLA:CPU takes a fifth longer for its convolution than for a copy of all windows and a product,
    # and that takes a fifth longer than blocks whose windows stay in the cache.
    batch, length, channels = x.shape
    taps, _, outputs = kernel.shape
    count = (length - taps) // stride + 1
    block = -(-max(ROWS, batch * count // MOST_BLOCKS) // batch)
    flat, step = x.reshape(batch, -1), stride * channels
    parts = []
    for first in range(0, count, block):
        start = np.arange(first, min(first + block, count)) * step
        rows = _slices(flat, start, taps * channels).reshape(-1, taps * channels)
        product = lax.optimization_barrier(rows) @ kernel.reshape(-1, outputs)
        parts.append(product.reshape(batch, len(start), outputs))
    return jnp.concatenate(parts, 1)


def _slices(flat: jax.Array, start: np.ndarray, size: int) -> jax.Array:
    """Slices (B, n, size) of `flat` (B, N) from each of `start` (n,) on."""
    at = jax.vmap(lambda row, first: lax.dynamic_slice_in_dim(row, first, size), (None, 0))
    return jax.vmap(at, (0, None))(flat, start)


def _convolve(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, (stride,), "VALID", dimension_numbers=AXES)


def _gradients(stride: int, saved: tuple[jax.Array, jax.Array], change: jax.Array) -> Any:
    # The gradient of a copy of windows would be a scatter, which is slow.
    return jax.vjp(lambda x, kernel: _convolve(x, kernel, stride), *saved)[1](change)


strided.defvjp(lambda x, kernel, stride: (strided(x, kernel, stride), (x, kernel)), _gradients)


def grouped_same(x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
    """Convolve `x` (B, T, C) with `kernel` (W, C / groups, O), W // 2 zeros on each side.

    An even W gives one position too many: the last one is dropped, (B, T, O) in any case. Each
    device convolves its own rows: XLA would gather the whole batch for a convolution in groups.
    """
    how = {"dimension_numbers": AXES, "feature_group_count": groups}

    def convolve(kernel: jax.Array, x: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(x, kernel, (1,), ((len(kernel) // 2,) * 2,), **how)

    return on_own_rows(convolve, whole=1)(kernel, x)[:, : x.shape[1]]


def plain_norm(x: jax.Array, eps: float) -> jax.Array:
    """`x` (..., D) with mean 0 and variance 1 over D, in two passes: raw audio needs them."""
    x = x.astype(jnp.float32)
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + eps)


class TimeNorm(nn.Module):
    """Normalisation of each channel over time ("group norm" with one channel per group)."""

    eps: float
    faithful: bool

    @nn.compact
    def __call__(self, x: jax.Array, count: jax.Array) -> jax.Array:
        """`x` (B, T, C) by the mean and variance of its first `count` (B,) positions.

        `faithful`: of all of them, padding too, as published code does.
        """
        scale = self.param("scale", nn.initializers.ones_init(), (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros_init(), (x.shape[-1],))
        counted = jnp.full_like(count, x.shape[1]) if self.faithful else count
        real = (jnp.arange(x.shape[1]) < counted[:, None])[:, :, None]
        number = jnp.maximum(counted, 1)[:, None, None]
        x = x.astype(jnp.float32)
        mean = jnp.where(real, x, 0.0).sum(1, keepdims=True) / number
        variance = jnp.where(real, (x - mean) ** 2, 0.0).sum(1, keepdims=True) / number
        return (x - mean) * (lax.rsqrt(variance + self.eps) * scale) + bias


class LayerNorm(nn.Module):
    """Layer normalisation with the variance in two passes."""

    eps: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`x` (..., D), float32."""
        scale = self.param("scale", nn.initializers.ones_init(), (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros_init(), (x.shape[-1],))
        return plain_norm(x, self.eps) * scale + bias


class Stem(nn.Module):
    """Strided convolutions over raw audio, each with GELU (wav2vec 2.0, section 2).

    `group` normalises after the first convolution only, over time; `layer` after each one, over
    channels.
    """

    config: Model

    @nn.compact
    def __call__(self, samples: jax.Array, lengths: jax.Array) -> jax.Array:
        """Features (B, T, C) of audio (B, N) with `lengths` (B,) real samples."""
        front: Convolutions = self.config.frontend
        eps, dtype = front.norm_eps, jnp.dtype(self.config.compute_dtype)
        x, count = samples[:, :, None], lengths
        layers = zip(front.channels, front.kernels, front.strides, strict=True)
        for number, (channels, taps, stride) in enumerate(layers):
            # He et al. (2015), as in the published code.
            start = nn.initializers.normal(math.sqrt(2 / (taps * x.shape[-1])))
            shape = taps, x.shape[-1], channels
            kernel = self.param(f"kernel_{number}", start, shape)
            x = strided(x.astype(dtype), kernel.astype(dtype), stride)
            count = jnp.maximum((count - taps) // stride + 1, 0)
            if front.bias:
                x += self.param(f"bias_{number}", nn.initializers.zeros_init(), (channels,))
            if front.norm == "layer":
                x = LayerNorm(eps, name=f"norm_{number}")(x)
            elif number == 0:
                x = TimeNorm(eps, front.faithful, name="norm_0")(x, count)
            x = gelu(x)
        return x


class ConvolvedPositions(nn.Module):
    """What convolutions over the positions add, so that these differ (wav2vec 2.0, section 2).

    Each convolution is followed by GELU. `position_norm` weight: of each kernel's taps, a length
    and a direction; batch: a normalisation with kept statistics before it; layer: one without
    parameters after it.
    """

    config: Model

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array) -> jax.Array:
        """`x` (B, T, D), padding 0, to what is added to it; valid (B, T).

        `faithful`: what several convolutions make of padding reaches what is valid.
        """
        front: Convolutions = self.config.frontend
        dtype, width = jnp.dtype(self.config.compute_dtype), x.shape[-1]
        taps, groups = front.position_kernel, front.position_groups
        shape = taps, width // groups, width
        start = kernel_init(math.sqrt(4 / (taps * width)))
        zeros, ones = nn.initializers.zeros_init(), nn.initializers.ones_init()
        for number in range(front.position_layers):
            kernel = self.param(f"kernel_{number}", start, shape)
            if front.position_norm == "weight":
                norm = jnp.sqrt((kernel**2).sum((1, 2), keepdims=True))
                length = self.param(f"length_{number}", lambda _, own: own, norm[:, 0, 0])
                kernel = kernel * (length[:, None, None] / norm)
            elif front.position_norm == "batch":
                starts = {"mean": zeros, "variance": ones, "scale": ones, "shift": zeros}
                kept = [self.param(f"{k}_{number}", v, (width,)) for k, v in starts.items()]
                mean, variance, scale, shift = kept
                x = (x - mean) * (lax.rsqrt(variance + front.norm_eps) * scale) + shift
            y = grouped_same(x.astype(dtype), kernel.astype(dtype), groups)
            y += self.param(f"bias_{number}", zeros, (width,))
            if front.position_norm == "layer":
                y = plain_norm(y, front.norm_eps)
            x = gelu(y)
            if not front.faithful:
                x = jnp.where(valid[:, :, None], x, 0.0)
        return x
