"""A model with input-independent maps in, the same model for inference, without a softmax, out."""

import dataclasses
from typing import Any

from flax import linen as nn

from sat_jax.config.attention import SynRandom
from sat_jax.errors import InputError
from sat_jax.model.attention.input_independent import weights_of
from sat_jax.model.encoder import layer_params, with_layer_params


def freeze_maps(module: nn.Module, params: Any) -> tuple[nn.Module, Any]:
    """The module and parameters that give the same outputs without a softmax in any pass.

    For `syn_random` and `syn_handcrafted` with unrolled layers: what depends on no input is
    computed here, once for all lengths and utterances. Raises `InputError` for other attention.
    """
    config = module.config
    if not isinstance(config.attention, SynRandom) or config.attention.frozen:
        raise InputError(
            f"freeze_maps: model.attention is {config.attention.kind}, whose maps cannot be frozen "
            "(again); give a model with syn_random or syn_handcrafted"
        )
    layers = []
    for index in range(config.layers):
        layer = layer_params(params, config, index)
        attention = layer["attention"]
        if "algorithm" in attention:
            own = attention["algorithm"]
            own = {**own, "maps": weights_of(own["maps"])}
            layer = {**layer, "attention": {**attention, "algorithm": own}}
        layers.append(layer)
    attention = dataclasses.replace(config.attention, frozen=True)
    frozen = dataclasses.replace(config, attention=attention, share_layers=False)
    return module.clone(config=frozen), with_layer_params(params, layers)
