"""Hashed rows the long way: Python's own integers for the hashes, dense algebra for personalised PageRank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WORD = 2**64


def mixed(word: int) -> int:
    """One step of SplitMix64."""
    z = (word + 0x9E3779B97F4A7C15) % _WORD
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % _WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % _WORD
    return z ^ (z >> 31)


def word_of(node_key: int, seed: int) -> int:
    """The hash of a node."""
    return mixed(node_key ^ mixed(seed))


def places_of(word: int, columns: int, dim: int) -> list[tuple[int, int]]:
    """The columns that a node's score is added to, with their signs."""
    cells = [mixed((word + column) % _WORD) for column in range(columns)]
    return [((cell >> 32) * dim >> 32, 1 if cell & 1 else -1) for cell in cells]


@dataclass(frozen=True)
class Bounded:
    """Rows, and how far entries may be off; (n, dim) float64 each."""

    rows: NDArray[np.float64]
    slack: NDArray[np.float64]


def bounded_rows(
    exact: NDArray[np.float64],
    bar: NDArray[np.float64],
    keys: list[int],
    seed: int,
    columns: int,
    dim: int,
    *,
    below: NDArray[np.float64],
    above: NDArray[np.float64] | float = 0.0,
) -> Bounded:
    """What hashed rows are, of estimates p of scores π with -above <= π - p <= below and entries p > bar only.

    Of π > bar + below, p > bar: the entry is there, and its logarithm between those of π - below and π + above. Of
    π <= bar - above it is not. Between, it may be or not.

    Parameters
    ----------
    exact : (n, n), row u the scores of source u. bar, below, above : (n,) or (n, n).
    """
    nodes = len(keys)
    lowest, logs, highest = (
        np.maximum(np.log(np.maximum(nodes * (exact + error), 1e-300)), 0.0) for error in (-below, 0.0, above)
    )
    edge = 1e-9  # what the dense solution itself may be off
    is_out = exact <= (bar - above) * (1 - edge) - edge * 1e-3
    is_in = exact > (bar + below) * (1 + edge) + edge * 1e-3
    value = np.where(is_out, 0.0, logs)
    slack = np.where(is_out, 0.0, np.where(is_in, np.maximum(logs - lowest, highest - logs), highest)) + 1e-7
    places, size = np.zeros((nodes, dim)), np.zeros((nodes, dim))
    for node, key in enumerate(keys):
        for place, sign in places_of(word_of(key, seed), columns, dim):
            places[node, place] += sign
            size[node, place] += 1.0
    return Bounded(value @ places / np.sqrt(columns), slack @ size / np.sqrt(columns))
