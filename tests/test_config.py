"""Configs: every field is read, every impossible value ends in one line, JSON gives them back."""

import ast
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sat_jax import config as config_module
from sat_jax.command_line import one_line
from sat_jax.config import Batches, Config, Mesh, Model, NoObjective
from sat_jax.config.check import check
from sat_jax.config.json import decode, differences, encode, read_config, write_config
from sat_jax.errors import InputError
from sat_jax.experiments import experiments

ROOT = Path(__file__).parent.parent


def changed(field, value):
    """The default config with one nested field changed."""
    return changed_in(Config(), field.split("."), value)


def changed_in(config, path, value):
    if path[1:]:
        value = changed_in(getattr(config, path[0]), path[1:], value)
    return dataclasses.replace(config, **{path[0]: value})


IMPOSSIBLE = [
    ("model.heads", 7, "divide model.width = 768"),
    ("model.layers", 0, "at least 1"),
    ("model.width", 770, "heads"),
    ("model.dropout", 1.0, "0 <= p < 1"),
    ("model.frontend.position_base", 1.0, "over 1"),
    ("model.init_std", -1.0, "positive"),
    ("model.residual_init_scale", 0.0, "positive"),
    ("model.frontend.max_positions", 499, "raise model.frontend.max-positions from 499"),
    ("objective.position_offset", 1600, "position table"),
    ("objective.c_num", 0, "at least 1"),
    ("objective.c_num", 4, "multiple of model.frontend.stack = 3"),
    ("objective.mask_share", 0.0, "strictly between 0 and 1"),
    ("objective.mask_share", 1.0, "strictly between 0 and 1"),
    ("objective.zero_share", 0.95, "over 1"),
    ("objective.replace_share", -0.1, "0 to 1"),
    ("optim.peak_lr", 0.0, "positive"),
    ("optim.warmup_share", 1.0, "below 1"),
    ("optim.final_lr_share", 2.0, "0 to 1"),
    ("optim.beta2", 1.0, "0 <= beta < 1"),
    ("optim.weight_decay", -1.0, "at least 0"),
    ("optim.clip_norm", 0.0, "positive"),
    ("batches.size", 0, "at least 1"),
    ("batches.max_frames", 2, "model.frontend.stack = 3"),
    ("features.hop", 0, "at least 1"),
    ("features.n_fft", 256, "features.window = 400"),
    ("features.target_n_fft", 256, "features.window = 400"),
    ("features.mfccs", 81, "features.mels = 80"),
    ("features.deltas", 3, "0, 1 or 2"),
    ("corpus.valid_share", 0.0, "strictly between"),
    ("corpus.test_share", 0.96, "leave something to train on"),
    ("run_dir", Path("gs://"), "gs://BUCKET/PATH"),
    ("run_dir", Path("gs://bucket/../other"), "give a bucket and a path in it"),
    ("corpus.path", Path("s3://bucket/LibriSpeech"), "s3://bucket/LibriSpeech: only paths"),
    ("corpus.alignments", Path("gs://bucket/grids"), "mount it"),
    ("corpus.data_dir", Path("s3://.."), "s3://BUCKET/PATH"),
    ("model.layer_drop", 1.0, "0 <= p < 1"),
    ("optim.average", 1.0, "0 <= decay < 1"),
    ("optim.epsilon", 0.0, "positive"),
    ("batches.parts", 0, "at least 1"),
    ("batches.frames", -1, "at least 0"),
    ("distributed.devices", -1, "at least 0"),
    ("seed", -1, "at least 0"),
    ("corpus.seed", -1, "at least 0"),
    ("loop.steps", 0, "at least 1"),
    ("loop.keep", 0, "at least 1"),
    ("mesh.fsdp", 0, "at least 1"),
    ("mesh.model", 5, "divisor of model.heads = 12"),
    ("distributed.processes", 2, "distributed.coordinator"),
    ("distributed.process", 3, "0 to distributed.processes - 1 = 0"),
]


@pytest.mark.parametrize(("field", "value", "cure"), IMPOSSIBLE)
def test_impossible_values_name_field_and_cure(field, value, cure):
    with pytest.raises(InputError) as error:
        check(changed(field, value))
    message = str(error.value)
    assert field.split(".")[-1].replace("_", "-") in message
    assert cure in message
    assert "\n" not in message


def test_every_experiment_is_possible_and_survives_json(tmp_path):
    found = experiments()
    toys = {"toy", "toy_plain", "toy_m3", "toy_m6", "toy_m9"}
    toys |= {"toy_tera", "toy_albert", "toy_units", "toy_contrastive"}
    toys |= {"toy_wav2vec2", "toy_hubert"}
    s3prl = {"mockingjay_base", "mockingjay_large", "tera_base", "tera_large"}
    s3prl |= {"audio_albert", "audio_albert_large"}
    sizes = {"hubert": 3, "wav2vec2": 2, "wavlm": 2, "data2vec": 1}
    raw_audio = {
        f"{of}_{size}" for of, n in sizes.items() for size in ("base", "large", "xlarge")[:n]
    }
    assert set(found) == toys | s3prl | raw_audio
    for name, (description, config) in found.items():
        check(config)
        assert config.name == name
        assert description
        write_config(tmp_path / "config.json", config)
        assert read_config(tmp_path / "config.json") == config


@pytest.mark.parametrize("c_num", [3, 6, 9])
def test_mask_lengths_of_the_paper_are_whole_spans(c_num):
    large = experiments()["mockingjay_large"][1]
    check(dataclasses.replace(large, objective=dataclasses.replace(large.objective, c_num=c_num)))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"model": {"haeds": 3}}, "model.haeds: unknown key; did you mean heads?"),
        ({"model": {"heads": "3"}}, "model.heads is '3': give a value of type int"),
        ({"model": {"heads": True}}, "model.heads is True: give a value of type int"),
        ({"features": {"input": "mel"}}, "features.input is 'mel': give one of log_mel"),
        ({"model": 3}, "model: expected an object"),
    ],
)
def test_wrong_json_names_the_key(part, message, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(part))
    with pytest.raises(InputError) as error:
        read_config(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_broken_json_names_the_file(tmp_path):
    with pytest.raises(InputError, match="not found"):
        read_config(tmp_path / "config.json")
    (tmp_path / "config.json").write_text('{"model": ')
    with pytest.raises(InputError, match="not JSON"):
        read_config(tmp_path / "config.json")


def test_older_runs_without_a_field_open():
    assert decode(Config, {"model": {"layers": 2}}).model == Model(layers=2)


def test_only_what_is_learned_counts_as_a_difference():
    old = Config()
    moved = dataclasses.replace(old, run_dir=Path("x"), mesh=Mesh(fsdp=2))
    assert differences(old, moved) == []
    assert differences(old, dataclasses.replace(old, batches=Batches(threads=7))) == []
    assert differences(old, changed("model.layers", 5)) == ["model.layers: 12 -> 5"]
    other = dataclasses.replace(old, objective=NoObjective(trained_for="units"))
    changes = "objective.kind: masked_reconstruction -> none"
    assert (differences(old, other), len(differences(other, old))) == ([changes], 1)
    assert encode(old)["corpus"]["data_dir"] == "data"


def fields_of(kind):
    for field in dataclasses.fields(kind):
        yield field.name
        inner = getattr(config_module, str(field.type), None)
        if dataclasses.is_dataclass(inner):
            yield from fields_of(inner)


def test_no_config_field_is_dead():
    read = set()
    sources = [*ROOT.glob("*.py"), *(ROOT / "sat_jax").rglob("*.py")]
    for path in sources:
        if path.name.startswith("config"):
            continue
        tree = ast.parse(path.read_text())
        read |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    # Read in the configs' own file: the property `directory`.
    read.add("run_dir")
    for kind in (Config, config_module.Analysis, config_module.Export, config_module.Plan):
        assert set(fields_of(kind)) - read == set()


BOX = """╭─ Unrecognized options ─────────────╮
│ Unrecognized options: --optim.peek │
│ ────────────────────────────────── │
│ Perhaps you meant:                 │
│     --optim.peak-lr FLOAT          │
│         in train.py toy --help     │
│ ────────────────────────────────── │
│ For full helptext, run train.py    │
╰────────────────────────────────────╯
"""


def test_a_boxed_error_becomes_one_line():
    line = one_line(BOX)
    assert line == "Unrecognized options: --optim.peek; did you mean --optim.peak-lr?"


def run(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train.py", "toy", "--optim.peak-lrr", "3"], "did you mean --optim.peak-lr"),
        (["train.py", "toy", "--optim.peak-lr", "x"], "--optim.peak-lr"),
        (["train.py", "toy", "--model.heads", "7"], "does not divide model.width = 128"),
        (["train.py", "tyo"], "toy"),
        (["plan.py", "toy", "--topology", "v5e"], "give a chip and a shape, such as v5e:4x4"),
        (["plan.py", "toy", "--price", "-1"], "price is -1.0: give at least 0"),
        (["analyze.py"], "python analyze.py runs/toy"),
        (["export.py", "a", "--distributed.coordinator", "h:1"], "runs in one process"),
        (["analyze.py", "no/such/run"], "no/such/run/config.json: not found"),
    ],
)
def test_the_command_line_ends_in_one_line(arguments, expected):
    result = run(*arguments)
    assert result.returncode == 2
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: ")


@pytest.mark.parametrize(
    ("script", "option"),
    [
        ("train", "--corpus.kind"),
        ("plan", "--topology"),
        ("analyze", "--corpus.kind"),
        ("export", "--span"),
    ],
)
def test_help_needs_no_jax(script, option):
    code = (
        f"import sys\nfrom sat_jax.commands import {script}\n"
        f"sys.argv = ['{script}.py', *sys.argv[1:]]\n"
        f"try:\n    {script}.main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "assert not {'jax', 'flax', 'scipy', 'matplotlib'} & set(sys.modules), 'heavy import'"
    )
    arguments = ["toy", "--help"] if script in ("train", "plan") else ["--help"]
    result = run("-c", code, *arguments)
    assert result.returncode == 0, result.stderr
    assert option in result.stdout
