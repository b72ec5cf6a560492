"""Our config and start parameters in, a PyTorch trainer around s3prl's own Mockingjay out."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from s3prl.upstream.mockingjay.model import (
    TransformerConfig,
    TransformerModel,
    TransformerSpecPredictionHead,
)
from torch import nn

from sat_jax.config import Config, Model
from sat_jax.model.positions import sinusoids


def make_modules(model: Model, bins: int) -> tuple[nn.Module, nn.Module]:
    """s3prl's Mockingjay and its prediction head."""
    config = TransformerConfig(
        {
            "hidden_size": model.width,
            "num_hidden_layers": model.layers,
            "num_attention_heads": model.heads,
            "hidden_act": "gelu",
            "intermediate_size": model.ffn,
            "hidden_dropout_prob": model.dropout,
            "attention_probs_dropout_prob": model.dropout,
            "initializer_range": model.init_std,
            "layer_norm_eps": model.layer_norm_eps,
            "share_layer": False,
            "pre_layer_norm": model.pre_ln,
        }
    )
    width = model.frontend.stack * bins
    return TransformerModel(config, width), TransformerSpecPredictionHead(config, width)


def copy_parameters(params: Any, encoder: nn.Module, head: nn.Module, heads: int) -> None:
    """Our start parameters into s3prl's modules."""

    def fill(target: nn.Parameter, values: np.ndarray) -> None:
        with torch.no_grad():
            target.copy_(torch.tensor(np.ascontiguousarray(values)))

    def dense(target: nn.Module, source: dict[str, np.ndarray]) -> None:
        fill(target.weight, source["kernel"].T)
        fill(target.bias, source["bias"])

    def norm(target: nn.Module, source: dict[str, np.ndarray]) -> None:
        fill(target.weight, source["scale"])
        fill(target.bias, source["bias"])

    def stream(source: dict[str, np.ndarray], index: int) -> dict[str, np.ndarray]:
        """One of query, key, value of the fused projection, which is laid out (D, H, 3, K)."""
        width = source["kernel"].shape[0]
        kernel = source["kernel"].reshape(width, heads, 3, -1)[:, :, index].reshape(width, width)
        return {"kernel": kernel, "bias": source["bias"].reshape(heads, 3, -1)[:, index].ravel()}

    dense(encoder.input_representations.spec_transform, params["input"])
    norm(encoder.input_representations.LayerNorm, params["input_norm"])
    for index, layer in enumerate(encoder.encoder.layer):
        ours = params["encoder"][f"layer_{index}"]
        attention = layer.attention
        for position, target in enumerate(
            (attention.self.query, attention.self.key, attention.self.value)
        ):
            dense(target, stream(ours["attention"]["streams"], position))
        dense(attention.output.dense, ours["attention"]["out"])
        norm(attention.output.LayerNorm, ours["norm_attention"])
        dense(layer.intermediate.dense, ours["ffn_in"])
        dense(layer.output.dense, ours["ffn_out"])
        norm(layer.output.LayerNorm, ours["norm_ffn"])
    dense(head.dense, params["head"]["dense"])
    norm(head.LayerNorm, params["head"]["norm"])
    dense(head.output, params["head"]["output"])


class Peer(NamedTuple):
    """s3prl's side."""

    step: Callable[[], float]
    predict: Callable[[np.ndarray], np.ndarray]


def make_peer(
    config: Config,
    params: Any,
    clean: np.ndarray,
    corrupted: np.ndarray,
    chosen: np.ndarray,
    threads: int,
    fused: bool,
) -> Peer:
    """The loop body of an ordinary PyTorch trainer around s3prl's modules.

    clean, corrupted (B, T, stack * F) and chosen (B, T) are the batch; `fused` is AdamW's.
    """
    torch.set_num_threads(threads)
    model = config.model
    batch, length, width = clean.shape
    encoder, head = make_modules(model, width // model.frontend.stack)
    copy_parameters(params, encoder, head, model.heads)
    named = [*encoder.named_parameters(), *head.named_parameters()]
    plain = [p for name, p in named if name.endswith("bias") or "LayerNorm" in name]
    kernels = [p for name, p in named if not (name.endswith("bias") or "LayerNorm" in name)]
    optimizer = torch.optim.AdamW(
        [{"params": kernels}, {"params": plain, "weight_decay": 0.0}],
        lr=config.optim.peak_lr,
        betas=(config.optim.beta1, config.optim.beta2),
        weight_decay=config.optim.weight_decay,
        fused=fused,
    )
    everything = kernels + plain
    table = sinusoids(np.arange(length), model.width, model.frontend.position_base)
    positions = torch.tensor(np.asarray(table)).expand(batch, -1, -1)
    mask = torch.ones(batch, length)
    targets, inputs = torch.tensor(clean), torch.tensor(corrupted)
    masked = torch.tensor(chosen)[:, :, None].expand_as(targets)

    def forward(frames: torch.Tensor) -> torch.Tensor:
        hidden = encoder(frames, positions, mask, output_all_encoded_layers=False)
        return head(hidden)[0]

    def once() -> float:
        optimizer.zero_grad()
        prediction = forward(inputs)
        loss = torch.nn.functional.l1_loss(
            prediction.masked_select(masked), targets.masked_select(masked)
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(everything, config.optim.clip_norm)
        optimizer.step()
        return float(loss.detach())

    def predict(given: np.ndarray) -> np.ndarray:
        encoder.eval()
        head.eval()
        with torch.no_grad():
            out = forward(torch.tensor(given)).numpy()
        encoder.train()
        head.train()
        return out

    return Peer(once, predict)
