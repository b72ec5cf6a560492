"""The programs that are compared with: PyTorch's and librosa's. One CPU device, full precision."""

import os
import sys
from pathlib import Path

import pytest

os.environ["JAX_PLATFORMS"] = "cpu"
sys.path[:0] = [str(Path(__file__).parent.parent / "tests")]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests share what they have opened, so one worker has them; benchmarks share none."""
    for item in items:
        if item.path.stem != "test_benchmarks":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
