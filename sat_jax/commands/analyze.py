"""See and measure the heads of runs: load, trace, analyse, draw, report.

python analyze.py runs/toy
python analyze.py runs/toy --only segments
python analyze.py runs/toy --split all --corpus.kind folder --corpus.path recordings
python analyze.py runs/m3 runs/m6 runs/m9
python analyze.py runs/hubert runs/wavlm --only similarity

Writes tables into analysis/, figures with their CSV into figures/, maps into trace/, and
report.html and explorer.html into the run. Several runs are also drawn side by side; with --only
similarity their layers and heads are compared with each other.
"""

import dataclasses
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from sat_jax import cloud, peers
from sat_jax.address import place_of
from sat_jax.command_line import as_called, guarded, parse
from sat_jax.config import Analysis
from sat_jax.config.check import check_explorer, check_similarity
from sat_jax.config.require import require_local
from sat_jax.errors import InputError
from sat_jax.launch import relaunch

# In the order of the report.
STUDIES = {
    "heads": "sat_jax.study.heads",
    "phones": "sat_jax.study.phones",
    "segments": "sat_jax.study.segments.study",
    "ablate": "sat_jax.study.ablate.study",
    "probes": "sat_jax.study.probes",
    "patterns": "sat_jax.study.patterns",
    "similarity": "sat_jax.study.similarity.study",
    "layers": "sat_jax.study.layer_content",
    "explorer": "sat_jax.study.explorer.study",
}
SIMILARITY_DRAWS = 20
NOT_BY_DEFAULT = ("probes", "layers")
"""Made only when they are asked for."""


def parse_arguments() -> tuple[tuple[Path, ...], Analysis]:
    """The runs and what to do with them, as the command line says."""
    import tyro

    @dataclasses.dataclass(frozen=True)
    class Arguments:
        runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
        """Run directories that train.py made, or addresses of them (gs://, s3://)."""
        analysis: Annotated[Analysis, tyro.conf.arg(name="")] = dataclasses.field(
            default_factory=Analysis
        )

    arguments = parse(lambda: tyro.cli(Arguments, description=as_called(__doc__)))
    if not arguments.runs:
        raise InputError(as_called("no run given: python analyze.py runs/toy"))
    names = [run.resolve().name for run in arguments.runs]
    if len(set(names)) < len(names):
        raise InputError(f"two runs are called alike ({', '.join(names)}): rename one")
    joint = arguments.analysis.only == ("similarity",)
    if len(arguments.runs) > 1 and arguments.analysis.out is not None and not joint:
        raise InputError(
            "out: several runs cannot write their results into one place; leave --out away"
        )
    require_local(arguments.analysis.ablate.order, "ablate.order")
    check_similarity(arguments.analysis.similarity)
    check_explorer(arguments.analysis.explorer)
    return arguments.runs, with_preset(arguments.analysis)


def with_preset(analysis: Analysis) -> Analysis:
    """The same with what the ablate and the similarity study do by default: less beside others."""
    preset = analysis.ablate.preset or ("default" if "ablate" in analysis.only else "coarse")
    ablate = dataclasses.replace(analysis.ablate, preset=preset)
    draws = analysis.similarity.draws
    if draws is None:
        draws = SIMILARITY_DRAWS if analysis.only == ("similarity",) else 0
    similarity = dataclasses.replace(analysis.similarity, draws=draws)
    return dataclasses.replace(analysis, ablate=ablate, similarity=similarity)


def main() -> None:
    """Analyse every run that was asked for; draw several side by side."""
    runs, analysis = parse_arguments()
    peers.watch(analysis.distributed)

    from sat_jax import exchange, mesh

    mesh.join_cluster(analysis.distributed)
    # Only process 0 reads runs, and their results; what others need of them travels.
    runs = tuple(fetched_by_leader(run, "analyse", analysis.step) for run in runs)
    if analysis.out is not None:
        out = fetched_by_leader(analysis.out, "results")
        analysis = dataclasses.replace(analysis, out=out)
    with exchange.leaving_together():
        if len(runs) > 1 and analysis.only == ("similarity",):
            from sat_jax.study.similarity import study

            send_results(study.compare(runs, analysis))
            return
        places = [analyse(run, analysis) for run in runs]
        if len(runs) > 1:
            side_by_side(runs, places, analysis)


def fetched_by_leader(path: Path, purpose: cloud.Purpose, step: int | None = None) -> Path:
    """Where a run, or a directory for results, is on process 0 and would be on this one."""
    from sat_jax import exchange

    exchange.from_leader(lambda: str(cloud.fetched(path, purpose, step=step)))
    return place_of(path)


def send_results(place: Path) -> str:
    """Upload what changed in a local copy of process 0; its address, or nothing."""
    import jax

    return cloud.send_results(place) if jax.process_index() == 0 else ""


def side_by_side(runs: Sequence[Path], places: Sequence[Path], analysis: Analysis) -> None:
    """What shows several analysed runs at once; with `--only`, what that asks for."""
    from sat_jax.study import compared, probed_runs
    from sat_jax.study.explorer import study as explorer

    if "explorer" in chosen(analysis.only):
        explorer.compare(runs, analysis, compared.place_of(runs))
        send_results(compared.place_of(runs))
    if "probes" in analysis.only:
        send_results(probed_runs.compare(runs, places))
    elif not analysis.only or "segments" in analysis.only:
        send_results(compared.study(runs, places))


def analyse(run: Path, analysis: Analysis) -> Path:
    """One run, from its checkpoints to its report; returns the directory of its results."""
    from sat_jax import exchange
    from sat_jax.study.drawing import Drawing
    from sat_jax.study.findings import findings_of
    from sat_jax.study.heads import trained_sentence
    from sat_jax.study.loaded_run import open_run
    from sat_jax.study.page import manifest_of, write_page
    from sat_jax.study.sections import keep_sections

    # --- Load: the config, the trained and the untrained checkpoint, the corpus -----------------
    loaded = open_run(run, analysis)

    # --- Trace, analyse, draw: one study after the other ----------------------------------------
    with Drawing() as drawing:
        loaded = loaded._replace(save_figure=drawing.save)
        for name in exchange.from_leader(lambda: wanted(loaded.out, analysis.only)):
            sections = importlib.import_module(STUDIES[name]).study(loaded)
            if loaded.is_leader:
                drawing.finish_study(keep_sections, loaded.out, name, sections)

    # --- Report: these studies, and those that earlier calls have left there --------------------
    if loaded.is_leader:
        title = f"Heads of {loaded.config.name}"
        found = findings_of(loaded.out, trained_sentence(loaded))
        page = write_page(loaded.out, title, tuple(STUDIES), manifest_of(run), found)
        address = send_results(loaded.out)
        loaded.say(f"report: {page}" + f", and {address}/{page.name}" * bool(address))
    return loaded.out


def wanted(out: Path, only: tuple[str, ...]) -> list[str]:
    """The studies to make, in order; that of heads first where it was never made: others use it."""
    missing = not (out / "analysis" / "heads.npz").exists()
    return [name for name in STUDIES if name in chosen(only) or (name == "heads" and missing)]


def chosen(only: tuple[str, ...]) -> tuple[str, ...]:
    """The studies that were asked for."""
    return only or tuple(name for name in STUDIES if name not in NOT_BY_DEFAULT)


def run() -> None:
    """The command, in the environment that it needs."""
    relaunch()
    guarded(main)


if __name__ == "__main__":
    run()
