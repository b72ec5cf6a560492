"""Momentum of matrices in, matrices with equal singular values out, many of them at a time.

Muon (Jordan et al. 2024) replaces the momentum of a weight matrix by the nearest orthogonal matrix,
found by a few Newton-Schulz steps. For small matrices on a CPU these cost as much as the gradients
themselves. So matrices of one shape are stacked, each device takes its share of the stack, and the
first step is preconditioned (Boissin et al. 2025, arXiv:2512.04632), which saves one or two others.
"""

from collections import defaultdict
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh as DeviceMesh
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic step x -> (a + b xx' + c (xx')^2) x (Jordan et al. 2024)."""
TINY = 1e-8


def orthogonalised_updates(
    steps: int, rms: float, mesh: DeviceMesh | None = None
) -> optax.GradientTransformation:
    """Updates (..., m, n) made orthogonal, scaled to a root mean square of about `rms`.

    Axes before the last two count matrices. On a `mesh` the matrices are shared out over all of its
    devices; how many those are changes nothing but rounding.
    """

    def update(updates: Any, _: Any = None) -> Any:
        leaves, tree = jax.tree.flatten(updates)
        groups = defaultdict(list)
        for place, leaf in enumerate(leaves):
            groups[tuple(sorted(leaf.shape[-2:]))].append(place)
        for shape, places in groups.items():
            stacks = [wide(leaves[place]).reshape(-1, *shape) for place in places]
            found = orthogonalised(shared_out(jnp.concatenate(stacks), mesh), steps)
            # The mean square of an orthogonal matrix (m, n), m <= n, is 1 / n.
            found = whole(found * (rms * shape[1] ** 0.5), mesh)
            first = 0
            for place, stack in zip(places, stacks, strict=True):
                part, first = found[first : first + len(stack)], first + len(stack)
                leaf = leaves[place]
                leaves[place] = back(part, leaf.shape)
        return jax.tree.unflatten(tree, leaves)

    return optax.stateless(update)


def orthogonalised(matrices: jax.Array, steps: int) -> jax.Array:
    """Matrices (N, m, n), m <= n, with all singular values brought close to 1; zeros stay zeros."""
    a, b, c = COEFFICIENTS

    def step(x: jax.Array, gram: jax.Array) -> jax.Array:
        return a * x + (b * gram + c * (gram @ gram)) @ x

    gram = matrices @ matrices.mT
    # Rows scaled so that no singular value is over 1, closer to 1 than the Frobenius norm brings
    # them (arXiv:2512.04632, eq. 9).
    scale = jax.lax.rsqrt(jnp.abs(gram).sum(-1) + TINY**2)
    x = step(scale[..., None] * matrices, scale[..., None] * gram * scale[..., None, :])
    for _ in range(steps - 1):
        x = step(x, x @ x.mT)
    return x


def wide(matrices: jax.Array) -> jax.Array:
    """Matrices (..., m, n) with the shorter axis first."""
    return matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT


def back(stack: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The inverse of `wide` and of stacking, for matrices of `shape`."""
    if shape[-2] <= shape[-1]:
        return stack.reshape(shape)
    return stack.reshape(*shape[:-2], shape[-1], shape[-2]).mT


def shared_out(stack: jax.Array, mesh: DeviceMesh | None) -> jax.Array:
    """A stack (N, m, n) split over as many devices as divide N."""
    if mesh is None:
        return stack
    axes: tuple[str, ...] = ()
    devices = 1
    for name, size in mesh.shape.items():
        if len(stack) % (devices * size) == 0:
            axes, devices = (*axes, name), devices * size
    return jax.lax.with_sharding_constraint(stack, NamedSharding(mesh, P(axes or None)))


def whole(stack: jax.Array, mesh: DeviceMesh | None) -> jax.Array:
    """The stack on every device."""
    if mesh is None:
        return stack
    return jax.lax.with_sharding_constraint(stack, NamedSharding(mesh, P()))
