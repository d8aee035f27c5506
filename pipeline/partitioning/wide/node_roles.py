"""Roles of the nodes of a graph in blocks: who may be split; see :mod:`pipeline.partitioning.homes`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.locations import Location
from pipeline.partitioning.cutting import IndexTables
from pipeline.partitioning.homes import costs_less_split, ghost_rows
from pipeline.partitioning.pieces import Role
from pipeline.partitioning.wide.vectors import VectorWriter, map_vector, ranges
from pipeline.tasks import Attempt, TaskFolder, TaskRecord


@dataclass(frozen=True)
class RangeFiles:
    """Adjacency of a range of nodes, before their roles are known."""

    first: int
    stop: int
    ends: Location
    counts: Location  # vector of the entries of each row
    degree: Location  # vector over all nodes

    def neighbors(self) -> NDArray[np.int32]:
        """Map the neighbour of each entry."""
        return storage.column(storage.map_arrow(self.ends), "neighbor")


def find_roles(
    tasks: TaskFolder, tables: IndexTables, node_ranges: Sequence[RangeFiles], hub_degree: int | None, leaves: int
) -> Location:
    """Return the vector of the roles of all nodes; see :mod:`pipeline.partitioning.homes`."""
    if tables.shared_range:
        return tasks.run(write_range_roles, "role", RangeRolesPayload(tables.nodes, *tables.shared_range)).file("role")
    hub_payloads = [HubsPayload(files, hub_degree, leaves) for files in node_ranges]
    hubs = tasks.run_each(find_hubs, "hubs", hub_payloads)
    is_hub = _join(tasks, "is-hub", hubs, tables.nodes)
    split = tasks.run_each(split_hubs, "split", [SplitHubsPayload(files, is_hub) for files in node_ranges])
    return _join(tasks, "role", split, tables.nodes)


def _join(tasks: TaskFolder, name: str, pieces: Sequence[TaskRecord[None]], nodes: int) -> Location:
    payload = JoinVectorPayload(nodes, tuple(record.file("piece") for record in pieces))
    return tasks.run(join_vector, name, payload).file("joined")


@dataclass(frozen=True)
class HubsPayload:
    files: RangeFiles
    hub_degree: int | None  # as in CutOptions
    leaves: int


def find_hubs(payload: HubsPayload, attempt: Attempt) -> None:
    """Task: find the nodes of a range that had better be split, as a vector of 0 and 1."""
    files = payload.files
    degree, rows_here = map_vector(files.degree), slice(files.first, files.stop)
    if payload.hub_degree is not None:
        is_hub = degree[rows_here] > payload.hub_degree
    else:
        neighbor = files.neighbors()
        row = np.repeat(np.arange(files.first, files.stop, dtype=np.int32), map_vector(files.counts))
        largest = max(int(degree[first:stop].max()) for first, stop in ranges(degree.size))
        costs = ghost_rows(largest, payload.leaves)
        rows = np.zeros(files.stop - files.first, np.int64)
        for first, stop in ranges(row.size):
            near, far = row[first:stop], neighbor[first:stop]
            is_other = near != far
            np.add.at(rows, near[is_other] - files.first, costs[degree[far[is_other]]])
        with_edges = sum(int(np.count_nonzero(degree[first:stop])) for first, stop in ranges(degree.size))
        is_hub = costs_less_split(rows, degree[rows_here], largest, payload.leaves, with_edges)
    np.save(attempt.path("piece", "npy"), is_hub.astype(np.int8))


@dataclass(frozen=True)
class SplitHubsPayload:
    files: RangeFiles
    is_hub: Location  # vector over all nodes


def split_hubs(payload: SplitHubsPayload, attempt: Attempt) -> None:
    """Task: give the nodes of a range their roles: hubs with a neighbour that is none are shared."""
    files, is_hub = payload.files, map_vector(payload.is_hub)
    other_neighbors = sums_of_rows(is_hub[files.neighbors()] == 0, map_vector(files.counts).astype(np.int64))
    is_shared = (is_hub[files.first : files.stop] > 0) & (other_neighbors > 0)
    np.save(attempt.path("piece", "npy"), np.where(is_shared, Role.SHARED, Role.WHOLE).astype(np.int8))


def sums_of_rows(flags: NDArray[np.bool_], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add up flags of entries by row."""
    # An empty row has no sum of its own in a cumulated one, but the same ends.
    total = np.zeros(flags.size + 1, np.int32)
    np.cumsum(flags, out=total[1:])
    return np.diff(total[np.concatenate([[0], np.cumsum(counts)])]).astype(np.int64)


@dataclass(frozen=True)
class RangeRolesPayload:
    nodes: int
    first: int  # of the shared nodes, which end before stop
    stop: int


def write_range_roles(payload: RangeRolesPayload, attempt: Attempt) -> None:
    """Task: write the roles of all nodes where those of one type are shared."""
    with VectorWriter(attempt.path("role", "npy"), np.int8, payload.nodes) as role:
        for first, stop in ranges(payload.nodes):
            node = np.arange(first, stop)
            role.append(np.where((node >= payload.first) & (node < payload.stop), Role.SHARED, Role.WHOLE))


@dataclass(frozen=True)
class JoinVectorPayload:
    nodes: int
    pieces: tuple[Location, ...]


def join_vector(payload: JoinVectorPayload, attempt: Attempt) -> None:
    """Task: concatenate the pieces of a vector over all nodes."""
    with VectorWriter(attempt.path("joined", "npy"), np.int8, payload.nodes) as writer:
        for file in payload.pieces:
            writer.append(map_vector(file))
