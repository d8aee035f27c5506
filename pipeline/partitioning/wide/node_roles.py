"""Roles of the nodes of a graph in blocks: who may be split; see :mod:`pipeline.partitioning.homes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.partitioning.homes import costs_less_split, ghost_rows
from pipeline.partitioning.pieces import Role
from pipeline.partitioning.wide.vectors import VectorWriter, map_vector, ranges, write_vector
from pipeline.tasks import Attempt, Task, TaskRecord, TaskRunner, run_missing


@dataclass(frozen=True)
class Source:
    """The tables that a graph is made of, and who may be split."""

    arrays: Sequence[str]  # files of node_arrays
    edges: Sequence[str]  # files of indexed_edges
    nodes: int
    shared: tuple[int, int] | None  # node numbers of the type whose nodes are split
    hub_degree: int | None  # plain graphs: nodes with more neighbours are split; None: those that cost less so
    leaves: int = 2  # how many there will be, as far as one can tell
    most_whole: int | None = None  # more edges fit no leaf: such nodes are split whatever it costs; None: all fit


def find_roles(
    runner: TaskRunner, source: Source, blocks: Sequence[Mapping[str, Any]], place: Path
) -> tuple[str, list[TaskRecord[Any]]]:
    """Return the vector of the roles of all nodes, and the records; see :mod:`pipeline.partitioning.homes`."""
    wanted = {"hub_degree": source.hub_degree, "leaves": source.leaves}
    if source.shared:
        todo = {"nodes": source.nodes, "shared": source.shared}
        (ranged,) = run_missing(runner, range_roles, [Task("role", place, todo)])
        return str(ranged.file("role")), [ranged]
    hubs = run_missing(
        runner,
        find_hubs,
        [
            Task(f"hubs-{number:05d}", place, {**block, **wanted, "nodes": source.nodes})
            for number, block in enumerate(blocks)
        ],
    )
    joined_hubs = _joined(runner, "is-hub", hubs, source.nodes, place)
    split = run_missing(
        runner,
        split_hubs,
        [
            Task(f"split-{number:05d}", place, {**block, "is_hub": str(joined_hubs.file("joined"))})
            for number, block in enumerate(blocks)
        ],
    )
    joined = _joined(runner, "role", split, source.nodes, place)
    return str(joined.file("joined")), [*hubs, joined_hubs, *split, joined]


def _joined(
    runner: TaskRunner, name: str, pieces: Sequence[TaskRecord[Any]], nodes: int, place: Path
) -> TaskRecord[Any]:
    todo = {"nodes": nodes, "pieces": [str(record.file("piece")) for record in pieces]}
    (joined,) = run_missing(runner, join_vector, [Task(name, place, todo)])
    return joined


def find_hubs(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: find the nodes of a block that had better be split, as a vector of 0 and 1."""
    todo = payload
    degree, here = map_vector(todo["degree"]), slice(todo["first"], todo["stop"])
    if todo["hub_degree"] is not None:
        is_hub = degree[here] > todo["hub_degree"]
    else:
        neighbor = storage.column(storage.map_arrow(Path(todo["ends"])), "neighbor")
        row = np.repeat(np.arange(here.start, here.stop, dtype=np.int32), map_vector(todo["counts"]))
        largest = max(int(degree[first:stop].max()) for first, stop in ranges(degree.size))
        costs = ghost_rows(largest, todo["leaves"])
        rows = np.zeros(here.stop - here.start, np.int64)
        for first, stop in ranges(row.size):
            near, far = row[first:stop], neighbor[first:stop]
            is_other = near != far
            np.add.at(rows, near[is_other] - here.start, costs[degree[far[is_other]]])
        with_edges = sum(int(np.count_nonzero(degree[first:stop])) for first, stop in ranges(degree.size))
        is_hub = costs_less_split(rows, degree[here], largest, todo["leaves"], with_edges)
    write_vector(attempt.path("piece", "npy"), is_hub.astype(np.int8))
    return {}


def split_hubs(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: give the nodes of a block their roles: hubs with a neighbour that is none are shared."""
    todo = payload
    is_hub = map_vector(todo["is_hub"])
    counts = map_vector(todo["counts"]).astype(np.int64)
    neighbor = storage.column(storage.map_arrow(Path(todo["ends"])), "neighbor")
    others = sums_of_rows(is_hub[neighbor] == 0, counts)
    is_shared = (is_hub[todo["first"] : todo["stop"]] > 0) & (others > 0)
    write_vector(attempt.path("piece", "npy"), np.where(is_shared, Role.SHARED, Role.WHOLE).astype(np.int8))
    return {}


def sums_of_rows(flags: NDArray[np.bool_], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add up flags of entries by row."""
    # An empty row has no sum of its own in a cumulated one, but the same ends.
    total = np.zeros(flags.size + 1, np.int32)
    np.cumsum(flags, out=total[1:])
    return np.diff(total[np.concatenate([[0], np.cumsum(counts)])]).astype(np.int64)


def range_roles(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: write the roles of all nodes where those of one type are shared."""
    todo = payload
    start, stop = todo["shared"]
    with VectorWriter(attempt.path("role", "npy"), np.int8, todo["nodes"]) as role:
        for first, last in ranges(todo["nodes"]):
            node = np.arange(first, last)
            role.append(np.where((node >= start) & (node < stop), Role.SHARED, Role.WHOLE))
    return {}


def join_vector(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: bring the pieces of a vector over all nodes into one."""
    with VectorWriter(attempt.path("joined", "npy"), np.int8, payload["nodes"]) as joined:
        for file in payload["pieces"]:
            joined.append(map_vector(file))
    return {}
