"""What launchers say in the environment, and what is made of it."""

import sys

import pytest
from scripts import python

from sat_jax.cluster import cluster_of, described
from sat_jax.config import Distributed
from sat_jax.errors import InputError

SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NODELIST": "node[01-04]",
}
MPI = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2"}
TORCHRUN = {"MASTER_ADDR": "host0", "MASTER_PORT": "1234", "WORLD_SIZE": "2", "RANK": "1"}
POD = {"TPU_WORKER_HOSTNAMES": "10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4", "TPU_WORKER_ID": "2"}
JOB = {"KUBERNETES_SERVICE_HOST": "10.0.0.9", "JOB_COMPLETION_INDEX": "1"}


def found(environ, **settings):
    return cluster_of(Distributed(**settings), environ)


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        (SLURM, ("Slurm", "", 8, 3, "slurm")),
        ({**MPI, "OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:5"}, ("Open MPI", "", 4, 2, "ompi")),
        ({**MPI, "MASTER_ADDR": "host0"}, ("Open MPI", "host0:29500", 4, 2, "")),
        (TORCHRUN, ("variables", "host0:1234", 2, 1, "")),
        (POD, ("a TPU pod", "", 4, 2, "")),
        (JOB, ("Kubernetes", "", 0, 1, "k8s")),
        (
            {**JOB, "MASTER_ADDR": "job-0", "WORLD_SIZE": "3"},
            ("Kubernetes", "job-0:29500", 3, 1, ""),
        ),
    ],
)
def test_launchers_are_found(environ, wanted):
    assert found({**environ, "HOME": "/"}) == wanted
    assert found(environ, detect=False) is None


def test_the_command_line_goes_first():
    cluster = found(SLURM, coordinator="me:1", processes=2, process=1)
    assert cluster == ("the command line", "me:1", 2, 1, "")
    said = "cluster: process 1 of 2, as the command line says, coordinator me:1"
    assert described(cluster) == said


@pytest.mark.parametrize(
    "environ",
    [
        {},
        # A batch script, before srun: one task of its own.
        {**SLURM, "SLURM_STEP_NUM_TASKS": "1"},
        {k: v for k, v in SLURM.items() if "STEP" not in k},
        {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"},
        {"WORLD_SIZE": "1", "RANK": "0"},
        {"TPU_WORKER_HOSTNAMES": "localhost"},
        {"KUBERNETES_SERVICE_HOST": "10.0.0.9"},
    ],
)
def test_a_process_alone(environ):
    assert found(environ) is None


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (MPI, "give mpirun -x MASTER_ADDR=HOST"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "MASTER_ADDR is not set"),
        ({"WORLD_SIZE": "2", "MASTER_ADDR": "a"}, "RANK is not set"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'"),
    ],
)
def test_what_is_missing_is_named(environ, said):
    with pytest.raises(InputError, match=said):
        found(environ)


def test_another_number_of_devices_ends_with_a_table(tmp_path):
    arguments = ("train.py", "toy", "--run-dir", str(tmp_path / "run"))
    result = python(sys.executable, *arguments, "--distributed.devices", "64")
    assert result.returncode == 2
    assert "distributed.devices is 64, and 1 processes have 2 together" in result.stderr
    assert "process 0: 2 x cpu" in result.stderr
    assert not (tmp_path / "run").exists()
