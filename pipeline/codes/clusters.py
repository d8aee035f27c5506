"""Clusters of a graph by the modularity of two sides: local moves, contraction, and moves again on the way back."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.modularity import TwoSidedGraph, contract, move_nodes, number_labels

log = logging.getLogger(__name__)

#: Visits of each node on the way up: moves that these leave undone are made on the way back [Gowalla: Q is .7186 of
#: .7200 in .6 of the time].
_VISITS = 2
#: Resolutions that are tried to meet a number of rows, and the share of it that is near enough.
_MOST_TRIALS, _NEAR = 6, 0.95
#: How the number of rows grows with the resolution where nothing else is known [Gowalla: 60 to 5,000: .8 to .6].
_GROWTH, _LEAST_GROWTH, _MOST_GROWTH = 0.7, 0.2, 2.0


def find_clusters(graph: TwoSidedGraph, resolution: float, max_size: float = np.inf) -> NDArray[np.int32]:
    """Return a cluster of each node; clusters are numbered by their first node.

    Parameters
    ----------
    resolution : γ; clusters are the smaller the larger it is.
    max_size : nodes of a cluster.

    Returns
    -------
    (nodes,) int32.

    Cost
    ----
    About ten reads of the entries; the graphs of clusters together have about as many as the first one.
    """
    total = float(graph.row_degree.sum())
    label = np.arange(graph.size.size, dtype=np.int32)
    if not total:
        return label
    levels: list[tuple[TwoSidedGraph, NDArray[np.int32]]] = []
    order = visiting_order(graph)
    while True:
        move_nodes(graph, label, order, resolution / total, max_size, _VISITS * label.size)
        clusters = number_labels(label)
        levels.append((graph, label))
        if clusters == label.size:
            break
        graph = contract(graph, label, clusters)
        label, order = (np.arange(clusters, dtype=np.int32) for _ in range(2))
    for graph, below in reversed(levels[:-1]):
        label = label[below]
        visits = None if graph is levels[0][0] else _VISITS * label.size
        move_nodes(graph, label, np.arange(label.size, dtype=np.int32), resolution / total, max_size, visits)
        number_labels(label)
    return label


def visiting_order(graph: TwoSidedGraph) -> NDArray[np.int32]:
    """Return the nodes by how many neighbours they have, few first; all with 65,535 or more are alike."""
    # Numbers of 16 bits are sorted by their bytes, in a tenth of the time.
    neighbors = np.minimum(np.diff(graph.adjacency.indptr), 65_535).astype(np.uint16)
    return np.argsort(neighbors, kind="stable").astype(np.int32)


@dataclass(frozen=True)
class ChosenClusters:
    """Clusters, and the resolution that made them."""

    label: NDArray[np.int32]
    resolution: float


def fit_clusters(
    find: Callable[[float], NDArray[np.int32]],
    rows_of: Callable[[NDArray[np.int32]], int],
    edges: int,
    most_rows: int,
    *,
    may_exceed: bool = False,
) -> ChosenClusters:
    """Return the clusters with the most rows, of those that have at most so many.

    The first resolution is (rows wanted)^2 / edges: at resolution γ, modularity tells about sqrt(γ m) clusters apart.
    Others follow from the two that were tried last, on a logarithmic scale.

    Parameters
    ----------
    find : returns the clusters of a resolution. rows_of : counts the rows that they would have in a table.
    may_exceed : the number of rows is an aim, and not a bound.
    """
    trials: list[tuple[float, int, NDArray[np.int32]]] = []
    resolution = max(most_rows, 1) ** 2 / max(edges, 1)
    for _ in range(_MOST_TRIALS):
        label = find(resolution)
        rows = rows_of(label)
        log.info("stage=embed clusters resolution=%.4g rows=%d wanted=%d", resolution, rows, most_rows)
        trials.append((resolution, rows, label))
        if _NEAR * most_rows <= rows <= most_rows / (_NEAR if may_exceed else 1):
            break
        resolution = _next_resolution([(value, max(count, 1)) for value, count, _ in trials], most_rows)
    # The most rows that fit; where none do, the fewest.
    resolution, _, label = min(
        trials, key=lambda trial: (trial[1] > most_rows and not may_exceed, abs(trial[1] - most_rows))
    )
    return ChosenClusters(label, resolution)


def _next_resolution(trials: list[tuple[float, int]], most_rows: int) -> float:
    """Return where there would be ``most_rows``, by the nearest trials on either side, or else by the last two."""
    below = max((trial for trial in trials if trial[1] <= most_rows), key=lambda trial: trial[1], default=None)
    above = min((trial for trial in trials if trial[1] > most_rows), key=lambda trial: trial[1], default=None)
    two = [below, above] if below and above else trials[-2:]
    (resolution, rows), (base, base_rows) = two[-1], two[0]
    # Beyond all trials, those with the fewest rows that there may be say nothing of how rows grow.
    tells = resolution != base and (bool(below and above) or min(rows, base_rows) > 1)
    growth = math.log(rows / base_rows) / math.log(resolution / base) if tells else _GROWTH
    aim = math.log(most_rows * (1 + _NEAR) / 2 / rows)
    return float(resolution * math.exp(aim / min(max(growth, _LEAST_GROWTH), _MOST_GROWTH)))
