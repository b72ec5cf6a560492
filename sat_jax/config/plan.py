"""Settings of a plan: what is compiled for, beside the run that is planned."""

from dataclasses import dataclass
from pathlib import Path

from sat_jax.config.train import Config


@dataclass(frozen=True)
class Plan(Config):
    """A pretraining experiment on devices that are not here."""

    topology: str = "v5e:4x4"
    """Chips and their shape: v5e:4x4, v5p:2x2x2, v6e:16x16, h100:64, cpu:8."""
    price: float = 0.0
    """What a chip costs per hour, in any currency; 0 leaves costs out."""
    json: Path | None = None
    """Also write everything that is found into this file."""
