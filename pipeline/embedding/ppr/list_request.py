"""Which lists are wanted, in node numbers, and which rows of a graph they may hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import neighbors_of
from pipeline.config.ppr import PprConfig
from pipeline.embedding.ppr.walk_graph import WalkGraph
from pipeline.kernels.ppr_top_k import Candidates, degree_factor
from pipeline.kernels.ranking import Exclusions
from pipeline.kernels.transition import RestartSets


@dataclass(frozen=True)
class ListRequest:
    """The parameters of lists. Tasks are handed it, so it holds nothing that sets no result: shards are unset.

    ppr : its ``solver`` is decided, no longer "auto". seed : of walks.
    targets : (first, stop), the node numbers that lists may hold.
    """

    ppr: PprConfig
    seed: int
    targets: tuple[int, int]


@dataclass(frozen=True)
class ListFigures:
    """What embed's manifest says of lists.

    unknown_sources : ids of ``ppr.sources`` that are of no node. largest_bound : of all lists.
    shards : tasks, where they share the sources. rank : eigenvectors beside a polynomial of the graph. The rest, where
    they share the graph: largest_missing is the l1 error of the worst source.
    """

    lists: int
    unknown_sources: int
    across: str
    across_reason: str
    solver: str
    solver_reason: str
    error_kind: str
    largest_bound: float
    shards: int | None = None
    rank: int | None = None
    largest_missing: float | None = None
    rounds: int | None = None
    bytes_moved: int | None = None


def candidates_of_sets(request: ListRequest, walks: WalkGraph, sets: RestartSets) -> Candidates:
    """Return the targets, without the sets' own nodes and, with ``exclude_known``, without their neighbours."""
    source = np.repeat(np.arange(len(sets)), np.diff(sets.indptr))
    exclusions = [(source, sets.nodes)]
    if request.ppr.exclude_known:
        exclusions.append(neighbors_of(walks.graph.indptr, walks.graph.indices, source, sets.nodes))
    return candidates_for(request, walks.rows_between(*request.targets), walks.degree, exclusions, len(sets))


def candidates_for(
    request: ListRequest,
    span: tuple[int, int],
    degree: NDArray[np.int64],
    exclusions: Sequence[tuple[NDArray[np.int64], NDArray[np.integer]]],
    sources: int,
) -> Candidates:
    """Return which rows lists may hold.

    Parameters
    ----------
    span : rows of the targets. degree : (rows,) neighbours.
    exclusions : (source, row) pairs in arrays, in any order: rows that the list of a source must not hold.
    sources : how many there are.
    """
    power = request.ppr.degree_correction
    factor = degree_factor(degree.astype(np.float64), -power) if power else None
    return Candidates(*span, factor, exclusions_of(exclusions, sources))


def exclusions_of(pairs: Sequence[tuple[NDArray[np.int64], NDArray[np.integer]]], sources: int) -> Exclusions:
    """Return the rows that each list must not hold, of (source, row) pairs in any order."""
    source = np.concatenate([source for source, _ in pairs])
    row = np.concatenate([row.astype(np.int64) for _, row in pairs])
    order = np.lexsort((row, source))
    indptr = np.searchsorted(source[order], np.arange(sources + 1)).astype(np.int64)
    return Exclusions(indptr, row[order])
