"""Compare attention algorithms: train each from the same seeds, probe all, draw them side by side.

python attention.py
python attention.py --steps 600 --seeds 3 --algorithms qk syn_handcrafted
python attention.py --workers 4 --share 1/2      (four jobs at once, on the first of two machines)

One job per algorithm and seed: train.py with the same data, order and steps, then analyze.py --only
heads patterns probes. What is finished is kept: the same command goes on. At its end it writes
report.html, probes.csv, algorithms.csv and masked_l1.csv of all jobs that are done.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from sat_jax.command_line import as_called, guarded, parse
from sat_jax.config.attention import FREE
from sat_jax.config.require import require_local
from sat_jax.config.study import AttentionStudy
from sat_jax.errors import InputError
from sat_jax.experiments import experiments
from sat_jax.launch import relaunch

STUDIES = ("heads", "patterns", "probes")


class Job(NamedTuple):
    """One algorithm and seed."""

    algorithm: str
    seed: int
    directory: Path

    @property
    def is_done(self) -> bool:
        """Whether everything that it makes is there."""
        names = ("probes.csv", "patterns.csv")
        return all((self.directory / "analysis" / name).exists() for name in names)


def main() -> None:
    """Run what is left to do of this machine's share, then compare what there is."""
    study = parse_arguments()
    jobs = jobs_of(study)
    first, of = share_of(study.share)
    mine = [job for job in jobs[first - 1 :: of] if not job.is_done]
    print(f"attention: {len(jobs)} jobs, {len(mine)} to do here", flush=True)
    (study.out / "logs").mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(study.workers) as pool:
        ended = list(pool.map(lambda job: run_job(job, study, mine), mine))
    failed = [job for job, is_well in zip(mine, ended, strict=True) if not is_well]
    done = [job for job in jobs if job.is_done]
    if done:
        compare(done, study.out)
    if failed:
        names = ", ".join(job.directory.name for job in failed)
        raise InputError(f"{len(failed)} jobs failed ({names}): see {study.out / 'logs'}; the same "
                         "command tries them again")  # fmt: skip
    if len(done) < len(jobs):
        print(f"attention: {len(jobs) - len(done)} jobs are left to other machines")


def parse_arguments() -> AttentionStudy:
    """What to compare, as the command line says, checked."""
    import tyro

    study = parse(lambda: tyro.cli(AttentionStudy, description=as_called(__doc__)))
    known = experiments()
    if study.experiment not in known:
        raise InputError(f"experiment is {study.experiment!r}: give one of {', '.join(known)}")
    unknown = [name for name in study.algorithms if name not in FREE]
    if unknown:
        raise InputError(f"algorithms has {unknown[0]!r}: give some of {', '.join(FREE)}")
    for name in ("seeds", "workers"):
        if getattr(study, name) < 1:
            raise InputError(f"{name} is {getattr(study, name)}: give at least 1")
    if study.steps < 0:
        raise InputError(f"steps is {study.steps}: give a number, 0 for the experiment's")
    share_of(study.share)
    require_local(study.out, "out", "give a path, and copy what is finished")
    return study


def share_of(text: str) -> tuple[int, int]:
    """Which of how many shares: "1/2" is the first of two; raises `InputError` for no share."""
    parts = text.split("/")
    if len(parts) == 2 and all(part.isdigit() for part in parts):
        first, of = map(int, parts)
        if 1 <= first <= of:
            return first, of
    raise InputError(f"share is {text!r}: give for instance 1/2 and 2/2 on two machines")


def jobs_of(study: AttentionStudy) -> list[Job]:
    """Seed by seed, so that a study that is stopped has compared all algorithms."""
    return [
        Job(name, seed, study.out / f"{name}_s{seed}")
        for seed in range(study.seeds)
        for name in study.algorithms or FREE
    ]


def run_job(job: Job, study: AttentionStudy, jobs: Sequence[Job]) -> bool:
    """Train and analyse; says how long it took, and gives whether it came to its end."""
    began = time.monotonic()
    where = ("--run-dir", str(job.directory), "--seed", str(job.seed))
    steps = ("--loop.steps", str(study.steps)) if study.steps else ()
    train = ("train", study.experiment, *where, "--model.attention", job.algorithm, *steps)
    analyze = ("analyze", str(job.directory), "--only", *STUDIES, "--no-pdf")
    environment = dict(os.environ)
    if study.workers > 1 and "CUDA_VISIBLE_DEVICES" not in environment:
        environment["CUDA_VISIBLE_DEVICES"] = str(jobs.index(job) % study.workers)
    log = study.out / "logs" / f"{job.directory.name}.log"
    with log.open("a") as file:
        for name, *rest in (train, analyze):
            command = [sys.executable, "-m", f"sat_jax.commands.{name}", *rest]
            ended = subprocess.run(command, stdout=file, stderr=file, env=environment, check=False)
            if ended.returncode:
                print(f"{job.directory.name}: {name} failed, see {log}", flush=True)
                return False
    minutes = (time.monotonic() - began) / 60
    print(f"{job.directory.name}: trained and analysed in {minutes:.1f} min", flush=True)
    return True


def compare(done: Sequence[Job], out: Path) -> None:
    """Figure, tables and report of all finished jobs."""
    from sat_jax.study import probed_runs

    probed_runs.compare_algorithms(
        [(job.algorithm, job.directory) for job in sorted(done, key=place)], out
    )


def place(job: Job) -> tuple[int, int]:
    """Algorithms in the order of their table, seeds within."""
    return FREE.index(job.algorithm), job.seed


def run() -> None:
    """The command, in the environment that it needs."""
    relaunch()
    guarded(main)


if __name__ == "__main__":
    run()
