"""Our configs in, a compiled training step of the same model in PyTorch out: bf16, fused AdamW.

Mockingjay is s3prl's own module, wav2vec 2.0 that of transformers. Batches are made before the
clock starts: features, masks and negatives, which our step makes itself.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from sat_jax.config import Config
from sat_jax.grid import SAMPLE_RATE
from sat_jax.model.positions import sinusoids

Step = Callable[[], torch.Tensor]


def step_of(config: Config, rows: int, seconds: float, device: str) -> Step:
    """One training step on `rows` utterances of so many seconds; the loss, not waited for."""
    torch.set_float32_matmul_precision("high")
    make = wav2vec2_loss if config.model.kind == "wav2vec2" else mockingjay_loss
    modules, loss_of = make(config, rows, seconds, device)
    parameters = [p for p in modules.parameters() if p.requires_grad]
    optim = config.optim
    optimizer = torch.optim.AdamW(
        parameters,
        # As in the first steps of a warm-up: with the full rate at once, losses become NaN.
        lr=1e-4 * optim.peak_lr,
        betas=(optim.beta1, optim.beta2),
        weight_decay=optim.weight_decay,
        fused=True,
    )
    compiled = torch.compile(loss_of)

    def once() -> torch.Tensor:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16):
            loss = compiled()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, optim.clip_norm)
        optimizer.step()
        return loss.detach()

    return once


def mockingjay_loss(
    config: Config, rows: int, seconds: float, device: str
) -> tuple[nn.Module, Callable[[], torch.Tensor]]:
    """s3prl's Mockingjay and its head: the L1 of masked frames."""
    from benchmarks.s3prl_peer import make_modules
    from sat_jax.features.frontend import feature_width, target_width

    model, stack = config.model, config.model.frontend.stack
    length = int(seconds * 100) // stack
    encoder, head = make_modules(model, feature_width(config.features))
    outputs = stack * target_width(config.features)
    head.output = nn.Linear(model.width, outputs)
    modules = nn.ModuleList([encoder, head]).to(device)
    rng = np.random.default_rng(0)
    inputs = torch.randn(rows, length, stack * feature_width(config.features), device=device)
    targets = torch.randn(rows, length, outputs, device=device)
    chosen = torch.tensor(rng.random((rows, length, 1)) < 0.15, device=device)
    inputs = torch.where(chosen, 0.0, inputs)
    table = sinusoids(np.arange(length), model.width, model.frontend.position_base)
    positions = torch.tensor(np.asarray(table)).expand(rows, -1, -1).to(device)
    valid = torch.ones(rows, length, device=device)

    def loss() -> torch.Tensor:
        hidden = encoder(inputs, positions, valid, output_all_encoded_layers=False)
        apart = (head(hidden)[0].float() - targets).abs()
        return torch.where(chosen, apart, 0.0).sum() / (chosen.sum() * outputs)

    return modules, loss


def wav2vec2_loss(
    config: Config, rows: int, seconds: float, device: str
) -> tuple[nn.Module, Callable[[], torch.Tensor]]:
    """transformers' wav2vec 2.0 with its quantiser: contrast and diversity."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining
    from transformers.models.wav2vec2 import modeling_wav2vec2 as theirs

    model, objective = config.model, config.objective
    front = model.frontend
    described: dict[str, Any] = {
        "hidden_size": model.width,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "intermediate_size": model.ffn,
        "conv_dim": front.channels,
        "conv_kernel": front.kernels,
        "conv_stride": front.strides,
        "num_negatives": objective.negatives,
        # Whole layers that are left out at random would be compiled anew for every choice.
        "layerdrop": 0.0,
    }
    whole = Wav2Vec2ForPreTraining._from_config(
        Wav2Vec2Config(**described), attn_implementation="sdpa"
    )
    whole = whole.to(device).train()
    audio = torch.randn(rows, int(seconds * SAMPLE_RATE), device=device)
    length = int(whole._get_feat_extract_output_lengths(audio.shape[1]))
    masked = theirs._compute_mask_indices((rows, length), 0.65, 10, min_masks=2)
    negatives = theirs._sample_negative_indices((rows, length), objective.negatives, masked)
    masked = torch.tensor(masked, device=device)
    negatives = torch.tensor(negatives, device=device)

    def loss() -> torch.Tensor:
        found = whole(audio, mask_time_indices=masked, sampled_negative_indices=negatives)
        return found.loss / masked.sum()

    return whole, loss
