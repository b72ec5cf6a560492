"""Objectives against plain numpy and closed forms; padding, parts and own parameters."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from meshes import mesh_of
from objective_runs import CASES, RAW, Run, batch_of, config_of

from sat_jax.config import Contrastive, MaskedUnits, Tera
from sat_jax.config.check import check
from sat_jax.errors import InputError
from sat_jax.pretrain.masking import choose_bands, overlapping_spans
from sat_jax.pretrain.objectives import contrastive as wav2vec2
from sat_jax.pretrain.objectives import masked_units as hubert
from sat_jax.pretrain.objectives.objective import OWN, examples_of
from sat_jax.pretrain.objectives.table import objective_of

KEY = jax.random.key(3)


def losses_of(name, pad=0, train=False, rows=slice(None)):
    """The losses of one batch of a case, its audio padded by so many samples."""
    config = config_of(name)
    run = Run(config, mesh_of(1))
    objective = objective_of(config.objective)
    audio, lengths, *labels = (array[rows] for array in batch_of(config, 0))
    audio = np.pad(audio, ((0, 0), (0, pad)))
    more = run.model.grid.positions(audio.shape[1])
    labels = [np.pad(a, ((0, 0), (0, more - a.shape[1])), constant_values=-1) for a in labels]
    params = run.make().params
    examples = examples_of(run.model, objective.spectra, audio, lengths, *labels)
    step = jnp.int32(5) if train else None
    found = jax.jit(
        lambda p, e: objective.loss(run.model, config, p, e, KEY, step)
    )(params, examples)  # fmt: skip
    return found, examples


@pytest.mark.parametrize("name", [name for name in CASES if name != "tera"])
def test_padding_changes_no_loss(name):
    plain, padded = (losses_of(name, pad)[0]._asdict() for pad in (0, 960))
    assert plain["count"] == padded["count"] > 0
    for field in plain:
        np.testing.assert_allclose(plain[field], padded[field], rtol=2e-5, atol=2e-6)


def test_spans_that_may_overlap():
    valid = np.arange(400) < np.array([400, 200, 7, 3])[:, None]
    choose = jax.jit(overlapping_spans, static_argnums=(2, 3))
    found = np.stack([choose(jax.random.key(n), valid, 0.65, 10) for n in range(200)])
    assert not found[:, ~valid].any()
    # Without overlap it would be 65 %. Each place is free of 26 starts of 391 with (1 - 10/391)^26.
    assert found[:, 0].mean() == pytest.approx(1 - (1 - 10 / 391) ** 26, abs=0.02)
    assert not found[:, 2:].any()
    for row in found[:20, 0]:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
        assert (edges[1::2] - edges[::2] >= 10).all()
    padded = choose(KEY, np.pad(valid, ((0, 0), (0, 50))), 0.65, 10)
    np.testing.assert_array_equal(padded[:, :400], choose(KEY, valid, 0.65, 10))
    short = np.stack([choose(jax.random.key(n), valid[2:3, :7], 0.15, 7) for n in range(20)])
    assert short.all()


def test_bands_are_up_to_a_share_wide_and_lie_anywhere():
    bands = np.asarray(choose_bands(KEY, 4000, 20, 0.25))
    widths = bands.sum(1)
    assert np.bincount(widths, minlength=6) / 4000 == pytest.approx([1 / 6] * 6, abs=0.03)
    assert all((np.diff(np.flatnonzero(band)) == 1).all() for band in bands[:200])
    firsts = bands[widths == 5].argmax(1)
    assert set(firsts) == set(range(16))


def test_others_are_masked_positions_and_never_the_same_one():
    masked = np.array([[0, 1, 1, 0, 1, 1, 0], [1, 1, 0, 0, 0, 0, 0]], bool)
    others = np.asarray(wav2vec2.choose_others(KEY, masked, 500))
    for row in range(2):
        for at in np.flatnonzero(masked[row]):
            wanted = set(np.flatnonzero(masked[row])) - {at}
            assert set(others[row, at].tolist()) == wanted
    counts = np.bincount(others[0, 1], minlength=7) / 500
    assert counts[[2, 4, 5]] == pytest.approx([1 / 3] * 3, abs=0.08)
    padded = wav2vec2.choose_others(KEY, np.pad(masked, ((0, 0), (0, 4))), 500)
    np.testing.assert_array_equal(np.asarray(padded)[:, :7][masked], others[masked])


def test_choices_leave_out_equal_codes():
    rng = np.random.default_rng(0)
    near, number = rng.normal(size=(2, 5, 5)), rng.integers(0, 2, (2, 5, 2))
    others = rng.integers(0, 5, (2, 5, 9))
    found = np.asarray(wav2vec2.choices(jnp.asarray(near), jnp.asarray(number), others))
    for b in range(2):
        for t in range(5):
            assert found[b, t, 0] == pytest.approx(near[b, t, t], rel=1e-6)
            for n, s in enumerate(others[b, t]):
                same = (number[b, s] == number[b, t]).all()
                wanted = wav2vec2.NEVER if same else near[b, t, s]
                assert found[b, t, 1 + n] == pytest.approx(wanted, rel=1e-6)


def codes_of(number, entries):
    one_hot = np.eye(entries, dtype=np.float32)[number]
    return wav2vec2.Codes(None, jnp.asarray(number), jnp.asarray(one_hot))


def test_diversity_in_closed_form():
    chosen = np.ones((1, 12), bool)
    even = np.stack([np.arange(12) % 4, np.arange(12) % 2], -1)[None]
    unused, used = wav2vec2.diversity(codes_of(even, 4), chosen)
    assert float(used) == pytest.approx(4 + 2, rel=1e-4)
    assert float(unused) == pytest.approx((8 - 6) / 8, rel=1e-4)
    unused, used = wav2vec2.diversity(codes_of(np.zeros((1, 12, 2), int), 4), chosen)
    assert (float(used), float(unused)) == pytest.approx((2, 6 / 8), rel=1e-4)
    half = np.arange(12)[None] < 6
    _, used = wav2vec2.diversity(codes_of(even, 4), half)
    share = np.array([2, 2, 1, 1]) / 6
    assert float(used) == pytest.approx(np.exp(-(share * np.log(share)).sum()) + 2, rel=1e-4)


def test_quantising_is_hard_forward_and_soft_backward():
    rng = np.random.default_rng(0)
    logits, books = rng.normal(size=(1, 3, 2, 4)), rng.normal(size=(2, 4, 5))
    codes = wav2vec2.quantised(jnp.asarray(logits), jnp.asarray(books), 0.0, 0.7)
    wanted = [[books[g, logits[0, t, g].argmax()] for g in range(2)] for t in range(3)]
    np.testing.assert_allclose(codes.entries[0], np.reshape(wanted, (3, 10)), rtol=1e-5)
    soft = jax.grad(lambda x: (jax.nn.softmax(x / 0.7, -1)[..., None] * books).sum())
    hard = jax.grad(lambda x: wav2vec2.quantised(x, jnp.asarray(books), 0.0, 0.7).entries.sum())
    np.testing.assert_allclose(*(f(jnp.asarray(logits)) for f in (hard, soft)), rtol=1e-4)


def test_contrastive_loss_against_numpy():
    found, examples = losses_of("contrastive")
    config = config_of("contrastive")
    run = Run(config, mesh_of(1))
    params, objective = jax.device_get(run.make().params), config.objective
    mask_key, _, choice_key, _ = jax.random.split(KEY, 4)
    masked = np.asarray(overlapping_spans(mask_key, examples.valid, 0.5, 3))
    others = np.asarray(wav2vec2.choose_others(choice_key, masked, objective.negatives))
    variables = {"params": params}
    features, energy = run.model.apply(variables, examples.inputs, method="local_features")
    hidden = run.model.apply(
        variables, features, examples.valid, masked=masked, method="encode_features"
    )
    features, hidden, own = np.asarray(features), np.asarray(hidden), params[OWN]
    logits = (features @ own["logits"]["kernel"] + own["logits"]["bias"]).reshape(8, -1, 2, 6)
    number = logits.argmax(-1)
    entries = np.concatenate([own["books"][g][number[..., g]] for g in range(2)], -1)
    q = entries @ own["targets"]["kernel"] + own["targets"]["bias"]
    c = hidden @ own["contexts"]["kernel"] + own["contexts"]["bias"]
    total, right, count = 0.0, 0, 0
    for b in range(8):
        for t in np.flatnonzero(masked[b]):

            def like(s, b=b, t=t):
                return c[b, t] @ q[b, s] / np.linalg.norm(c[b, t]) / np.linalg.norm(q[b, s]) / 0.1

            rest = [like(s) for s in others[b, t] if (number[b, s] != number[b, t]).any()]
            scores = np.array([like(t), *rest])
            total += np.log(np.exp(scores).sum()) - scores[0]
            right += all(scores[0] > scores[1:])
            count += 1
    assert int(found.count) == count
    assert float(found.contrastive) == pytest.approx(total / count, rel=1e-4)
    assert float(found.accuracy) == pytest.approx(right / count, rel=1e-5)
    penalty = np.asarray(energy)[np.asarray(examples.valid)].mean()
    assert float(found.penalty) == pytest.approx(penalty, rel=1e-5)
    whole = found.contrastive + 0.1 * found.diversity + 10 * found.penalty
    assert float(found.loss) == pytest.approx(float(whole), rel=1e-5)
    assert float(found.guessing) == pytest.approx(math.log(8))


def test_unit_loss_against_numpy():
    found, examples = losses_of("masked_units")
    config = config_of("masked_units")
    run = Run(config, mesh_of(1))
    params = jax.device_get(run.make().params)
    mask_key, _ = jax.random.split(KEY)
    masked = np.asarray(overlapping_spans(mask_key, examples.valid, 0.5, 3))
    hidden = np.asarray(
        run.model.apply(
            {"params": params}, examples.inputs, examples.valid, masked=masked, method="encode"
        )
    )
    own, units = params[OWN], np.asarray(examples.targets)
    c = hidden @ own["contexts"]["kernel"] + own["contexts"]["bias"]
    c /= np.linalg.norm(c, axis=-1, keepdims=True)
    e = own["units"] / np.linalg.norm(own["units"], axis=-1, keepdims=True)
    scores = c @ e.T / 0.1
    log_probs = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    nats = -log_probs[masked, units[masked]]
    assert float(found.masked) == pytest.approx(nats.mean(), rel=1e-4)
    right = scores.argmax(-1) == units
    heard = np.asarray(examples.valid) & ~masked
    assert float(found.accuracy) == pytest.approx(right[masked].mean(), rel=1e-5)
    assert float(found.unmasked_accuracy) == pytest.approx(right[heard].mean(), rel=1e-5)
    share = np.bincount(units[masked], minlength=5) / masked.sum()
    entropy = -(share[share > 0] * np.log(share[share > 0])).sum()
    assert float(found.frequencies) == pytest.approx(entropy, rel=1e-4)


def test_units_that_are_missing_carry_no_loss():
    config = config_of("masked_units")
    run = Run(config, mesh_of(1))
    audio, lengths, units = batch_of(config, 0)
    params = run.make().params

    def loss(units):
        examples = examples_of(run.model, False, audio, lengths, units)
        return hubert.masked_units(run.model, config, params, examples, KEY, None)

    fewer = loss(np.where(np.arange(units.shape[1]) < 10, units, -1))
    assert 0 < int(fewer.count) < int(loss(units).count)
    assert int(loss(np.full_like(units, -1)).count) == 0
    assert float(loss(np.full_like(units, -1)).masked) == 0


@pytest.mark.parametrize("name", ["contrastive", "masked_units"])
def test_masked_positions_are_not_heard(name):
    """What the model makes of a masked position does not depend on what was there."""
    config = config_of(name)
    run = Run(config, mesh_of(1))
    audio, lengths, *_ = batch_of(config, 0)
    inputs, valid = run.model.prepare(audio, lengths)
    masked = np.zeros(valid.shape, bool)
    masked[:, 4:7] = True
    variables = {"params": run.make().params}
    features, _ = run.model.apply(variables, inputs, method="local_features")
    other = jnp.where(masked[:, :, None], features + 1.0, features)

    def encoded(features):
        return run.model.apply(
            variables, features, valid, masked=masked, method="encode_features"
        )  # fmt: skip

    np.testing.assert_array_equal(encoded(features), encoded(other))


def test_tera_hides_what_it_is_judged_by():
    config = config_of("tera")
    found, examples = losses_of("tera")
    assert float(found.count) > 0
    assert float(found.interpolation) > 0
    only_time = Tera(c_num=3, channel_share=0.0, magnitude_share=0.0)
    run = Run(config, mesh_of(1))
    objective = objective_of(only_time)
    config = type(config)(**{**config.__dict__, "objective": only_time})
    params = run.make().params
    losses = objective.loss(run.model, config, params, examples, KEY, None)
    assert float(losses.loss) == pytest.approx(float(losses.time))
    assert float(losses.channel) == 0
    assert int(losses.count) % examples.targets.shape[-1] == 0


def test_parts_of_a_batch_make_the_same_step():
    """Of an objective without any randomness: CTC without masks or dropout."""
    whole, parted = (config_of("ctc", parts=parts) for parts in (1, 4))
    found = []
    for config in (whole, parted):
        still = type(config.objective)(mask_share=0.0)
        model = type(config.model)(**{**config.model.__dict__, "dropout": 0.0})
        config = type(config)(**{**config.__dict__, "objective": still, "model": model})
        run = Run(config, mesh_of(2))
        found.append(run.go(run.make(), 0, 3)[1])
    for one, four in zip(*found, strict=True):
        assert float(four.loss) == pytest.approx(float(one.loss), rel=1e-5)
        assert float(four.grad_norm) == pytest.approx(float(one.grad_norm), rel=1e-4)
        assert int(four.losses.count) == int(one.losses.count)


@pytest.mark.parametrize("name", ["contrastive", "masked_units on spectra", "tera"])
def test_an_objective_is_learned(name):
    """On one batch, again and again, without what is drawn anew in every step."""
    config = config_of(name)
    run = Run(config, mesh_of(1))
    state, first = run.go(run.make(), 0, 1)
    batch = run.placed(0)
    for _ in range(60):
        state, last = run.step(state, *batch)
    assert float(last.losses.judged) < 0.9 * float(first[0].losses.judged)
    if OWN in state.params:
        start = run.make().params[OWN]
        moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), state.params[OWN], start)
        assert all(change > 1e-3 for change in jax.tree.leaves(moved))


def test_gradients_of_the_convolutions_are_scaled():
    grads = []
    for scale in (1.0, 0.1):
        config = config_of("contrastive")
        objective = Contrastive(**{**config.objective.__dict__, "stem_gradient": scale})
        run = Run(type(config)(**{**config.__dict__, "objective": objective}), mesh_of(1))
        grads.append(run.go(run.make(), 0, 1)[1][0].group_norms)
    assert float(grads[1]["stem"]) == pytest.approx(0.1 * float(grads[0]["stem"]), rel=1e-3)
    assert float(grads[1]["input"]) == pytest.approx(float(grads[0]["input"]), rel=1e-4)


def test_collapse_is_told():
    config = config_of("contrastive")
    alarm = objective_of(config.objective).alarm
    assert "2.0 of 12 codes are in use" in alarm({"perplexity": 2.0}, config)
    assert alarm({"perplexity": 4.0}, config) == ""
    config = config_of("masked_units")
    alarm = objective_of(config.objective).alarm
    numbers = {"predicted_units": 1.0, "masked": 2.0, "frequencies": 1.9}
    assert "one cluster is predicted for all masked positions" in alarm(numbers, config)
    assert alarm({**numbers, "predicted_units": 3.0}, config) == ""
    assert alarm({**numbers, "masked": 1.0}, config) == ""


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (Contrastive(codes=1), "objective.codes is 1"),
        (Contrastive(gumbel_start=0.1), "objective.gumbel-start is 0.1"),
        (MaskedUnits(units=1), "objective.units is 1"),
        (MaskedUnits(mask_length=60), "objective.mask-length is 60 positions"),
        (Tera(), "objective is tera, and a model on raw audio predicts no spectra"),
    ],
)
def test_impossible_objectives_end_in_one_line(objective, said):
    config = config_of("contrastive")
    check(config)
    config = type(config)(**{**config.__dict__, "model": RAW, "objective": objective})
    with pytest.raises(InputError, match=said):
        check(config)
