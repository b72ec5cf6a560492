"""Settings as they stand in somebody else's checkpoint in, plain dicts and lists out."""

from collections.abc import Mapping
from typing import Any

from sat_jax.model.convert.restricted import Inert

DEEPEST = 32
"""Settings within settings; what lies deeper is left out."""


def plain(value: Any, depth: int = 0) -> Any:
    """Settings as dicts and lists: of omegaconf's nodes, namespaces and members of an Enum."""
    if depth > DEEPEST:
        return None
    if isinstance(value, Inert):
        fields = vars(value)
        for content in ("_content", "_val"):
            if content in fields:
                return plain(fields[content], depth + 1)
        if fields.get("arguments"):
            return plain(fields["arguments"][0], depth + 1)
        value = {k: v for k, v in fields.items() if k != "arguments" and not k.startswith("_")}
    if isinstance(value, Mapping):
        return {str(key): plain(each, depth + 1) for key, each in value.items()}
    return [plain(each, depth + 1) for each in value] if isinstance(value, list) else value
