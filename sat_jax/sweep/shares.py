"""Settings and a number of processes in, which settings each process computes out.

Shares are stretches of the order in which the trie is walked, so that two of them have in common
only the nodes above the cut between them: at most one less than there are layers.
"""

import itertools

import numpy as np

from sat_jax.sweep.trie import Settings, as_rows


def fresh_nodes(settings: Settings) -> np.ndarray:
    """Nodes (G,) that each setting needs beside those of the one before it.

    Settings as `distinct` gives them; the sum is the number of nodes of their trie.
    """
    rows = as_rows(settings)
    count, layers, _ = rows.shape
    differs = np.ones((count, layers), bool)
    if count:
        differs[1:] = (rows[1:] != rows[:-1]).any(-1)
    return layers - differs.argmax(1)


def shares(settings: Settings, processes: int, leaf: float = 0.0) -> list[slice]:
    """One slice of the settings for each process, in their order; every setting is in one.

    The largest share is as small as it can be, in nodes, plus `leaf` for every setting: what it
    costs to finish one, as a part of a node. Settings as `distinct` gives them.
    """
    fresh = fresh_nodes(settings)
    layers = settings.gate.shape[1]
    whole = np.concatenate([[0.0], np.cumsum(fresh + leaf)])

    def ends(most: float) -> list[int]:
        # A share begins at the root, whatever its first setting has in common with others.
        found, first = [], 0
        while first < len(fresh):
            room = whole[first] + most - (layers - fresh[first])
            last = int(np.searchsorted(whole, room, side="right")) - 1
            found.append(max(last, first + 1))
            first = found[-1]
        return found

    low, high = 0.0, float(whole[-1]) + layers
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if len(ends(middle)) <= processes else (middle, high)
    edges = [0, *ends(high)]
    edges += [len(fresh)] * (processes + 1 - len(edges))
    return [slice(a, b) for a, b in itertools.pairwise(edges)]
