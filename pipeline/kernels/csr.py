"""A sparse matrix by rows, as kernels take it."""

from typing import NamedTuple

import numpy as np
from numba import extending, types
from numpy.typing import NDArray

from pipeline.kernels.array_types import In


class Csr(NamedTuple):
    """A sparse matrix by rows: row i has the entries ``indptr[i] <= e < indptr[i + 1]``."""

    indptr: In[np.int64]  # (rows + 1,), not decreasing
    indices: In[np.int32]  # (entries,) column of each entry
    weights: In[np.float32] | None  # (entries,), or None where every weight is 1


def entries_of_rows(indptr: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the entries of these rows begin, one row after the other, and which ones they are."""
    counts = indptr[rows + 1] - indptr[rows]
    begins = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return begins, np.repeat(indptr[rows] - begins[:-1], counts) + np.arange(begins[-1])


def weight_of(weights: In[np.float32] | None, entry: int) -> float:
    """Weight of an entry as a float64: 1 where there are no weights; in a kernel, a constant then."""
    return 1.0 if weights is None else float(weights[entry])


@extending.overload(weight_of)
def _weight_of(weights, entry):  # type: ignore[no-untyped-def] # noqa: ARG001
    if isinstance(weights, types.NoneType):
        return lambda weights, entry: 1.0  # noqa: ARG005
    return lambda weights, entry: np.float64(weights[entry])


def size_of(weights: In[np.float32] | None, begin: int, end: int) -> float:
    """Sum of the absolute weights of some entries."""
    return float(end - begin) if weights is None else float(np.abs(weights[begin:end], dtype=np.float64).sum())


@extending.overload(size_of)
def _size_of(weights, begin, end):  # type: ignore[no-untyped-def] # noqa: ARG001
    if isinstance(weights, types.NoneType):
        return lambda weights, begin, end: np.float64(end - begin)  # noqa: ARG005

    def sum_of_weights(weights, begin, end):  # type: ignore[no-untyped-def]
        size = 0.0
        for e in range(begin, end):
            size += abs(np.float64(weights[e]))
        return size

    return sum_of_weights
