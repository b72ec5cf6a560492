"""A made-up model family that the package knows nothing of: raw audio in, 20 ms positions.

Its position bias is made once and shared by all layers. It predicts no spectra and was trained for
nothing that the package could name.
"""

from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp

from sat_jax.config.attention import Attention
from sat_jax.config.model import Frontend, Model
from sat_jax.grid import Grid
from sat_jax.model.attention.edit import NO_EDIT
from sat_jax.model.attention.query_key import QueryKey
from sat_jax.model.attention.softmax import masked_softmax
from sat_jax.model.encoder import Encoder
from sat_jax.model.products import scores

REACH = 8


@dataclass(frozen=True)
class Waveform(Frontend):
    """Raw audio; nothing to choose."""

    kind: str = "waveform"


@dataclass(frozen=True)
class Biased(Attention):
    """Query and key, and a bias that the model hands to every layer."""

    kind: str = "biased"
    sharpness: float = 2.0


class BiasedQueryKey(QueryKey):
    DOT_PRODUCT = False

    @staticmethod
    def start(kernels, model):
        return kernels * model.attention.sharpness

    def __call__(self, x, scope, *, query, key):
        logits = scores(query * query.shape[-1] ** -0.5, key) + scope.side
        return masked_softmax(logits, scope.valid, scope.allowed)

    def mix(self, x, scope, value, **projections):
        return None


class ThirdFamily(nn.Module):
    config: Model
    grid = Grid(320, 400)
    encoder_length = 512
    target_width = 0

    def setup(self):
        shape = (self.config.heads, 2 * REACH + 1)
        self.bias = self.param("bias", nn.initializers.normal(1.0), shape)
        self.stem = nn.Conv(self.config.width, (400,), (320,), padding="VALID")
        self.encoder = Encoder(self.config, self.encoder_length)

    @nn.nowrap
    def covered(self, config):
        return self.encoder_length

    @nn.nowrap
    def flops(self, positions):
        return 2 * positions * self.config.width * self.grid.window

    @nn.nowrap
    def prepare(self, audio, lengths):
        real = jnp.arange(audio.shape[1]) < lengths[:, None]
        wave = jnp.where(real, audio / 3000.0, 0.0)
        return wave, self.grid.valid(lengths, self.grid.positions(audio.shape[1]))

    def embed(self, inputs, valid):
        x = jnp.tanh(self.stem(inputs[:, :, None]))
        place = jnp.arange(x.shape[1])
        offset = jnp.clip(place[None, :] - place[:, None], -REACH, REACH)
        return x, self.bias[:, offset + REACH]

    def encode(self, inputs, valid, edit=NO_EDIT):
        x, side = self.embed(inputs, valid)
        return self.encoder(x, valid, edit, None, side)

    __call__ = encode

    def close(self, x):
        return self.encoder.close(x)
