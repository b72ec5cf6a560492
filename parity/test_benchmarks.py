"""Every benchmark runs: each in small, in a process of its own, both sides; speeds say nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ONE = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_force_host_platform_device_count=1",
    "SAT_JAX_BENCH_SETTLED": "1",
    "TORCHDYNAMO_DISABLE": "1",
}
FEW_RECORDINGS = """
import functools
from sat_jax.config import Talker
Corpus = functools.partial(Corpus, talker=Talker(speakers=8, utterances=12))
"""
SMALL = {
    "train_step": """
SETTINGS["small"] = Setting(1, 32, 2, 2, 64, 2, 20, 1.0, 2)
measure("small")
""",
    "sweep": """
SETTINGS["small"] = Setting(1, (32, 2, 2, 64), "leave one out", 2.6, 1)
measure("small")
""",
    "head_metrics": "HEADS, UTTERANCES, BUCKETS, REPEATS = 4, 4, 2, 1\nmain()",
    "phones": """
HEADS, UTTERANCES, POSITIONS, REPEATS, SEGMENTED, LONGEST, DRAWS = 4, 2, 30, 1, 1, 30, 5
main()
""",
    "probes": """
SETTINGS, TRAINED, CHECKED, REPEATS, CASES = 3, 64, 32, 1, (Case(16, 16, 5, 1.0),)
main()
""",
    "attention": """
sys.argv[1:] = "--only syn_handcrafted --lengths 24 --width 32 --heads 2 --ffn 64".split()
sys.argv += "--layers 1 --repeats 1 --out".split() + [str(PLACE)]
main()
""",
    "similarity": "sys.argv[1:] = '--width 16 --layers 1 --frames 2000'.split()\nmain()",
    "foreign": "sys.argv[1:] = '--seconds 0.5 --repeats 1 --only forward'.split()\nmain()",
    "data": FEW_RECORDINGS + "REPETITIONS = 1\nmain()",
    "whole_program": FEW_RECORDINGS
    + """
SETTINGS.clear()
SETTINGS["small"] = Setting(1, 32, 2, 4, 100, 6, 1)
WINDOW, SETTLING, whole = 2, 2, timed
few = "--corpus.talker.speakers 8 --corpus.talker.utterances 12".split()
timed = lambda command, *more: whole(command + few * ("train.py" in command), *more)
main()
""",
    "accelerator": """
for chosen in ("mockingjay_large", "wav2vec2_base", "sweep"):
    sys.argv[1:] = ["--small", "--turns", "1", "--only", chosen]
    main()
""",
}
SAID = {
    "train_step": "| small ",
    "sweep": "| small |",
    "head_metrics": "ratio ",
    "phones": "settings",
    "probes": "| D 16",
    "attention": "syn_handcrafted",
    "similarity": "largest |difference|",
    "foreign": "| transformers, sdpa |",
    "data": "over librosa",
    "whole_program": "| small |",
    "accelerator": "| leave one out |",
}
"""What stands in the last lines of each."""
IN_A_BROWSER = {"explorer"}
PEERS = {"s3prl_loop", "s3prl_peer", "s3prl_sweep", "torch_peers"}


def test_every_benchmark_is_here():
    found = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert found == set(SMALL) | IN_A_BROWSER | PEERS | {"keep"}


def test_what_a_benchmark_prints_is_kept_when_it_ends_well(tmp_path):
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    keep = shutil.copy(ROOT / "benchmarks" / "keep.py", folder)
    speed = "import sys\nprint('ratio', *sys.argv[1:])\nsys.exit('slow' in sys.argv)\n"
    (folder / "speed.py").write_text(speed)

    def call(*arguments):
        command = [sys.executable, str(keep), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert call("speed", "a b").stdout == "ratio a b\nkept in benchmarks/results/speed.txt\n"
    failed = call("speed", "slow")
    assert failed.returncode == 1
    assert "ended with status 1: nothing is kept of it" in failed.stderr
    assert call("speed").returncode == 0
    assert call("other").stderr == "error: give the name of a benchmark first: one of speed\n"
    first, *rest = (folder / "results" / "speed.txt").read_text().split("\n# ")
    assert first.startswith("# 20") and "not from a checkout" in first and " jax " in first
    assert first.endswith("\n$ python benchmarks/speed.py 'a b'\nratio a b\n")
    assert [section.splitlines()[1:] for section in rest] == [
        ["$ python benchmarks/speed.py", "ratio"]
    ]


@pytest.mark.parametrize("name", SMALL)
def test_benchmarks_run(name, tmp_path):
    # As in the file itself: what is assigned here is what its functions read.
    source = (ROOT / "benchmarks" / f"{name}.py").read_text().split('if __name__ == "__main__":')[0]
    place = f"from pathlib import Path\nPLACE = Path({str(tmp_path)!r})\n"
    script = tmp_path / f"{name}.py"
    file = str(ROOT / "benchmarks" / f"{name}.py")
    changes = f'if __name__ == "__main__":\n    exec({place + SMALL[name]!r})\n'
    script.write_text(source.replace("__file__", repr(file)) + changes)
    found = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={
            **os.environ,
            **ONE,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'benchmarks'}",
            "HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert SAID[name] in found.stdout[-3000:], found.stdout + found.stderr
