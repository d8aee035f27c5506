"""From the labels of a cut in levels to pieces: how large the children are, and those that are cut further."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.sent_rows import FileBatch, SentRows, batches_for, read_columns, write_by_receiver
from pipeline.kernels.node_moves import NodeBlock
from pipeline.locations import Location
from pipeline.partitioning.partitioners import hash_labels
from pipeline.partitioning.pieces import GraphPiece, PieceFiles, PieceSize, Role
from pipeline.partitioning.wide.node_blocks import BlockGraph, NodeBlockFiles
from pipeline.partitioning.wide.vectors import VectorWriter, map_vector, ranges, read_range
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt, TaskFolder


@dataclass(frozen=True)
class HashPayload:
    nodes: int
    node_key: Location
    parts: int
    seed: int


def label_by_hash(payload: HashPayload, attempt: Attempt) -> None:
    """Task: label all nodes as :func:`pipeline.partitioning.partitioners.by_hash` does."""
    with VectorWriter(attempt.path("labels", "npy"), np.int32, payload.nodes) as writer:
        for first, stop in ranges(payload.nodes):
            node_key = read_range(payload.node_key, first, stop).view(np.uint64)
            writer.append(hash_labels(node_key, payload.parts, payload.seed))


def measure_children(tasks: TaskFolder, graph: BlockGraph, labels: Location, parts: int) -> list[PieceSize]:
    """Return the size of the piece of every label."""
    records = tasks.run_each(measure_block, "measure", [MeasurePayload(block, labels, parts) for block in graph.blocks])
    rows, edges = (
        np.sum(counts, axis=0).tolist()
        for counts in zip(*((record.result.rows, record.result.edges) for record in records), strict=True)
    )
    return [PieceSize(*size) for size in zip(rows, edges, strict=True)]


@dataclass(frozen=True)
class MeasurePayload:
    block: NodeBlockFiles
    labels: Location
    parts: int  # labels are below


@dataclass(frozen=True)
class MeasureResult:
    """Rows and edges by label."""

    rows: tuple[int, ...]
    edges: tuple[int, ...]


def measure_block(payload: MeasurePayload, attempt: Attempt) -> MeasureResult:  # noqa: ARG001
    """Task: count the rows and edges that each label's piece gets from a block."""
    block, labels, parts = payload.block.map(), map_vector(payload.labels), payload.parts
    node = block.node_of_entries()
    child = _child_of_edges(block, labels, node)
    edges = np.bincount(child[child >= 0], minlength=parts)
    is_whole, is_by_whole = (block.role[ends] == Role.WHOLE for ends in (node, block.neighbor))
    row = node.astype(np.int64) << 32
    both = np.concatenate([(row | labels[node])[is_whole], (row | labels[block.neighbor])[is_by_whole]])
    both.sort()
    both = both[np.diff(both, prepend=-1) > 0]
    rows = np.bincount(both & 0xFFFFFFFF, minlength=parts)
    return MeasureResult(tuple(rows.tolist()), tuple(edges.tolist()))


def _child_of_edges(block: NodeBlock, labels: NDArray[np.int32], node: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the label whose piece gets each entry as an edge; -1 for none, or if the other end sends it."""
    neighbor = block.neighbor
    child = labels[node]
    is_sent = (block.role[node] == Role.WHOLE) & (
        (block.role[neighbor] != Role.WHOLE) | (child != labels[neighbor]) | (node <= neighbor)
    )
    return np.where(is_sent, child, -1)


def write_children(
    tasks: TaskFolder, graph: BlockGraph, labels: Location, piece_labels: Sequence[int]
) -> dict[int, PieceFiles]:
    """Write the pieces of some labels; return their files."""
    edges = tasks.run_each(
        send_edges, "send", [SendEdgesPayload(block, labels, tuple(piece_labels)) for block in graph.blocks]
    )
    assert graph.role is not None
    pieces = [PiecePayload(labels, label, graph.role, batches_for(label, edges, "edges")) for label in piece_labels]
    records = tasks.run_each(join_piece, "piece", pieces, piece_labels)
    return {label: PieceFiles.of(record) for label, record in zip(piece_labels, records, strict=True)}


@dataclass(frozen=True)
class SendEdgesPayload:
    block: NodeBlockFiles
    labels: Location
    piece_labels: tuple[int, ...]


def send_edges(payload: SendEdgesPayload, attempt: Attempt) -> SentRows:
    """Task: sort a block's edges by the pieces they belong to."""
    block, labels = payload.block.map(), map_vector(payload.labels)
    node = block.node_of_entries()
    child = _child_of_edges(block, labels, node)
    is_sent = np.isin(child, payload.piece_labels)
    columns = {"left": node[is_sent], "right": block.neighbor[is_sent]}
    return SentRows({"edges": write_by_receiver(attempt.path("edges", BATCHES), child[is_sent], columns)})


@dataclass(frozen=True)
class PiecePayload:
    labels: Location  # vector over all nodes, as is role
    label: int
    role: Location
    batches: tuple[FileBatch, ...]


def join_piece(payload: PiecePayload, attempt: Attempt) -> None:
    """Task: build a piece from the edges that were sent to it."""
    left, right = read_columns(payload.batches, (np.int32, np.int32))
    labels, all_roles = map_vector(payload.labels), map_vector(payload.role)
    nodes = np.sort(np.concatenate([left, right]))
    nodes = nodes[np.diff(nodes, prepend=-1) > 0]
    left, right = (np.searchsorted(nodes, ends).astype(np.int32) for ends in (left, right))
    role = all_roles[nodes]
    role[(role == Role.WHOLE) & (labels[nodes] != payload.label)] = Role.OUTSIDE
    piece = GraphPiece(nodes.astype(np.int64), role, left, right)
    piece.write(attempt.path("nodes", "arrow"), attempt.path("pairs", "arrow"))
