"""Rounds of label propagation over blocks: moves are proposed, accepted and applied, in three waves of tasks.

Proposals look at the labels and loads of the last round; the moves to a range of labels are accepted by one
task, by (gain, hash), under the volume cap. So labels depend neither on the number of workers nor on how nodes
are spread over blocks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.sent_rows import FileBatch, SentRows, batches_for, read_columns, write_by_receiver
from pipeline.kernels import node_moves
from pipeline.kernels.node_moves import Proposals, choose_moves, choose_moves_to_send, group_nodes
from pipeline.locations import Location
from pipeline.partitioning.wide.node_blocks import BlockGraph, NodeBlockFiles
from pipeline.partitioning.wide.vectors import VectorWriter, map_vector, read_range, receivers_of
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt, TaskFolder

#: Rounds end early when fewer nodes move than this share of all.
_FEW_MOVES = 200

_MOVE_DTYPES = (np.int32, np.int32, np.int64, np.uint64, np.int64)

#: What a round does: nodes join clusters, lone nodes are put together, or nodes move between parts.
RoundKind = Literal["cluster", "group", "refine"]


@dataclass(frozen=True)
class NodeLabels:
    """Labels of all nodes and the volume of every label, as vectors in files."""

    labels: Location
    load: Location
    count: int  # labels


@dataclass(frozen=True)
class LabelPropagation:
    """Rounds of label propagation whose files lie in one folder."""

    tasks: TaskFolder
    seed: int

    def cluster(self, graph: BlockGraph, labels: NodeLabels, max_volume: int, rounds: int) -> NodeLabels:
        """Let nodes join the clusters around them; then group those that are still alone, as leaves are."""
        for number in range(rounds):
            labels, moves = self._round(graph, labels, max_volume, number, "cluster")
            if moves * _FEW_MOVES < graph.nodes:
                break
        labels, _ = self._round(graph, labels, max_volume, rounds, "group")
        return labels

    def refine(self, graph: BlockGraph, labels: NodeLabels, max_volume: int, rounds: int) -> NodeLabels:
        """Move nodes to the parts where their neighbours are; parts above ``max_volume`` give nodes away."""
        for number in range(rounds):
            labels, moves = self._round(graph, labels, max_volume, number, "refine")
            if moves == 0:
                break
        return labels

    def _round(
        self, graph: BlockGraph, labels: NodeLabels, max_volume: int, number: int, kind: RoundKind
    ) -> tuple[NodeLabels, int]:
        """Run one round; return the labels and how many nodes have moved."""
        tasks = self.tasks.below(f"{kind}-{number}")
        starts = graph.starts if labels.count == graph.nodes else _label_starts(labels.count, len(graph.blocks))
        current = RoundInput(labels, max_volume, kind, (self.seed << 8) + number, starts, graph.starts)
        proposals = tasks.run_each(propose_moves, "propose", [ProposePayload(current, block) for block in graph.blocks])
        move_batches = [batches_for(i, proposals, "moves") for i in range(len(starts))]
        receivers = [i for i, batches in enumerate(move_batches) if batches]
        decisions = tasks.run_each(
            accept_moves, "accept", [AcceptPayload(current, i, move_batches[i]) for i in receivers], receivers
        )
        moves = sum(record.rows("moves") for record in decisions)
        if moves == 0:
            return labels, 0
        payload = ApplyPayload(
            current,
            graph.nodes,
            tuple(batches_for(i, decisions, "moves") for i in range(len(graph.blocks))),
            tuple(batches_for(i, decisions, "changes") for i in range(len(starts))),
        )
        record = tasks.run(apply_moves, "moves", payload)
        return NodeLabels(record.file("labels"), record.file("load"), labels.count), moves


def _label_starts(labels: int, blocks: int) -> tuple[int, ...]:
    """Return the first label of at most as many ranges as there are blocks."""
    return tuple(sorted({labels * i // min(labels, blocks) for i in range(min(labels, blocks))}))


@dataclass(frozen=True)
class RoundInput:
    """What all tasks of a round share: the labels of the last one, and the first label and node of every range."""

    labels: NodeLabels
    max_volume: int
    kind: RoundKind
    seed: int
    label_starts: tuple[int, ...]
    node_starts: tuple[int, ...]


@dataclass(frozen=True)
class ProposePayload:
    round: RoundInput
    block: NodeBlockFiles


def propose_moves(payload: ProposePayload, attempt: Attempt) -> SentRows:
    """Task: propose moves for the nodes of a block, and send them to the ranges of their labels."""
    current, block = payload.round, payload.block.map()
    labels, load = map_vector(current.labels.labels), map_vector(current.labels.load)
    if current.kind == "group":
        moves = node_moves.propose_favorites(block, labels, load, current.seed)
    else:
        is_refining = current.kind == "refine"
        moves = node_moves.propose_moves(block, labels, load, current.max_volume, current.seed, is_refining=is_refining)
        moves = moves.take(choose_moves_to_send(moves, load, current.max_volume))
    receiver = receivers_of(moves.label, current.label_starts)
    return SentRows({"moves": write_by_receiver(attempt.path("moves", BATCHES), receiver, moves._asdict())})


@dataclass(frozen=True)
class AcceptPayload:
    round: RoundInput
    range: int
    batches: tuple[FileBatch, ...]


def accept_moves(payload: AcceptPayload, attempt: Attempt) -> SentRows:
    """Task: choose the moves to a range of labels; send them on, and what they change in the loads."""
    current = payload.round
    moves = Proposals.in_order(*read_columns(payload.batches, _MOVE_DTYPES))
    labels = map_vector(current.labels.labels)
    starts, number = current.label_starts, payload.range
    if current.kind == "group":
        new = group_nodes(moves, labels[moves.node], current.max_volume)
        is_move = new != labels[moves.node]
        moves = Proposals(moves.node, new, moves.gain, moves.word, moves.volume).take(is_move)
    else:
        stop = starts[number + 1] if number + 1 < len(starts) else current.labels.count
        load = read_range(current.labels.load, starts[number], stop)
        moves = moves.take(choose_moves(moves, starts[number], load, current.max_volume))
    receiver = receivers_of(moves.node, current.node_starts)
    slices = write_by_receiver(attempt.path("moves", BATCHES), receiver, {"node": moves.node, "label": moves.label})
    label = np.concatenate([moves.label, labels[moves.node]])
    change = np.concatenate([moves.volume, -moves.volume])
    changes = write_by_receiver(
        attempt.path("changes", BATCHES), receivers_of(label, starts), {"label": label, "change": change}
    )
    return SentRows({"moves": slices, "changes": changes})


@dataclass(frozen=True)
class ApplyPayload:
    round: RoundInput
    nodes: int
    moves: tuple[tuple[FileBatch, ...], ...]  # by range of nodes
    changes: tuple[tuple[FileBatch, ...], ...]  # by range of labels


def apply_moves(payload: ApplyPayload, attempt: Attempt) -> None:
    """Task: copy labels and loads with what has changed, range by range."""
    current, nodes = payload.round, payload.nodes
    with VectorWriter(attempt.path("labels", "npy"), np.int32, nodes) as writer:
        for first, labels, batches in _ranges(current.labels.labels, current.node_starts, nodes, payload.moves):
            node, label = read_columns(batches, (np.int32, np.int32))
            labels[node - first] = label
            writer.append(labels)
    count = current.labels.count
    with VectorWriter(attempt.path("load", "npy"), np.int64, count) as writer:
        for first, load, batches in _ranges(current.labels.load, current.label_starts, count, payload.changes):
            label, change = read_columns(batches, (np.int32, np.int64))
            np.add.at(load, label - first, change)
            writer.append(load)


def _ranges(
    vector: Location, starts: Sequence[int], size: int, batches: Sequence[tuple[FileBatch, ...]]
) -> Iterator[tuple[int, NDArray[Any], tuple[FileBatch, ...]]]:
    for first, stop, batches_of_range in zip(starts, (*starts[1:], size), batches, strict=True):
        yield first, read_range(vector, first, stop), batches_of_range
