"""Small graphs in blocks, made by the tasks that make them of tables, and read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import sparse

from pipeline import storage
from pipeline.kernels.hashing import splitmix64
from pipeline.kernels.node_moves import NodeBlock
from pipeline.partitioning.cutting import Bounds, CutOptions, IndexTables
from pipeline.partitioning.wide.node_blocks import BlockGraph, build_blocks
from pipeline.tasks import Task, TaskFolder, TaskFunction, TaskRecord, payload_type, run_task
from schemas.tables import JOINED_EDGES, NODE_ARRAYS

Pairs = Sequence[tuple[int, int]]


class InProcess:
    def map_tasks(self, function: TaskFunction[Any, Any], tasks: Sequence[Task[Any]]) -> list[TaskRecord[Any]]:
        return [run_task(function, Task.from_json(task.to_json(), payload_type(function))) for task in tasks]


def in_folder(folder: Path) -> TaskFolder:
    return TaskFolder(InProcess(), folder)


def in_blocks(
    folder: Path,
    nodes: int,
    pairs: Pairs | np.ndarray,
    worker_bytes: int,
    shared: tuple[int, int] | None = None,
    hub_degree: int | None = None,
) -> BlockGraph:
    """Bring undirected edges into blocks; without ``hub_degree``, nodes stay whole."""
    folder.mkdir(parents=True, exist_ok=True)
    src, dst = np.asarray(pairs, np.int64).reshape(-1, 2).T
    degree = np.bincount(np.concatenate([src, dst[src != dst]]), minlength=nodes).astype(np.int64)
    key = splitmix64(np.arange(nodes, dtype=np.uint64)).view(np.int64)
    edges, arrays = folder / "edges.parquet", folder / "nodes.arrow"
    storage.write_parquet(edges, pa.table([src, dst, np.ones(src.size, np.int64)], schema=JOINED_EDGES.schema))
    storage.write_arrow(arrays, pa.table([key, degree, degree], schema=NODE_ARRAYS.schema))
    tables = IndexTables((arrays,), (edges,), nodes, src.size, shared)
    options = CutOptions("multilevel", 2, Bounds(None, 2**40, 1), hub_degree or 10**9, 0, worker_bytes)
    graph, _ = build_blocks(in_folder(folder / "blocks"), tables, options)
    return graph


def blocks_of(graph: BlockGraph) -> list[NodeBlock]:
    return [block.map() for block in graph.blocks]


def dense(graph: BlockGraph) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The adjacency matrix that the blocks hold."""
    found = np.zeros((graph.nodes, graph.nodes), np.int64)
    for block in blocks_of(graph):
        weight = block.edge_weight if block.edge_weight.size else np.ones(block.neighbor.size, np.int64)
        np.add.at(found, (block.node_of_entries(), block.neighbor), weight)
    return found


def adjacency(nodes: int, pairs: Pairs | np.ndarray) -> sparse.csr_array:
    src, dst = np.asarray(pairs, np.int64).reshape(-1, 2).T
    return sparse.csr_array((np.ones(src.size, np.int64), (src, dst)), shape=(nodes, nodes))
