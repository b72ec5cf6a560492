"""Compile a run's training step for devices that are not here, and say what it will do there.

python plan.py mockingjay_large --topology v5e:16x16 --mesh.fsdp 4 --batches.size 512
python plan.py runs/toy --topology cpu:8
python plan.py mockingjay_base --topology h100:64 --batches.size 384 --price 2.5

Takes all options of train.py. TPUs are compiled for with libtpu (requirements-tpu.txt), without any
TPU; for other chips, and without libtpu, XLA's CPU compiler stands in, and it is said what that
leaves out. Nothing is trained and nothing is written but --json FILE.
"""

import dataclasses
import json
import os
from typing import Any

from sat_jax.command_line import as_called, experiment_or_run, guarded
from sat_jax.config import Config
from sat_jax.config.check import check
from sat_jax.config.plan import Plan
from sat_jax.config.require import require_at_least, require_local
from sat_jax.experiments import experiments
from sat_jax.run_directory import write_whole


def planned_config(config: Config) -> Plan:
    """The same experiment, with the fields of a plan."""
    return Plan(**{field.name: getattr(config, field.name) for field in dataclasses.fields(config)})


def parse_config() -> Plan:
    """The experiment, or the run, that the command line asks for, checked."""
    config = experiment_or_run(experiments(), as_called(__doc__), planned_config)
    check(config)
    require_at_least(config.price, 0, "price")
    require_local(config.json, "json")
    return config


def main() -> None:
    """Settle what has to be settled before jax is imported, compile, and say what came out."""
    from sat_jax.plan.topology import environment, topology_named

    config = parse_config()
    topology = topology_named(config.topology)
    os.environ.update(environment(topology, os.environ))

    from sat_jax.plan.planned import plan
    from sat_jax.plan.report import as_json, report

    def say(message: Any) -> None:
        print(message, flush=True)

    found = plan(config, topology, say)
    say(report(found))
    if config.json is not None:
        write_whole(config.json, json.dumps(as_json(found), indent=2) + "\n")


def run() -> None:
    """The command."""
    guarded(main)


if __name__ == "__main__":
    run()
