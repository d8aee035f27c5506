"""Can the graph be read off the table? Mean average precision of 1, 2 and 3 hops."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import offsets_of
from pipeline.evaluation.link_prediction import pair_codes
from pipeline.evaluation.sampling import sample_by_key
from pipeline.evaluation.table import Pairs, Table
from pipeline.kernels.hop_distances import hop_distances
from pipeline.kernels.ranking import pair_scores

HOPS = (1, 2, 3)
SAMPLE = 200


@dataclass(frozen=True)
class MeanPrecision:
    """Mean average precision over ``nodes``, and what a random order of the same lists reaches; None for none."""

    map: float | None
    by_chance: float | None
    nodes: int


@dataclass(frozen=True)
class HopPrecision:
    """One number of hops: over all pairs, inside parts, and between parts (None where parts are not known)."""

    hops: int
    all: MeanPrecision
    same_part: MeanPrecision | None
    cross_part: MeanPrecision | None


@dataclass(frozen=True)
class Reconstruction:
    """Figures by hops, of a sample: ``nodes`` of ``population`` nodes with an edge. parts : None if not known."""

    nodes: int
    population: int
    is_sampled: bool
    parts: int | None
    hops: tuple[HopPrecision, ...]


def reconstruct(table: Table, train: Pairs, seed: int, sample: int | None = SAMPLE) -> Reconstruction:
    """Rank all nodes for each sampled node, and see how high those stand that are exactly so many hops away.

    Nodes nearer than the hops in question are left out of the list: they stand above by right. On a graph of
    two types only nodes of the type are ranked that so many hops lead to. Between types, and on plain graphs,
    nodes are ranked by the table's similarity for retrieval; inside one of two types by its similarity for
    features. Equal scores go to the smaller position. Nodes with nobody at that distance don't count.

    Same-part figures rank the nodes of the node's own part only, cross-part ones all others: they say whether
    what a cut separates is as well placed as what it leaves together.

    Parameters
    ----------
    train : the graph; ends without a row are left out.
    sample : nodes looked at, chosen by key among those with an edge; None: all.

    Cost
    ----
    A search and up to three sorts a node: 10 ms each at 70 k nodes, dim 128.

    Source
    ------
    Yip et al., "RESTORE: graph embedding assessment through reconstruction", 2023 (arXiv 2308.14659).
    """
    n = len(table.rows)
    edges = train.between_rows()
    src, dst = np.divmod(pair_codes(edges.src, edges.dst, n, is_undirected=True), n)
    indptr = offsets_of(np.bincount(src, minlength=n))
    has_edge = np.flatnonzero(np.diff(indptr))
    sample_nodes = has_edge[sample_by_key(table.node_key[has_edge], sample, seed)]
    precisions = _Precisions(table)
    distance, queue = np.empty(n, np.int8), np.empty(n, np.int64)
    for node in sample_nodes.tolist():
        hop_distances(indptr, dst, node, HOPS[-1], distance, queue)
        precisions.add(node, distance)
    return Reconstruction(
        nodes=sample_nodes.size,
        population=has_edge.size,
        is_sampled=sample_nodes.size < has_edge.size,
        parts=None if table.part is None else np.unique(table.part[table.part >= 0]).size,
        hops=precisions.means(),
    )


def average_precision(is_relevant: NDArray[np.bool_]) -> float | None:
    """Mean over the relevant places of a list of the share of relevant places up to there; None without any."""
    places = np.flatnonzero(is_relevant)
    if not places.size:
        return None
    return float((np.arange(1, places.size + 1) / (places + 1)).mean())


class _Precisions:
    """(average precision, share of relevant nodes) of each node, by hops."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._ranges = [*table.ranges.values()]
        self._retrieval = np.ascontiguousarray(table.rows_for(table.similarity))
        self._feature = self._retrieval if table.is_plain else np.ascontiguousarray(table.rows_for(table.feature))
        self._all, self._same, self._cross = ({hops: list[tuple[float, float]]() for hops in HOPS} for _ in range(3))

    def add(self, node: int, distance: NDArray[np.int8]) -> None:
        table = self._table
        orders: dict[bool, NDArray[np.int64]] = {}
        for hops in HOPS:
            is_other = hops % 2 == 1 and not table.is_plain
            if is_other not in orders:
                orders[is_other] = self._order(node, is_other)
            order = orders[is_other]
            hop = distance[order]
            nodes = order[hop >= hops]
            is_relevant = hop[hop >= hops] == hops
            self._put(self._all[hops], is_relevant)
            if table.part is not None:
                is_same = table.part[nodes] == table.part[node]
                self._put(self._same[hops], is_relevant[is_same])
                self._put(self._cross[hops], is_relevant[~is_same])

    def means(self) -> tuple[HopPrecision, ...]:
        """Return the means over the nodes."""
        has_parts = self._table.part is not None
        return tuple(
            HopPrecision(
                hops,
                _mean(self._all[hops]),
                _mean(self._same[hops]) if has_parts else None,
                _mean(self._cross[hops]) if has_parts else None,
            )
            for hops in HOPS
        )

    def _order(self, node: int, is_other: bool) -> NDArray[np.int64]:
        """All nodes that may be listed, best first."""
        own = next((first, stop) for first, stop in self._ranges if first <= node < stop)
        ends = [self._table.ranges[name] for name in (self._table.source, self._table.target)]
        first, stop = next(end for end in ends if end != own) if is_other else own
        rows = self._retrieval if is_other or self._table.is_plain else self._feature
        nodes = np.arange(first, stop)
        scores = pair_scores(rows, np.full(nodes.size, node), rows, nodes)
        order = nodes[np.argsort(-scores, kind="stable")]
        return order[order != node]

    @staticmethod
    def _put(into: list[tuple[float, float]], is_relevant: NDArray[np.bool_]) -> None:
        if (precision := average_precision(is_relevant)) is not None:
            into.append((precision, float(is_relevant.mean())))


def _mean(precisions: list[tuple[float, float]]) -> MeanPrecision:
    if not precisions:
        return MeanPrecision(None, None, 0)
    precision, share = (math.fsum(values) / len(precisions) for values in zip(*precisions, strict=True))
    return MeanPrecision(precision, share, len(precisions))
