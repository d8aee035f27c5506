"""Personalised PageRank of single sources by forward push: work that depends on the error, not on the graph's size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.kernels.array_types import In, Out, inner_kernel, kernel
from pipeline.kernels.csr import Csr, weight_of
from pipeline.kernels.ppr_part_passes import PushRule
from pipeline.kernels.ppr_top_k import Candidates, SparseScores, TopK, check_candidates, top_k_of_rows
from pipeline.kernels.transition import (
    RestartArrays,
    RestartSets,
    Transition,
    check_restart,
    check_sources,
    check_tolerance,
)

_SOURCES_AT_ONCE = 256  # whose sparse results are held while their lists are made


def push_scores(graph: Transition, sources: RestartSets, restart: float, threshold: float) -> SparseScores:
    """A lower bound of personalised PageRank, ``threshold * degree`` away at most.

    Mass r starts on the seeds. While a node holds more than ``threshold * degree``, it keeps ``restart`` of it and
    sends the rest to its neighbours by weight; nodes take their turns first come, first served. A node without edges
    keeps all it holds. Then ``exact = p + sum_u r(u) exact_u``, and on an undirected graph, where
    ``degree(u) exact_u(v) = degree(v) exact_v(u)``, at every node ``0 <= exact - p <= threshold * degree``. At last
    each node keeps ``restart`` of what it still holds, which the bounds allow, since ``exact_v(v) >= restart``.

    Parameters
    ----------
    graph : directed graphs are accepted: then the bound is ``missing`` alone.
    sources : where walks restart.
    restart : chance of jumping back at each step, in (0, 1). networkx' alpha is ``1 - restart``.
    threshold : above 0, in units of score per weighted degree.

    Returns
    -------
    Nodes in the order in which they were reached; ``missing`` is the l1 error. Computed in float64: the bounds hold
    but for sums of 2**-53 relative each.

    Raises
    ------
    ValueError : a restart outside (0, 1), a threshold that is not above 0.
    IndexError : a seed that the graph does not have.

    Source
    ------
    Andersen, Chung & Lang, "Local graph partitioning using PageRank vectors", FOCS 2006; without its lazy half step.

    Cost
    ----
    The degrees of all pushes of a source add up to ``1 / (threshold * restart)`` at most. Scratch of 28 bytes a node,
    allocated once and cleaned only where a source has been.
    """
    _check(graph, sources, restart, threshold)
    return _push_all(graph, sources, restart, threshold, _Scratch.of(graph.n))


def push_top_k(
    graph: Transition, sources: RestartSets, restart: float, threshold: float, k: int, candidates: Candidates
) -> TopK:
    """The k best nodes of each source; the rest as in `push_scores`. ``bound`` is the l1 error of each source."""
    _check(graph, sources, restart, threshold)
    check_candidates(candidates, graph.n, len(sources), k)
    nodes = np.empty((len(sources), k), np.int64)
    scores = np.empty((len(sources), k), np.float32)
    bound = np.empty(len(sources))
    scratch = _Scratch.of(graph.n)
    for first in range(0, len(sources), _SOURCES_AT_ONCE):
        stop = min(first + _SOURCES_AT_ONCE, len(sources))
        batch_scores = _push_all(graph, sources.part(first, stop), restart, threshold, scratch)
        nodes[first:stop], scores[first:stop] = top_k_of_rows(batch_scores, candidates.of_sources(first, stop), k)
        bound[first:stop] = batch_scores.missing
    return TopK(nodes, scores, bound)


def _check(graph: Transition, sources: RestartSets, restart: float, threshold: float) -> None:
    check_restart(restart)
    check_tolerance(threshold)
    check_sources(graph, sources)


#: Bit flags of a node: it is in the queue; it is among the nodes reached.
_QUEUED, _REACHED = 1, 2


class _Scratch(NamedTuple):
    """State of one source, a value a node; zero between sources."""

    reserve: Out[np.float64]
    waiting: Out[np.float64]
    marks: Out[np.uint8]
    queue: Out[np.int32]
    nodes_reached: Out[np.int32]

    @classmethod
    def of(cls, n: int) -> _Scratch:
        """Zeros for n nodes."""
        return cls(np.zeros(n), np.zeros(n), np.zeros(n, np.uint8), np.empty(n, np.int32), np.empty(n, np.int32))


class _Results(NamedTuple):
    """The arrays of `SparseScores`, as far as there is room."""

    indptr: Out[np.int64]
    nodes: Out[np.int32]
    scores: Out[np.float64]
    missing: Out[np.float64]


def _push_all(
    graph: Transition, sources: RestartSets, restart: float, threshold: float, scratch: _Scratch
) -> SparseScores:
    count = len(sources)
    # A guess; a source that does not fit is done again with twice the room.
    room = max(1024, 64 * count)
    results = _Results(np.zeros(count + 1, np.int64), np.empty(room, np.int32), np.empty(room), np.zeros(count))
    inputs = graph.csr, graph.degree, sources.arrays
    rule = PushRule(restart, threshold)
    source = _push(*inputs, rule, 0, scratch, results)
    while source < count:
        room *= 2
        results = results._replace(nodes=np.resize(results.nodes, room), scores=np.resize(results.scores, room))
        source = _push(*inputs, rule, source, scratch, results)
    entries = results.indptr[-1]
    nodes, scores = results.nodes[:entries].copy(), results.scores[:entries].copy()
    return SparseScores(results.indptr, nodes, scores, results.missing)


@inner_kernel
def _mark(node: int, limit: float, scratch: _Scratch, count: int, tail: int, length: int) -> tuple[int, int, int]:
    """Note that a node was reached, and queue it if more than ``limit`` waits there; return the counters."""
    marks = scratch.marks
    if marks[node] == 0:
        marks[node] = _REACHED
        scratch.nodes_reached[count] = node
        count += 1
    if marks[node] & _QUEUED == 0 and scratch.waiting[node] > limit:
        marks[node] |= _QUEUED
        scratch.queue[tail] = node
        tail = tail + 1 if tail + 1 < marks.size else 0
        length += 1
    return count, tail, length


@kernel
def _spread(
    matrix: Csr, degree: In[np.float64], restarts: RestartArrays, rule: PushRule, source: int, scratch: _Scratch
) -> int:
    """Push the mass of a source until nothing is queued; the number of nodes reached."""
    indptr, indices, weights = matrix
    reserve, waiting, marks, queue, _ = scratch
    restart, threshold = rule
    count, head, tail, length = 0, 0, 0, 0
    for e in range(restarts.indptr[source], restarts.indptr[source + 1]):
        node = int(restarts.nodes[e])
        waiting[node] += restarts.shares[e]
        count, tail, length = _mark(node, threshold * degree[node], scratch, count, tail, length)
    while length > 0:
        node = int(queue[head])
        head = head + 1 if head + 1 < degree.size else 0
        length -= 1
        marks[node] ^= _QUEUED
        mass = waiting[node]
        waiting[node] = 0.0
        begin, end = indptr[node], indptr[node + 1]
        if begin == end:
            reserve[node] += mass
            continue
        reserve[node] += restart * mass
        flow = (1 - restart) * mass / degree[node]
        for e in range(begin, end):
            near = int(indices[e])
            waiting[near] += flow * weight_of(weights, e)
            count, tail, length = _mark(near, threshold * degree[near], scratch, count, tail, length)
    return count


@kernel
def _push(
    matrix: Csr,
    degree: In[np.float64],
    restarts: RestartArrays,
    rule: PushRule,
    first_source: int,
    scratch: _Scratch,
    results: _Results,
) -> int:
    """Sources from ``first_source`` on; the first whose result did not fit, or their number."""
    reserve, waiting, marks, _, nodes_reached = scratch
    out_indptr, nodes, scores, missing = results
    for source in range(first_source, missing.size):
        count = _spread(matrix, degree, restarts, rule, source, scratch)
        put = out_indptr[source]
        total = 0.0
        for at in range(count):
            node = np.int64(nodes_reached[at])
            # A walk from here counts itself first: that much of what waits belongs to the node in any case.
            reserve[node] += rule.restart * waiting[node]
            total += (1 - rule.restart) * waiting[node]
            if reserve[node] > 0:
                if put < nodes.size:
                    nodes[put] = node
                    scores[put] = reserve[node]
                put += 1
            reserve[node] = 0.0
            waiting[node] = 0.0
            marks[node] = 0
        if put > nodes.size:
            return source
        out_indptr[source + 1] = put
        missing[source] = total
    return missing.size
