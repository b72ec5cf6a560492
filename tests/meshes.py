"""Meshes of some of the eight virtual devices: less to compile and to wait for than for all."""

import jax


def mesh_of(count):
    """Data parallel over the first devices."""
    return jax.make_mesh(
        (count, 1, 1),
        ("data", "fsdp", "model"),
        axis_types=(jax.sharding.AxisType.Auto,) * 3,
        devices=jax.devices()[:count],
    )
