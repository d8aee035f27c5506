"""What a run will need, from counts alone: memory of a block and of a task, number of parts, bytes on disk.

Everything here is arithmetic on sizes; nothing is read. Where a count is an upper bound, so is what follows
from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.config import PipelineConfig
from schemas.tables import ROW_GROUP

#: Of a block while it is embedded, for each row three float32 rows (its own, the sum, what arrives): 1,536 B at
#: dim 128; and for each edge 40 B (measured: adjacency, its mapped file, and room to order it).
_ROW_BUFFERS = 3
_EDGE_BYTES = 40
#: Resident size of a Python process with all libraries that a task loads, before its task (measured).
PROCESS_BYTES = 300 * 2**20
#: Parts are cut with this much room, since they never come out equal.
_ROOM = 1.10
#: Bytes of an id where it is not known: most are integers or short.
_ID_BYTES = 16


@dataclass(frozen=True)
class Graph:
    """Counts of a graph; ``is_exact`` is False for upper bounds."""

    nodes: int
    edges: int
    is_exact: bool


def upper_bounds(rows: int, source_ids: int | None, target_ids: int | None, *, is_plain: bool) -> Graph:
    """Bound a graph by the rows of its input.

    Parameters
    ----------
    source_ids, target_ids : most different ids of a column, where its smallest and largest integer are known.
    """
    sources = min(rows, source_ids) if source_ids is not None else rows
    targets = min(rows, target_ids) if target_ids is not None else rows
    pairs = sources * targets if not is_plain else rows
    return Graph(nodes=sources + targets, edges=min(rows, pairs), is_exact=False)


def block_bytes(nodes: int, edges: int, dim: int) -> int:
    """Return the memory of one block while it is embedded, beside the process itself."""
    return nodes * dim * 4 * _ROW_BUFFERS + edges * _EDGE_BYTES


def expected_parts(config: PipelineConfig, excess: float) -> int:
    """Return how many parts a graph is cut into, about.

    Parameters
    ----------
    excess : how many times too large one block is for the bounds of ``[partition]``; 1 or less fits.
    """
    cut = config.partition
    if cut.method == "none":
        return 1
    if cut.parts is not None:
        return cut.parts
    return 1 if excess <= 1 else math.ceil(_ROOM * excess)


def rounds_of(config: PipelineConfig) -> int:
    """Return how many products with the graph the embedding takes."""
    if config.form == "two_tower":
        return config.embedding.powers + 1
    # Trailing weights of 0 need no product.
    return max(number for number, weight in enumerate(config.embedding.iteration_weights, start=1) if weight)


@dataclass(frozen=True)
class Stored:
    """What parts and shards add to the graph, as :mod:`pipeline.cuts` and :mod:`pipeline.pricing` count it."""

    parts: int
    shards: int
    rows: int  # of all blocks: at home, copies, ghosts and what a mode copies in
    entries: int
    moved_bytes: int  # of rows that go to another part


def disk_bytes(config: PipelineConfig, graph: Graph, input_bytes: int, rows: int, stored: Stored) -> Mapping[str, int]:
    """Return the bytes on disk that each stage adds at its peak, by stage; compression is left aside.

    Rows between parts are kept until ``embed`` has committed; a release links the files of ``aggregate``.
    """
    dim = config.embedding.dim
    row = 16 + 4 * dim
    ids = 2 * _ID_BYTES
    is_parted, is_classic = stored.parts > 1, config.form == "classic"
    rounds = rounds_of(config)
    # Of each round: the rows and, for the classic form, the running total; with shards it is added up at the end
    # from the rows of all rounds, and the squares of rows are kept for their norms.
    kept = graph.nodes * row * (2 if is_classic else 1) * (rounds - 1) + stored.moved_bytes if is_parted else 0
    if stored.shards > 1:
        measured = rounds if is_classic else 1
        kept += stored.rows * math.ceil(dim / ROW_GROUP) * 8 * 2 * measured
        kept += graph.nodes * row * rounds if is_classic else 0
    return {
        # What it asks for before it starts, or the rows in working form and their sums.
        "ingest": max(3 * input_bytes, rows * (ids + 16) + graph.edges * (ids + 24)),
        "index": graph.nodes * (_ID_BYTES + 48) + graph.edges * 24,
        "partition": graph.nodes * 13 + (graph.edges * 16 if is_parted else 0),
        "layout": stored.rows * 45 + stored.entries * 8 + (graph.edges * 24 if is_parted else 0),
        "embed": graph.nodes * row + kept,
        "aggregate": graph.nodes * (4 * dim + _ID_BYTES + 24),
    }
