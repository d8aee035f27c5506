"""Lists by source shards: a task has the whole graph and solves some of the sources.

What a source's list is depends on nothing but the graph and the source, so any number of tasks writes the same rows.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import offsets_of
from pipeline.config.ppr import PprConfig
from pipeline.embedding.ppr.list_request import ListRequest, candidates_of_sets
from pipeline.embedding.ppr.walk_graph import NO_EDGES, GraphFiles, WalkGraph
from pipeline.kernels.alias_tables import alias_tables
from pipeline.kernels.ppr_chebyshev import chebyshev_top_k
from pipeline.kernels.ppr_push import push_top_k
from pipeline.kernels.ppr_top_k import Candidates, TopK
from pipeline.kernels.ppr_walks import WalkRule, walk_top_k
from pipeline.kernels.ranking import NO_ROW
from pipeline.kernels.transition import RestartSets, Transition, check_restart, check_tolerance, single_seeds
from pipeline.locations import Location
from pipeline.tasks import Attempt
from schemas.tables import NEIGHBOR_LISTS

CONFIDENCE = 0.95
"""Of the error bound of lists by walks, for each score alone."""

_COMPOSED_ERROR = 1e-4
#: Of the theorem's bound on the strength of all pushes, what pushes come to: .02 to .07 on five graphs of 4 k to
#: 100 k nodes, at restarts .15 and .5 and errors of 1e-2 to 1e-4, as long as that is less than one sweep.
_OF_BOUND = 0.05
_ROUNDING = 2.0**-22  # of a score: its own to float32, its factor's, and that of their product
_AT_ONCE = 1_024  # sources solved by one call: Chebyshev keeps its buffers over all blocks of a call


@dataclass(frozen=True)
class SolvePayload:
    """Input of the task that makes lists; ``span`` is the range of sources in their Arrow file."""

    request: ListRequest
    graph: GraphFiles
    sources: Location
    span: tuple[int, int]


def solve_sources(payload: SolvePayload, attempt: Attempt) -> float:
    """Task: the lists of a range of sources; returns the largest error bound. Those without edges have empty lists."""
    walks = WalkGraph.read(payload.graph, payload.request.ppr.edge_degree_power)
    node_ix = storage.column(storage.map_arrow(payload.sources), "node_ix")[slice(*payload.span)]
    solver = Solver(walks, payload.request)
    pieces = [solver.lists_of(node_ix[first : first + _AT_ONCE]) for first in range(0, max(1, node_ix.size), _AT_ONCE)]
    lists = pa.concat_tables(pieces)
    storage.write_arrow(attempt.path("lists", "arrow"), lists)
    return float(lists["error_bound"].to_numpy().max(initial=0.0))


class Solver:
    """Makes lists on one graph."""

    def __init__(self, walks: WalkGraph, request: ListRequest) -> None:
        self._walks, self._request = walks, request
        self._alias = None
        if request.ppr.solver == "walks" and walks.graph.weights is not None:
            self._alias = alias_tables(walks.graph.indptr, walks.graph.indices, walks.graph.weights)

    def lists_of(self, node_ix: NDArray[np.int64]) -> pa.Table:
        """Return rows of NEIGHBOR_LISTS for some nodes, in their order."""
        rows = self._walks.rows_of(node_ix)
        has_edges = rows != NO_EDGES
        lists = self._solve(rows[has_edges])
        is_listed = lists.nodes != NO_ROW
        counts, bound = np.zeros(node_ix.size, np.int64), np.zeros(node_ix.size, np.float32)
        counts[has_edges] = is_listed.sum(axis=1)
        # Chebyshev certifies the float32 scores themselves.
        is_certified = self._request.ppr.solver == "chebyshev" and not self._request.ppr.degree_correction
        bound[has_edges] = rounded_up(lists.bound if is_certified else with_rounding(lists.bound))
        neighbor_ix = self._walks.node_ix[lists.nodes[is_listed]]
        return table_of_lists(node_ix, counts, neighbor_ix, lists.scores[is_listed], bound)

    def _solve(self, rows: NDArray[np.int64]) -> TopK:
        ppr, graph = self._request.ppr, self._walks.graph
        sources = single_seeds(rows)
        candidates = candidates_of_sets(self._request, self._walks, sources)
        if ppr.solver == "chebyshev":
            return chebyshev_top_k(graph, sources, ppr.restart, ppr.tolerance, ppr.top_k, candidates)
        if ppr.solver == "push":
            return pushed_top_k(
                graph, sources, ppr, threshold_of(ppr, float(graph.degree.sum())), ppr.top_k, candidates
            )
        keys, rule = self._walks.node_key[rows], WalkRule(ppr.restart, ppr.walks, self._request.seed)
        return walk_top_k(graph, self._alias, sources, keys, rule, ppr.top_k, candidates, CONFIDENCE)


def pushed_top_k(
    graph: Transition, sources: RestartSets, ppr: PprConfig, threshold: float, k: int, candidates: Candidates
) -> TopK:
    """Return lists by push; where its threshold is set, bounds are on each score."""
    lists = push_top_k(graph, sources, ppr.restart, threshold, k, candidates)
    if ppr.push_threshold is None:
        return lists
    largest = float(graph.degree[candidates.start : candidates.stop].max(initial=0.0))
    return TopK(lists.nodes, lists.scores, np.minimum(lists.bound, threshold * largest))


def threshold_of(ppr: PprConfig, volume: float) -> float:
    """Return push's threshold: as set, or that which keeps the sum of errors under the tolerance.

    The error at a node is at most the threshold times its weighted degree, and ``volume`` is the sum of these.
    """
    return ppr.push_threshold or ppr.tolerance / max(volume, 1e-30)


def composed_threshold(ppr: PprConfig, mean_strength: float) -> float:
    """Return push's threshold where the graph is cut: as set, or for a fixed error at a node of mean strength.

    There the sum of errors is no target: it takes sweeps over a graph that is too large for a worker.
    """
    return ppr.push_threshold or _COMPOSED_ERROR / mean_strength


def pushed_entries(sources: int, mean_strength: float, error: float, restart: float) -> float:
    """Estimate the edge ends that forward push walks for some sources.

    The theorem's bound is ``mean_strength / (error * restart)`` a source, for weights of 1; what pushes come to
    is about .05 of it, .03 to .07 on the graphs it was fitted to. Where that is more than all entries of the graph,
    pushes are sweeps, and it may be five times as much.

    Parameters
    ----------
    mean_strength : weighted degree of a node with edges, on average. error : the largest at a node of that strength,
        push's threshold times it.
    """
    check_restart(restart)
    check_tolerance(error)
    return sources * max(mean_strength, _OF_BOUND * mean_strength / (error * restart))


def error_kind(ppr: PprConfig) -> str:
    """Return what the bound of a list is on: "l1" the sum of all errors, "pointwise" every score, "confidence"."""
    if ppr.solver == "walks":
        return "confidence"
    return "pointwise" if ppr.solver == "push" and ppr.push_threshold is not None else "l1"


def rounded_up(bound: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the next float32 that is no smaller; (n,) float64 -> (n,) float32."""
    nearest = bound.astype(np.float32)
    return np.where(nearest < bound, np.nextafter(nearest, np.float32(np.inf)), nearest)


def with_rounding(bound: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return bounds of float64 scores that are listed as float32, or that a float32 factor corrects; (n,) -> (n,).

    A source's scores sum to 1 at most, so that `_ROUNDING` holds for all of them together as for each. A bound of 0, of
    a source without edges, stays.
    """
    return np.where(bound > 0, bound + _ROUNDING, 0.0)


def table_of_lists(
    node_ix: NDArray[np.int64],
    counts: NDArray[np.int64],
    neighbor_ix: NDArray[np.int64],
    scores: NDArray[np.float32],
    bound: NDArray[np.float32],
) -> pa.Table:
    """Return rows of NEIGHBOR_LISTS, of lists that stand one after the other, ``counts`` entries each."""
    offsets = pa.array(offsets_of(counts).astype(np.int32))
    schema = NEIGHBOR_LISTS.schema
    columns = [
        pa.array(node_ix),
        pa.ListArray.from_arrays(offsets, pa.array(neighbor_ix), type=schema.field("neighbor_ix").type),
        pa.ListArray.from_arrays(offsets, pa.array(scores), type=schema.field("scores").type),
        pa.array(bound),
    ]
    return pa.Table.from_arrays(columns, schema=schema)
