"""METIS on the graph itself: the peer that other cuts are measured against, and what cuts the coarsest graph.

Source: Karypis & Kumar, "A fast and high quality multilevel scheme for partitioning irregular graphs",
SIAM J. Sci. Comput. 20(1), 1998.
"""

import contextlib
import ctypes
import heapq
import os
import sys
from collections.abc import Iterator

import numpy as np
import pymetis
from numpy.typing import NDArray

from pipeline.kernels.hashing import hash_nodes
from pipeline.kernels.label_propagation import refine_labels
from pipeline.kernels.neighbor_lists import NO_WEIGHTS, WeightedGraph, mark_ends, neighbor_lists
from pipeline.partitioning.pieces import CutGraph

#: METIS's own bound for k-way cuts; what it leaves above is pushed out.
_IMBALANCE = 1.03
#: Bisection balances better (1.002 against 1.03 on Gowalla, 16 parts), but its time grows with log(parts).
_MOST_PARTS_BY_BISECTION = 64
#: pymetis is built with 32-bit integers, which must hold the sum of all volumes.
_MOST_VOLUME = 2**30


def cut(graph: CutGraph, parts: int, seed: int) -> NDArray[np.int32]:
    """Cut into parts of near-equal volume with few edges between them.

    The labels depend on the graph and its numbering, not on the order of its edges. At least two parts get
    nodes if ``parts`` and the nodes with volume are two or more; other parts may stay empty.

    Returns
    -------
    (rows,) int32 in 0 <= label < parts.
    """
    if np.count_nonzero(graph.volume) < 2 * parts:
        return place_heaviest_first(graph.volume, parts)
    labels = np.zeros(graph.volume.size, np.int32)
    rows, lists = list_vertices(graph)
    row_labels = partition(lists, parts, seed)
    load = np.zeros(parts, np.int64)
    np.add.at(load, row_labels, lists.volume)
    largest = int(_IMBALANCE * float(lists.volume.sum()) / parts)
    if load.max() > largest:
        order = np.argsort(hash_nodes(graph.node_key[rows], seed), kind="stable")
        row_labels = refine_labels(lists, order, row_labels, parts, largest, passes=1)
    labels[rows] = row_labels
    return labels


def list_vertices(graph: CutGraph) -> tuple[NDArray[np.int64], WeightedGraph]:
    """Return the rows that are worth a vertex, and their graph as vertices: neighbours ascending, no loops."""
    rows = vertices(graph)
    left, right = graph.left, graph.right
    if rows.size < graph.volume.size:
        vertex_of = np.empty(graph.volume.size, np.int32)
        vertex_of[rows] = np.arange(rows.size, dtype=np.int32)
        left, right = vertex_of[left], vertex_of[right]
    return rows, WeightedGraph(*neighbor_lists(left, right, rows.size), NO_WEIGHTS, graph.volume[rows])


def vertices(graph: CutGraph) -> NDArray[np.int64]:
    """Rows that are worth a vertex, those with a volume or an edge, ascending."""
    is_vertex = graph.volume > 0
    mark_ends(graph.left, graph.right, is_vertex)
    return np.flatnonzero(is_vertex)


def partition(graph: WeightedGraph, parts: int, seed: int) -> NDArray[np.int32]:
    """Call METIS; (n,) int32 labels.

    It leaves parts empty in graphs of nearly as many parts as nodes: use :func:`place_heaviest_first` for them.
    """
    unit = 1 + int(graph.volume.sum()) // _MOST_VOLUME
    with _silent_stdout():
        _, labels = pymetis.part_graph(
            parts,
            pymetis.CSRAdjacency(graph.indptr.astype(np.int32), graph.neighbor),
            vweights=-(-graph.volume // unit).astype(np.int32),  # rounded up: no volume becomes 0
            eweights=graph.edge_weight if graph.edge_weight.size else None,
            recursive=parts <= _MOST_PARTS_BY_BISECTION,
            options=pymetis.Options(seed=1 + seed % (2**31 - 1)),  # to METIS, 0 is the same seed as 1
        )
    return np.array(labels, np.int32)


@contextlib.contextmanager
def _silent_stdout() -> Iterator[None]:
    """Keep what C code prints off stdout, where a run puts its answer.

    METIS prints there, past Python, when a node is larger than a part, and goes on: the cut's figures say it too.
    """
    flush = ctypes.CDLL(None).fflush  # of this process's C library; it buffers, so flush before either change
    with open(os.devnull, "wb") as nowhere:
        sys.stdout.flush()
        flush(None)
        stdout = os.dup(1)
        os.dup2(nowhere.fileno(), 1)
        try:
            yield
        finally:
            flush(None)
            os.dup2(stdout, 1)
            os.close(stdout)


def place_heaviest_first(volume: NDArray[np.int64], parts: int) -> NDArray[np.int32]:
    """Give each node, the heaviest first, to the part with the least volume; ties to the lowest number.

    Nodes of volume 0 get label 0.
    """
    labels = np.zeros(volume.size, np.int32)
    load = [(0, part) for part in range(parts)]
    for node in np.argsort(-volume, kind="stable")[: np.count_nonzero(volume)].tolist():
        lightest, part = load[0]
        labels[node] = part
        heapq.heapreplace(load, (lightest + int(volume[node]), part))
    return labels
