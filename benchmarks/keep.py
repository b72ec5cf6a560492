"""Run a benchmark, show what it prints, and keep that in benchmarks/results: when, where, what.

python benchmarks/keep.py whole_program
python benchmarks/keep.py sweep --only "small, 1 core"

Nothing is kept of a benchmark that fails.
"""

import datetime
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PACKAGES = ("jax", "flax", "torch", "s3prl", "transformers", "numpy")


def main() -> None:
    """The benchmark of the first argument, with the others."""
    names = sorted({path.stem for path in HERE.glob("*.py")} - {Path(__file__).stem})
    if len(sys.argv) < 2 or sys.argv[1] not in names:
        sys.exit(f"error: give the name of a benchmark first: one of {', '.join(names)}")
    name, *options = sys.argv[1:]
    said, status = show([sys.executable, str(HERE / f"{name}.py"), *options])
    if status:
        sys.exit(f"error: benchmarks/{name}.py ended with status {status}: nothing is kept of it")
    command = shlex.join(["python", f"benchmarks/{name}.py", *options])
    kept = add(RESULTS / f"{name}.txt", f"{conditions()}\n$ {command}\n{said.strip()}\n")
    print(f"kept in {os.path.relpath(kept)}")


def show(command: list[str]) -> tuple[str, int]:
    """What a command prints, shown as it comes, and its status."""
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return "".join(lines), process.returncode


def add(path: Path, text: str) -> Path:
    """Add to a file of results, the newest last."""
    path.parent.mkdir(exist_ok=True)
    before = path.read_text() + "\n" if path.exists() else ""
    path.write_text(before + text)
    return path


def conditions() -> str:
    """When, on which commit and machine, and with which packages, in one line."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    there = {dist.name.lower() for dist in importlib.metadata.distributions()}
    versions = [f"{p} {importlib.metadata.version(p)}" for p in PACKAGES if p in there]
    return (
        f"# {now}, {commit()}; {processor()}, {cores} cores, {platform.system()}; "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )


def commit() -> str:
    """The commit of this checkout, and whether files were changed since; empty without git."""
    try:
        asked = [["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "-uno"]]
        found, changed = (
            subprocess.run(
                ["git", *each], cwd=HERE, capture_output=True, text=True, check=True
            ).stdout.strip()
            for each in asked
        )
    except (OSError, subprocess.CalledProcessError):
        return "not from a checkout"
    # What this program itself has written is no change.
    ours = f"{HERE.name}/{RESULTS.name}/"
    others = [line for line in changed.splitlines() if ours not in line]
    return f"commit {found}" + (" with changes" if others else "")


def processor() -> str:
    """The processor; names alone may not tell generations apart."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor() or platform.machine()
    lines = [line.partition(":") for line in cpuinfo.read_text().splitlines()]
    facts = {name.strip(): value.strip() for name, _, value in lines}
    told = [f"{name} {facts[name]}" for name in ("cpu family", "model") if name in facts]
    return " ".join([facts.get("model name", platform.machine()), *told])


if __name__ == "__main__":
    main()
