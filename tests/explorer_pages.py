"""An explorer's page as Python sees it: its data, and the maps that its bytes hold."""

import base64
import json
import re
import zlib

import numpy as np

from sat_jax.explorer.pack import DECADES


def read_page(path):
    """Data and named bytes of a page."""
    text = path.read_text()
    data = re.search(r'id="data">(.*?)</script>', text, re.DOTALL).group(1)
    blobs = re.findall(r'id="blob-([^"]+)">([^<]*)<', text)
    return json.loads(data), {name: base64.b64decode(content) for name, content in blobs}


def codes_on_page(data, blobs, model, utterance):
    """Codes of all heads (N, side, side), zeros for pruned ones."""
    maps = next(m for m in data["maps"] if (m["model"], m["utterance"]) == (model, utterance))
    side = -(-maps["positions"] // maps["factor"])
    found, start = [], 0
    for end in maps["ends"]:
        chunk = blobs[maps["blob"]][start:end]
        found.append(inflated(chunk, side) if chunk else np.zeros((side, side), np.uint8))
        start = -(-end // 3) * 3
    return np.stack(found)


def probs_of(codes: np.ndarray) -> np.ndarray:
    """The probabilities that codes stand for, float32; the inverse of `codes_of`."""
    powers = 10 ** (DECADES * ((np.asarray(codes, np.float32) - 1) / 254 - 1))
    return np.where(codes == 0, 0.0, powers).astype(np.float32)


def inflated(chunk: bytes, side: int) -> np.ndarray:
    """Codes (side, side) of a chunk."""
    return np.frombuffer(zlib.decompress(chunk, -15), np.uint8).reshape(side, side)
