"""Pairs of integer ids -> their nodes in order, and the pairs in node numbers: in one task, where it can hold them.

Arrays over the range of a type's ids stand in for tables of hashes. Other graphs go through the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.ingest.weights import ONE
from pipeline.kernels.pair_sums import add_ends
from pipeline.locations import Location
from pipeline.tasks import Attempt
from schemas.tables import INDEXED_EDGES

#: A pair is held as two places in the arrays; an id has a sum of weights, neighbours, and a number.
_PAIR_BYTES, _ID_BYTES = 8, 25
#: Ids of a range may be so many times as many as the pairs.
_SPARSE = 4
_BATCH_ROWS, _GROUP_ROWS, _FILE_NODES = 65_536, 2**20, 2**22
_NODES = pa.schema([pa.field(name, pa.int64(), nullable=False) for name in ("place", "node_id", "degree", "weight")])


@dataclass(frozen=True)
class IdRange:
    """The smallest id of a type, and how many integers there are from it to the largest."""

    low: int
    span: int


@dataclass(frozen=True)
class PairNumbersPayload:
    """Input of the task: files of edges and of decayed pairs, and the types of their ids.

    places : the place of the type among all, by column: of the end that an edge leads from, then of the other.
    ranges : of the ids of each type.
    """

    edges: tuple[Location, ...]
    decayed: tuple[Location, ...]
    places: Mapping[str, int]
    ranges: tuple[IdRange, ...]

    @classmethod
    def of_files(
        cls, edges: Sequence[Location], decayed: Sequence[Location], places: Mapping[str, int], most_bytes: int
    ) -> PairNumbersPayload | None:
        """Return the input for some files; None where a task would hold more bytes, or ids lie too far apart."""
        ends: dict[int, list[int]] = {place: [] for place in sorted(set(places.values()))}
        for column, place in places.items():
            for file in (*edges, *decayed):
                ends[place] += storage.bounds_of(file, column)
        ranges = tuple(IdRange(min(one), max(one) - min(one) + 1) for one in ends.values())
        pairs = storage.rows_in(edges)
        held = pairs * _PAIR_BYTES + sum(one.span for one in ranges) * _ID_BYTES
        if held > most_bytes or any(one.span > min(_SPARSE * pairs, 2**31 - 1) for one in ranges):
            return None
        return cls(tuple(edges), tuple(decayed), places, ranges)


class _TypeIds:
    """What is known of the ids of a type: row i of the arrays is of the id ``low + i``."""

    def __init__(self, ids: IdRange) -> None:
        self.low = ids.low
        self.is_there = np.zeros(ids.span, np.bool_)
        self.degree, self.weight, self.number = (np.zeros(ids.span, np.int64) for _ in range(3))

    def place(self, ids: pa.Array) -> NDArray[np.int64]:
        return ids.to_numpy() - self.low


def number_pairs(payload: PairNumbersPayload, attempt: Attempt) -> None:
    """Task: the nodes in order as "nodes", and the pairs in node numbers as "edges"."""
    types = [_TypeIds(ids) for ids in payload.ranges]
    src, dst = (types[place] for place in payload.places.values())
    places, is_unweighted = _add_up(payload, src, dst)
    start = 0
    columns = []
    for place, of_type in enumerate(types):
        (there,) = of_type.is_there.nonzero()
        of_type.number[there] = np.arange(start, start + there.size)
        start += there.size
        sums = of_type.degree[there], of_type.weight[there]
        columns.append([np.full(there.size, place), there + of_type.low, *sums])
    nodes = [np.concatenate(column) for column in zip(*columns, strict=True)]
    for first in range(0, start, _FILE_NODES):
        some = [pa.array(column[first : first + _FILE_NODES]) for column in nodes]
        storage.write_parquet(attempt.path("nodes", "parquet"), pa.Table.from_arrays(some, schema=_NODES))
    # A column of one value takes next to nothing where the writer knows.
    constant = ("relation", "weight") if is_unweighted else ("relation",)
    row = 0
    for file in payload.edges:
        with storage.parquet_writer(attempt.path("edges", "parquet"), INDEXED_EDGES.schema, constant) as writer:
            for batch in storage.read_batches([file], ["weight"], _GROUP_ROWS):
                rows = slice(row, row + batch.num_rows)
                ends = (of_type.number[at[rows]] for of_type, at in zip((src, dst), places, strict=True))
                arrays = [*map(pa.array, ends), pa.array(np.zeros(batch.num_rows, np.int64)), batch["weight"]]
                writer.write_table(pa.Table.from_arrays(arrays, schema=INDEXED_EDGES.schema))
                row = rows.stop


def _add_up(
    payload: PairNumbersPayload, src: _TypeIds, dst: _TypeIds
) -> tuple[tuple[NDArray[np.int32], NDArray[np.int32]], bool]:
    """Add neighbours and weights up by id.

    Returns
    -------
    where both ends of all pairs stand in the arrays of their types; whether all weights are 1.
    """
    pairs = storage.rows_in(payload.edges)
    places = np.empty(pairs, np.int32), np.empty(pairs, np.int32)
    nobody, row, is_unweighted = np.empty(0, np.int32), 0, True
    src_id, dst_id = payload.places
    for batch in storage.read_batches(payload.edges, (src_id, dst_id, "weight"), _BATCH_ROWS):
        at_src, at_dst = (column[row : row + batch.num_rows] for column in places)
        at_src[:], at_dst[:] = src.place(batch[src_id]), dst.place(batch[dst_id])
        weight = batch["weight"].to_numpy()
        add_ends(at_src, nobody, weight, src.degree, src.weight)
        # A self loop counts once, in the matrix and in the degree.
        add_ends(at_dst, at_src if src is dst else nobody, weight, dst.degree, dst.weight)
        is_unweighted = is_unweighted and bool((weight == ONE).all())
        row += batch.num_rows
    for of_type in (src, dst):
        of_type.is_there |= of_type.degree > 0
    for batch in storage.read_batches(payload.decayed, [src_id, dst_id], _BATCH_ROWS):
        src.is_there[src.place(batch[src_id])] = True
        dst.is_there[dst.place(batch[dst_id])] = True
    return places, is_unweighted
