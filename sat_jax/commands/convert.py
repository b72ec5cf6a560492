"""Other people's checkpoints to runs: open, check, write; or back to a folder of transformers.

python convert.py facebook/hubert-base-ls960 --out runs/hubert_base
python convert.py downloads/wavlm-base --out runs/wavlm_base
python convert.py --random hubert_base --out runs/hubert_random
python convert.py downloads/wavlm-base --check
python convert.py runs/hubert_base --back hubert_for_transformers

What is opened: folders of transformers (wav2vec 2.0, HuBERT, WavLM, data2vec-audio; with a head for
CTC or without), their names on the hub, and files of fairseq, unilm and s3prl. The new run has the
converted model and, as its untrained control, the same one with random parameters; analyze.py,
export.py and train.py take it.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from sat_jax import cloud
from sat_jax.address import address_of, place_of, shown
from sat_jax.command_line import as_called, guarded, parse
from sat_jax.config import Config, NoObjective
from sat_jax.config.check import check
from sat_jax.config.convert import Convert
from sat_jax.config.require import require_local
from sat_jax.errors import InputError
from sat_jax.experiments import experiments
from sat_jax.launch import relaunch


def parse_arguments() -> tuple[str, Convert]:
    """The source and what to do with it, as the command line says; checked as far as that goes."""
    import tyro

    @dataclasses.dataclass(frozen=True)
    class Arguments:
        source: Annotated[str, tyro.conf.Positional] = ""
        """A folder, a file of weights, a name on the hub, or a run."""
        convert: Annotated[Convert, tyro.conf.arg(name="")] = dataclasses.field(
            default_factory=Convert
        )

    arguments = parse(lambda: tyro.cli(Arguments, description=as_called(__doc__)))
    source, options = arguments.source, arguments.convert
    if bool(source) == bool(options.random):
        raise InputError("give a source (a folder, a file, a name on the hub), or --random NAME")
    tasks = [options.out is not None, options.check, options.back is not None]
    if sum(tasks) != 1:
        raise InputError("give one of --out RUN, --check and --back FOLDER")
    require_local(options.back, "back")
    if options.out is not None:
        if (place_of(options.out) / "config.json").exists():
            raise InputError(f"out is {options.out}, which holds a run: give a new directory")
        cloud.require_new(options.out, "out")
    if address_of(source):
        source = str(cloud.fetched(Path(source), "analyse"))
    return source, options


def main() -> None:
    """Convert, from the first part to the last."""
    source, options = parse_arguments()

    from sat_jax.study import conversion
    from sat_jax.study.loaded_model import is_run

    if options.back is not None:
        number = conversion.write_back(Path(source), options.back)
        print(f"wrote {options.back}: {number} tensors, config.json, preprocessor_config.json")
        return
    if options.check and is_run(Path(source)):
        difference = conversion.check_run(Path(source))
        print(f"largest |difference| to the output at its conversion: {difference:.1e}")
        return

    # --- Open: the model of a checkpoint, or random parameters ----------------------------------
    config, params, said = opened(source, options)
    check(config)
    for line in said:
        print(line)
    if options.check:
        from sat_jax.study import parity

        parity.compare(Path(source), config, params)
        return

    # --- Write: a run, opened again and compared ------------------------------------------------
    from sat_jax.model.cost import parameter_count

    config, params = conversion.with_letters(config, params, options.letters, options.seed)
    config = conversion.as_run(config, options.out)
    check(config)
    data = {"converted_from": source or f"random parameters, seed {options.seed}"}
    devices = conversion.all_devices()
    difference = conversion.write_converted(config, params, options.seed + 1, data, devices)
    cloud.send_run(config.directory)
    out, model = shown(options.out), config.model
    print(
        f"wrote {out}: {model.kind}, {model.layers} layers of {model.heads} heads, width "
        f"{model.width}, {parameter_count(params):,} parameters; opened again, its output differs "
        f"by {difference:.1e}"
    )
    print(as_called(f"next: python analyze.py {out} --corpus.kind KIND --corpus.path PATH"))


def opened(source: str, options: Convert) -> tuple[Config, Any, list[str]]:
    """Config and parameters of the source, or of an experiment with random parameters."""
    import jax

    from sat_jax.model.build import build_model, init_params
    from sat_jax.model.convert.foreign import open_foreign

    if not options.random:
        return open_foreign(source)
    known = experiments()
    if options.random not in known:
        raise InputError(f"random is {options.random!r}: give one of {', '.join(known)}")
    _, config = known[options.random]
    config = dataclasses.replace(config, objective=NoObjective(trained_for="nothing yet"))
    return config, init_params(jax.random.key(options.seed), build_model(config)), []


def run() -> None:
    """The command, in the environment that it needs."""
    relaunch()
    guarded(main)


if __name__ == "__main__":
    run()
