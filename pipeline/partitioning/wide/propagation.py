"""Rounds of label propagation over blocks: moves are proposed, accepted and made, in three waves of tasks.

Proposals look at the labels and loads of the last round; the moves to a range of labels are accepted by one
task, by (gain, hash), under the volume cap. So labels depend neither on the number of workers nor on how nodes
are spread over blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.edge_files import slices_for
from pipeline.kernels import node_moves
from pipeline.kernels.node_moves import Proposals, choose_moves, choose_moves_to_send, group_nodes
from pipeline.partitioning.wide.node_blocks import Graph, map_block, read_columns, write_by_receiver
from pipeline.partitioning.wide.vectors import VectorWriter, map_vector, read_range, receivers_of
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt, Task, TaskRecord, TaskRunner, run_missing

#: Rounds end early when fewer nodes move than this share of all.
_FEW_MOVES = 200

_MOVE_DTYPES = (np.int32, np.int32, np.int64, np.uint64, np.int64)


@dataclass(frozen=True)
class Labels:
    """Labels of all nodes and the volume of every label, as vectors in files."""

    labels: str
    load: str
    count: int  # labels

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, for tasks."""
        return {"labels": self.labels, "load": self.load, "count": self.count}


@dataclass
class Rounds:
    """Where rounds are made, and the records of their tasks."""

    runner: TaskRunner
    place: Path
    seed: int
    records: list[TaskRecord[Any]] = field(default_factory=list)

    def cluster(self, graph: Graph, labels: Labels, max_volume: int, rounds: int) -> Labels:
        """Let nodes join the clusters around them; then put together those that are still alone, as leaves are."""
        for number in range(rounds):
            labels, moved = self._round(graph, labels, max_volume, f"cluster-{number}", number, "cluster")
            if moved * _FEW_MOVES < graph.nodes:
                break
        labels, _ = self._round(graph, labels, max_volume, "group", rounds, "group")
        return labels

    def refine(self, graph: Graph, labels: Labels, max_volume: int, rounds: int) -> Labels:
        """Move nodes to the parts where their neighbours are; parts above ``max_volume`` give nodes away."""
        for number in range(rounds):
            labels, moved = self._round(graph, labels, max_volume, f"refine-{number}", number, "refine")
            if moved == 0:
                break
        return labels

    def _round(
        self, graph: Graph, labels: Labels, max_volume: int, name: str, number: int, kind: str
    ) -> tuple[Labels, int]:
        place = self.place / name
        starts = graph.starts if labels.count == graph.nodes else _label_starts(labels.count, len(graph.starts))
        todo = {
            **labels.to_json(),
            "max_volume": max_volume,
            "kind": kind,
            "seed": (self.seed << 8) + number,
            "label_starts": list(starts),
            "node_starts": list(graph.starts),
        }
        proposed = run_missing(
            self.runner,
            propose_moves,
            [Task(f"propose-{i:05d}", place, {**todo, **graph.block(i)}) for i in range(len(graph.starts))],
        )
        chosen = run_missing(
            self.runner,
            accept_moves,
            [
                Task(f"accept-{i:05d}", place, {**todo, "range": i, "slices": slices})
                for i in range(len(starts))
                if (slices := slices_for(i, proposed, "moves"))
            ],
        )
        self.records += [*proposed, *chosen]
        moved = sum(record.result["moved"] for record in chosen)
        if moved == 0:
            return labels, 0
        todo = {
            **todo,
            "nodes": graph.nodes,
            "moves": [slices_for(i, chosen, "moves") for i in range(len(graph.starts))],
            "changes": [slices_for(i, chosen, "changes") for i in range(len(starts))],
        }
        (made,) = run_missing(self.runner, make_moves, [Task("moves", place, todo)])
        self.records.append(made)
        return Labels(str(made.file("labels")), str(made.file("load")), labels.count), moved


def _label_starts(labels: int, blocks: int) -> list[int]:
    """Return the first label of at most as many ranges as there are blocks."""
    return sorted({labels * i // min(labels, blocks) for i in range(min(labels, blocks))})


def propose_moves(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: find the moves that the nodes of a block propose, and send them to the ranges of their labels."""
    todo = payload
    block = map_block(todo)
    labels, load = map_vector(todo["labels"]), map_vector(todo["load"])
    if todo["kind"] == "group":
        moves = node_moves.propose_favorites(block, labels, load, todo["seed"])
    else:
        is_refining = todo["kind"] == "refine"
        moves = node_moves.propose_moves(block, labels, load, todo["max_volume"], todo["seed"], is_refining=is_refining)
        moves = moves.take(choose_moves_to_send(moves, 0, load, todo["max_volume"]))
    receiver = receivers_of(moves.label, todo["label_starts"])
    return {"moves_slices": write_by_receiver(attempt.path("moves", BATCHES), receiver, moves._asdict())}


def accept_moves(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: choose the moves to a range of labels; send them on, and what they change in the loads."""
    todo = payload
    moves = Proposals.in_order(*read_columns(todo["slices"], _MOVE_DTYPES))
    labels = map_vector(todo["labels"])
    starts, number = todo["label_starts"], todo["range"]
    if todo["kind"] == "group":
        new = group_nodes(moves, labels[moves.node], todo["max_volume"])
        chosen = new != labels[moves.node]
        moves = Proposals(moves.node, new, moves.gain, moves.word, moves.volume).take(chosen)
    else:
        stop = starts[number + 1] if number + 1 < len(starts) else todo["count"]
        load = read_range(todo["load"], starts[number], stop)
        moves = moves.take(choose_moves(moves, starts[number], load, todo["max_volume"]))
    order = np.argsort(moves.node)
    node, label = moves.node[order], moves.label[order]
    sent = write_by_receiver(
        attempt.path("moves", BATCHES), receivers_of(node, todo["node_starts"]), {"node": node, "label": label}
    )
    changed = np.concatenate([moves.label, labels[moves.node]])
    change = np.concatenate([moves.volume, -moves.volume])
    order = np.argsort(changed, kind="stable")
    changed, change = changed[order], change[order]
    changes = write_by_receiver(
        attempt.path("changes", BATCHES), receivers_of(changed, starts), {"label": changed, "change": change}
    )
    return {"moved": moves.node.size, "moves_slices": sent, "changes_slices": changes}


def make_moves(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: copy labels and loads with what has changed, range by range."""
    todo = payload
    with VectorWriter(attempt.path("labels", "npy"), np.int32, todo["nodes"]) as writer:
        for first, labels, slices in _pieces(todo["labels"], todo["node_starts"], todo["nodes"], todo["moves"]):
            node, label = read_columns(slices, (np.int32, np.int32))
            labels[node - first] = label
            writer.append(labels)
    with VectorWriter(attempt.path("load", "npy"), np.int64, todo["count"]) as writer:
        for first, load, slices in _pieces(todo["load"], todo["label_starts"], todo["count"], todo["changes"]):
            label, change = read_columns(slices, (np.int32, np.int64))
            np.add.at(load, label - first, change)
            writer.append(load)
    return {}


def _pieces(
    vector: str, starts: Sequence[int], size: int, slices: Sequence[Any]
) -> Iterator[tuple[int, NDArray[Any], Sequence[Any]]]:
    for number, first in enumerate(starts):
        stop = starts[number + 1] if number + 1 < len(starts) else size
        yield first, read_range(vector, first, stop), slices[number]
