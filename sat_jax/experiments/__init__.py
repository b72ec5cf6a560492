"""Experiments: one short file each, `CONFIG` is the experiment; all of them at once by name.

Beside those here, every file of a folder `experiments` in the working directory is one.
"""

import importlib.util
from pathlib import Path

from sat_jax.config import Config
from sat_jax.errors import InputError

OWN = Path("experiments")
"""Where the user's own experiments lie."""


def experiments() -> dict[str, tuple[str, Config]]:
    """Name to (description, config) of every experiment, in the order of the names.

    A file of the user's goes before one of the package with its name. Raises `InputError` that
    names the file where it cannot be read, or holds no `CONFIG`.
    """
    paths = {path.stem: path for path in Path(__file__).parent.glob("[!_]*.py")}
    paths |= {path.stem: path for path in OWN.glob("[!_]*.py")}
    return {name: _read(path) for name, path in sorted(paths.items())}


def _read(path: Path) -> tuple[str, Config]:
    if path.parent == Path(__file__).parent:
        module = importlib.import_module(f"{__name__}.{path.stem}")
        return module.__doc__.strip(), module.CONFIG
    spec = importlib.util.spec_from_file_location(f"experiments.{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.CONFIG
    except Exception as error:
        raise InputError(
            f"{path}: is not an experiment ({type(error).__name__}: {error}); give a Python file "
            "with CONFIG = sat_jax.config.Config(...)"
        ) from error
    if not isinstance(config, Config):
        raise InputError(f"{path}: CONFIG is {config!r}; give a sat_jax.config.Config")
    return (module.__doc__ or path.stem).strip(), config
