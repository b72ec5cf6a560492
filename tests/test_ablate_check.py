"""The ablation study: what cannot work is told, and memory holds what it is given for."""

import dataclasses
import re
from types import SimpleNamespace

import pytest

from sat_jax.config import Ablation, Analysis, Config, Model
from sat_jax.errors import InputError
from sat_jax.model.build import spec_of
from sat_jax.study.ablate import study as ablate
from sat_jax.study.ablate.context import chunk_within


@pytest.mark.parametrize(("given", "chunk"), [(1000, 42), (500, 19), (120, 1), (0, 1)])
def test_representations_fit_the_memory_that_is_given(given, chunk):
    # 20 a setting, in 60 batches; 100 to ask them.
    assert chunk_within(given, 20, 60, 100) == chunk
    taken = chunk * 20 + 3 * chunk * 20 / 60 + 100
    assert taken <= given or chunk == 1
    assert taken + 21 > given


# --- What cannot work -----------------------------------------------------------------------------


def asked(**changes):
    analysis = SimpleNamespace(ablate=dataclasses.replace(Ablation(), **changes))
    model = SimpleNamespace(spec=spec_of(Config(model=Model(layers=3))))
    return SimpleNamespace(analysis=analysis, model=model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": 0}, "ablate.layer is 0: give 1 to 3"),
        ({"layer": 4}, "ablate.layer is 4: give 1 to 3"),
        ({"train_utterances": 0}, "ablate.train-utterances is 0: give at least 1"),
        ({"valid_utterances": 0}, "ablate.valid-utterances is 0: give at least 1"),
        ({"test_utterances": -1}, "ablate.test-utterances is -1: give at least 1"),
        ({"probe_seeds": 0}, "ablate.probe-seeds is 0: give at least 1"),
        ({"probe_steps": 0}, "ablate.probe-steps is 0: give at least 1"),
        ({"probe_batch": 0}, "ablate.probe-batch is 0: give at least 1"),
        ({"mlp_steps": 0}, "ablate.mlp-steps is 0: give at least 1"),
        ({"mlp_utterances": 0}, "ablate.mlp-utterances is 0: give at least 1"),
        ({"mlp_rate": 0.0}, "ablate.mlp-rate is 0.0: give a positive number"),
        ({"hidden": 0}, "ablate.hidden is 0: give at least 1"),
        ({"memory_mib": 0}, "ablate.memory-mib is 0: give at least 1"),
        ({"draws": -1}, "ablate.draws is -1: give at least 0"),
        ({"max_frames": 2}, "ablate.max-frames is 2: give at least 3"),
        ({"probe_rate": 0.0}, "ablate.probe-rate is 0.0: give a positive number"),
        ({"probe_rate": float("nan")}, "ablate.probe-rate is nan: give a positive number"),
        ({"tasks": ()}, "ablate.tasks is empty: give at least one"),
    ],
)
def test_settings_that_mean_nothing_are_errors(changes, message):
    ablate.check(asked())
    with pytest.raises(InputError, match=re.escape(message)):
        ablate.check(asked(**changes))


@pytest.mark.parametrize("only", [("ablate",), ()])
def test_where_it_cannot_be_made_it_says_so(only):
    said, message = [], "needs a whole model"
    loaded = SimpleNamespace(
        directory="runs/toy",
        analysis=Analysis(only=only),
        model=SimpleNamespace(spec=SimpleNamespace(edited=True)),
        say=said.append,
    )
    if only:
        with pytest.raises(InputError, match=message):
            ablate.study(loaded)
    else:
        assert ablate.study(loaded) == []
        assert re.search(message, " ".join(said))
