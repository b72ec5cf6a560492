"""On PYTHONPATH, gs:// is the fake store in every Python that starts."""

import sys
from pathlib import Path

from fsspec import register_implementation

sys.path.append(str(Path(__file__).parent.parent))
register_implementation("gs", "fake_cloud.FakeCloud", clobber=True)
