"""The values of a `config.json` that an older version wrote in, as this version writes them out."""

from typing import Any

from sat_jax.config.model import Model

FRONTEND = {
    "stack": "stack",
    "max_positions": "max_positions",
    "position_base": "position_base",
    "input_init_std": "init_std",
}
ATTENTION = {"tied_query_key": "tied", "query_key_init_scale": "init_scale"}
"""Fields that stood in the model, and what they are called in its front end and attention."""


def updated(values: Any) -> Any:
    """JSON values of a config with every field where it stands now; others are left as they are."""
    if not isinstance(values, dict) or not isinstance(values.get("model"), dict):
        return values
    model = dict(values["model"])
    frontend = {new: model.pop(old) for old, new in FRONTEND.items() if old in model}
    attention = {new: model.pop(old) for old, new in ATTENTION.items() if old in model}
    if isinstance(model.get("attention"), str):
        attention = {"kind": model.pop("attention"), **attention}
    for name, fields in (("frontend", frontend), ("attention", attention)):
        if fields:
            model[name] = {**fields, **model.get(name, {})}
    kept = model.pop("kept", ())
    if kept:
        heads = range(model.get("heads", Model.heads))
        model["pruned_heads"] = [[h for h in heads if h not in layer] for layer in kept]
    if type(model.get("remat")) is bool:
        model["remat"] = "layers" if model["remat"] else "none"
    if "spans" in model:
        model["spans"] = [[None if n == -1 else n for n in layer] for layer in model["spans"]]
    return {**values, "model": model}
