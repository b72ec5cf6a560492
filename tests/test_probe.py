"""Probes: a numpy oracle of training, early stopping, independence, standardising."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sat_jax.analysis.probe import (
    Budget,
    Examples,
    cross_entropy,
    drawn_rows,
    predict,
    start_layers,
    train_probe,
    train_probes,
)
from sat_jax.analysis.probe_inputs import for_features, standardised
from sat_jax.errors import InputError

N, D, C = 90, 6, 4
TRAIN, VALID = np.arange(60, dtype=np.int32), np.arange(60, 90, dtype=np.int32)
HIDDEN = Budget(
    hidden=16, steps=40, batch=16, rate=0.05, every=8, patience=4, checked=20, ridge=1e-3
)
LINEAR = HIDDEN._replace(hidden=0, ridge=None)
KEYS = jax.random.split(jax.random.key(3), 2)
# Compiling takes a second: the same few shapes and budgets serve many tests.
WAYS = {"hidden": (HIDDEN, False), "hidden, batched": (HIDDEN, True), "linear": (LINEAR, False)}
EVERY_WAY = pytest.mark.parametrize(("budget", "batched"), WAYS.values(), ids=WAYS)


def task(seed=0):
    """Features (3, N, D) of three settings with labels (n, 3), some of them missing."""
    rng = np.random.default_rng(seed)
    features = rng.normal(2, 3, (3, N, D)).astype(np.float32)
    return features, *examples(rng.integers(-1, C, (N, 3)))


def examples(labels):
    """Training and validation examples of labels (N,) or (N, 3)."""
    labels = np.broadcast_to(labels.reshape(N, -1), (N, 3)).astype(np.int32)
    return Examples(TRAIN, labels[TRAIN]), Examples(VALID, labels[VALID])


def trained(features, train, valid, budget, batched=False, keys=KEYS):
    """`train_probes` as numpy arrays."""
    probes = train_probes(features, train, valid, C, budget, keys, batched=batched)
    return jax.tree.map(np.asarray, probes)


def test_a_probe_may_have_two_hidden_layers():
    features, train, valid = task()
    budget = HIDDEN._replace(depth=2)
    probe = trained(features[:1], train, valid, budget)
    first, second, third = (jax.tree.map(lambda leaf: leaf[0, 0], layer) for layer in probe.layers)
    assert [layer.kernel.shape for layer in (first, second, third)] == [(D, 16), (16, 16), (16, C)]
    x = np.maximum((features[0] - probe.mean[0, 0]) @ first.kernel + first.bias, 0)
    x = np.maximum(x @ second.kernel + second.bias, 0) @ third.kernel + third.bias
    found = predict(lone(probe, 0, 0), features[0])
    np.testing.assert_array_equal(found, x.argmax(-1))


tell = jax.jit(jax.vmap(jax.vmap(predict, (0, None))))
ready = jax.jit(standardised, static_argnums=3)
draw = jax.jit(drawn_rows, static_argnums=(2, 3, 4))


def lone(probes, setting, seed):
    return jax.tree.map(lambda leaf: leaf[setting, seed], probes)


def assert_same(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


def assert_close(first, second, **how):
    jax.tree.map(functools.partial(np.testing.assert_allclose, **how), first, second)


class Oracle:
    """The same training in numpy and float64, each gradient by its formula, frame by frame."""

    def __init__(self, features, train, valid, budget, key):
        rows = features[train.rows].astype(float)
        self.mean, self.scale = rows.mean(0), 1 / rows.std(0)
        self.turn = np.eye(D)
        if budget.ridge is not None:
            rows = self.inputs(features[train.rows])
            correlations = rows.T @ rows / len(rows) + budget.ridge * np.eye(D)
            self.turn = np.linalg.inv(np.linalg.cholesky(correlations)).T
        begin = start_layers(jax.random.fold_in(key, 0), D, C, budget)
        self.weights = [np.asarray(part, float) for layer in begin for part in layer]
        first, second = ([0 * w for w in self.weights] for _ in range(2))
        picked = np.linspace(0, len(valid.rows) - 1, budget.checked).round().astype(int)
        evaluations = []
        inputs = self.inputs(features[train.rows])
        drawn = draw(key, 1, budget.steps, budget.batch, len(inputs))
        for step, rows in enumerate(np.asarray(drawn)):
            gradient = self.gradient(*self.frames(inputs[rows], train.labels[rows]))
            rising = round(0.1 * budget.steps)
            share = min((step + 1) / rising, (budget.steps - step) / (budget.steps - rising))
            for i, g in enumerate(gradient):
                first[i] = 0.9 * first[i] + 0.1 * g
                second[i] = 0.999 * second[i] + 0.001 * g**2
                mean = first[i] / (1 - 0.9 ** (step + 1))
                spread = np.sqrt(second[i] / (1 - 0.999 ** (step + 1)))
                self.weights[i] = self.weights[i] - budget.rate * share * mean / (spread + 1e-8)
            if (step + 1) % budget.every == 0:
                checked = self.inputs(features[valid.rows[picked]])
                lost = self.loss(*self.frames(checked, valid.labels[picked]))
                evaluations.append((lost, step + 1, list(self.weights)))
        self.best, self.kept, self.weights = min(evaluations, key=lambda found: found[0])

    def inputs(self, features):
        return (features - self.mean) * self.scale @ self.turn

    @staticmethod
    def frames(inputs, labels):
        """One row for every labelled frame."""
        row, frame = np.nonzero(labels >= 0)
        return inputs[row], labels[row, frame]

    def forward(self, x):
        *hidden, kernel, bias = self.weights
        h = np.maximum(x @ hidden[0] + hidden[1], 0) if hidden else x
        logits = h @ kernel + bias
        p = np.exp(logits - logits.max(1, keepdims=True))
        return h, p / p.sum(1, keepdims=True)

    def loss(self, x, y):
        return -np.log(self.forward(x)[1][np.arange(len(y)), y]).mean()

    def gradient(self, x, y):
        h, p = self.forward(x)
        error = (p - np.eye(C)[y]) / len(y)
        last = [h.T @ error, error.sum(0)]
        if len(self.weights) == 2:
            return last
        back = error @ self.weights[2].T * (h > 0)
        return [x.T @ back, back.sum(0), *last]


@pytest.mark.parametrize("budget", [HIDDEN, LINEAR], ids=["hidden, decorrelated", "linear"])
def test_training_is_adam_on_the_mean_over_labelled_frames_as_numpy_does_it(budget):
    features, train, valid = task()
    probes = trained(features, train, valid, budget)
    told = tell(probes, features)
    assert told.dtype == jnp.int32
    assert (probes.taken == budget.steps).all()
    assert (probes.kept < budget.steps).any()  # the best evaluation is not always the last
    for setting, seed in ((0, 0), (1, 1), (2, 0)):
        probe = lone(probes, setting, seed)
        oracle = Oracle(features[setting], train, valid, budget, KEYS[seed])
        assert int(probe.kept) == oracle.kept
        np.testing.assert_allclose(probe.loss, oracle.best, rtol=1e-4)
        np.testing.assert_allclose(probe.mean, oracle.mean, rtol=1e-5)
        kernel, *others = (part for layer in probe.layers for part in layer)
        wanted, *rest = oracle.weights
        wanted = oracle.scale[:, None] * (oracle.turn @ wanted)
        np.testing.assert_allclose(kernel, wanted, atol=1e-3)
        assert_close(others, rest, atol=1e-3)
        _, shares = oracle.forward(oracle.inputs(features[setting]))
        np.testing.assert_array_equal(told[setting, seed], shares.argmax(1))


@EVERY_WAY
def test_separable_classes_are_learnt_to_the_last_frame(budget, batched):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, C, N)
    features = (40 * np.eye(C, D)[labels] + rng.normal(size=(3, N, D))).astype(np.float32)
    probes = trained(features, *examples(labels), budget, batched)
    np.testing.assert_array_equal(tell(probes, features), np.broadcast_to(labels, (3, 2, N)))


def test_labels_without_meaning_are_told_at_chance():
    rng = np.random.default_rng(2)
    features = rng.normal(size=(3, N, D)).astype(np.float32)
    probes = trained(features, *examples(rng.integers(0, C, N)), HIDDEN)
    others, labels = rng.normal(size=(3, 3000, D)).astype(np.float32), rng.integers(0, C, 3000)
    right = (np.asarray(tell(probes, others)) == labels).mean(-1)
    assert (abs(right - 1 / C) < 4 * np.sqrt((1 / C) * (1 - 1 / C) / 3000)).all()
    assert (probes.loss > 0.9 * np.log(C)).all()


def test_training_stops_when_patience_ends_and_keeps_the_best():
    # To the first setting the labels mean nothing: further steps hurt on other rows. The second
    # tells them, and wavers on its way: who stops there would get better beside one that goes on.
    rng = np.random.default_rng(3)
    labels = rng.integers(0, C, N)
    features = rng.normal(size=(2, N, D)).astype(np.float32)
    features[1] += 2 * np.eye(C, D)[labels]
    train, valid = examples(labels)
    budget = HIDDEN._replace(steps=120, every=2, patience=1, rate=0.2, checked=30)
    keys = jax.random.split(KEYS[0], 8)
    alone, probes = (trained(features, train, valid, budget, way, keys) for way in (False, True))
    assert_same((alone.taken, alone.kept), (probes.taken, probes.kept))
    assert (probes.taken < budget.steps).all() and (probes.kept > 0).all()
    assert (probes.taken - probes.kept == budget.every).all()
    assert len(np.unique(probes.taken[1])) > 2  # each seed stops by itself
    for setting, seed in np.ndindex(2, 8):
        mean, (first, second), loss, *_ = lone(probes, setting, seed)
        hidden = np.maximum((features[setting, VALID] - mean) @ first.kernel + first.bias, 0)
        found = jax.jit(cross_entropy)(hidden @ second.kernel + second.bias, valid.labels)
        np.testing.assert_allclose(found, loss, rtol=1e-4)


def test_a_row_of_three_frames_weighs_as_three_rows_do():
    rng = np.random.default_rng(4)
    logits = rng.normal(size=(7, C)).astype(np.float32)
    labels = rng.integers(-1, C, (7, 3)).astype(np.int32)
    both = jax.jit(jax.value_and_grad(cross_entropy))
    lost, change = both(logits, labels)
    repeated, changes = both(np.repeat(logits, 3, axis=0), labels.reshape(-1, 1))
    np.testing.assert_allclose(lost, repeated, rtol=1e-6)
    np.testing.assert_allclose(change, np.reshape(changes, (7, 3, C)).sum(1), atol=1e-7)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    row, frame = np.nonzero(labels >= 0)
    wanted = -np.log(shares[row, labels[row, frame]]).mean()
    np.testing.assert_allclose(lost, wanted, rtol=1e-6)


def test_frames_without_a_label_change_nothing():
    rng = np.random.default_rng(10)
    logits = rng.normal(size=(7, C)).astype(np.float32)
    labels = rng.integers(0, C, (7, 3)).astype(np.int32)
    both = jax.jit(jax.value_and_grad(cross_entropy))
    lost, change = both(logits, labels)
    lost_, change_ = both(
        np.concatenate([logits, 1000 * logits]),
        np.concatenate([np.pad(labels, ((0, 0), (1, 0)), constant_values=-1), np.full((7, 4), -1)]),
    )
    np.testing.assert_allclose(lost_, lost, rtol=1e-6)
    np.testing.assert_allclose(change_, np.pad(change, ((0, 7), (0, 0))), atol=1e-7)
    none, flat = both(logits, np.full((7, 3), -1))
    assert none == 0 and not np.asarray(flat).any()


@EVERY_WAY
def test_the_same_key_gives_the_same_bits_and_another_key_does_not(budget, batched):
    run = functools.partial(trained, *task(), budget, batched)
    first = run()
    assert_same(first, run())
    kernel = first.layers[0].kernel
    assert kernel.shape == (3, 2, D, budget.hidden or C)
    assert (kernel[:, 0] != kernel[:, 1]).all()
    swapped = run(keys=KEYS[::-1])
    assert_same(lone(first, 1, 0), lone(swapped, 1, 1))


def test_a_probe_does_not_depend_on_its_neighbours():
    features, train, valid = task()
    probes = trained(features, train, valid, LINEAR)
    for setting in range(3):
        probe = train_probe(features[setting], train, valid, C, LINEAR, KEYS[1])
        assert_same(probe, lone(probes, setting, 1))
    one_by_one, together = (trained(features, train, valid, HIDDEN, way) for way in (False, True))
    assert_close(one_by_one, together, rtol=1e-3, atol=1e-4)


@EVERY_WAY
def test_a_setting_that_diverged_says_so_and_spoils_no_other(budget, batched):
    features, train, valid = task()
    wild = features.copy()
    wild[1:] = np.inf
    probes, beside = (trained(x, train, valid, budget, batched) for x in (features, wild))
    assert_same(*(jax.tree.map(lambda leaf: leaf[0], p) for p in (probes, beside)))
    assert (beside.loss[1:] == np.inf).all() and (beside.kept[1:] == 0).all()
    assert (beside.taken[1:] == budget.every * budget.patience).all()
    assert budget.every * budget.patience < budget.steps


@EVERY_WAY
def test_all_settings_draw_the_same_rows(budget, batched):
    features, train, valid = task()
    thrice = np.stack([features[0]] * 3)
    probes = trained(thrice, train, valid, budget, batched)
    for setting in (1, 2):
        assert_same(lone(probes, 0, 1), lone(probes, setting, 1))


def test_rows_are_drawn_by_step_and_cover_all():
    rows, later = (np.asarray(draw(KEYS[0], step, 50, 40, 25)) for step in (1, 31))
    assert rows.shape == (50, 40) and rows.min() == 0 and rows.max() == 24
    np.testing.assert_array_equal(later[:20], rows[30:])
    shares = np.bincount(rows.ravel(), minlength=25) / rows.size
    assert abs(shares - 1 / 25).max() < 5 * np.sqrt(1 / 25 / rows.size)


@pytest.mark.parametrize("ridge", [None, 0.1])
def test_only_training_rows_decide_how_features_are_standardised(ridge):
    features = task()[0][0]
    shifted = features.copy()
    shifted[VALID] *= 100
    here, there = (ready(x, TRAIN, VALID, ridge) for x in (features, shifted))
    assert_same(here._replace(checked=None), there._replace(checked=None))
    both = ready(features, TRAIN, np.concatenate([VALID, TRAIN])[-30:], ridge)
    np.testing.assert_allclose(both.checked, np.asarray(here.train)[-30:], atol=1e-5)


@EVERY_WAY
def test_unit_and_offset_of_a_dimension_do_not_matter(budget, batched):
    features, train, valid = task()
    units = np.float32([1, 2, 1 / 1024, 512, 4, 1 / 8])
    moved = units * features + 3 * units
    probes, others = (trained(x, train, valid, budget, batched) for x in (features, moved))
    np.testing.assert_allclose(probes.loss, others.loss, rtol=1e-3)
    same = np.asarray(tell(probes, features)) == np.asarray(tell(others, moved))
    assert same.mean() > 0.97


@EVERY_WAY
def test_a_dimension_that_does_not_vary_is_never_read(budget, batched):
    features, train, valid = task()
    features[:, :, 2] = np.float32([0, 0.1, -1e4])[:, None]
    probes = trained(features, train, valid, budget, batched)
    assert np.isfinite(probes.loss).all()
    assert (probes.layers[0].kernel[:, :, 2] == 0).all()
    elsewhere = features + 1000 * np.eye(D, dtype=np.float32)[2]
    np.testing.assert_array_equal(tell(probes, features), tell(probes, elsewhere))


def test_decorrelated_inputs_keep_what_rises_above_the_ridge():
    rng = np.random.default_rng(5)
    features = (rng.normal(size=(400, D)) @ rng.normal(size=(D, D)) + 5).astype(np.float32)
    features[:, 5] = features[:, 4] + 1e-4 * rng.normal(size=400)
    rows = np.arange(300)
    ridge = 0.01
    inputs, plain = (ready(features, rows, rows[:7], r) for r in (ridge, None))
    np.testing.assert_allclose(np.mean(plain.train, 0), 0, atol=1e-5)
    np.testing.assert_allclose(np.std(plain.train, 0), 1, rtol=1e-4)
    before = np.linalg.eigvalsh(np.corrcoef(features[:300].T.astype(float)))
    after = np.linalg.eigvalsh(np.asarray(inputs.train, float).T @ inputs.train / 300)
    np.testing.assert_allclose(after, before / (before + ridge), atol=1e-4)
    np.testing.assert_allclose(inputs.checked, np.asarray(inputs.train)[:7], atol=1e-5)
    kernel = rng.normal(size=(D, 3)).astype(np.float32)
    for each in (inputs, plain):
        folded = (features[:300] - each.mean) @ for_features(each, kernel)
        np.testing.assert_allclose(folded, each.train @ kernel, atol=1e-3)


def test_a_small_budget_finds_a_class_in_a_small_direction_only_when_decorrelated():
    rng = np.random.default_rng(6)

    def draw(n):
        large, small = rng.normal(size=(2, 3, n, 1))
        apart = 0.02 * np.sign(small) * np.sign(np.arange(D) - 2.5)
        noise = 0.01 * rng.normal(size=(3, n, D))
        return (large + apart + noise).astype(np.float32), small[..., 0] > 0

    features, labels = draw(N)
    others, wanted = draw(3000)
    right = {}
    for ridge in (None, 1e-4):
        probes = trained(features, *examples(labels[0]), LINEAR._replace(ridge=ridge))
        right[ridge] = (np.asarray(tell(probes, others))[0] == wanted[0]).mean()
    assert right[None] < 0.8 and right[1e-4] > 0.95, right


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": 42}, "multiple of every"),
        ({"patience": 0}, "patience is 0"),
        ({"checked": 0}, "checked is 0"),
        ({"hidden": -1}, "hidden is -1"),
        ({"ridge": 0.0}, "ridge is 0.0"),
        ({"rate": 0.0}, "rate is 0.0"),
    ],
)
def test_a_budget_that_means_nothing_is_refused(change, words):
    features, train, valid = task()
    with pytest.raises(InputError, match=words):
        train_probe(features[0], train, valid, C, HIDDEN._replace(**change), KEYS[0])
