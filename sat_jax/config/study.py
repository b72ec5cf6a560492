"""Settings of the comparison of attention algorithms."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AttentionStudy:
    """Which algorithms are compared, how long they train, where the runs go."""

    experiment: str = "toy_plain"
    """What every run is but for its attention; one of the experiments of train.py."""
    out: Path = Path("runs/attention")
    """Where the runs go, and the comparison."""
    algorithms: tuple[str, ...] = ()
    """Algorithms to compare; all by default."""
    seeds: int = 2
    """Runs of each algorithm, from seeds 0, 1, ..."""
    steps: int = 0
    """Training steps of every run; 0: those of the experiment."""
    workers: int = 1
    """Jobs at a time; on a machine with GPUs one on each, in turns."""
    share: str = "1/1"
    """This machine's share of the jobs: 1/2 on the first of two machines that share a disk."""
