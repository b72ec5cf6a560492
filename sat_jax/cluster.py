"""Environment in, the cluster that this process is one of out. Imports no jax.

Launchers say in variables of the environment which process this is. What is said on the command
line goes first, then what the launcher says; a process of which nobody says anything is alone.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from sat_jax.config import Distributed
from sat_jax.errors import InputError


class Cluster(NamedTuple):
    """Processes that compute together, and which of them this is."""

    launcher: str
    """Who started them, in words."""
    coordinator: str = ""
    """host:port of process 0; empty where jax finds it."""
    processes: int = 0
    """How many there are; 0 where jax finds it."""
    process: int = 0
    """Which one this is."""
    method: str = ""
    """How jax finds what is missing here."""


def cluster_of(settings: Distributed, environ: Mapping[str, str]) -> Cluster | None:
    """The cluster of this process; None where it is alone.

    Raises `InputError` where a launcher says too little, naming what is missing.
    """
    if settings.coordinator:
        return Cluster(
            "the command line", settings.coordinator, settings.processes, settings.process
        )
    if not settings.detect:
        return None
    for find in LAUNCHERS:
        found = find(environ)
        if found is not None:
            return found
    return None


def slurm(environ: Mapping[str, str]) -> Cluster | None:
    """A step of several tasks that srun started; a batch script itself is no step."""
    names = ("SLURM_JOB_ID", "SLURM_PROCID", "SLURM_STEP_NODELIST")
    tasks = _number(environ, "SLURM_STEP_NUM_TASKS")
    if tasks < 2 or any(name not in environ for name in names):
        return None
    return Cluster("Slurm", "", tasks, _number(environ, "SLURM_PROCID"), "slurm")


def open_mpi(environ: Mapping[str, str]) -> Cluster | None:
    """Several ranks that mpirun started. Newer versions say nothing of where rank 0 is: then
    MASTER_ADDR has to."""
    ranks = _number(environ, "OMPI_COMM_WORLD_SIZE")
    if ranks < 2:
        return None
    rank = _number(environ, "OMPI_COMM_WORLD_RANK")
    if "MASTER_ADDR" in environ:
        return Cluster("Open MPI", _master(environ), ranks, rank)
    if "OMPI_MCA_orte_hnp_uri" in environ:
        return Cluster("Open MPI", "", ranks, rank, "ompi")
    raise InputError(
        "Open MPI started this process and does not say where rank 0 runs: give mpirun -x "
        "MASTER_ADDR=HOST with the host of rank 0, or --distributed.coordinator HOST:PORT"
    )


def plain_variables(environ: Mapping[str, str]) -> Cluster | None:
    """MASTER_ADDR, WORLD_SIZE and RANK, as torchrun sets them, and by hand; on Kubernetes the rank
    may be the index of an indexed job."""
    processes = _number(environ, "WORLD_SIZE")
    if processes < 2:
        return None
    names = [name for name in ("RANK", "JOB_COMPLETION_INDEX") if name in environ]
    if "MASTER_ADDR" not in environ or not names:
        missing = "RANK" if "MASTER_ADDR" in environ else "MASTER_ADDR"
        raise InputError(
            f"WORLD_SIZE is {processes}, and {missing} is not set: set MASTER_ADDR (the host of "
            "process 0), WORLD_SIZE and RANK, or start with --distributed.no-detect"
        )
    where = "Kubernetes" if "KUBERNETES_SERVICE_HOST" in environ else "variables"
    return Cluster(where, _master(environ), processes, _number(environ, names[0]))


def tpu_pod(environ: Mapping[str, str]) -> Cluster | None:
    """A host of a TPU slice of several hosts; the runtime tells jax all the rest."""
    hosts = [host for host in environ.get("TPU_WORKER_HOSTNAMES", "").split(",") if host.strip()]
    if len(hosts) < 2:
        return None
    return Cluster("a TPU pod", "", len(hosts), _number(environ, "TPU_WORKER_ID"))


def kubernetes(environ: Mapping[str, str]) -> Cluster | None:
    """A pod of an indexed job, which jax asks Kubernetes about."""
    if "KUBERNETES_SERVICE_HOST" not in environ or "JOB_COMPLETION_INDEX" not in environ:
        return None
    return Cluster("Kubernetes", "", 0, _number(environ, "JOB_COMPLETION_INDEX"), "k8s")


def described(cluster: Cluster) -> str:
    """One line about it."""
    many = f"process {cluster.process} of {cluster.processes}" if cluster.processes else "processes"
    where = f", coordinator {cluster.coordinator}" if cluster.coordinator else ""
    return f"cluster: {many}, as {cluster.launcher} says{where}"


def _master(environ: Mapping[str, str]) -> str:
    return f"{environ['MASTER_ADDR']}:{environ.get('MASTER_PORT', '29500')}"


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "0")
    if not text.strip().isdigit():
        raise InputError(f"{name} is {text!r} in the environment: set it to a number, or unset it")
    return int(text)


# In this order: a launcher that names itself goes before variables that anybody may set.
LAUNCHERS: tuple[Callable[[Mapping[str, str]], Cluster | None], ...] = (
    slurm,
    open_mpi,
    tpu_pod,
    plain_variables,
    kubernetes,
)
