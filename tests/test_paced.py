"""More programs than a CPU holds at once: loops that reduce over devices come to their end."""

import subprocess
import sys

from two_processes import ROOT, on_devices

K_MEANS = """
import numpy as np
from sat_jax import mesh
from sat_jax.config import Mesh
from sat_jax.pretrain import kmeans
devices = mesh.build_mesh(Mesh(), 2)
rows = np.random.default_rng(0).normal(size=(2, 20000, 32)).astype(np.float32)
counts = np.ones(rows.shape[:2], bool)
placed = mesh.place_batch((rows, counts), devices)
print(kmeans.k_means(lambda: [placed] * 100, rows[0, :50], 8, 1, 0).sizes.sum())
"""


def test_k_means_of_a_hundred_parts_ends():
    # In a process of its own: XLA ends the process that waits for ever, after 40 s.
    result = subprocess.run(
        [sys.executable, "-c", K_MEANS],
        cwd=ROOT,
        env=on_devices(2),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[:400]
    assert float(result.stdout) == 100 * 2 * 20000
