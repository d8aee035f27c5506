"""Cut a graph over the memory bound of one task into leaves, and give its nodes homes.

The root is cut in levels, into as many children as it takes for each to fit one task; children that are still
over the bounds of a leaf go down from there like those of a small graph, one task a piece.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import PartitionError
from pipeline.partitioning.cutting import IMBALANCE, Bounds, refuse_indivisible
from pipeline.partitioning.tree import ROOT, PartPath, TreeFigures
from pipeline.partitioning.wide.homes import Leaves, place_in_blocks
from pipeline.partitioning.wide.node_blocks import make_blocks
from pipeline.partitioning.wide.node_roles import Source
from pipeline.partitioning.wide.pieces import label_by_hash, measure_children, write_children
from pipeline.partitioning.wide.top_levels import Seeds, TopCut, cut_bytes, cut_in_levels
from pipeline.tasks import TaskRecord, TaskRunner

log = logging.getLogger(__name__)

#: Children repeat shared nodes and the edges between them, which the estimate of the whole graph does not know.
_REPEATED = 1.25

#: Leaves with the files of their pieces, the records of the tasks, and the number of empty parts.
CutFurtherResult = tuple[Mapping[PartPath, Mapping[str, str]], Sequence[TaskRecord[Any]], int]
#: Cuts pieces down to leaves; they are given with their files, rows and edges.
CutFurther = Callable[[Mapping[PartPath, tuple[Mapping[str, str], int, int]]], CutFurtherResult]


@dataclass(frozen=True)
class WideCut:
    """What a cut came to."""

    paths: Sequence[PartPath]  # of the leaves
    homes: TaskRecord[Any]  # with the table of homes, role ``parts``
    figures: TreeFigures
    records: Sequence[TaskRecord[Any]]
    empty_parts: int


def cut_wide(
    runner: TaskRunner,
    source: Source,
    method: str,
    parts: int | None,
    bounds: Bounds,
    edges: int,
    seed: int,
    worker_bytes: int,
    seeds: Seeds,
    place: Path,
    cut_further: CutFurther,
) -> WideCut:
    """Cut into ``parts`` leaves, or into leaves under ``bounds``.

    Raises
    ------
    PartitionError : if a node fits no leaf or no task.
    """
    graph, records = make_blocks(runner, source, worker_bytes, place / "blocks")
    wanted = parts
    if wanted is None:
        refuse_indivisible(graph.largest, edges, bounds, source.shared is None)
        fitting = math.ceil(_REPEATED * IMBALANCE * cut_bytes(source.nodes, edges) / worker_bytes)
        wanted = max(bounds.children(source.nodes, edges), fitting)
    while True:
        here = place / f"into-{wanted}"
        if method == "hash":
            labels, made = label_by_hash(runner, graph, graph.node_key, wanted, seed, here)
        else:
            found, made = cut_in_levels(runner, graph, TopCut(wanted, seed, worker_bytes), seeds, here)
            labels = found.labels
        sizes, measured = measure_children(runner, graph, labels, wanted, here / "sizes")
        records += [*made, *measured]
        leaf_labels = [
            label
            for label, (rows, inside) in enumerate(sizes)
            if inside and (parts is not None or bounds.excess(rows, inside) <= 1)
        ]
        chosen = [label for label, (_, inside) in enumerate(sizes) if inside and label not in set(leaf_labels)]
        largest = max((cut_bytes(*sizes[label]) for label in chosen), default=0)
        if largest <= worker_bytes:
            break
        if wanted > graph.nodes:
            raise PartitionError(
                f"a piece takes a task {largest:,} bytes in however many the graph is cut; partition.worker_bytes is "
                f"{worker_bytes:,}: raise it above that"
            )
        log.info("stage=partition children=%d largest_bytes=%d worker_bytes=%d", wanted, largest, worker_bytes)
        wanted *= 2
    # Children are numbered without those that got no edges.
    filled = [label for label, (_, inside) in enumerate(sizes) if inside]
    path_of = {label: (*ROOT, number) for number, label in enumerate(filled)}
    empty_parts = wanted - len(filled)
    pieces: Mapping[PartPath, Mapping[str, str]] = {}
    if chosen:
        files, made = write_children(runner, graph, labels, chosen, here / "pieces")
        pieces, below, dropped = cut_further({path_of[label]: (files[label], *sizes[label]) for label in chosen})
        records += [*made, *below]
        empty_parts += dropped
    leaves = Leaves(
        labels,
        {label: path_of[label] for label in leaf_labels},
        {path: str(files["nodes"]) for path, files in pieces.items()},
    )
    homes, figures, made = place_in_blocks(
        runner, graph, leaves, {"degree": graph.degree, "node_key": graph.node_key}, worker_bytes, place / "homes"
    )
    paths = [tuple(path) for path in homes.result["paths"]]
    return WideCut(paths, homes, figures, [*records, *made], empty_parts)
