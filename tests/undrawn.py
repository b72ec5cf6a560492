"""analyze.py whose figures are empty: for tests of numbers, as drawing takes longer than those.

python tests/undrawn.py runs/toy --only heads
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from sat_jax.commands import analyze
from sat_jax.figures import style


def save(figure, directory, stem, pdf=True):
    """What `style.save` does, with one pixel."""
    directory.mkdir(parents=True, exist_ok=True)
    figure.clear()
    figure.savefig(directory / f"{stem}.png", dpi=1)


# The process that draws imports this file too.
style.save = save

if __name__ == "__main__":
    analyze.run()
