"""Labels of a night's nodes from those of an earlier night: who stays keeps its label, who is new joins its neighbours.

Labels are those of the leaves of a tree. Nothing here moves a node, so that what a night changes is what came or went.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.earlier_nodes import find_earlier
from pipeline.partitioning.homes import ghost_rows
from pipeline.partitioning.pieces import CutGraph


def keep_labels(
    node_key: NDArray[np.uint64], earlier_key: NDArray[np.uint64], earlier_label: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Return the labels that nodes had; (n,) int32, -1 where a node is new or had none.

    Of two nodes of one key both get the first one's label, which is a place as good as any.
    """
    return np.append(earlier_label, np.int32(-1))[find_earlier(node_key, earlier_key)]


def join_neighbors(
    graph: CutGraph, degree: NDArray[np.int64], label: NDArray[np.int32], parts: int
) -> NDArray[np.int32]:
    """Return labels of all nodes: those without one take the label that saves them most rows.

    A neighbour with few others is worth most: it has a row in its own part and perhaps in no other
    (:func:`pipeline.partitioning.homes.ghost_rows`). Ties go to the part with less volume, then to the lowest label.
    Nodes with no labelled neighbour follow in the next round; a component of new nodes alone goes to the part with
    least volume, the largest component first.

    Parameters
    ----------
    degree : (n,) neighbours over the whole graph.
    label : (n,) int32 in -1 <= label < parts.

    Returns
    -------
    (n,) int32 in 0 <= label < parts; 0 for nodes without edges.
    """
    label = label.copy()
    load = np.zeros(parts, np.int64)
    np.add.at(load, label[label >= 0], graph.volume[label >= 0])
    is_open = (label[graph.left] < 0) | (label[graph.right] < 0)
    left, right = graph.left[is_open], graph.right[is_open]
    node, neighbor = np.concatenate([left, right]).astype(np.int64), np.concatenate([right, left])
    worth = 1 + ghost_rows(int(degree.max(initial=0)), parts)
    while (votes := (label[node] < 0) & (label[neighbor] >= 0)).any():
        choices, choice_of = np.unique(node[votes] * parts + label[neighbor[votes]], return_inverse=True)
        worths = np.zeros(choices.size, np.int64)
        np.add.at(worths, choice_of, worth[degree[neighbor[votes]]])
        chooser, part = np.divmod(choices, parts)
        best = np.lexsort((part, load[part], -worths, chooser))
        best = best[np.diff(chooser[best], prepend=-1) > 0]
        label[chooser[best]] = part[best]
        np.add.at(load, part[best], graph.volume[chooser[best]])
    rest = np.unique(node[label[node] < 0])
    if rest.size:
        label[rest] = _spread_components(left, right, rest, graph.volume, load)
    return np.maximum(label, 0)


def _spread_components(
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    rows: NDArray[np.int64],
    volume: NDArray[np.int64],
    load: NDArray[np.int64],
) -> NDArray[np.int32]:
    """Return labels of rows whose neighbours are all among them."""
    from scipy.sparse import coo_array  # a fifth of a second, which most runs have no use for
    from scipy.sparse.csgraph import connected_components

    is_inside = np.isin(left, rows)
    ends = [np.searchsorted(rows, side[is_inside]) for side in (left, right)]
    links = coo_array((np.ones(ends[0].size, np.int8), (ends[0], ends[1])), shape=(rows.size, rows.size))
    count, component = connected_components(links, directed=False)
    volumes = np.zeros(count, np.int64)
    np.add.at(volumes, component, volume[rows])
    label = np.empty(count, np.int32)
    for number in np.argsort(-volumes, kind="stable"):
        label[number] = load.argmin()
        load[label[number]] += volumes[number]
    return label[component]
