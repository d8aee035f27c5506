"""Sparse scores as rows of few columns: the logarithm of what is above chance, hashed by the node that it is of."""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, InMatrix, Out, OutMatrix, kernel, read_only
from pipeline.kernels.elementary import log_of_normal
from pipeline.kernels.hashing import mix
from pipeline.kernels.ppr_top_k import SparseScores
from pipeline.kernels.residual_tiles import LANES, lanes_above, lowest_bit

_HALF = np.uint64(32)
_ONE = np.uint64(1)


def hashed_logs(
    scores: SparseScores, word: NDArray[np.uint64], bound: NDArray[np.float64], nodes: int, columns: int, dim: int
) -> NDArray[np.float32]:
    """Rows whose products are, on average over hashes, the products of ``max(log(nodes * score), 0)``.

    Each node has ``columns`` places in a row, with a sign each; what a source's score of it says is added there.
    A score counts where it is above ``bound``, its own error, and above 1 / nodes, that of a walk that knows nothing.

    Parameters
    ----------
    scores : of the sources, one after another.
    word : (n,) uint64, a hash of each node by which its places are chosen; see `pipeline.kernels.hashing.hash_nodes`.
    bound : (n,) float64, scores up to which nothing is known of a node.
    nodes : of the graph, at least 1. columns, dim : at least 1.

    Returns
    -------
    (sources, dim) float32, divided by sqrt(columns); added up in float64 in the order of the scores.

    Raises
    ------
    ValueError : a count below 1.

    Source
    ------
    Postavaru, Tsitsulin, Almeida, Tian, Lattanzi & Perozzi, "InstantEmbedding", 2020, arXiv 2010.06992, with one
    column; Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009.
    """
    for name, value in (("nodes", nodes), ("columns", columns), ("dim", dim)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    rows = np.empty((scores.missing.size, dim), np.float32)
    _add_logs(read_only(scores), word, bound, float(nodes), columns, np.zeros(dim), rows)
    return rows


def hashed_logs_of_columns(
    z: NDArray[np.float32],
    degree: NDArray[np.float64],
    word: NDArray[np.uint64],
    threshold: float,
    nodes: int,
    columns: int,
    rows: NDArray[np.float32],
) -> None:
    """The same of dense scores ``z * degree``, a column a source, whose bounds are ``threshold * degree``.

    Parameters
    ----------
    z : (n, width) float32, C-contiguous, width a multiple of 16. rows : (sources, dim) float32, written; sources at
        most the width. Added up in float64 in the order of the nodes.
    """
    _add_logs_of_columns(z, degree, word, threshold, float(nodes), columns, np.zeros((len(rows), rows.shape[1])), rows)


@kernel
def _add_logs_of_columns(
    z: InMatrix[np.float32],
    degree: In[np.float64],
    word: In[np.uint64],
    threshold: float,
    nodes: float,
    columns: int,
    sums: OutMatrix[np.float64],
    rows: OutMatrix[np.float32],
) -> None:
    sources, dim = rows.shape
    scale = 1.0 / np.sqrt(np.float64(columns))
    places, signs = np.empty(columns, np.int64), np.empty(columns, np.float64)
    bars = np.full(z.shape[1], np.inf, np.float32)
    for node in range(z.shape[0]):
        for column in range(columns):
            cell = mix(word[node] + np.uint64(column))
            places[column] = _place_of(cell, dim)
            signs[column] = scale if cell & _ONE else -scale
        bars[:sources] = max(threshold, 1.0 / (nodes * degree[node]))
        line = z[node]
        for first in range(0, sources, LANES):
            above = lanes_above(line, first, np.float32(1), bars)
            while above:
                col = first + lowest_bit(above)
                above &= above - 1
                value = log_of_normal(nodes * (degree[node] * line[col]))
                for column in range(columns):
                    sums[col, places[column]] += signs[column] * value
    for source in range(sources):
        for place in range(dim):
            rows[source, place] = np.float32(sums[source, place])


@kernel
def _add_logs(
    sparse: SparseScores,
    word: In[np.uint64],
    bound: In[np.float64],
    nodes: float,
    columns: int,
    sums: Out[np.float64],
    rows: OutMatrix[np.float32],
) -> None:
    indptr, scored_nodes, scores, _ = sparse
    dim = rows.shape[1]
    scale = 1.0 / np.sqrt(np.float64(columns))
    for source in range(rows.shape[0]):
        sums[:] = 0.0
        for at in range(indptr[source], indptr[source + 1]):
            node = scored_nodes[at]
            above = nodes * scores[at]
            if above <= 1.0 or scores[at] <= bound[node]:
                continue
            value = scale * log_of_normal(above)
            for column in range(columns):
                cell = mix(word[node] + np.uint64(column))
                sums[_place_of(cell, dim)] += value if cell & _ONE else -value
        for col in range(dim):
            rows[source, col] = np.float32(sums[col])


@kernel
def _place_of(cell: np.uint64, dim: int) -> np.int64:
    """Return the upper half of the word, scaled to the columns; its lowest bit is the sign."""
    return np.int64(((cell >> _HALF) * np.uint64(dim)) >> _HALF)
