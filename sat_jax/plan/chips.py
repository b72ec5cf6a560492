"""The name of an accelerator in, what its vendor says it can do out.

TPUs: Google's "System architecture" pages (cloud.google.com/tpu/docs/v4, /v5e, /v5p, /v6e). These
give interconnect bandwidth per chip over all ports and both directions (v5e 400 GB/s on 4 ports,
v5p 1200 GB/s on 6, v6e 800 GB/s on 4); `link` is that, divided by ports and by two. For v4 it is
the 50 GB/s per link of Jouppi et al. 2023 (arXiv:2304.01433). Of HBM bandwidth some of these pages
give 819 GB/s for a v5e and 1640 for a v6e, others 800 and 1600: the lower ones stand here.
GPUs: NVIDIA's data sheets of A100 80GB, H100 and H200 (SXM), without sparsity, and of the DGX
machines that they come in: 8 to a host, with one network adapter each (200 or 400 Gbit/s).
"""

from typing import NamedTuple

from sat_jax.errors import InputError

GB = 1e9
GIB = 2**30


class Chip(NamedTuple):
    """One accelerator, at its peak."""

    name: str
    bfloat16: float
    """Matrix products of bfloat16, in floating-point operations per second."""
    float32: float
    """The same of float32 operands as jax computes them by default: on a TPU in one pass of
    bfloat16, on these GPUs as TF32."""
    memory: float
    """Bytes of HBM that a program can have."""
    bandwidth: float
    """Bytes per second to and from HBM."""
    link: float
    """Bytes per second over one link to a neighbour in one direction; on a GPU over NVLink."""
    torus: int = 0
    """Axes of the torus that the chips stand in; 0 for GPUs behind switches."""
    ring: int = 0
    """An axis of the torus is closed where its length is a multiple of this."""
    network: float = 0.0
    """Bytes per second in one direction from one GPU to those of other hosts."""
    host: int = 4
    """Chips of a host."""


def _tpu(name: str, flops: float, memory: float, bandwidth: float, link: float, torus: int) -> Chip:
    ring = 16 if torus == 2 else 4
    return Chip(name, flops, flops, memory, bandwidth, link, torus, ring)


CHIPS: dict[str, Chip] = {
    "v4": _tpu("v4", 275e12, 32 * GIB, 1200 * GB, 50 * GB, 3),
    "v5e": _tpu("v5e", 197e12, 16 * GIB, 800 * GB, 50 * GB, 2),
    "v5p": _tpu("v5p", 459e12, 95 * GIB, 2765 * GB, 100 * GB, 3),
    "v6e": _tpu("v6e", 918e12, 32 * GIB, 1600 * GB, 100 * GB, 2),
    "a100": Chip("a100", 312e12, 156e12, 80 * GB, 2039 * GB, 300 * GB, network=25 * GB, host=8),
    "h100": Chip("h100", 989e12, 494e12, 80 * GB, 3350 * GB, 450 * GB, network=50 * GB, host=8),
    "h200": Chip("h200", 989e12, 494e12, 141 * GB, 4800 * GB, 450 * GB, network=50 * GB, host=8),
}


KINDS = {
    "tpu v4": "v4",
    "tpu v5 lite": "v5e",
    "tpu v5e": "v5e",
    "tpu v5p": "v5p",
    "tpu v5": "v5p",
    "tpu v6 lite": "v6e",
    "tpu v6e": "v6e",
    "a100": "a100",
    "h100": "h100",
    "h200": "h200",
}
"""What jax calls a device, or a part of it, in small letters, to the chip; the first one counts."""


def peak_of(device_kind: str, compute_dtype: str) -> float:
    """Operations a second that a device of jax can do at most; 0 for one that is not known."""
    for part, name in KINDS.items():
        if part in device_kind.lower():
            return getattr(CHIPS[name], compute_dtype)
    return 0.0


def chip_named(name: str) -> Chip:
    """The chip of this name; raises `InputError` that lists the names."""
    if name not in CHIPS:
        raise InputError(f"topology names the chip {name!r}: give one of {', '.join(CHIPS)}")
    return CHIPS[name]
