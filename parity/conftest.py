"""The programs that are compared with: PyTorch's and librosa's. One CPU device, full precision."""

import os
import sys
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
sys.path[:0] = [str(Path(__file__).parent.parent / "tests")]
