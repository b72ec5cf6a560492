"""Fields of one of several kinds: on the command line, in config.json, in older files."""

import dataclasses
import json
import sys

import pytest

from sat_jax.command_line import experiment_or_run
from sat_jax.config import AdamW, Config, Model, Muon, QueryKey, StackedFrames
from sat_jax.config.json import encode, read_config, write_config
from sat_jax.config.kinds import KINDS, choose_kinds, kind_fields
from sat_jax.errors import InputError
from sat_jax.experiments import experiments

OLD = {
    "name": "toy",
    "model": {
        "kind": "mockingjay",
        "attention": "qk",
        "layers": 2,
        "heads": 4,
        "stack": 3,
        "max_positions": 512,
        "position_base": 100.0,
        "input_init_std": 0.03,
        "tied_query_key": True,
        "query_key_init_scale": 1.5,
        "remat": True,
        "kept": [[0, 3], [0, 1, 2, 3]],
        "spans": [[5, -1], [5, 5, 5, 5]],
    },
    "objective": {"kind": "masked_reconstruction", "c_num": 6},
    "optim": {"peak_lr": 0.001, "beta2": 0.98},
}


def test_a_file_of_an_older_version_opens(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(OLD))
    config = read_config(path)
    assert config.model == Model(
        layers=2,
        heads=4,
        frontend=StackedFrames(stack=3, max_positions=512, position_base=100.0, init_std=0.03),
        attention=QueryKey(tied=True, init_scale=1.5),
        remat="layers",
        pruned_heads=((1, 2), ()),
        spans=((5, None), (5, 5, 5, 5)),
    )
    assert config.model.unpruned_heads == ((0, 3), (0, 1, 2, 3))
    assert config.objective.c_num == 6
    assert config.optim == AdamW(peak_lr=0.001, beta2=0.98)
    write_config(path, config)
    assert read_config(path) == config


def test_every_kind_survives_json(tmp_path):
    for base, kinds in KINDS.items():
        for name, kind in kinds.items():
            assert kind().kind == name, (base, name)
    config = Config(optim=Muon(momentum=0.5))
    write_config(tmp_path / "config.json", config)
    assert encode(config)["optim"]["kind"] == "muon"
    assert read_config(tmp_path / "config.json") == config


@pytest.mark.parametrize("place", ["optim", "model.attention", "model.frontend", "objective"])
def test_an_unknown_kind_lists_the_kinds(tmp_path, place):
    with pytest.raises(InputError, match=f"{place} is 'foo': give one of ") as caught:
        choose_kinds(Config(), ["--" + place, "foo"])
    assert all(name in str(caught.value) for name in KINDS[kind_fields(Config())[place]])
    values = encode(Config())
    part = values
    for name in place.split("."):
        part = part[name]
    part["kind"] = "foo"
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match=f"{place}.kind is 'foo'"):
        read_config(tmp_path / "config.json")
    part["kind"], part["fooo"] = next(iter(KINDS[kind_fields(Config())[place]])), 1
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match=f"{place}.fooo: unknown key"):
        read_config(tmp_path / "config.json")


@pytest.mark.parametrize(
    "arguments", [["--optim", "muon"], ["--optim.kind=muon"], ["--optim.kind", "muon"]]
)
def test_a_kind_is_chosen_by_a_plain_flag_and_keeps_what_both_kinds_have(arguments):
    config = Config(optim=AdamW(peak_lr=0.5, beta2=0.9))
    rest = ["--optim.momentum", "0.8", "--model.layers", "3"]
    chosen, left = choose_kinds(config, [*rest[:2], *arguments, *rest[2:]])
    assert left == rest
    assert chosen == dataclasses.replace(config, optim=Muon(peak_lr=0.5, beta2=0.9))
    with pytest.raises(InputError, match="give one of adamw, muon"):
        choose_kinds(config, ["--optim"])


def test_the_command_line_knows_the_fields_of_the_kind_that_is_chosen(monkeypatch, capsys):
    flags = ["train.py", "mockingjay_base", "--optim", "muon", "--optim.momentum", "0.7"]
    flags += ["--objective.c-num", "6", "--model.attention", "qk", "--model.attention.no-tied"]
    monkeypatch.setattr(sys, "argv", flags)
    config = experiment_or_run(experiments(), "")
    assert (config.optim.momentum, config.objective.c_num) == (0.7, 6)
    assert not config.model.attention.tied
    assert config.optim.peak_lr == experiments()["mockingjay_base"][1].optim.peak_lr
    monkeypatch.setattr(sys, "argv", ["train.py", "mockingjay_base", "--optim.momentum", "0.7"])
    with pytest.raises(SystemExit):
        experiment_or_run(experiments(), "")
    assert "--optim.momentum" in capsys.readouterr().err


def test_an_experiment_of_the_users_is_found_and_a_broken_one_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    mine = tmp_path / "experiments" / "mine.py"
    mine.write_text('"""Mine."""\nfrom sat_jax.config import Config\nCONFIG = Config(seed=7)\n')
    about, config = experiments()["mine"]
    assert (about, config.seed) == ("Mine.", 7)
    assert "toy" in experiments()
    mine.write_text("CONFIG = 3\n")
    with pytest.raises(InputError, match=r"experiments/mine\.py: CONFIG is 3"):
        experiments()
    mine.write_text("import nothing_like_it\n")
    with pytest.raises(InputError, match=r"mine\.py: is not an experiment .*nothing_like_it"):
        experiments()
