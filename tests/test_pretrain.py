"""The training step: schedule, decay, devices and layouts that change nothing, exact resuming."""

import dataclasses
import functools
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from meshes import mesh_of

from sat_jax import checkpoint, checkpoint_steps, mesh
from sat_jax.checkpoint_files import CHECKSUMS, fault, is_sealed
from sat_jax.config import AdamW, Batches, Config, Features, Loop, MaskedReconstruction, Mesh, Model
from sat_jax.errors import InputError
from sat_jax.model.build import build_model
from sat_jax.pretrain.optim import decayed, learning_rate, optimizer
from sat_jax.pretrain.step import init_state, sharded_state, train_step, valid_step

FEATURES = Features(mels=8)
CONFIG = Config(
    features=FEATURES,
    model=Model(layers=2, heads=4, width=16, ffn=32, dropout=0.1, init_std=None),
    objective=MaskedReconstruction(position_offset=5),
    optim=AdamW(peak_lr=1e-2, warmup_share=0.2),
    batches=Batches(size=8, max_frames=36),
    loop=Loop(steps=20),
)
SAMPLES = 400 + 35 * 160


def audio_of(step):
    """Gliding tones of different lengths: what is masked follows from what is not."""
    rng = np.random.default_rng(step)
    lengths = rng.integers(400 + 6 * 160, SAMPLES + 1, 8).astype(np.int32)
    lengths[0] = SAMPLES
    seconds = np.arange(SAMPLES) / 16000
    start, glide = rng.uniform(300, 3000, (2, 8, 1))
    audio = 8000 * np.sin(2 * np.pi * (start + glide * seconds) * seconds)
    audio += rng.normal(0, 30, audio.shape)
    return np.where(np.arange(SAMPLES) < lengths[:, None], audio, 0).astype(np.int16), lengths


@functools.cache
def run_of(config=CONFIG, single=False):
    """A run, compiled once for all tests."""
    return Run(config, mesh_of(1) if single else None)


class Run:
    """A few steps of training on some layout of devices."""

    def __init__(self, config=CONFIG, layout=None):
        self.config = config
        self.mesh = layout or mesh.build_mesh(config.mesh, config.batches.size)
        self.model = build_model(config)
        tx = optimizer(config.optim, config.loop.steps)
        init = init_state(config, self.model, tx)
        self.abstract, self.make = sharded_state(init, self.mesh)
        shardings = jax.tree.map(lambda leaf: leaf.sharding, self.abstract)
        self.step = train_step(config, self.model, tx, self.mesh, shardings)

    def go(self, state, first, last):
        losses = []
        for number in range(first, last):
            state, metrics = self.step(state, *mesh.place_batch(audio_of(number), self.mesh))
            losses.append(metrics)
        return state, losses


@pytest.fixture(scope="module")
def single():
    run = run_of(single=True)
    return run.go(run.make(), 0, 3)


def without_key_biases(params):
    """Host copies; a key bias shifts a whole row of logits, so its gradient is rounding noise."""
    params = jax.device_get(params)
    for layer in ("layer_0", "layer_1"):
        bias = params["encoder"][layer]["attention"]["streams"]["bias"].reshape(4, 3, 4)
        params["encoder"][layer]["attention"]["streams"]["bias"] = bias[:, [0, 2]]
    return params


@pytest.mark.pods
@pytest.mark.parametrize(("data", "fsdp", "model"), [(8, 1, 1), (2, 2, 2), (1, 8, 1)])
def test_devices_and_layouts_change_nothing(single, data, fsdp, model):
    config = dataclasses.replace(CONFIG, mesh=Mesh(data, fsdp, model))
    run = run_of(config)
    state, losses = run.go(run.make(), 0, 3)
    for ours, theirs in zip(losses, single[1], strict=True):
        np.testing.assert_allclose(ours.loss, theirs.loss, rtol=2e-6)
        np.testing.assert_allclose(ours.grad_norm, theirs.grad_norm, rtol=1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4),
        without_key_biases(state.params),
        without_key_biases(single[0].params),
    )
    kernel = state.params["encoder"]["layer_0"]["ffn_in"]["kernel"]
    assert kernel.sharding.shard_shape(kernel.shape) == (16 // fsdp, 32 // model)
    moment = state.opt_state[1][0].mu["encoder"]["layer_0"]["ffn_in"]["kernel"]
    assert moment.sharding == kernel.sharding


@pytest.mark.parametrize("option", [{"scan_layers": True}, {"remat": "maps"}, {"remat": "layers"}])
def test_scan_and_remat_train_to_the_same_numbers(single, option):
    config = dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, **option))
    run = run_of(config, single=True)
    _, losses = run.go(run.make(), 0, 3)
    for ours, theirs in zip(losses, single[1], strict=True):
        np.testing.assert_allclose(ours.loss, theirs.loss, rtol=1e-5)


def test_resuming_is_never_having_stopped(tmp_path):
    run = run_of()
    straight, losses = run.go(run.make(), 0, 6)
    state, _ = run.go(run.make(), 0, 3)
    checkpoints = checkpoint.open_checkpoints(tmp_path / "ckpt", keep=1)
    checkpoint.save(checkpoints, 3, state.params, state._replace(params=None))
    run.go(state, 3, 4)  # goes on (and donates the state) while the checkpoint is written
    checkpoint.finish(checkpoints)
    again = run_of()
    params, rest = checkpoint.restore(
        checkpoints, 3, again.abstract.params, again.abstract._replace(params=None)
    )
    resumed, after = again.go(rest._replace(params=params), 3, 6)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(resumed), jax.device_get(straight))
    for ours, theirs in zip(after, losses[3:], strict=True):
        assert float(ours.loss) == float(theirs.loss)
        np.testing.assert_array_equal(ours.smooth, theirs.smooth)


def test_an_eight_device_checkpoint_opens_on_one(tmp_path):
    run = run_of(dataclasses.replace(CONFIG, mesh=Mesh(2, 2, 2)))
    state = run.make()
    checkpoints = checkpoint.open_checkpoints(tmp_path / "ckpt", keep=1)
    checkpoint.save(checkpoints, 0, state.params, state._replace(params=None))
    checkpoint.finish(checkpoints)
    small = run_of(single=True)
    step, params = checkpoint.restore_params(tmp_path / "ckpt", None, small.abstract.params)
    assert step == 0
    jax.tree.map(
        np.testing.assert_array_equal, jax.device_get(params), jax.device_get(state.params)
    )
    assert len(jax.tree.leaves(params)[0].devices()) == 1


def test_wrong_checkpoints_are_named(tmp_path):
    run = run_of()
    state = run.make()
    checkpoints = checkpoint.open_checkpoints(tmp_path / "ckpt", keep=1)
    checkpoint.save(checkpoints, 0, state.params, state._replace(params=None))
    checkpoint.finish(checkpoints)
    wide = run_of(dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, ffn=64)))
    with pytest.raises(InputError, match=r"layer_0/ffn_in/bias is \(32,\) there and \(64,\)"):
        checkpoint.restore_params(tmp_path / "ckpt", None, wide.abstract.params)
    with pytest.raises(InputError, match=r"no checkpoint of step 7; there are \[0\]"):
        checkpoint.restore_params(tmp_path / "ckpt", 7, run.abstract.params)
    with pytest.raises(InputError, match="no checkpoints here"):
        checkpoint.restore_params(tmp_path / "nothing", None, run.abstract.params)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no finished checkpoint"):
        checkpoint.restore_params(tmp_path / "empty", None, run.abstract.params)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints of steps 0, 5, 10 and 15, of which two and step 0 are kept."""
    run, ckpt = run_of(single=True), tmp_path_factory.mktemp("saved") / "ckpt"
    state = run.make()
    checkpoints = checkpoint.open_checkpoints(ckpt, keep=2)
    for step in (0, 5, 10, 15):
        checkpoint.save(checkpoints, step, state.params, state._replace(params=None))
    checkpoint.finish(checkpoints)
    checkpoint.close(checkpoints)
    return ckpt


def test_step_zero_is_kept_for_ever(saved):
    assert {p.name for p in saved.iterdir()} == {"0", "10", "15"}


def test_every_checkpoint_gets_its_checksums_before_it_gets_its_name(saved):
    for step in (0, 10, 15):
        assert is_sealed(saved / str(step))
        assert fault(saved / str(step)) == ""
    assert checkpoint_steps.look(saved, 0) == (15, {})


def largest(step_directory, item):
    files = [p for p in (step_directory / item).rglob("*") if p.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


def test_a_flipped_bit_is_never_restored(saved, tmp_path):
    ckpt = shutil.copytree(saved, tmp_path / "ckpt")
    path = largest(ckpt / "15", "params")
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    params, said = run_of(single=True).abstract.params, []
    step, restored = checkpoint.restore_params(ckpt, None, params, said.append)
    assert step == 10
    assert f"ckpt/15 is broken and passed over: params/{path.name}"[:40] in said[0]
    expected = jax.device_get(checkpoint.restore_params(saved, 10, params)[1])
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(restored), expected)
    with pytest.raises(InputError, match=r"15 is broken: .*differs.*; whole steps are \[0, 10\]"):
        checkpoint.restore_params(ckpt, 15, params)
    for each in ("0", "10"):
        (ckpt / each / "commit_success.txt").unlink()
    with pytest.raises(InputError, match=r"none of the steps \[0, 10, 15\] is whole"):
        checkpoint.restore_params(ckpt, None, params)
    with pytest.raises(InputError, match="no step from 5 on is whole: export the run again"):
        checkpoint_steps.look(ckpt, 5)


def test_checkpoints_without_checksums_are_read_to_see_whether_they_are_whole(saved, tmp_path):
    ckpt = shutil.copytree(saved, tmp_path / "ckpt")
    for step in (0, 10, 15):
        (ckpt / str(step) / CHECKSUMS).unlink()
    assert checkpoint_steps.look(ckpt, 0) == (15, {})
    largest(ckpt / "15", "optimizer").write_bytes(b"")
    found = checkpoint_steps.look(ckpt, 0)
    assert found.whole == 10
    assert "it cannot be read" in found.broken[15]
    # An analysis does without the optimiser.
    params = run_of(single=True).abstract.params
    assert checkpoint.restore_params(ckpt, None, params)[0] == 15


def test_a_disk_that_is_full_is_one_line(saved, tmp_path):
    run, ckpt = run_of(single=True), shutil.copytree(saved, tmp_path / "ckpt")
    checkpoints = checkpoint.open_checkpoints(ckpt, keep=2)
    state = run.make()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        checkpoint.save(checkpoints, 20, state.params, state._replace(params=None))
        with pytest.raises(InputError, match="ckpt: a file may not grow any more: .*goes on"):
            checkpoint.finish(checkpoints)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert checkpoint_steps.look(ckpt, 0).whole == 15


def test_training_lowers_the_loss_and_evaluation_is_repeatable():
    run = run_of()
    evaluate = valid_step(CONFIG, run.model, run.mesh)
    batch = mesh.place_batch(audio_of(0), run.mesh)
    state = run.make()
    before = evaluate(state.params, np.int32(0), *batch)
    assert float(before.loss) == float(evaluate(state.params, np.int32(0), *batch).loss)
    assert float(before.loss) != float(evaluate(state.params, np.int32(1), *batch).loss)
    for _ in range(20):
        state, _ = run.step(state, *batch)
    after = evaluate(state.params, np.int32(0), *batch)
    assert float(after.loss) < 0.75 * float(before.loss)


def test_a_broken_step_is_flagged():
    run = run_of(single=True)
    state = run.make()
    kernel = state.params["input"]["kernel"].at[0, 0].set(jnp.inf)
    params = {**state.params, "input": {**state.params["input"], "kernel": kernel}}
    _, metrics = run.go(state._replace(params=params), 0, 1)
    assert not bool(metrics[0].finite)


def test_learning_rate_rises_and_falls_in_straight_lines():
    schedule = learning_rate(AdamW(peak_lr=1.0, warmup_share=0.1, final_lr_share=0.05), 100)
    rates = np.array([schedule(step) for step in range(101)])
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10, rtol=1e-6)
    np.testing.assert_allclose(rates[10:], 1 - 0.95 * np.arange(91) / 90, rtol=1e-5)
    flat = learning_rate(AdamW(peak_lr=2.0, warmup_share=0.0, final_lr_share=1.0), 10)
    assert [float(flat(s)) for s in (0, 5, 9)] == [2.0, 2.0, 2.0]


def test_only_kernels_decay():
    params = jax.eval_shape(run_of(single=True).make).params
    flags = jax.tree_util.tree_leaves_with_path(decayed(params))
    assert {path[-1].key for path, flag in flags if flag} == {"kernel"}
    assert {path[-1].key for path, flag in flags if not flag} == {"bias", "scale"}


def test_mesh_errors_name_the_cure():
    with pytest.raises(InputError, match="does not make the 8 devices"):
        mesh.build_mesh(Mesh(data=3), 8)
    with pytest.raises(InputError, match=r"batches.size is 6: give a multiple of .* = 8"):
        mesh.build_mesh(Mesh(), 6)
