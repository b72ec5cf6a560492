"""sat_jax: pretrain a self-supervised audio transformer, then see and measure its attention heads.

What is listed in `__all__` is the public interface, see docs/api.md. Names are imported when they
are first asked for, so that importing the package is quick and needs no jax.
"""

import importlib
from typing import Any

_HOME = {
    "load": "sat_jax.study.loaded_model",
    "trace_audio": "sat_jax.study.loaded_model",
    "capture": "sat_jax.trace.capture",
    "Trace": "sat_jax.trace.capture",
    "HeadEdit": "sat_jax.model.attention.edit",
    "build_model": "sat_jax.model.build",
    "init_params": "sat_jax.model.build",
    "spec_of": "sat_jax.model.build",
    "Spec": "sat_jax.model.build",
    "freeze_maps": "sat_jax.model.freeze",
    "Grid": "sat_jax.grid",
    "Config": "sat_jax.config",
    "InputError": "sat_jax.errors",
    "measure_heads": "sat_jax.analysis.head_metrics",
    "summarise_maps": "sat_jax.study.any_maps",
    "relate_phones": "sat_jax.study.any_maps",
    "save_figures": "sat_jax.study.any_maps",
    "sweep": "sat_jax.sweep.trie",
    "make_settings": "sat_jax.sweep.trie",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sat_jax' has no attribute {name!r}; it has {__all__}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
