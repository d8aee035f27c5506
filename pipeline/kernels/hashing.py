"""Randomness as a function of what it is for: hashes of node keys, the same in any part on any day."""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, OutMatrix, kernel

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_30 = np.uint64(30)
_SHIFT_27 = np.uint64(27)
_SHIFT_31 = np.uint64(31)


@kernel
def mix(word: np.uint64) -> np.uint64:
    """One step of SplitMix64, for use inside kernels; a bijection of 64-bit words."""
    z = word + _GAMMA
    z = (z ^ (z >> _SHIFT_30)) * _MIX_1
    z = (z ^ (z >> _SHIFT_27)) * _MIX_2
    return z ^ (z >> _SHIFT_31)


def splitmix64(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The output of the generator SplitMix64 whose state is each word; any shape, same shape.

    Source: Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    states = _as_words(words)
    outputs = np.empty(states.size, np.uint64)
    _mix_all(states.reshape(-1), outputs)
    return outputs.reshape(states.shape)


def hash_nodes(node_key: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """One independent 64-bit word per node; (n,) uint64 -> (n,) uint64.

    Raises ValueError for a seed outside 0 <= seed < 2**64, as do the other hashes.
    """
    return splitmix64(_as_words(node_key) ^ mixed_seed(seed))


def order_of_hashes(node_key: NDArray[np.uint64], seed: int) -> NDArray[np.int64]:
    """Return what sorts nodes by their hashes, ties by place."""
    hashes = hash_nodes(node_key, seed)
    order = np.argsort(hashes)  # four times as fast as a stable sort
    sorted_hashes = hashes[order]
    return np.argsort(hashes, kind="stable") if (sorted_hashes[1:] == sorted_hashes[:-1]).any() else order


def hash_cells(node_key: NDArray[np.uint64], dim: int, seed: int) -> NDArray[np.uint64]:
    """One independent 64-bit word per (node, column); (n,) uint64 -> (n, dim) uint64.

    Keyed by the node's own key, so any part, on any day, draws the same row for a node, and all
    their embeddings share one space without any exchange or alignment.
    """
    # Mix the row before adding the column: with plain addition, row i + 1 would be
    # row i shifted by one column.
    rows = hash_nodes(node_key, seed)
    cells = np.empty((len(rows), dim), np.uint64)
    _mix_cells(rows, cells)
    return cells


def hash_pairs(left: NDArray[np.uint64], right: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """One independent 64-bit word per ordered pair of node keys; two (n,) uint64 -> (n,) uint64.

    (left, right) and (right, left) get different words. Used to choose hold-out pairs and negatives.
    """
    if len(left) != len(right):
        raise ValueError(f"left has {len(left)} keys and right {len(right)}; pairs need equally many")
    return splitmix64(hash_nodes(left, seed) ^ _as_words(right))


def mixed_seed(seed: int) -> np.uint64:
    """The seed spread over all 64 bits, so that seeds 0 and 1 have nothing in common."""
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed is {seed}; it must be at least 0 and below 2**64")
    return np.uint64(mix(np.uint64(seed)))


def _as_words(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Contiguous, and refused if converting would change a key (int64 keys are bits: view them)."""
    if words.dtype != np.uint64:
        raise TypeError(f"keys are {words.dtype}; they must be uint64 (int64 bits: keys.view(np.uint64))")
    return np.ascontiguousarray(words)


@kernel
def _mix_all(states: In[np.uint64], outputs: Out[np.uint64]) -> None:
    for i in range(len(states)):
        outputs[i] = mix(states[i])


@kernel
def _mix_cells(rows: In[np.uint64], cells: OutMatrix[np.uint64]) -> None:
    for i in range(len(rows)):
        for col in range(cells.shape[1]):
            cells[i, col] = mix(rows[i] + np.uint64(col))
