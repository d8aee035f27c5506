"""Mode ``quotient``: induced parts, and beside them the graph of the parts, joined by the weight of their cut edges."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import Block, RowKind
from pipeline.kernels.adjacency import ordered_adjacency
from pipeline.kernels.node_keys import node_keys
from pipeline.locations import Location
from pipeline.partitioning.layouts.block_sets import (
    BlockLayout,
    BlockResult,
    BlockSet,
    PartTables,
    ScatterPayload,
    write_independent_block,
)
from pipeline.partitioning.layouts.induced import EdgesByPart, ScatterResult, induce
from pipeline.tasks import Attempt, TaskFolder
from schemas.tables import WEIGHT_UNIT

_HALVES = pa.schema({"first": pa.int32(), "second": pa.int32(), "high": pa.int64(), "low": pa.int64()})
_MOST_BITS = 62  # of the sum of all weights of the quotient graph, so that it stays an int64


def lay_out(tasks: TaskFolder, tables: PartTables) -> BlockLayout:
    """Lay out the induced parts, and the quotient graph as one block."""
    parts = induce(tasks, tables.nodes, "parts", ScatterPayload.of_tables(tables), scatter_and_sum)
    sums = tuple(record.file("sums") for record in parts.records)
    blocks = [tasks.run(build_quotient, "quotient", QuotientPayload(tuple(tables.paths.items()), sums))]
    return BlockLayout([parts.blocks, BlockSet("quotient", [0], blocks, blocks)], parts.figures)


def scatter_and_sum(payload: ScatterPayload, attempt: Attempt) -> ScatterResult:
    """Task: sort edges by the part that both ends are at home in; add up the cut edges by pair of parts.

    Sums are exact and in two halves, since all weights together may be more than an int64 holds.
    """
    by_part = EdgesByPart.read(payload)
    cut, home = by_part.edges.take(by_part.is_cut), by_part.parts.part_id
    ends = np.sort(np.stack([home[cut.src], home[cut.dst]]), axis=0)
    order = np.lexsort((ends[1], ends[0]))
    ends, weight = ends[:, order], cut.weight[order]
    starts = np.flatnonzero((np.diff(ends, axis=1, prepend=-1) != 0).any(axis=0))
    halves = [np.add.reduceat(half, starts) if starts.size else half for half in (weight >> 32, weight & 0xFFFFFFFF)]
    table = pa.table([*ends[:, starts], *halves], schema=_HALVES)
    storage.write_arrow(attempt.path("sums", "arrow"), table)
    return by_part.send(attempt, with_cut=False)


@dataclass(frozen=True)
class QuotientPayload:
    paths: tuple[tuple[int, str], ...]  # part_path by part
    sums: tuple[Location, ...]  # between parts


def build_quotient(payload: QuotientPayload, attempt: Attempt) -> BlockResult:
    """Task: write the block of the quotient graph; its node numbers are part_ids, its keys hashes of part_paths."""
    total: Counter[tuple[int, int]] = Counter()
    for file in payload.sums:
        columns = (column.to_pylist() for column in storage.map_arrow(file).columns)
        for first, second, high, low in zip(*columns, strict=True):
            total[first, second] += (high << 32) + low
    # Only ratios of weights count here: all are brought into range by one power of two.
    shift = max(0, (2 * sum(total.values())).bit_length() - _MOST_BITS)
    part_id = np.array([part for part, _ in payload.paths], np.int64)
    pairs = sorted(total)
    left, right = (np.searchsorted(part_id, [pair[side] for pair in pairs]).astype(np.int32) for side in (0, 1))
    weight = np.array([max(1, total[pair] >> shift) for pair in pairs], np.int64)
    node_key = node_keys("part", [path.encode() for _, path in payload.paths])
    return write_independent_block(attempt, _block_of(part_id, node_key, left, right, weight))


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
