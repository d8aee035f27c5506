"""Personalised PageRank of single sources by forward push: work that depends on the error, not on the graph's size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, kernel
from pipeline.kernels.ppr_top_k import Candidates, SparseScores, TopK, check_candidates, top_k_of_rows
from pipeline.kernels.transition import RestartSets, Transition, check_restart, check_sources, check_tolerance

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
        found = _push_all(graph, sources.part(first, stop), restart, threshold, scratch)
        some = candidates.of_sources(first, stop)
        nodes[first:stop], scores[first:stop] = top_k_of_rows(found, some, k)
        bound[first:stop] = found.missing
    return TopK(nodes, scores, bound)


def _check(graph: Transition, sources: RestartSets, restart: float, threshold: float) -> None:
    check_restart(restart)
    check_tolerance(threshold)
    check_sources(graph, sources)


@dataclass(frozen=True)
class _Scratch:
    """State of one source, a value a node; zero between sources."""

    settled: NDArray[np.float64]
    waiting: NDArray[np.float64]
    is_queued: NDArray[np.uint8]  # 1 while in the queue, 2 once reached, added
    queue: NDArray[np.int32]
    reached: NDArray[np.int32]

    @classmethod
    def of(cls, n: int) -> _Scratch:
        """Zeros for n nodes."""
        return cls(np.zeros(n), np.zeros(n), np.zeros(n, np.uint8), np.empty(n, np.int32), np.empty(n, np.int32))


def _push_all(
    graph: Transition, sources: RestartSets, restart: float, threshold: float, scratch: _Scratch
) -> SparseScores:
    count = len(sources)
    indptr, missing = np.zeros(count + 1, np.int64), np.zeros(count)
    # A guess; a source that does not fit is done again with twice the room.
    room = max(1024, 64 * count)
    nodes, scores = np.empty(room, np.int32), np.empty(room)
    done = 0
    while True:
        done = _push(
            graph.indptr, graph.indices, graph.weights, graph.degree,
            sources.indptr, sources.nodes, sources.shares, restart, threshold, done,
            scratch.settled, scratch.waiting, scratch.is_queued, scratch.queue, scratch.reached,
            indptr, nodes, scores, missing,
        )  # fmt: skip
        if done == count:
            return SparseScores(indptr, nodes[: indptr[-1]].copy(), scores[: indptr[-1]].copy(), missing)
        nodes, scores = np.resize(nodes, 2 * nodes.size), np.resize(scores, 2 * scores.size)


@kernel
def _push(
    indptr: In[np.int64],
    indices: In[np.int32],
    weights: In[np.float32] | None,
    degree: In[np.float64],
    set_indptr: In[np.int64],
    set_nodes: In[np.int64],
    set_shares: In[np.float64],
    restart: float,
    threshold: float,
    first_source: int,
    settled: Out[np.float64],
    waiting: Out[np.float64],
    is_queued: Out[np.uint8],
    queue: Out[np.int32],
    reached: Out[np.int32],
    out_indptr: Out[np.int64],
    out_nodes: Out[np.int32],
    out_scores: Out[np.float64],
    missing: Out[np.float64],
) -> int:
    """Sources from ``first_source`` on; the first whose result did not fit, or their number."""
    n = degree.size
    for source in range(first_source, set_indptr.size - 1):
        count, head, tail, length = 0, 0, 0, 0
        for e in range(set_indptr[source], set_indptr[source + 1]):
            node = np.int64(set_nodes[e])
            waiting[node] += set_shares[e]
            if is_queued[node] == 0:
                is_queued[node] = 2
                reached[count] = node
                count += 1
            if is_queued[node] == 2 and waiting[node] > threshold * degree[node]:
                is_queued[node] = 3
                queue[tail] = node
                tail = tail + 1 if tail + 1 < n else 0
                length += 1
        while length > 0:
            node = np.int64(queue[head])
            head = head + 1 if head + 1 < n else 0
            length -= 1
            is_queued[node] = 2
            mass = waiting[node]
            waiting[node] = 0.0
            begin, end = indptr[node], indptr[node + 1]
            if begin == end:
                settled[node] += mass
                continue
            settled[node] += restart * mass
            flow = (1 - restart) * mass / degree[node]
            for e in range(begin, end):
                near = np.int64(indices[e])
                if weights is None:
                    waiting[near] += flow
                else:
                    waiting[near] += flow * np.float64(weights[e])
                if is_queued[near] == 0:
                    is_queued[near] = 2
                    reached[count] = near
                    count += 1
                if is_queued[near] == 2 and waiting[near] > threshold * degree[near]:
                    is_queued[near] = 3
                    queue[tail] = near
                    tail = tail + 1 if tail + 1 < n else 0
                    length += 1
        put = out_indptr[source]
        total = 0.0
        for at in range(count):
            node = np.int64(reached[at])
            # A walk from here counts itself first: that much of what waits belongs to the node in any case.
            settled[node] += restart * waiting[node]
            total += (1 - restart) * waiting[node]
            if settled[node] > 0:
                if put < out_nodes.size:
                    out_nodes[put] = node
                    out_scores[put] = settled[node]
                put += 1
            settled[node] = 0.0
            waiting[node] = 0.0
            is_queued[node] = 0
        if put > out_nodes.size:
            return source
        out_indptr[source + 1] = put
        missing[source] = total
    return int(set_indptr.size - 1)
