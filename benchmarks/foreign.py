"""Seconds of wav2vec 2.0 BASE's forward pass and of a sweep over its heads, ours and transformers'.

One core on both sides, the same audio and random weights, float32, in turns. Needs `make parity`'s
packages.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sat_jax.launch import ALLOCATOR, DEVICE_COUNT

HEADS, LAYERS = 12, 12


def restart_on_one_core() -> None:
    """The same program with the allocator's settings and one device, on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    wanted = ALLOCATOR | {"XLA_FLAGS": f"{DEVICE_COUNT}=1", "JAX_PLATFORMS": "cpu"}
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | wanted)


def in_turns(sides: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every side, one run of each after the other."""
    for run in sides.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, run in sides.items():
            began = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - began)
    return times


def table(times: dict[str, list[float]], ours: str) -> None:
    """Medians, ranges, and each peer's seconds as a multiple of ours, turn by turn."""
    for name, values in times.items():
        ratios = [theirs / mine for theirs, mine in zip(values, times[ours], strict=True)]
        print(
            f"| {name} | {statistics.median(values):.3f} | {min(values):.3f} to {max(values):.3f} "
            f"| {statistics.median(ratios):.2f} |"
        )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--sweep-layers", type=int, default=LAYERS)
    parser.add_argument("--only", choices=("forward", "parts", "sweep"))
    options = parser.parse_args()

    import jax
    import numpy as np
    import torch
    import transformers

    from sat_jax.model.build import build_model
    from sat_jax.model.convert.foreign import open_foreign
    from sat_jax.trace.capture import capture

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    samples = int(options.seconds * 16_000)
    audio = (3000 * rng.normal(size=(1, samples))).astype(np.int16)
    config = transformers.Wav2Vec2Config()
    eager = transformers.Wav2Vec2Model._from_config(config, attn_implementation="eager").eval()
    with tempfile.TemporaryDirectory() as folder:
        eager.save_pretrained(folder)
        foreign = open_foreign(folder)
        sdpa = transformers.Wav2Vec2Model.from_pretrained(folder, attn_implementation="sdpa").eval()
    module = build_model(foreign.config)
    inputs, valid = jax.tree.map(
        jax.numpy.asarray, module.prepare(audio, np.array([samples], np.int32))
    )
    wave = torch.tensor(np.array(inputs.samples))
    params = jax.tree.map(jax.numpy.asarray, foreign.params)
    plain = jax.jit(lambda p, *a: module.apply({"params": p}, *a))
    traced = jax.jit(lambda p, *a: capture(module, p, *a)[:3])

    def theirs(model: Any, maps: bool) -> Any:
        with torch.no_grad():
            return model(wave, output_attentions=maps, output_hidden_states=maps)

    found = theirs(eager, True)
    output, probs, _ = traced(params, inputs, valid)
    apart = np.abs(np.asarray(output) - found.last_hidden_state.numpy()).max()
    maps_apart = max(
        np.abs(np.asarray(a) - b.numpy()).max()
        for a, b in zip(probs, found.attentions, strict=True)
    )
    print(f"{options.seconds:g} s of audio, {valid.shape[1]} positions, one core, float32")
    print(f"largest |difference|: output {apart:.1e}, maps {maps_apart:.1e}\n")
    if options.only == "parts":
        time_parts(module, params, inputs, valid, eager, wave, options.repeats)
        return
    if options.only != "sweep":
        print("| forward pass | median s | range s | times ours |\n|---|---|---|---|")
        sides = {
            "ours": lambda: plain(params, inputs, valid).block_until_ready(),
            "transformers, eager": lambda: theirs(eager, False),
            "transformers, sdpa": lambda: theirs(sdpa, False),
        }
        table(in_turns(sides, options.repeats), "ours")
        sides = {
            "ours, states and maps": lambda: jax.block_until_ready(traced(params, inputs, valid)),
            "transformers, eager, states and maps": lambda: theirs(eager, True),
        }
        table(in_turns(sides, options.repeats), "ours, states and maps")
    if options.only != "forward":
        sweep_heads(module, params, inputs, valid, eager, wave, options.sweep_layers)


def time_parts(
    module: Any, params: Any, inputs: Any, valid: Any, model: Any, wave: Any, repeats: int
) -> None:
    """The convolutions over audio, those over positions, and the encoder, each side in turns."""
    import jax
    import numpy as np
    import torch

    from sat_jax.model.convolution import ConvolvedPositions, Stem
    from sat_jax.model.encoder import Encoder

    config, longest = module.config, module.config.frontend.max_positions
    rng = np.random.default_rng(0)
    states = rng.normal(size=(1, valid.shape[1], config.width)).astype(np.float32)
    tensor = torch.tensor(states)
    parts = {
        "stem": (jax.jit(Stem(config).apply), inputs),
        "positions": (jax.jit(ConvolvedPositions(config).apply), (states, valid)),
        "encoder": (jax.jit(Encoder(config, longest).apply), (states, valid)),
    }

    def layers() -> Any:
        found = tensor
        for layer in model.encoder.layers:
            found = layer(found)
        return found

    peers = {
        "stem": lambda: model.feature_extractor(wave),
        "positions": lambda: model.encoder.pos_conv_embed(tensor),
        "encoder": layers,
    }
    print("| part | median s | range s | times ours |\n|---|---|---|---|")
    for name, (run, arguments) in parts.items():
        own = {"params": params[name]}
        sides = {
            f"{name}, ours": lambda f=run, p=own, a=arguments: f(p, *a).block_until_ready(),
            f"{name}, transformers": torch.no_grad()(peers[name]),
        }
        table(in_turns(sides, repeats), f"{name}, ours")


def sweep_heads(
    module: Any, params: Any, inputs: Any, valid: Any, model: Any, wave: Any, layers: int
) -> None:
    """One leave-one-out sweep over the heads of the last `layers` layers, each side once."""
    import jax
    import numpy as np
    import torch

    from sat_jax import mesh
    from sat_jax.config import Mesh
    from sat_jax.model.packing import packing_of
    from sat_jax.sweep import trie
    from sat_jax.sweep.batch_ops import Counts, batch_ops
    from sat_jax.sweep.ops import encoder_ops

    gates = np.ones((1 + layers * HEADS, LAYERS, HEADS), np.float32)
    for number in range(layers * HEADS):
        gates[1 + number, LAYERS - layers + number // HEADS, number % HEADS] = 0
    settings = trie.make_settings(gates)
    devices = mesh.build_mesh(Mesh(), 1)
    ops = encoder_ops(module, devices)
    packing = packing_of(np.asarray(valid), devices=1)
    placed = mesh.place_batch(jax.tree.map(np.asarray, (inputs, valid, packing)), devices)
    outputs: list[np.ndarray] = []

    def ours() -> None:
        batch = batch_ops(ops, params, HEADS, *placed, lambda states: states, Counts(set(), {}))
        outputs[:] = trie.sweep(batch, settings)

    masks = torch.ones(LAYERS, HEADS)
    width = module.config.width // HEADS

    def gate(layer: int) -> Callable[..., Any]:
        def scale(_: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
            return (arguments[0] * masks[layer].repeat_interleave(width),)

        return scale

    for layer, each in enumerate(model.encoder.layers):
        each.attention.out_proj.register_forward_pre_hook(gate(layer))
    peer: dict[int, np.ndarray] = {}

    def theirs() -> None:
        for number, mask in enumerate(gates):
            masks[:] = torch.tensor(mask)
            with torch.no_grad():
                peer[number] = model(wave).last_hidden_state[0].numpy()

    ours()
    began = time.perf_counter()
    ours()
    first = time.perf_counter() - began
    began = time.perf_counter()
    theirs()
    second = time.perf_counter() - began
    apart = max(np.abs(outputs[number] - peer[number]).max() for number in peer)
    print(f"\nleave one out, {len(gates)} masks of the last {layers} layers: ours {first:.1f} s, ")
    print(f"a loop of transformers {second:.1f} s, {second / first:.2f} times; largest ")
    print(f"|difference| of an output {apart:.1e}")


if __name__ == "__main__":
    restart_on_one_core()
    main()
