"""What changed between two releases: do nodes keep their neighbours and their place?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.position_lists import PositionLists
from pipeline.evaluation.sampling import sample_by_key
from pipeline.evaluation.top_k import top_k, unit_rows

SAMPLE = 1000


@dataclass(frozen=True)
class Overlap:
    """Share of the first k neighbours that two releases agree on, for each of ``ks``, over ``nodes`` lists."""

    overlap: tuple[float, ...]
    nodes: int
    population: int


def neighbor_overlap(
    queries: tuple[NDArray[np.float32], NDArray[np.float32]],
    rows: tuple[NDArray[np.float32], NDArray[np.float32]],
    query_key: NDArray[np.uint64],
    ks: Sequence[int],
    seed: int,
    *,
    are_same: bool,
    sample: int | None = SAMPLE,
) -> Overlap:
    """Mean of |A and B| / k over queries: A and B are a node's k best rows by dot product in either release.

    It needs no common space: each list is made inside its own release.

    Parameters
    ----------
    queries : (q, dim) float32 of the same nodes in the same order, in both releases; dims may differ.
    rows : (n, dim) float32 likewise. For cosine, pass unit rows.
    query_key : (q,) uint64.
    ks : ascending; a k above the number of rows that may be listed counts as that number.
    are_same : queries and rows are the same nodes, and a node is not its own neighbour.
    sample : queries looked at, chosen by key; None: all.
    """
    population = query_key.size
    sample_rows = sample_by_key(query_key, sample, seed)
    candidates = rows[0].shape[0] - are_same
    lengths = [min(k, candidates) for k in ks]
    if not sample_rows.size or candidates < 1:
        return Overlap(tuple(0.0 for _ in ks), 0, population)
    itself = PositionLists.from_pairs(np.arange(sample_rows.size), sample_rows, sample_rows.size) if are_same else None
    old, new = (
        top_k(np.ascontiguousarray(of_queries[sample_rows]), of, lengths[-1], itself)[0]
        for of_queries, of in zip(queries, rows, strict=True)
    )
    return Overlap(
        tuple(_count_shared(old[:, :k], new[:, :k], rows[0].shape[0]) / (k * sample_rows.size) for k in lengths),
        sample_rows.size,
        population,
    )


@dataclass(frozen=True)
class CosineMetrics:
    """Mean and least cosine over ``nodes``; None for none."""

    mean: float | None
    least: float | None
    nodes: int


def compare_rows(old: NDArray[np.float32], new: NDArray[np.float32]) -> CosineMetrics:
    """Cosine of each node's row with its own row of the other release.

    Means something only if both are of one space. Nodes with a zero row in either are left out.
    """
    cosines = np.einsum("nd,nd->n", unit_rows(old).astype(np.float64), unit_rows(new).astype(np.float64))
    cosines = cosines[old.any(axis=1) & new.any(axis=1)]
    if not cosines.size:
        return CosineMetrics(None, None, 0)
    return CosineMetrics(math.fsum(cosines.tolist()) / cosines.size, float(cosines.min()), cosines.size)


def _count_shared(old: NDArray[np.int64], new: NDArray[np.int64], n: int) -> int:
    """How many entries two sets of lists have in common, list by list."""
    offset = np.arange(old.shape[0])[:, None] * n
    return int(np.isin((old + offset).ravel(), (new + offset).ravel()).sum())
