"""What a run will need, from counts alone: memory of a block and of a task, number of parts, bytes on disk.

Everything here is arithmetic on sizes; nothing is read. Where a count is an upper bound, so is what follows
from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.config.model import PipelineConfig

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
    targets: int  # nodes that edges point to; of one type, all
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
    nodes = sources + targets
    return Graph(nodes, min(rows, pairs), targets=nodes if is_plain else targets, is_exact=False)


def row_columns(config: PipelineConfig) -> int:
    """Return the columns of a row, of which a block holds three buffers: that bounds what a leaf may hold.

    Most methods multiply rows of the embedding's width. Those of eigenpairs have more columns until they reduce them;
    ``low_pass`` holds five buffers: a row, its product, and three that the row's home carries.
    """
    embedding = config.embedding
    if embedding.method == "spectral" or config.form in {"factorised", "plain_factorised"}:
        return (embedding.rank or embedding.dim) + embedding.oversampling
    is_low_pass = config.form in {"low_pass", "plain_low_pass"}
    return math.ceil(5 * embedding.dim / _ROW_BUFFERS) if is_low_pass else embedding.dim


def block_bytes(nodes: int, edges: int, columns: int) -> int:
    """Return the memory of one block while it is embedded, beside the process itself; see :func:`row_columns`."""
    return nodes * columns * 4 * _ROW_BUFFERS + edges * _EDGE_BYTES


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


@dataclass(frozen=True)
class Stored:
    """What parts add to the graph (:mod:`pipeline.planning.cuts`), and rounds to its rows."""

    parts: int
    rows: int  # of all blocks: at home, copies, ghosts and what a mode copies in
    entries: int
    kept_bytes: int  # of files that ``embed`` keeps until its rounds are done


def disk_bytes(config: PipelineConfig, graph: Graph, input_bytes: int, rows: int, stored: Stored) -> Mapping[str, int]:
    """Return the bytes on disk that each stage adds at its peak, by stage; compression is left aside."""
    dim = 0 if config.embedding.method == "none" else config.embedding.dim
    row = 16 + 4 * dim if dim else 0
    lists = graph.nodes * (24 + 12 * min(config.ppr.top_k, graph.targets)) if config.ppr.neighbors else 0
    ids = 2 * _ID_BYTES
    tables = graph.nodes * (4 * dim + _ID_BYTES + 24) + lists
    is_parted = stored.parts > 1
    return {
        # What it asks for before it starts, or the rows in working form and their sums.
        "ingest": max(3 * input_bytes, rows * (ids + 16) + graph.edges * (ids + 24)),
        "index": graph.nodes * (_ID_BYTES + 48) + graph.edges * 24,
        "partition": graph.nodes * 13 + (graph.edges * 16 if is_parted else 0),
        "layout": stored.rows * 45 + stored.entries * 8 + (graph.edges * 24 if is_parted else 0),
        "embed": graph.nodes * row + stored.kept_bytes + lists,
        "aggregate": tables,
        "publish": tables,  # a copy, where the file system has no clones
    }
