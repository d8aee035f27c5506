"""Partitioners side by side: cut, copies, balance and time, beside METIS in the same process.

    python tests/benchmarks/partitioners.py GRAPH.parquet SOURCE TARGET [--plain] [--parts 64] [--seeds 3]

A graph is a Parquet file of pairs, of integers; ``--plain`` means that both columns number one set of nodes. Cut,
copies and balance are counted by the code of the partition stage: from the pieces and the homes of all nodes.
"pymetis" is its default (k-way above 8 parts) on the same graph with the same volumes. Seconds are CPU seconds from
arrays of edges to labels; the ratio is to pymetis with the same seed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pymetis

from pipeline.kernels.hashing import splitmix64
from pipeline.partitioning import metis
from pipeline.partitioning.homes import find_homes, hubs_by_cost, splittable_hubs
from pipeline.partitioning.part_counts import PartCounts
from pipeline.partitioning.partitioners import PARTITIONERS, Partitioner
from pipeline.partitioning.pieces import CutGraph, GraphPiece, Role
from pipeline.partitioning.placement import NodeHomes
from pipeline.partitioning.tree import ROOT, Tree


@dataclass(frozen=True)
class Graph:
    """The root's piece, and the edges between two nodes that may be split."""

    piece: GraphPiece
    degree: np.ndarray
    between: tuple[np.ndarray, np.ndarray]

    @property
    def node_key(self) -> np.ndarray:
        """(nodes,) uint64."""
        return splitmix64(np.arange(self.degree.size, dtype=np.uint64))


def bipartite(user: np.ndarray, item: np.ndarray) -> Graph:
    """Users are whole and items are shared, as the partition stage has it."""
    items = int(item.max()) + 1
    left, right = (user + items).astype(np.int32), item.astype(np.int32)
    degree = np.bincount(np.concatenate([left, right])).astype(np.int64)
    role = np.full(degree.size, Role.WHOLE, np.int8)
    role[:items] = Role.SHARED
    none = np.empty(0, np.int32)
    return Graph(GraphPiece(np.arange(degree.size), role, left, right), degree, (none, none))


def plain(left: np.ndarray, right: np.ndarray, parts: int, hub_degree: int | None, *, split: bool) -> Graph:
    """Return a graph on one set of nodes, its hubs split where that is cheaper, above a degree, or nowhere."""
    left, right = left.astype(np.int32), right.astype(np.int32)
    degree = np.bincount(np.concatenate([left, right[left != right]])).astype(np.int64)
    role = np.full(degree.size, Role.WHOLE, np.int8)
    if split:
        is_hub = hubs_by_cost(left, right, degree, parts) if hub_degree is None else degree > hub_degree
        role[splittable_hubs(left, right, is_hub)] = Role.SHARED
    is_between = (role[left] == Role.SHARED) & (role[right] == Role.SHARED)
    kept = left[~is_between], right[~is_between]
    return Graph(GraphPiece(np.arange(degree.size), role, *kept), degree, (left[is_between], right[is_between]))


def by_pymetis(graph: CutGraph, parts: int, seed: int) -> np.ndarray:
    """Cut by METIS as pymetis calls it when told no more than the graph."""
    vertices, lists = metis.list_vertices(graph)
    adjacency = pymetis.CSRAdjacency(lists.indptr.astype(np.int32), lists.neighbor)
    volume = lists.volume.astype(np.int32)
    _, found = pymetis.part_graph(parts, adjacency, vweights=volume, options=pymetis.Options(seed=seed + 1))
    labels = np.zeros(graph.volume.size, np.int32)
    labels[vertices] = found
    return labels


def measure(graph: Graph, labels: np.ndarray, parts: int) -> tuple[float, float, float]:
    """Cut in percent, copies and ghosts a node, largest over mean volume."""
    children = [child for child in graph.piece.children(labels, parts) if child.left.size]
    tree = Tree.of([(*ROOT, number) for number in range(len(children))])
    leaves = [(number + 1, child) for number, child in enumerate(children)]
    homes = NodeHomes(find_homes(graph.degree.size, leaves), graph.degree, graph.node_key)
    left, right = (
        np.concatenate(ends).astype(np.int64)
        for ends in zip((graph.piece.left, graph.piece.right), graph.between, strict=True)
    )
    counts = PartCounts(tree)
    counts.add_edges(left, right, homes)
    counts.add_rows(left, right, homes)
    counts.add_rows(right, left, homes)
    counts.count_rows(homes.parts, 0, graph.degree.size)
    figures, edges = counts.figures(), left.size
    away = sum(figures.split_nodes[1:]) + sum(figures.ghosts[1:])
    volume = np.array(figures.volume[1:])
    return (
        100 * figures.level_cut[1] / edges,
        away / np.count_nonzero(graph.degree),
        float(volume.max() * parts / volume.sum()),
    )


def table(graph: Graph, methods: Sequence[str], parts: int, seeds: int) -> None:
    """Print a row for each method and seed."""
    cut_graph = graph.piece.cut_graph(graph.degree, graph.node_key)
    known: dict[str, Partitioner] = {"pymetis": by_pymetis, **PARTITIONERS}
    print(f"{int((graph.piece.role == Role.SHARED).sum()):,} nodes may be split")
    print(f"{'method':12} {'seed':>4} {'cut %':>7} {'own %':>7} {'copies':>7} {'balance':>7} {'CPU s':>7} {'ratio':>6}")
    for seed in range(seeds):
        reference = 0.0
        for name in ["pymetis", *methods]:
            started = time.process_time()
            labels = known[name](cut_graph, parts, seed)
            seconds = time.process_time() - started
            reference = reference or seconds
            cut, copies, balance = measure(graph, labels, parts)
            own = 100 * float(np.mean(labels[cut_graph.left] != labels[cut_graph.right]))
            ratio = reference / max(seconds, 1e-9)
            print(
                f"{name:12} {seed:4} {cut:7.2f} {own:7.2f} {copies:7.4f} {balance:7.3f} {seconds:7.2f} {ratio:6.2f}",
                flush=True,
            )


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--whole", action="store_true", help="plain graphs: split no hub")
    parser.add_argument("--hub-degree", type=int, help="plain graphs: split above; else where it is cheaper")
    parser.add_argument("--parts", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", default="multilevel,metis,ldg,hash")
    asked = parser.parse_args()
    columns = pq.read_table(asked.file, columns=[asked.source, asked.target], partitioning=None)
    left, right = (columns[name].to_numpy() for name in (asked.source, asked.target))
    if asked.plain:
        graph = plain(left, right, asked.parts, asked.hub_degree, split=not asked.whole)
    else:
        graph = bipartite(left, right)
    table(graph, asked.methods.split(","), asked.parts, asked.seeds)


if __name__ == "__main__":
    main()
