"""Cut a graph over the memory bound of one task into leaves, and give its nodes homes.

The root is cut in levels, into as many children as it takes for each to fit one task; children that are still
over the bounds of a leaf go down from there like those of a small graph, one task a piece.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import PartitionError
from pipeline.locations import Location
from pipeline.partitioning.cutting import (
    IMBALANCE,
    CutOptions,
    GraphCut,
    IndexTables,
    PieceToCut,
    refuse_indivisible,
)
from pipeline.partitioning.narrow_cut import cut_down
from pipeline.partitioning.pieces import PieceFiles, PieceSize
from pipeline.partitioning.tree import ROOT, PartPath
from pipeline.partitioning.wide.homes import LeafFiles, find_homes_in_blocks
from pipeline.partitioning.wide.node_blocks import BlockGraph, NodeVectors, build_blocks
from pipeline.partitioning.wide.pieces import HashPayload, label_by_hash, measure_children, write_children
from pipeline.partitioning.wide.top_levels import GraphSeeds, LevelsCut, cut_bytes, cut_in_levels
from pipeline.tasks import TaskFolder

log = logging.getLogger(__name__)

#: Children repeat shared nodes and the edges between them, which the estimate of the whole graph does not know.
_REPEATED = 1.25


@dataclass(frozen=True)
class RootChildren:
    """The children of the root: their labels, as a vector and by size; ``to_cut`` are those that fit no leaf."""

    labels: Location
    sizes: list[PieceSize]
    to_cut: list[int]
    tasks: TaskFolder  # where they were cut

    @property
    def path_of(self) -> dict[int, PartPath]:
        """Paths by label; children are numbered without those that got no edges."""
        labels = [label for label, size in enumerate(self.sizes) if size.edges]
        return {label: (*ROOT, number) for number, label in enumerate(labels)}


def cut_wide(folder: TaskFolder, tables: IndexTables, options: CutOptions, seeds: GraphSeeds) -> GraphCut:
    """Cut a graph that no task can hold.

    Raises
    ------
    PartitionError : if a node fits no leaf or no task.
    """
    tasks = folder.below("wide")
    graph, vectors = build_blocks(tasks.below("blocks"), tables, options)
    if options.parts is None:
        refuse_indivisible(graph.largest, tables.edge_count, options.bounds, tables.shared_range is None)
    children = _cut_root(tasks, tables, graph, vectors, options, seeds)
    path_of, to_cut = children.path_of, children.to_cut
    empty_parts = len(children.sizes) - len(path_of)
    pieces: Mapping[PartPath, PieceFiles] = {}
    if to_cut:
        files = write_children(children.tasks.below("pieces"), graph, children.labels, to_cut)
        level = {
            path_of[label]: PieceToCut(files[label], options.bounds.children(size.rows, size.edges))
            for label in to_cut
            if (size := children.sizes[label])
        }
        pieces, below_empty = cut_down(folder, tables.arrays, options, level)
        empty_parts += below_empty
    leaves = LeafFiles(
        children.labels,
        {label: path for label, path in path_of.items() if label not in to_cut},
        {path: files.nodes for path, files in pieces.items()},
    )
    homes, figures = find_homes_in_blocks(tasks.below("homes"), graph, leaves, vectors, options.worker_bytes)
    return GraphCut(homes.result.paths, homes, figures, homes.result.inversions, empty_parts)


def _cut_root(
    tasks: TaskFolder,
    tables: IndexTables,
    graph: BlockGraph,
    vectors: NodeVectors,
    options: CutOptions,
    seeds: GraphSeeds,
) -> RootChildren:
    """Cut the root into twice as many children until each of those that are cut further fits a task."""
    bounds, worker_bytes = options.bounds, options.worker_bytes
    parts = options.parts
    if parts is None:
        fitting = math.ceil(_REPEATED * IMBALANCE * cut_bytes(tables.nodes, tables.edge_count) / worker_bytes)
        parts = max(bounds.children(tables.nodes, tables.edge_count), fitting)
    while True:
        cut_tasks = tasks.below(f"into-{parts}")
        if options.method == "hash":
            payload = HashPayload(graph.nodes, vectors.node_key, parts, options.seed)
            labels = cut_tasks.run(label_by_hash, "hash", payload).file("labels")
        else:
            labels = cut_in_levels(cut_tasks, graph, LevelsCut(parts, options.seed, worker_bytes), seeds).labels
        sizes = measure_children(cut_tasks.below("sizes"), graph, labels, parts)
        to_cut = [
            label for label, size in enumerate(sizes) if size.edges and not options.fits_leaf(size.rows, size.edges)
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
