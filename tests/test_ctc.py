"""CTC: the loss against all alignments, edits against Levenshtein's, and a model that learns."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from meshes import mesh_of

from sat_jax import mesh
from sat_jax.config import AdamW, Batches, Config, Convolutions, Ctc, Loop, Model
from sat_jax.config.check import check
from sat_jax.errors import InputError
from sat_jax.features.batches import Batch
from sat_jax.model.build import build_model
from sat_jax.pretrain.objectives.ctc import ctc, edits, letter_of_phones
from sat_jax.pretrain.objectives.objective import Examples
from sat_jax.pretrain.optim import optimizer
from sat_jax.pretrain.step import init_state, sharded_state, train_step, valid_step

LETTERS = ("<pad>", "a", "b", "c")
FRONT = Convolutions(channels=(8, 16), kernels=(20, 8), strides=(20, 8), position_groups=2,
                     position_kernel=4, position_norm="weight", norm="layer")  # fmt: skip
CONFIG = Config(
    model=Model("hubert", FRONT, layers=1, heads=2, width=16, ffn=32, dropout=0.0, letters=LETTERS,
                layer_norm_eps=1e-5, init_std=None),
    objective=Ctc(mask_share=0.0, freeze_stem=False),
    optim=AdamW(peak_lr=3e-3, warmup_share=0.1),
    batches=Batches(size=4, max_frames=40),
    loop=Loop(steps=250),
)  # fmt: skip


class Spoken:
    """A model whose logits are given: what `ctc` needs of one."""

    def __init__(self, logits):
        self.logits = logits

    def apply(self, _, *arguments, method, **how):
        return arguments[0] if method == "encode" else self.logits


def by_alignments(logits, units):
    """-log of the summed probability of all alignments of units (U,) to logits (T, V)."""
    logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    total = 0.0
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        said = [letter for letter, _ in itertools.groupby(path) if letter]
        if said == list(units):
            total += np.exp(sum(logp[t, letter] for t, letter in enumerate(path)))
    return -np.log(total)


def test_the_loss_sums_over_all_alignments():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 5, 4)).astype(np.float32)
    units = np.array([[1, 1, -1, -1], [2, 3, 1, -1], [1, 1, 1, -1]], np.int32)
    valid = np.arange(5) < np.array([5, 4, 4])[:, None]
    found = ctc(Spoken(logits), CONFIG, {}, Examples(None, valid, units), jax.random.key(0), None)
    # The third needs five positions, as blanks part its repeats, and has four: no loss.
    expected = by_alignments(logits[0], [1, 1]) + by_alignments(logits[1, :4], [2, 3, 1])
    np.testing.assert_allclose(found.loss, expected / 5, rtol=1e-4)
    flat = np.zeros((5, 4))
    uniform = by_alignments(flat, [1, 1]) + by_alignments(flat[:4], [2, 3, 1])
    np.testing.assert_allclose(found.uniform, uniform / 5, rtol=1e-4)


def levenshtein(said, units):
    row = list(range(len(units) + 1))
    for letter in said:
        last, row = row, [row[0] + 1]
        for j, unit in enumerate(units):
            row.append(min(row[j] + 1, last[j + 1] + 1, last[j] + (unit != letter)))
    return row[-1]


def test_edits_are_those_of_levenshtein():
    rng = np.random.default_rng(1)
    counted = jax.jit(edits, static_argnums=3)
    for _ in range(30):
        best, length = rng.integers(0, 4, 12), rng.integers(0, 13)
        units = rng.integers(1, 4, rng.integers(0, 7))
        said = [letter for letter, _ in itertools.groupby(best[:length]) if letter]
        padded = np.pad(units, (0, 7 - len(units)), constant_values=-1)
        assert int(counted(best, np.arange(12) < length, padded, 0)) == levenshtein(said, units)


def test_units_are_the_phones_whose_middle_is_heard():
    phones = np.array([[-100, 80, 0], [80, 200, 1], [200, 900, 2], [900, 1000, 3]])
    batch = Batch(np.zeros((1, 500), np.int16), np.array([500]), np.zeros(1), None, (phones,))
    assert batch.spoken(np.array([5, 6, -1, 7]), 4).tolist() == [[6, -1, -1, -1]]
    moved = batch._replace(lengths=np.array([2000]))
    assert moved.spoken(np.array([5, 6, 8, 7]), 2).tolist() == [[6, 8]]


def test_phones_without_letters_are_an_error():
    assert letter_of_phones(["b", "x", "a"], LETTERS, "data").tolist() == [2, -1, 1]
    with pytest.raises(InputError, match="data has the phones x and model.letters are <pad>, a"):
        letter_of_phones(["x"], LETTERS, "data")


def speech(number):
    """Utterances of three different tones each, whose order the units say."""
    rng = np.random.default_rng(number)
    units = np.full((4, 20), -1, np.int32)
    units[:, :3] = rng.permuted(np.tile([1, 2, 3], (4, 1)), axis=1)
    time = np.arange(1040)
    tones = np.sin(2 * np.pi * time / np.array([8, 16, 40])[:, None])
    audio = np.stack([np.concatenate([tones[u - 1] for u in row[:3]]) for row in units])
    return (8000 * audio).astype(np.int16), np.full(4, audio.shape[1], np.int32), units


def test_a_model_learns_to_name_tones():
    model, devices = build_model(CONFIG), mesh_of(1)
    tx = optimizer(CONFIG.optim, CONFIG.loop.steps)
    abstract, make = sharded_state(init_state(CONFIG, model, tx), devices)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    step = train_step(CONFIG, model, tx, devices, shardings)
    evaluate = valid_step(CONFIG, model, devices)
    held = mesh.place_batch(speech(-1 % 2**31), devices)
    state = make()
    before = evaluate(state.params, np.int32(0), *held)
    for number in range(CONFIG.loop.steps):
        state, _ = step(state, *mesh.place_batch(speech(number), devices))
    after = evaluate(state.params, np.int32(0), *held)
    assert float(after.loss) < 0.5 * float(before.loss)
    assert float(after.loss) < float(after.uniform)
    assert float(after.error_rate) < 0.2


def test_masks_and_a_stem_that_stays_as_it_is():
    config = dataclasses.replace(CONFIG, objective=Ctc(mask_share=0.3, mask_length=3))
    model = build_model(config)
    audio, lengths, units = speech(0)
    inputs, valid = model.prepare(audio, lengths)
    examples = Examples(inputs, valid, units)
    params = jax.jit(init_state(config, model, optimizer(config.optim, 1)))().params

    def loss(params, step):
        return ctc(model, config, params, examples, jax.random.key(0), step).loss

    plain, masked = loss(params, None), loss(params, jnp.int32(0))
    assert float(plain) != float(masked)
    gradients = jax.grad(lambda p: loss(p, jnp.int32(0)))(params)
    assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(gradients["stem"]))
    assert np.abs(np.asarray(gradients["mask_embedding"])).max() > 0
    assert jnp.isfinite(gradients["letter_head"]["kernel"]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"letters": ()},
            "the model has no head for it .model.letters.: convert it with --letters",
        ),
        ({"frontend": dataclasses.replace(FRONT, mask_embedding=False)}, "no vector for masked"),
    ],
)
def test_what_cannot_be_trained_is_one_line(change, message):
    model = dataclasses.replace(CONFIG.model, **change)
    with pytest.raises(InputError, match=message):
        check(dataclasses.replace(CONFIG, model=model, objective=Ctc()))
