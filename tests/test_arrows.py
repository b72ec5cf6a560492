"""Imports go one way: audio -> features -> model -> (pretrain | trace) -> analysis -> figures."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GROUND = {
    "address",
    "errors",
    "grid",
    "cluster",
    "command_line",
    "files",
    "launch",
    "mesh",
    "checkpoint",
    "checkpoint_files",
    "checkpoint_steps",
    "peers",
    "exchange",
    "run_directory",
    "stalls",
}
# What each room may import besides itself; the ground floor imports only its own.
ARROWS = {
    "config": {"address", "errors", "grid", "run_directory"},
    "cloud": GROUND | {"config"},
    "audio": {"address", "errors", "grid", "stalls", "config", "cloud"},
    "features": {"errors", "grid", "config", "audio"},
    "model": GROUND | {"config", "features"},
    "pretrain": GROUND | {"config", "audio", "features", "model"},
    "plan": GROUND | {"config", "features", "model", "pretrain"},
    "trace": GROUND | {"config", "model"},
    "records": {"errors", "grid"},
    "analysis": {"errors", "grid", "records"},
    "figures": {"errors", "grid", "files", "records"},
    "explorer": {"errors", "grid", "files", "records"},
    "sweep": GROUND | {"config", "model", "trace", "records"},
    "experiments": {"config", "errors"},
    "commands": GROUND
    | {"config", "audio", "features", "model", "pretrain", "trace", "study", "experiments"}
    | {"plan", "cloud"},
    "study": GROUND
    | {"cloud"}
    | {"config", "audio", "features", "model", "pretrain", "trace", "sweep", "records"}
    | {"analysis", "figures", "explorer"},
}
FORBIDDEN = {
    "config": {"jax", "flax", "optax"},
    "audio": {"jax", "flax", "optax", "tensorflow"},
    "cloud": {"jax", "flax", "optax", "orbax"},
    "records": {"jax", "flax", "matplotlib", "pathlib"},
    "analysis": {"flax", "orbax", "pathlib", "matplotlib"},
    "figures": {"jax", "flax", "matplotlib.pyplot"},
    "features": {"flax", "optax"},
    "explorer": {"jax", "flax", "matplotlib", "pathlib"},
}


def imports_of(path):
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path):
    relative = path.relative_to(ROOT / "sat_jax")
    return relative.parts[0] if len(relative.parts) > 1 else ""


def test_every_room_and_every_ground_floor_file_is_known():
    rooms = {p.name for p in (ROOT / "sat_jax").iterdir() if (p / "__init__.py").exists()}
    assert rooms == set(ARROWS)
    assert {p.stem for p in (ROOT / "sat_jax").glob("*.py")} - {"__init__"} == GROUND


@pytest.mark.parametrize(
    "path", sorted((ROOT / "sat_jax").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_follow_the_arrows(path):
    room = room_of(path)
    allowed = ARROWS[room] | {room} if room else GROUND | {"config", "cloud"}
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "sat_jax" and len(parts) > 1:
            assert parts[1] in allowed, f"{path} imports {name}"
        scripts = ("train", "analyze", "export", "tests")
        assert parts[0] not in scripts, f"{path} imports {name}"
        for forbidden in FORBIDDEN.get(room, ()):
            assert name != forbidden and not name.startswith(forbidden + "."), f"{path}: {name}"


def test_no_file_is_too_long():
    for path in [*ROOT.glob("*.py"), *(ROOT / "sat_jax").rglob("*.py")]:
        limit = 250 if path.parent == ROOT else 400
        assert len(path.read_text().splitlines()) <= limit, f"{path} is over {limit} lines"


def test_the_library_needs_neither_tensorflow_nor_torch_nor_the_talker():
    code = (
        "import sys, pkgutil, importlib, sat_jax\n"
        "class Absent:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.split('.')[0] in ('tensorflow', 'torch', 'espeakng_loader'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "for m in pkgutil.walk_packages(sat_jax.__path__, 'sat_jax.'):\n"
        "    importlib.import_module(m.name)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
