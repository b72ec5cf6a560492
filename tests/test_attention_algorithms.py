"""Every attention algorithm against plain numpy, and what must not change its numbers."""

import dataclasses

import attention_oracles as oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_model import LENGTHS, MODEL, B, F, R, T, built, start

from sat_jax.config.attention import ATTENTIONS, FREE
from sat_jax.errors import InputError
from sat_jax.model.attention.edit import HeadEdit, whole_edit
from sat_jax.model.attention.hashed import kth_largest
from sat_jax.model.attention.scope import Scope
from sat_jax.model.attention.self_attention import ATTENTION
from sat_jax.model.freeze import freeze_maps
from sat_jax.model.prune import prune_params
from sat_jax.study.export import edit_of
from sat_jax.trace.capture import capture

KEYS, H, K = 4, 4, 4
HASHED = [name for name in FREE if name.startswith("lsh")]
# The hash families differ in what they hash alone, which their oracles check; the handcrafted maps
# from the random ones in how they begin.
FAMILIES = [name for name in FREE if name not in (*HASHED[1:], "q", "syn_handcrafted")]
EVERY_FAMILY = pytest.mark.parametrize("kind", FAMILIES)
MIXING = ("sparse_strided", "sparse_fixed", "syn_dense_shared", "syn_random")


def settings(kind, **changes):
    return ATTENTIONS[kind](**({"keys": KEYS} if kind in HASHED else {}) | changes)


def algorithm(kind, longest=T, heads=H, **changes):
    config = settings(kind, **changes)
    return ATTENTION[type(config)](config, heads, heads, longest)


def projections(module, t, rng):
    return {
        name: jnp.asarray(rng.standard_normal((B, H, t, K)), jnp.float32)
        for name in module.PROJECTIONS
    }


def maps_of(kind, lengths=LENGTHS, t=T, seed=0, **changes):
    """The module, what it was called with, its parameters and its maps."""
    module, rng = algorithm(kind, max(t, 1), **changes), np.random.default_rng(seed)
    x = jnp.asarray(rng.standard_normal((B, t, H * K)), jnp.float32)
    valid = jnp.arange(t)[None] < jnp.asarray(lengths)[:, None]
    given = projections(module, t, rng)

    @jax.jit
    def start_and_run(x, valid, given):
        params = module.init(jax.random.key(1), x, Scope(valid), **given)
        return params, module.apply(params, x, Scope(valid), **given)

    return module, x, given, *start_and_run(x, valid, given)


def expected(kind, x, given, params, length, head, **changes):
    """The map of one head by the oracle, of the valid part of one utterance."""
    config = settings(kind, **changes)
    own = {name: np.asarray(value, np.float64)[head, :length] for name, value in given.items()}
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), dict(params.get("params", {})))
    frame = np.asarray(x, np.float64)[:length]
    seen = oracle.everything(length)
    if kind == "qk":
        return oracle.softmax(own["query"] @ own["key"].T / np.sqrt(K), seen)
    if kind == "syn_dense":
        hidden = np.maximum(frame[:, head * K : (head + 1) * K] @ p["inner"][head], 0)
        return oracle.softmax(hidden @ p["outer"][head][:, :length], seen)
    if kind == "syn_dense_shared":
        hidden = np.maximum(frame @ p["inner"]["kernel"], 0)
        return oracle.softmax(hidden @ p["rows"][:, :length], seen)
    if kind in ("syn_random", "syn_handcrafted"):
        return oracle.softmax(p["maps"][head][:length, :length], seen)
    if kind.startswith("sparse"):
        pattern = oracle.strided if kind == "sparse_strided" else oracle.fixed
        seen = pattern(length, near=head < H // 2)
    if kind in HASHED:
        more = 1 if kind in ("lsh_xbox", "lsh_xbox_qnf", "lsh_simple") else 2
        direction = jax.random.normal(jax.random.key(config.hash_seed), (T, K + more))
        direction = np.asarray(direction, np.float64)
        seen = oracle.hashed(kind, own["query"], direction, config.keys, config.faithful)
    if kind == "routing":
        seen = oracle.routed(own["query"], config.rounds)
    return oracle.softmax(oracle.shared(own["query"]), seen)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [(kind, {}) for kind in FREE] + [(kind, {"faithful": True}) for kind in HASHED],
)
def test_maps_are_those_of_the_formula(kind, changes):
    _, x, given, params, maps = maps_of(kind, **changes)
    assert maps.dtype == jnp.float32
    for b, length in enumerate(LENGTHS):
        own = {name: value[b] for name, value in given.items()}
        for head in range(H):
            found = np.asarray(maps[b, head])
            wanted = expected(kind, x[b], own, params, length, head, **changes)
            np.testing.assert_allclose(found[:length, :length], wanted, atol=2e-6)
            np.testing.assert_allclose(found[:length].sum(-1), 1, atol=1e-5)
            assert not found[:, length:].any()


@pytest.mark.parametrize("kind", MIXING)
@pytest.mark.parametrize("t", [1, 2, 3, 5, 8, 9, 17, 40])
def test_mixtures_without_maps_are_those_of_the_maps(kind, t):
    lengths = [t, max(t - 1, 1), max(t // 2, 1)]
    module, x, given, params, maps = maps_of(kind, lengths, t)
    value = jnp.asarray(np.random.default_rng(5).standard_normal((B, H, t, K)), jnp.float32)
    valid = jnp.arange(t)[None] < jnp.asarray(lengths)[:, None]

    @jax.jit
    def mix(valid):
        return module.apply(params, x, Scope(valid), value, **given, method="mix")

    mixed, inside = mix(valid), np.asarray(valid)[:, None, :, None]
    wanted = np.einsum("bhts,bhsk->bhtk", maps, value)
    np.testing.assert_allclose(np.where(inside, mixed, 0), np.where(inside, wanted, 0), atol=5e-6)


@pytest.mark.parametrize("kind", ["sparse_strided", "sparse_fixed"])
def test_weights_of_keys_that_are_seen_are_dropped(kind):
    t, rate, lengths = 40, 0.25, jnp.array([40, 31])
    rng = np.random.default_rng(0)
    query = jnp.asarray(rng.standard_normal((2, H, t, t)), jnp.float32)
    each = jnp.broadcast_to(jnp.eye(t), query.shape)  # mixtures of these are the maps themselves
    valid = jnp.arange(t)[None] < lengths[:, None]

    mix = jax.jit(
        lambda key, share: algorithm(kind, t).apply(
            {}, None, Scope(valid, rng=key, dropout=share), each, query=query, method="mix"
        ),
        static_argnums=1,
    )
    maps, first, second = (np.asarray(mix(*a)) for a in (
        (None, 0.0), (jax.random.key(0), rate), (jax.random.key(1), rate)
    ))  # fmt: skip
    seen = (maps > 1e-9) & np.asarray(valid)[:, None, :, None]
    for dropped in (first, second):
        gone = seen & (dropped == 0)
        np.testing.assert_allclose(
            dropped[seen & ~gone], maps[seen & ~gone] / (1 - rate), rtol=1e-5
        )
        halves = (slice(0, H // 2), slice(H // 2, H))
        for share in [gone[:, half].sum() / seen[:, half].sum() for half in halves]:
            assert abs(share - rate) < 4 * (rate * (1 - rate) / 500) ** 0.5
    assert ((first == 0) != (second == 0))[seen].mean() > 0.2


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["qk", "sparse_strided", "sparse_fixed"])
def test_a_sparse_training_step_has_no_array_of_all_pairs(kind, dropout):
    t = 97
    changes = {"attention": settings(kind), "dropout": dropout}
    front = dataclasses.replace(MODEL.frontend, max_positions=t)
    model = built(dataclasses.replace(MODEL, frontend=front, **changes))
    x, valid = jnp.zeros((2, t, R * F)), jnp.ones((2, t), bool)
    params = jax.eval_shape(lambda: start(model))

    def loss(params, key):
        return model.apply({"params": params}, x, valid, key=key).sum()

    program = str(jax.make_jaxpr(jax.grad(loss))(params, jax.random.key(0)))
    assert (f"{t},{t}]" in program) == (kind == "qk")


@pytest.mark.parametrize("kind", HASHED)
def test_as_many_keys_as_positions_are_full_attention(kind):
    *_, maps = maps_of(kind, keys=T)
    *_, full = maps_of("q")
    np.testing.assert_allclose(maps, full, atol=1e-7)


def test_of_equal_scores_the_first_keys_are_kept():
    module = algorithm("lsh_xbox")
    same = jnp.ones((1, H, T, K))
    maps = module.apply({}, same, Scope(jnp.ones((1, T), bool)), query=same)
    assert (np.asarray(maps[..., :KEYS]) == 1 / KEYS).all()
    assert not maps[..., KEYS:].any()


@pytest.mark.parametrize("kind", [*HASHED, "routing"])
def test_no_gradient_flows_through_the_choice(kind):
    module, x, given, params, maps = maps_of(kind)
    valid = jnp.arange(T)[None] < jnp.asarray(LENGTHS)[:, None]
    seen = maps > 0

    def through(query, chosen):
        if chosen is None:
            found = module.apply(params, x, Scope(valid), query=query)
        else:
            logits = jnp.einsum("bhtk,bhsk->bhts", query, query) / K**0.5
            found = jax.nn.softmax(jnp.where(chosen, logits, -1e30), -1)
        return jnp.where(seen, found, 0).var()

    gradient = jax.grad(through)(given["query"], None)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient, jax.grad(through)(given["query"], seen), atol=1e-7)


def test_hash_directions_come_from_a_key():
    module, x, given, params, maps = maps_of("lsh_xbox")
    valid = jnp.arange(T)[None] < jnp.asarray(LENGTHS)[:, None]

    def again(rng):
        return module.apply(params, x, Scope(valid, rng=rng), **given)

    np.testing.assert_array_equal(again(None), maps)
    other = again(jax.random.key(7))
    np.testing.assert_array_equal(other, again(jax.random.key(7)))
    assert ((other > 0) != (maps > 0)).any()


def whole(kind, **changes):
    model = built(dataclasses.replace(MODEL, attention=settings(kind), dropout=0.0, **changes))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((B, T, F * R)), jnp.float32)
    return model, start(model), x, jnp.arange(T)[None] < LENGTHS[:, None]


PRUNED = ((1,), (0, 2, 3))


@EVERY_FAMILY
def test_pruned_heads_are_masked_heads(kind):
    model, params, x, valid = whole(kind)
    small = dataclasses.replace(model.config, pruned_heads=PRUNED)
    pruned = prune_params(params, model.config, small)
    ours = jax.jit(model.clone(config=small).apply)({"params": pruned}, x, valid)
    masked = jax.jit(model.apply)({"params": params}, x, valid, edit_of(small))
    np.testing.assert_allclose(ours[valid], masked[valid], atol=2e-5)


@EVERY_FAMILY
def test_gates_spans_and_replaced_maps_act_on_what_is_sown(kind):
    model, params, x, valid = whole(kind)
    gate = jnp.array([[1.0, 0, 1, 1], [0, 1, 1, 0]])
    span = jnp.array([[3, 50, 0, 2], [50, 1, 50, 50]])
    swap = jnp.array([[True, False, False, False], [False] * 4])
    maps = jnp.broadcast_to(jax.nn.softmax(-jnp.arange(T) / 3.0), (2, H, T, T))

    @jax.jit
    def outputs(edit):
        plain = model.apply({"params": params}, x, valid, edit)
        traced, sown = model.apply({"params": params}, x, valid, edit, mutable=["trace"])
        return plain, traced, sown["trace"]["encoder"]["layer_0"]["attention"]["probs"][0]

    own = jax.jit(lambda params: capture(model, params, x, valid).probs[0])(params)
    for edit in (HeadEdit(gate), HeadEdit(gate, span), HeadEdit(gate, span, swap, maps)):
        plain, traced, probs = outputs(edit)
        np.testing.assert_allclose(plain[valid], traced[valid], atol=1e-5)
        # What is sown is the algorithm's own, before span and gate.
        np.testing.assert_allclose(probs, own, atol=1e-6)


@EVERY_FAMILY
def test_padding_batches_and_scanning_change_nothing(kind):
    model, params, x, valid = whole(kind)
    run = jax.jit(lambda p, x, valid: model.apply({"params": p}, x, valid))
    together = run(params, x, valid)
    alone = run(params, x[1:2, : LENGTHS[1]], valid[1:2, : LENGTHS[1]])
    np.testing.assert_allclose(together[1, : LENGTHS[1]], alone[0], atol=1e-5)
    scanned, stacked, *_ = whole(kind, scan_layers=True)
    again = jax.jit(scanned.apply)({"params": stacked}, x, valid)
    np.testing.assert_allclose(again[valid], together[valid], atol=1e-5)


@EVERY_FAMILY
def test_gradients_are_finite_and_the_same_with_and_without_maps(kind):
    model, params, x, valid = whole(kind)

    def loss(params, traced):
        output = (
            capture(model, params, x, valid).output
            if traced
            else model.apply({"params": params}, x, valid)
        )
        return jnp.sum(jnp.where(valid[..., None], output, 0) ** 2)

    plain, traced = (jax.jit(jax.grad(loss), static_argnums=1)(params, t) for t in (False, True))
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(traced), strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, atol=2e-4 * max(1, float(np.abs(b).max())))


@pytest.mark.parametrize("kind", ["syn_random", "syn_handcrafted"])
def test_frozen_maps_give_the_same_outputs_without_a_softmax(kind):
    model, params, x, valid = whole(kind)
    ready, frozen = freeze_maps(model, params)
    before = jax.jit(model.apply)({"params": params}, x, valid)
    forward = jax.jit(ready.apply).lower({"params": frozen}, x, valid)
    np.testing.assert_allclose(forward.compile()({"params": frozen}, x, valid)[valid],
                               before[valid], atol=1e-5)  # fmt: skip
    assert "exponential" not in forward.as_text()
    assert "exponential" in jax.jit(model.apply).lower({"params": params}, x, valid).as_text()
    maps = capture(ready, frozen, x, valid).probs[0]
    np.testing.assert_allclose(maps, capture(model, params, x, valid).probs[0], atol=1e-6)
    with pytest.raises(InputError, match="cannot be frozen"):
        freeze_maps(ready, frozen)


@pytest.mark.parametrize("kind", ["sparse_strided", "sparse_fixed"])
def test_an_odd_number_of_heads_has_no_halves(kind):
    module, scope = algorithm(kind, heads=3), Scope(jnp.ones((1, 4), bool))
    query, x = jnp.zeros((1, 3, 4, K)), jnp.zeros((1, 4, 3 * K))
    with pytest.raises(InputError, match=rf"{kind} gives each half .* model\.heads is 3: give an"):
        module.init(jax.random.key(0), x, scope, query=query)


@pytest.mark.parametrize("kind", ["syn_dense", "syn_dense_shared", "syn_random", "syn_handcrafted"])
def test_an_input_longer_than_the_maps_is_one_line(kind):
    with pytest.raises(InputError, match=r"14 positions are over .* cover 9: crop .*positions"):
        maps_of(kind, positions=9)


@EVERY_FAMILY
def test_edits_of_all_heads_leave_only_the_bias(kind):
    model, params, x, valid = whole(kind)
    none = whole_edit(2, H, jnp.zeros((2, H)))
    small = dataclasses.replace(model.config, pruned_heads=(tuple(range(H)),) * 2)
    pruned = prune_params(params, model.config, small)
    bare = jax.jit(model.clone(config=small).apply)({"params": pruned}, x, valid)
    masked = jax.jit(model.apply)({"params": params}, x, valid, none)
    np.testing.assert_allclose(bare[valid], masked[valid], atol=1e-5)


@pytest.mark.parametrize("k", [1, 3, 7])
def test_the_kth_largest_is_that_of_a_sorted_row(k):
    x = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    x[0, :3], x[1], x[2, ::2], x[3] = -np.inf, 0.0, -0.0, np.round(x[3])
    expected = np.sort(x, axis=-1)[:, [-k]]
    np.testing.assert_array_equal(kth_largest(jnp.asarray(x), k), expected)
