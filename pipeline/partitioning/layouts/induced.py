"""Mode ``drop``: every part keeps the edges between its own nodes, and no row travels.

Also the ground that ``border`` and ``quotient`` stand on: they differ in what becomes of the cut edges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import Block, NodeArrays, NodeParts, RowKind, write_routes
from pipeline.blocks.edge_files import Edges, read_edges, slices_for, write_edge_slices
from pipeline.blocks.local_block import make_block
from pipeline.partitioning.layouts.laid_out import BlockSet, LaidOut, Sources
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt, Task, TaskRecord, TaskRunner, run_missing
from schemas.tables import KEPT_WEIGHTS

CUT = -1  #: stands for a part where cut edges are addressed


@dataclass(frozen=True)
class Induced:
    """The blocks of induced parts, and the tasks' records: those that read the edges know what was cut."""

    blocks: BlockSet
    scattered: Sequence[TaskRecord[Any]]

    @property
    def records(self) -> list[TaskRecord[Any]]:
        """Records of all tasks."""
        return [*self.scattered, *self.blocks.built]

    @property
    def edges(self) -> int:
        """Edges that were read."""
        return sum(record.result["edges"] for record in self.scattered)

    @property
    def cut_edges(self) -> int:
        """Edges between nodes of different homes."""
        return sum(record.result["cut_edges"] for record in self.scattered)


def lay_out(runner: TaskRunner, sources: Sources) -> LaidOut:
    """Lay out the induced parts alone."""
    made = induce(runner, sources, "parts", [{"files": [file], "slices": []} for file in sources.edges])
    return LaidOut([made.blocks], made.records, left_out(made))


def left_out(made: Induced) -> dict[str, Any]:
    """Return what the induced parts of the whole graph have lost."""
    return {
        "edges_left_out": made.cut_edges,
        "edges_left_out_percent": round(100 * made.cut_edges / max(made.edges, 1), 3),
        "nodes_without_edges_left": made.scattered[0].result["placed"] - made.blocks.nodes if made.scattered else 0,
    }


def induce(
    runner: TaskRunner,
    sources: Sources,
    name: str,
    edges: Sequence[Mapping[str, Any]],
    scatter: Any = None,
) -> Induced:
    """Make the blocks of the parts that ``sources.node_parts`` names, of edges in several places.

    ``scatter`` replaces :func:`scatter_kept` where a mode wants more of the cut edges than their number.
    """
    place = sources.place
    scattered = run_missing(
        runner,
        scatter or scatter_kept,
        [Task(f"{name}-scatter-{n:05d}", place, {**sources.nodes, "edges": given}) for n, given in enumerate(edges)],
    )
    receivers = {int(part) for record in scattered for part in record.result["edges_slices"]} - {CUT}
    parts = sorted(receivers)
    built = run_missing(
        runner,
        build_kept,
        [
            Task(
                f"{name}-build-{part:05d}",
                place,
                {**sources.nodes, "part": part, "edges": {"files": [], "slices": slices_for(part, scattered, "edges")}},
            )
            for part in parts
        ],
    )
    nodes = sum(record.result["nodes_rows"] for record in built)
    return Induced(BlockSet(name, parts, built, built, nodes), scattered)


def scatter_kept(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: sort edges by the part that both ends are at home in; cut edges are counted."""
    edges, parts, receiver = receivers_of(payload)
    is_kept = receiver != CUT
    return {
        **counts(parts, receiver),
        "edges_slices": write_edge_slices(attempt.path("edges", BATCHES), edges.take(is_kept), receiver[is_kept]),
    }


def scatter_all(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: the same, with the cut edges in a slice of their own."""
    edges, parts, receiver = receivers_of(payload)
    return {
        **counts(parts, receiver),
        "edges_slices": write_edge_slices(attempt.path("edges", BATCHES), edges, receiver),
    }


def receivers_of(payload: Mapping[str, Any]) -> tuple[Edges, NodeParts, NDArray[np.int32]]:
    """Read a task's edges; return them, the homes, and (edges,) the part of each edge or CUT."""
    edges = read_edges(payload["edges"])
    parts = NodeParts.map(Path(payload["parts"]))
    home = parts.part_id[edges.src]
    return edges, parts, np.where(home == parts.part_id[edges.dst], home, np.int32(CUT))


def counts(parts: NodeParts, receiver: NDArray[np.int32]) -> dict[str, int]:
    """Return what a task that scatters says of the edges and the nodes."""
    return {
        "edges": int(receiver.size),
        "cut_edges": int((receiver == CUT).sum()),
        "placed": int((parts.part_id >= 0).sum()),
    }


def build_kept(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: turn the edges inside a part into its block, and write how much weight every node has kept.

    Degrees and weights of the block are those over the whole graph, as in every mode.
    """
    edges = read_edges(payload["edges"])
    nodes = NodeArrays([Path(file) for file in payload["arrays"]])
    parts = NodeParts.map(Path(payload["parts"]))
    block = make_block(int(payload["part"]), edges, nodes, parts.part_id, all_whole)
    return write_alone(attempt, block, edges)


def all_whole(node_ix: NDArray[np.int64], home: NDArray[np.int32]) -> NDArray[np.int8]:  # noqa: ARG001
    """Return the kinds of a block that stores all edges that anyone knows of its nodes."""
    return np.full(node_ix.size, RowKind.WHOLE, np.int8)


def write_alone(attempt: Attempt, block: Block, edges: Edges) -> dict[str, Any]:
    """Write a block that sends nothing, and the weight of its nodes' edges."""
    block.write(attempt.path("nodes", "arrow"), attempt.path("edges", "arrow"))
    write_routes(attempt.path("routes", "arrow"), {})
    left, right = (np.searchsorted(block.node_ix, ends) for ends in (edges.src, edges.dst))
    kept = np.zeros(block.node_ix.size, np.int64)
    np.add.at(kept, left, edges.weight)
    is_loop = left == right
    np.add.at(kept, right[~is_loop], edges.weight[~is_loop])
    table = pa.Table.from_arrays([pa.array(block.node_ix), pa.array(kept)], schema=KEPT_WEIGHTS.schema)
    storage.write_arrow(attempt.path("kept", "arrow"), table)
    return {
        "nodes_rows": block.node_ix.size,
        "edges_rows": block.neighbor.size,
        "routes_rows": 0,
        "kept_rows": block.node_ix.size,
        "splits": 0,
    }
