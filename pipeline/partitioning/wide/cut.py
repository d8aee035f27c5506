"""Cut a graph over the memory bound of one task into leaves, and give its nodes homes.

The root is cut in levels, into as many children as it takes for each to fit one task; children that are still
over the bounds of a leaf go down from there like those of a small graph, one task a piece.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PartitionError
from pipeline.partitioning.cutting import IMBALANCE, Bounds, PieceToCut, refuse_indivisible
from pipeline.partitioning.pieces import PieceFiles, PieceSize
from pipeline.partitioning.task_folder import TaskFolder
from pipeline.partitioning.tree import ROOT, PartPath, TreeFigures
from pipeline.partitioning.wide.homes import LeafFiles, MergedHomesResult, find_homes_in_blocks
from pipeline.partitioning.wide.node_blocks import BlockGraph, NodeVectors, build_blocks
from pipeline.partitioning.wide.node_roles import IndexFiles
from pipeline.partitioning.wide.pieces import HashPayload, label_by_hash, measure_children, write_children
from pipeline.partitioning.wide.top_levels import GraphSeeds, LevelsCut, cut_bytes, cut_in_levels
from pipeline.tasks import TaskRecord

log = logging.getLogger(__name__)

#: Children repeat shared nodes and the edges between them, which the estimate of the whole graph does not know.
_REPEATED = 1.25

#: Cuts pieces down to leaves; returns the leaves with the files of their pieces, and the number of empty parts.
CutFurther = Callable[[Mapping[PartPath, PieceToCut]], tuple[Mapping[PartPath, PieceFiles], int]]


@dataclass(frozen=True)
class WideOptions:
    """How to cut: into ``parts`` leaves, or into leaves under ``bounds``."""

    method: str
    parts: int | None
    bounds: Bounds
    edges: int  # of the graph
    seed: int
    worker_bytes: int


@dataclass(frozen=True)
class WideCut:
    """A cut of a graph in blocks."""

    homes: TaskRecord[MergedHomesResult]  # with the table of homes, role ``parts``
    figures: TreeFigures
    empty_parts: int


@dataclass(frozen=True)
class RootChildren:
    """The children of the root: their labels, as a vector and by size; ``to_cut`` are those that fit no leaf."""

    labels: Path
    sizes: list[PieceSize]
    to_cut: list[int]
    tasks: TaskFolder  # where they were cut

    @property
    def path_of(self) -> dict[int, PartPath]:
        """Paths by label; children are numbered without those that got no edges."""
        filled = [label for label, size in enumerate(self.sizes) if size.edges]
        return {label: (*ROOT, number) for number, label in enumerate(filled)}


def cut_wide(
    tasks: TaskFolder, tables: IndexFiles, options: WideOptions, seeds: GraphSeeds, cut_further: CutFurther
) -> WideCut:
    """Cut a graph that no task can hold.

    Raises
    ------
    PartitionError : if a node fits no leaf or no task.
    """
    graph, vectors = build_blocks(tasks.below("blocks"), tables, options.worker_bytes)
    if options.parts is None:
        refuse_indivisible(graph.largest, options.edges, options.bounds, tables.shared is None)
    children = _cut_root(tasks, graph, vectors, options, seeds)
    path_of, to_cut = children.path_of, children.to_cut
    empty_parts = len(children.sizes) - len(path_of)
    pieces: Mapping[PartPath, PieceFiles] = {}
    if to_cut:
        files = write_children(children.tasks.below("pieces"), graph, children.labels, to_cut)
        pieces, below_empty = cut_further(
            {
                path_of[label]: PieceToCut(files[label], options.bounds.children(size.rows, size.edges))
                for label in to_cut
                if (size := children.sizes[label])
            }
        )
        empty_parts += below_empty
    leaves = LeafFiles(
        children.labels,
        {label: path for label, path in path_of.items() if label not in to_cut},
        {path: files.nodes for path, files in pieces.items()},
    )
    homes, figures = find_homes_in_blocks(tasks.below("homes"), graph, leaves, vectors, options.worker_bytes)
    return WideCut(homes, figures, empty_parts)


def _cut_root(
    tasks: TaskFolder, graph: BlockGraph, vectors: NodeVectors, options: WideOptions, seeds: GraphSeeds
) -> RootChildren:
    """Cut the root into twice as many children until each of those that are cut further fits a task."""
    bounds, worker_bytes = options.bounds, options.worker_bytes
    parts = options.parts
    if parts is None:
        fitting = math.ceil(_REPEATED * IMBALANCE * cut_bytes(graph.nodes, options.edges) / worker_bytes)
        parts = max(bounds.children(graph.nodes, options.edges), fitting)
    while True:
        cut_tasks = tasks.below(f"into-{parts}")
        if options.method == "hash":
            payload = HashPayload(graph.nodes, vectors.node_key, parts, options.seed)
            labels = cut_tasks.run(label_by_hash, "hash", payload).file("labels")
        else:
            labels = cut_in_levels(cut_tasks, graph, LevelsCut(parts, options.seed, worker_bytes), seeds).labels
        sizes = measure_children(cut_tasks.below("sizes"), graph, labels, parts)
        to_cut = [
            label
            for label, size in enumerate(sizes)
            if size.edges and options.parts is None and bounds.excess(size.rows, size.edges) > 1
        ]
        largest = max((cut_bytes(sizes[label].rows, sizes[label].edges) for label in to_cut), default=0)
        if largest <= worker_bytes:
            return RootChildren(labels, sizes, to_cut, cut_tasks)
        if parts > graph.nodes:
            raise PartitionError(
                f"a piece takes a task {largest:,} bytes in however many the graph is cut; partition.worker_bytes is "
                f"{worker_bytes:,}: raise it above that"
            )
        log.info("stage=partition children=%d largest_bytes=%d worker_bytes=%d", parts, largest, worker_bytes)
        parts *= 2
