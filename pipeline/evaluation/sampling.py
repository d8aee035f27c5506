"""Choose nodes by their keys: the same ones on any day, part, worker or numbering."""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.hashing import hash_nodes


def sample_by_key(node_key: NDArray[np.uint64], size: int | None, seed: int) -> NDArray[np.int64]:
    """Positions, ascending, of the ``size`` nodes whose hashes of (seed, key) are smallest.

    A smaller sample is part of a larger one of the same seed, and a node enters or leaves it only
    when the nodes around it in hash order do: samples of consecutive nights overlap almost wholly.

    Parameters
    ----------
    node_key : (n,) uint64. Equal hashes go by position.
    size : nodes wanted, at least 1; None, or where n is not larger: all.
    seed : any non-negative integer below 2**64.
    """
    if size is not None and size < 1:
        raise ValueError(f"the sample size is {size}; it must be at least 1")
    if size is None or size >= node_key.size:
        return np.arange(node_key.size, dtype=np.int64)
    return np.sort(np.argsort(hash_nodes(node_key, seed), kind="stable")[:size]).astype(np.int64, copy=False)


class KeySample:
    """The sample that :func:`sample_by_key` draws, of keys that come a batch at a time."""

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seed, self._count = size, seed, 0
        self._hashes, self._positions = np.empty(0, np.uint64), np.empty(0, np.int64)

    def add(self, node_key: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Look at the keys that follow; return the positions, ascending, of those that may be in the sample."""
        of_batch = hash_nodes(node_key, self._seed)
        is_full = self._hashes.size == self._size
        near = np.flatnonzero(of_batch < self._hashes[-1]) if is_full else np.arange(node_key.size)
        hashes = np.concatenate((self._hashes, of_batch[near]))
        positions = np.concatenate((self._positions, self._count + near))
        self._count += node_key.size
        # Those chosen before come first, and a stable sort leaves them before equal ones that follow.
        order = np.argsort(hashes, kind="stable")[: self._size]
        self._hashes, self._positions = hashes[order], positions[order]
        return near

    @property
    def positions(self) -> NDArray[np.int64]:
        """Return the positions of the sample among all keys, ascending."""
        return np.sort(self._positions)
