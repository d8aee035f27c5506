"""From the labels of a cut in levels to pieces: how large the children are, and those that are cut further."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import read_slice
from pipeline.blocks.edge_files import slices_for
from pipeline.kernels.hashing import hash_nodes
from pipeline.kernels.node_moves import NodeBlock
from pipeline.partitioning.pieces import Piece, Role
from pipeline.partitioning.wide.node_blocks import Graph, map_block, write_by_receiver
from pipeline.partitioning.wide.vectors import VectorWriter, map_vector, ranges, read_range
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt, Task, TaskRecord, TaskRunner, run_missing


def label_by_hash(
    runner: TaskRunner, graph: Graph, node_key: str, parts: int, seed: int, place: Path
) -> tuple[str, list[TaskRecord[Any]]]:
    """Label all nodes by the hash of their keys, as :func:`pipeline.partitioning.partitioners.by_hash` does."""
    todo = {"nodes": graph.nodes, "node_key": node_key, "parts": parts, "seed": seed}
    (labelled,) = run_missing(runner, hash_labels, [Task("hash", place, todo)])
    return str(labelled.file("labels")), [labelled]


def hash_labels(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: label all nodes by hash."""
    todo = payload
    with VectorWriter(attempt.path("labels", "npy"), np.int32, todo["nodes"]) as writer:
        for first, stop in ranges(todo["nodes"]):
            words = hash_nodes(read_range(todo["node_key"], first, stop).view(np.uint64), todo["seed"])
            writer.append(((words >> np.uint64(32)) % np.uint64(todo["parts"])).astype(np.int32))
    return {}


def measure_children(
    runner: TaskRunner, graph: Graph, labels: str, parts: int, place: Path
) -> tuple[list[tuple[int, int]], list[TaskRecord[Any]]]:
    """Return (rows, edges) of the piece of every label, and the records."""
    todo = {"labels": labels, "parts": parts}
    measured = run_missing(
        runner,
        measure_block,
        [Task(f"measure-{i:05d}", place, {**todo, **graph.block(i)}) for i in range(len(graph.starts))],
    )
    rows, edges = (np.sum([record.result[name] for record in measured], axis=0).tolist() for name in ("rows", "edges"))
    return list(zip(rows, edges, strict=True)), measured


def measure_block(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:  # noqa: ARG001
    """Task: count the rows and edges that each label's piece gets from a block."""
    parts = payload["parts"]
    block, labels = map_block(payload), map_vector(payload["labels"])
    node = block.node_of_entries()
    child = _child_of_edges(block, labels, node)
    edges = np.bincount(child[child >= 0], minlength=parts)
    is_whole, is_by_whole = (block.role[ends] == Role.WHOLE for ends in (node, block.neighbor))
    row = node.astype(np.int64) << 32
    both = np.concatenate([(row | labels[node])[is_whole], (row | labels[block.neighbor])[is_by_whole]])
    both.sort()
    both = both[np.diff(both, prepend=-1) > 0]
    rows = np.bincount(both & 0xFFFFFFFF, minlength=parts)
    return {"rows": rows.tolist(), "edges": edges.tolist()}


def _child_of_edges(block: NodeBlock, labels: NDArray[np.int32], node: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the label whose piece gets each entry as an edge; -1 for none, or if the other end hands it in."""
    other = block.neighbor
    child = labels[node]
    is_given = (block.role[node] == Role.WHOLE) & (
        (block.role[other] != Role.WHOLE) | (child != labels[other]) | (node <= other)
    )
    return np.where(is_given, child, -1)


def write_children(
    runner: TaskRunner, graph: Graph, labels: str, chosen: Sequence[int], place: Path
) -> tuple[dict[int, dict[str, str]], list[TaskRecord[Any]]]:
    """Write the pieces of some labels; return their files as ``cut_piece`` takes them, and the records."""
    todo = {"labels": labels, "chosen": list(chosen)}
    sent = run_missing(
        runner,
        send_edges,
        [Task(f"send-{i:05d}", place, {**todo, **graph.block(i)}) for i in range(len(graph.starts))],
    )
    made = run_missing(
        runner,
        join_piece,
        [
            Task(
                f"piece-{label:05d}",
                place,
                {"labels": labels, "label": label, "role": graph.role, "slices": slices_for(label, sent, "edges")},
            )
            for label in chosen
        ],
    )
    files = {
        label: {role: str(record.file(role)) for role in ("nodes", "pairs")}
        for label, record in zip(chosen, made, strict=True)
    }
    return files, [*sent, *made]


def send_edges(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: sort a block's edges by the pieces they belong to."""
    block, labels = map_block(payload), map_vector(payload["labels"])
    node = block.node_of_entries()
    child = _child_of_edges(block, labels, node)
    child[~np.isin(child, payload["chosen"])] = -1
    order = np.argsort(child, kind="stable")
    order = order[np.searchsorted(child[order], 0) :]
    columns = {"left": node[order], "right": block.neighbor[order]}
    receiver = child[order].astype(np.int64)
    return {"edges_slices": write_by_receiver(attempt.path("edges", BATCHES), receiver, columns)}


def join_piece(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: make a piece of the edges that were sent to it."""
    todo = payload
    batches = [read_slice(Path(file), number) for file, number in todo["slices"]]
    left, right = (np.concatenate([batch.column(i).to_numpy() for batch in batches]) for i in (0, 1))
    labels, all_roles = map_vector(todo["labels"]), map_vector(todo["role"])
    nodes = np.sort(np.concatenate([left, right]))
    nodes = nodes[np.diff(nodes, prepend=-1) > 0]
    left, right = (np.searchsorted(nodes, ends).astype(np.int32) for ends in (left, right))
    role = all_roles[nodes]
    role[(role == Role.WHOLE) & (labels[nodes] != todo["label"])] = Role.OUTSIDE
    piece = Piece(nodes.astype(np.int64), role, left, right)
    piece.write(attempt.path("nodes", "arrow"), attempt.path("pairs", "arrow"))
    return {}
