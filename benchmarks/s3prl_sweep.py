"""Our parameters and masks in, an ordinary PyTorch loop over s3prl's own Mockingjay out."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from s3prl_peer import copy_parameters, make_modules

from sat_jax.config import Model
from sat_jax.model.positions import sinusoids


class Loop(NamedTuple):
    """s3prl's side."""

    distances: Callable[[], np.ndarray]
    """Mean distances (G, B) from the intact output over valid positions: what is timed."""
    outputs: Callable[[], Iterator[np.ndarray]]
    """Whole outputs (B, T, D), mask after mask."""


def make_loop(
    model: Model,
    params: Any,
    gates: np.ndarray,
    inputs: np.ndarray,
    valid: np.ndarray,
    threads: int,
    device: str = "cpu",
) -> Loop:
    """The loop over gates (G, L, H), on inputs (B, T, stack * F) and valid (B, T)."""
    torch.set_num_threads(threads)
    encoder, head = make_modules(model, inputs.shape[2] // model.frontend.stack)
    copy_parameters(params, encoder, head, model.heads)
    encoder.eval().to(device)
    batch, length = valid.shape
    table = sinusoids(np.arange(length), model.width, model.frontend.position_base)
    positions = torch.tensor(np.asarray(table), device=device).expand(batch, -1, -1)
    frames = torch.tensor(inputs, device=device)
    real = torch.tensor(valid, dtype=torch.float32, device=device)
    masks = torch.tensor(gates, device=device).repeat_interleave(model.width // model.heads, dim=2)
    mask = torch.ones_like(masks[0])

    # On the contexts: s3prl's own `head_mask` multiplies the maps (B, H, T, T) and takes longer.
    def multiply(layer: int) -> Callable[..., tuple[torch.Tensor]]:
        return lambda module, given: (given[0] * mask[layer],)

    for index, layer in enumerate(encoder.encoder.layer):
        layer.attention.output.dense.register_forward_pre_hook(multiply(index))

    def forward() -> torch.Tensor:
        with torch.no_grad():
            return encoder(frames, positions, real, output_all_encoded_layers=False)

    def outputs() -> Iterator[torch.Tensor]:
        for each in masks:
            mask.copy_(each)
            yield forward()

    intact = forward()

    def distance(output: torch.Tensor) -> np.ndarray:
        apart = (output - intact).abs().mean(-1)
        return ((apart * real).sum(-1) / real.sum(-1)).cpu().numpy()

    return Loop(
        distances=lambda: np.stack([distance(output) for output in outputs()]),
        outputs=lambda: (output.cpu().numpy() for output in outputs()),
    )
