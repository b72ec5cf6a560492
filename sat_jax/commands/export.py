"""Prune heads of a run, and limit how far the others look: load, prune, compare, time, write.

python export.py runs/toy --heads 24 --by globalness --out runs/toy_g24
python export.py runs/toy --heads 24 --by "diagonality reversed" --span 15 --out runs/toy_d24
python export.py runs/toy --span 15 --softmax band --out runs/toy_band
python export.py runs/toy --attention syn_random --from-maps --out runs/toy_maps

The new run has fewer parameters and gives the outputs of the old one with these heads masked; that
is checked on real utterances. analyze.py opens it, and `python train.py runs/toy_g24 --loop.steps
3000` trains it on.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

from sat_jax import cloud
from sat_jax.address import origin_of, place_of, shown
from sat_jax.command_line import as_called, guarded, parse
from sat_jax.config import Config, Export, MaskedReconstruction, Mesh, Model, Tera
from sat_jax.config.check import check
from sat_jax.config.json import read_run
from sat_jax.config.require import require_local
from sat_jax.errors import InputError
from sat_jax.launch import relaunch

SIZE = 8
"""Utterances in a batch that is timed, or the next multiple of the devices."""


def parse_arguments() -> tuple[Path, Export]:
    """The run and what to do with it, as the command line says; checked as far as that goes."""
    import tyro

    @dataclasses.dataclass(frozen=True)
    class Arguments:
        run: tyro.conf.Positional[Path]
        """Run directory, or its address (gs://, s3://), that train.py made, or this script."""
        export: Annotated[Export, tyro.conf.arg(name="")]

    arguments = parse(lambda: tyro.cli(Arguments, description=as_called(__doc__)))
    options = arguments.export
    require_local(options.order, "order")
    if options.heads < 0:
        raise InputError(f"heads is {options.heads}: give the number of heads to prune")
    if options.span is not None and options.span < 0:
        raise InputError(f"span is {options.span}: give positions from 0, or leave --span away")
    if options.from_maps and not options.attention:
        options = dataclasses.replace(options, attention="syn_random")
    if options.heads == 0 and options.span is None and not options.attention:
        raise InputError("nothing to prune: give --heads, --span or both; or --attention")
    if options.map_utterances < 0:
        raise InputError(f"map-utterances is {options.map_utterances}: give a number, 0 for all")
    if options.softmax == "band" and options.span is None:
        raise InputError("softmax band needs a span: give --span, or leave --softmax away")
    if options.utterances < 0:
        raise InputError(f"utterances is {options.utterances}: give a number, 0 for all")
    if place_of(options.out).exists():
        raise InputError(f"{place_of(options.out)} exists: give another --out, or remove it")
    cloud.require_new(options.out, "out")
    return arguments.run, options


def main() -> None:
    """Export, from the first part to the last."""
    run, options = parse_arguments()
    run = cloud.fetched(run, "analyse", step=options.step)
    config = read_run(run)
    check(config)

    import jax

    from sat_jax.study import attention_export

    if options.attention:
        attention_export.check(config, options)

    from sat_jax import mesh
    from sat_jax.audio import dataset
    from sat_jax.audio.prepared import open_split, spread
    from sat_jax.model.build import build_model, spec_of
    from sat_jax.model.cost import forward_flops, parameter_count
    from sat_jax.model.prune import prune_params
    from sat_jax.study import export as exporting
    from sat_jax.trace.load import load_model

    # --- Load: the trained and the untrained checkpoint, the corpus -----------------------------
    size = -(-SIZE // jax.device_count()) * jax.device_count()
    devices = mesh.build_mesh(Mesh(), size)
    module, spec = build_model(config), spec_of(config)
    found, _, trained = load_model(run / "ckpt", options.step, module, devices)
    _, _, untrained = load_model(run / "ckpt", 0, module, devices)
    if not found:
        raise InputError(f"{run}: step 0 is the untrained model; train it, or give another --step")
    dataset.prepare(config.corpus, print)
    prepared = dataset.directory_of(config.corpus)

    # --- Prune: the heads that go first, then the spans of those that stay; or replace all maps ---
    edit = None
    if options.attention:
        attention = attention_export.with_attention(config, spec, options)
        small = exported(config, attention.model, options.out, found)
        check(small)
        heard = spread(open_split(prepared, "train"), options.map_utterances)
        side = attention.model.attention.positions
        logits = [
            attention_export.mean_logits(config, each, heard, side, size, devices)
            if options.from_maps
            else None
            for each in (trained, untrained)
        ]
        kept, start = (
            attention_export.replaced(each, config, small, own)
            for each, own in zip((trained, untrained), logits, strict=True)
        )
        edit = attention_export.edit_of(kept, small)
        origin = f"mean maps of {len(heard)} utterances" if options.from_maps else "its own start"
        print(f"{run}, step {found}: {options.attention} from {origin}, {side} positions")
    else:
        pruned = exporting.heads_to_prune(run, spec, options)
        model = exporting.pruned_model(config.model, pruned, options)
        small = exported(config, model, options.out, found)
        check(small)
        kept, start = (prune_params(each, config.model, model) for each in (trained, untrained))
        print(f"{run}, step {found}: {exporting.description(config.model, small.model)}")

    # --- Compare: outputs, and reconstruction of the validation split ---------------------------
    split = exporting.utterances_of(prepared, options.utterances)
    compared = exporting.compare(config, small, trained, kept, split, size, devices, edit)
    exporting.require_equal(compared)
    print(
        f"largest |difference| to the masked model: {compared.difference:.1e} of outputs up to "
        f"{compared.scale:.1f}, float32, {compared.utterances} utterances of the validation split"
    )
    if small.model.spans and small.model.span_softmax == "band":
        print(
            f"largest |difference| to the model whose softmax runs over all keys: "
            f"{compared.paper:.2g}: train it on"
        )
    if spec.target_width:
        print(
            "L1 of the reconstruction, nothing masked: "
            f"{compared.before:.4f} -> {compared.after:.4f}"
        )

    # --- Cost: counted, and measured in turns ---------------------------------------------------
    positions = config.batches.max_frames // spec.grid.frames
    seconds = positions * spec.grid.seconds
    models = {"before": (module, trained), "after": (build_model(small), kept)}
    parameters = {name: parameter_count(params) for name, (_, params) in models.items()}
    flops = {name: forward_flops(each, positions) / seconds for name, (each, _) in models.items()}
    times = exporting.seconds_per_batch(models, positions, size, devices)
    print(f"parameters: {parameters['before']:,} -> {parameters['after']:,}")
    print(
        f"FLOPs per second of audio, {positions} positions long: {flops['before'] / 1e6:.1f} M -> "
        f"{flops['after'] / 1e6:.1f} M, {flops['before'] / flops['after']:.2f} times fewer"
    )
    print(
        f"forward pass of {size} x {positions} positions: {times['before'] * 1e3:.2f} ms -> "
        f"{times['after'] * 1e3:.2f} ms, {times['before'] / times['after']:.2f} times as fast"
    )

    # --- Write: a run directory as train.py makes them ------------------------------------------
    losses: list[dict[str, float]] = [{}, {}]
    if isinstance(config.objective, MaskedReconstruction | Tera):
        losses = exporting.masked_losses(small, (start, kept), prepared, devices)
    records = {
        0: losses[0],
        found: losses[1]
        | compared._asdict()
        | {f"parameters_{name}": value for name, value in parameters.items()}
        | {f"flops_{name}": value for name, value in flops.items()}
        | {f"seconds_{name}": value for name, value in times.items()},
    }
    data = {
        "directory": str(prepared),
        "fingerprint": open_split(prepared, "train").fingerprint,
        "exported_from": f"{origin_of(run) or run}, step {found}",
    }
    exporting.write_run(small, {0: start, found: kept}, records, data, devices)
    cloud.send_run(small.directory)
    out = shown(options.out)
    optim = config.optim
    print(f"wrote {out}, with step {found} and, pruned the same way, the untrained step 0")
    print(as_called(f"next: python analyze.py {out}"))
    print(
        f"or: python train.py {out} --loop.steps N, with N over {found}: a fresh "
        f"optimiser, and the learning rate anew over N - {found} steps "
        f"(--optim.peak-lr {optim.peak_lr:g})"
    )


def exported(config: Config, model: Model, out: Path, step: int) -> Config:
    """The config of the new run: it begins where the old one was, on one device or on copies."""
    return dataclasses.replace(
        config,
        name=out.name,
        run_dir=out,
        model=model,
        mesh=dataclasses.replace(config.mesh, model=1),
        loop=dataclasses.replace(config.loop, steps=step, first=step),
    )


def run() -> None:
    """The command, in the environment that it needs."""
    relaunch()
    guarded(main)


if __name__ == "__main__":
    run()
