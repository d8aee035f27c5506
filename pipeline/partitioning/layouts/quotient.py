"""Mode ``quotient``: induced parts, and beside them the graph of the parts, joined by the weight of their cut edges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import Block, RowKind, write_routes
from pipeline.blocks.edge_files import write_edge_slices
from pipeline.kernels.adjacency import ordered_adjacency
from pipeline.kernels.hashing import node_keys
from pipeline.partitioning.layouts.induced import CUT, counts, induce, left_out, receivers_of
from pipeline.partitioning.layouts.laid_out import BlockSet, LaidOut, Sources
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt, Task, TaskRunner, run_missing
from schemas.tables import WEIGHT_UNIT

_HALVES = pa.schema({"first": pa.int32(), "second": pa.int32(), "high": pa.int64(), "low": pa.int64()})
_MOST_BITS = 62  # of the sum of all weights of the quotient graph, so that it stays an int64


def lay_out(runner: TaskRunner, sources: Sources) -> LaidOut:
    """Lay out the induced parts, and the quotient graph as one block."""
    edges = [{"files": [file], "slices": []} for file in sources.edges]
    made = induce(runner, sources, "parts", edges, scatter_and_sum)
    task = Task(
        "quotient",
        sources.place,
        {
            "paths": [[part, path] for part, path in sources.paths.items()],
            "sums": [str(record.file("sums")) for record in made.scattered],
        },
    )
    (built,) = run_missing(runner, build_quotient, [task])
    quotient = BlockSet("quotient", [0], [built], [built], len(sources.parts))
    return LaidOut([made.blocks, quotient], [*made.records, built], left_out(made))


def scatter_and_sum(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: sort edges by the part that both ends are at home in; add up the cut edges by pair of parts.

    Sums are exact and in two halves, since all weights together may be more than an int64 holds.
    """
    edges, parts, receiver = receivers_of(payload)
    is_kept = receiver != CUT
    cut = edges.take(~is_kept)
    ends = np.sort(np.stack([parts.part_id[cut.src], parts.part_id[cut.dst]]), axis=0)
    order = np.lexsort((ends[1], ends[0]))
    ends, weight = ends[:, order], cut.weight[order]
    starts = np.flatnonzero((np.diff(ends, axis=1, prepend=-1) != 0).any(axis=0))
    halves = [np.add.reduceat(half, starts) if starts.size else half for half in (weight >> 32, weight & 0xFFFFFFFF)]
    table = pa.table([*ends[:, starts], *halves], schema=_HALVES)
    storage.write_arrow(attempt.path("sums", "arrow"), table)
    return {
        **counts(parts, receiver),
        "edges_slices": write_edge_slices(attempt.path("edges", BATCHES), edges.take(is_kept), receiver[is_kept]),
    }


def build_quotient(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: write the block of the quotient graph; its node numbers are part_ids, its keys hashes of part_paths."""
    total: Counter[tuple[int, int]] = Counter()
    for file in payload["sums"]:
        columns = (column.to_pylist() for column in storage.map_arrow(Path(file)).columns)
        for first, second, high, low in zip(*columns, strict=True):
            total[first, second] += (high << 32) + low
    # Only ratios of weights count here: all are brought into range by one power of two.
    shift = max(0, (2 * sum(total.values())).bit_length() - _MOST_BITS)
    part_id = np.array([part for part, _ in payload["paths"]], np.int64)
    pairs = sorted(total)
    left, right = (np.searchsorted(part_id, [pair[side] for pair in pairs]).astype(np.int32) for side in (0, 1))
    weight = np.array([max(1, total[pair] >> shift) for pair in pairs], np.int64)
    node_key = node_keys("part", [path.encode() for _, path in payload["paths"]])
    block = _block_of(part_id, node_key, left, right, weight)
    block.write(attempt.path("nodes", "arrow"), attempt.path("edges", "arrow"))
    write_routes(attempt.path("routes", "arrow"), {})
    return {"nodes_rows": part_id.size, "edges_rows": block.neighbor.size, "routes_rows": 0, "splits": 0}


def _block_of(
    part_id: NDArray[np.int64],
    node_key: NDArray[np.uint64],
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    weight: NDArray[np.int64],
) -> Block:
    indptr, neighbor, edge_weight = ordered_adjacency(
        left, right, (weight * WEIGHT_UNIT).astype(np.float32), np.ones(part_id.size, np.bool_), node_key
    )
    strength = np.zeros(part_id.size, np.int64)
    np.add.at(strength, left, weight)
    np.add.at(strength, right, weight)
    return Block(
        part_id=0,
        node_ix=part_id,
        node_key=node_key,
        kind=np.full(part_id.size, RowKind.WHOLE, np.int8),
        home=np.zeros(part_id.size, np.int32),
        degree=np.diff(indptr),
        weight=strength,
        indptr=indptr,
        neighbor=neighbor,
        edge_weight=edge_weight,
        routes={},
    )
