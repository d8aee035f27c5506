"""Waves of tasks: what the tasks of a round are handed, and the records that they leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.embedding.rows import Settings
from pipeline.tasks import Task, TaskRecord


@dataclass(frozen=True)
class BlockFiles:
    """Where a block lies."""

    part_id: int
    nodes: Path
    edges: Path
    routes: Path
    has_splits: bool  # it is the home of split nodes
    features: Path | None = None  # of its rows, where nodes have attributes

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, for tasks."""
        files = {name: str(getattr(self, name)) for name in ("nodes", "edges", "routes")}
        return {"part_id": self.part_id, **files, "features": str(self.features) if self.features else None}


#: Records of one wave: by shard, then by block.
Wave = list[list[TaskRecord[Any]]]


@dataclass(frozen=True)
class Round:
    """The records of a round or, where one task keeps all rounds in memory, of all."""

    products: Wave
    homes: Wave  # by block with split nodes

    @property
    def records(self) -> list[TaskRecord[Any]]:
        """All records, shard after shard, products first."""
        return [record for wave in (self.products, self.homes) for shard in wave for record in shard]

    def side_by_side(self) -> list[list[TaskRecord[Any]]]:
        """Return the records of each block's shards, products first: the order in which sums are added."""
        return [list(shards) for wave in (self.products, self.homes) for shards in zip(*wave, strict=True)]


def homes_of(blocks: Sequence[BlockFiles]) -> list[BlockFiles]:
    """Return the blocks that are the home of split nodes; a tree with one part has nothing to bring together."""
    return [block for block in blocks if block.has_splits and len(blocks) > 1]


def by_shard(records: Sequence[TaskRecord[Any]], shards: int) -> Wave:
    """Cut the records of a wave, which come shard after shard."""
    size = len(records) // shards
    return [list(records[size * number : size * (number + 1)]) for number in range(shards)]


def task_for(name: str, place: Path, payload: Mapping[str, Any], settings: Settings) -> Task[Any]:
    """Describe a task; those of some columns say so in their name."""
    columns = f"-columns-{settings.first_column:05d}" if settings.is_shard else ""
    return Task(name + columns, place, {**payload, "settings": settings.to_json()})


def partials_for(part: int, records: Sequence[TaskRecord[Any]], position: int = 0) -> list[list[Any]]:
    """Return [file, first batch, batches] of partial rows for a home, in the order of the records.

    So they are added: in part order. ``position`` counts the rounds of tasks that do several.
    """
    return [
        found
        for record in records
        for role in ("partials", "kept")
        for found in addressed_to(part, [record], role, position)
    ]


def addressed_to(part: int, records: Sequence[TaskRecord[Any]], role: str, position: int = 0) -> list[list[Any]]:
    """Return [file, first batch, batches] of the slices with a role that are addressed to a part."""
    found = []
    for record in records:
        slices = record.result.get(f"{role}_slices") or [{}] * (position + 1)
        if str(part) in slices[position]:
            found.append([str(record.paths(role)[position]), *slices[position][str(part)]])
    return found
