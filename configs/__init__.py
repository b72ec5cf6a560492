"""Experiments: one short file each, `CONFIG` is the experiment; all of them at once by name."""

import importlib
import pkgutil

from sat_jax.config import Config


def experiments() -> dict[str, tuple[str, Config]]:
    """Name to (description, config) of every file in this folder, in the order of the names."""
    found = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda m: m.name):
        experiment = importlib.import_module(f"configs.{module.name}")
        found[module.name] = (experiment.__doc__.strip(), experiment.CONFIG)
    return found
