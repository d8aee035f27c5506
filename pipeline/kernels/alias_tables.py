"""Draw a neighbour by weight in constant time."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, kernel, read_only


class AliasTables(NamedTuple):
    """For each entry of a row: take its own node with chance ``accept``, else ``other``; (nnz,) each."""

    accept: In[np.float32]
    other: In[np.int32]


def alias_tables(indptr: NDArray[np.int64], indices: NDArray[np.int32], weights: NDArray[np.float32]) -> AliasTables:
    """Alias tables of each row: pick an entry uniformly, then take its own node with chance ``accept``, else ``other``.

    Parameters
    ----------
    indptr, indices, weights : rows of a checked adjacency; weights above 0.

    Returns
    -------
    accept (nnz,) float32 in [0, 1], other (nnz,) int32 node. An entry's chance is right to 2**-24 / row length
    for each entry that mentions it.

    Source
    ------
    Vose, "A linear algorithm for generating random numbers with a given distribution", IEEE TSE 1991.
    """
    accept = np.empty(indices.size, np.float32)
    other = np.empty(indices.size, np.int32)
    longest = int(np.diff(indptr).max(initial=0))
    _fill(indptr, indices, weights, np.empty(longest), np.empty(longest, np.int64), accept, other)
    return read_only(AliasTables(accept, other))


@kernel
def _fill(
    indptr: In[np.int64],
    indices: In[np.int32],
    weights: In[np.float32],
    height: Out[np.float64],
    order: Out[np.int64],
    accept: Out[np.float32],
    other: Out[np.int32],
) -> None:
    for row in range(indptr.size - 1):
        begin, count = indptr[row], indptr[row + 1] - indptr[row]
        total = 0.0
        for i in range(count):
            total += np.float64(weights[begin + i])
        # Low entries from the front of `order`, high ones from its end.
        low, high = 0, count
        for i in range(count):
            height[i] = np.float64(weights[begin + i]) * count / total
            if height[i] < 1.0:
                order[low] = i
                low += 1
        for i in range(count - 1, -1, -1):
            if height[i] >= 1.0:
                high -= 1
                order[high] = i
        at = 0
        while at < low and high < count:
            short, tall = order[at], order[high]
            accept[begin + short] = height[short]
            other[begin + short] = indices[begin + tall]
            height[tall] -= 1.0 - height[short]
            at += 1
            if height[tall] < 1.0:
                # It has become low, and stands right behind the low ones already if none are left of the high.
                order[low] = tall
                low += 1
                high += 1
        # What rounding has left over on either side is full.
        for place in range(at, low):
            accept[begin + order[place]] = 1.0
            other[begin + order[place]] = indices[begin + order[place]]
        for place in range(high, count):
            accept[begin + order[place]] = 1.0
            other[begin + order[place]] = indices[begin + order[place]]
