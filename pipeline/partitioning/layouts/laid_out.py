"""What the layout of a mode starts from, and what it makes: one or several sets of blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.tasks import TaskRecord

#: What is lost of what one block gives, by mode, for plans and logs; ``exchange`` loses nothing.
_LOST = {
    "halo": "vectors are exact only if embedding.halo_hops is the number of products",
    "border": "what nodes in two parts know of each other comes from the border graph alone",
    "quotient": "of the edges between two parts only their weight is left",
    "drop": "edges between two parts are left out",
}


def loss_note(boundary: str) -> str | None:
    """Return what a mode loses and where that is measured, or None if it loses nothing."""
    if boundary not in _LOST:
        return None
    page = "docs/explanation/partitioning.md#what-a-mode-costs"
    return f"embedding.boundary is '{boundary}': {_LOST[boundary]}; {page} has it measured"


@dataclass(frozen=True)
class Sources:
    """The tables that blocks are made of, and where the tasks write."""

    arrays: Sequence[str]  # files of node_arrays
    node_parts: str  # file
    edges: Sequence[str]  # files of indexed_edges
    paths: Mapping[int, str]  # part_path of every leaf by part_id, ascending
    place: Path

    @property
    def parts(self) -> list[int]:
        """part_id of every leaf, ascending."""
        return list(self.paths)

    @property
    def nodes(self) -> dict[str, Any]:
        """What a task reads of the nodes: their arrays and their homes."""
        return {"arrays": list(self.arrays), "parts": self.node_parts}


@dataclass(frozen=True)
class BlockSet:
    """Blocks that are embedded together: those of the graph's parts first, then those that a mode adds."""

    name: str
    parts: Sequence[int]  # of the blocks, ascending; parts without edges have none
    built: Sequence[TaskRecord[Any]]  # of tasks that wrote "nodes" and "edges", by part
    routed: Sequence[TaskRecord[Any]]  # of tasks that wrote "routes", by part
    nodes: int  # at home in these blocks

    @property
    def figures(self) -> dict[str, Any]:
        """Counts by part, JSON-ready."""
        pairs = list(zip(self.parts, self.built, strict=True))
        return {
            "name": self.name,
            "parts": list(self.parts),
            "nodes": self.nodes,
            "rows": {str(part): record.result["nodes_rows"] for part, record in pairs},
            "entries": {str(part): record.result["edges_rows"] for part, record in pairs},
            "splits": [part for part, record in pairs if record.result["splits"]],
            "kept_files": sum(len(record.paths("kept")) for record in self.built),
        }


@dataclass(frozen=True)
class LaidOut:
    """All sets of blocks of a mode."""

    sets: Sequence[BlockSet]
    records: Sequence[TaskRecord[Any]]
    figures: Mapping[str, Any] = field(default_factory=dict)  # what the mode cost, what it left out
    warnings: Sequence[str] = ()
