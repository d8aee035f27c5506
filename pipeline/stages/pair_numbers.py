"""Pairs of ids -> their nodes in order, and the pairs in node numbers: in one task, where it can hold them.

Arrays over the range of a type's integer ids stand in for tables of hashes. Files of pairs hold texts as numbers of
distinct ones, so that no text is looked up for a row. Other graphs go through the engine.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline import storage
from pipeline.ingest.text_codes import TextCodes
from pipeline.ingest.weights import ONE
from pipeline.kernels.pair_sums import add_ends
from pipeline.locations import Location
from pipeline.tasks import Attempt
from schemas.tables import INDEXED_EDGES

#: A pair is held as two places in the arrays; an id has a sum of weights, neighbours, and a number.
_PAIR_BYTES, _ID_BYTES = 8, 25
#: Ids of a range may be so many times as many as the pairs.
_SPARSE = 4
_BATCH_ROWS, _GROUP_ROWS, _FILE_NODES, _FILE_BYTES = 65_536, 2**20, 2**22, 2**28
_NODE_COLUMNS = ("place", "node_id", "degree", "weight")


@dataclass(frozen=True)
class IdRange:
    """The smallest id of a type, and how many integers there are from it to the largest."""

    low: int
    span: int


@dataclass(frozen=True)
class PairNumbersPayload:
    """Input of the task: files of edges and of decayed pairs, and the types of their ids.

    places : the place of the type among all, by column: of the end that an edge leads from, then of the other.
    ranges : of the ids of each type; None where they are texts. most_bytes : that the task may hold.
    """

    edges: tuple[Location, ...]
    decayed: tuple[Location, ...]
    places: Mapping[str, int]
    ranges: tuple[IdRange, ...] | None
    most_bytes: int

    @classmethod
    def of_files(
        cls,
        edges: Sequence[Location],
        decayed_pairs: Sequence[Location],
        places: Mapping[str, int],
        most_bytes: int,
        *,
        has_int64_ids: bool,
    ) -> PairNumbersPayload | None:
        """Return the input for some files; None where a task would hold more bytes, or ids lie too far apart."""
        pairs, id_bytes, ranges = storage.rows_in(edges), 0, None
        if has_int64_ids:
            ends: dict[int, list[int]] = {place: [] for place in sorted(set(places.values()))}
            for column, place in places.items():
                for file in (*edges, *decayed_pairs):
                    ends[place] += storage.bounds_of(file, column)
            ranges = tuple(IdRange(min(bounds), max(bounds) - min(bounds) + 1) for bounds in ends.values())
            id_bytes = sum(ids.span for ids in ranges) * _ID_BYTES
        if pairs * _PAIR_BYTES + id_bytes > most_bytes:
            return None
        if ranges and any(ids.span > min(_SPARSE * pairs, 2**31 - 1) for ids in ranges):
            return None
        return cls(tuple(edges), tuple(decayed_pairs), places, ranges, most_bytes)

    def types(self) -> list[_TypeIds | _TypeTexts]:
        """Return the ids of each type, of which nothing is known yet."""
        if self.ranges is None:
            return [_TypeTexts() for _ in set(self.places.values())]
        return [_TypeIds(ids) for ids in self.ranges]

    def batches(self, files: Sequence[Location], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield columns of files; ids that are texts are numbers of the distinct ones of many rows."""
        is_text = self.ranges is None
        rows = _GROUP_ROWS if is_text else _BATCH_ROWS
        return storage.read_batches(files, columns, rows, as_numbers=list(self.places) if is_text else ())


class _TypeSums:
    """What is known of the ids of a type, by their places."""

    def __init__(self, ids: int) -> None:
        self.is_there = np.zeros(ids, np.bool_)
        self.degree, self.weight, self.number = (np.zeros(ids, np.int64) for _ in range(3))

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.degree.size * _ID_BYTES


class _TypeIds(_TypeSums):
    """Integers: at place i is the id ``low + i``."""

    def __init__(self, ids: IdRange) -> None:
        super().__init__(ids.span)
        self.low = ids.low

    def place(self, ids: pa.Array) -> NDArray[np.signedinteger]:
        """Return the places of ids."""
        return ids.to_numpy() - self.low

    def in_order(self) -> tuple[NDArray[np.signedinteger], pa.Array]:
        """Return the places of the ids that are there, and these ids, ascending."""
        (places,) = self.is_there.nonzero()
        return places, pa.array(places + self.low)


class _TypeTexts(_TypeSums):
    """The same of texts, whose places are in the order in which they come."""

    def __init__(self) -> None:
        super().__init__(0)
        self._codes = TextCodes()

    @property
    def nbytes(self) -> int:
        return super().nbytes + self._codes.nbytes

    def place(self, ids: pa.DictionaryArray) -> NDArray[np.signedinteger]:
        codes = self._codes.of(ids.dictionary)
        if (texts := len(self._codes)) > self.degree.size:
            for name in ("is_there", "degree", "weight", "number"):
                getattr(self, name).resize(2 * texts, refcheck=False)  # what is new is 0
        return codes[ids.indices.to_numpy()]

    def in_order(self) -> tuple[NDArray[np.signedinteger], pa.Array]:
        order = self._codes.order()
        places = order[self.is_there[order]]
        return places, self._codes.texts.take(pa.array(places)).cast(pa.large_string())


def number_pairs(payload: PairNumbersPayload, attempt: Attempt) -> bool:
    """Task: the nodes in order as "nodes", and the pairs in node numbers as "edges"; False where it can't hold them."""
    types = payload.types()
    src, dst = (types[place] for place in payload.places.values())
    if (sums := _add_up(payload, types, src, dst)) is None:
        return False
    pair_places, is_unweighted = sums
    start = 0
    tables = []
    for place, of_type in enumerate(types):
        places, ids = of_type.in_order()
        of_type.number[places] = np.arange(start, start + places.size)
        start += places.size
        columns = [np.full(places.size, place), ids, of_type.degree[places], of_type.weight[places]]
        tables.append(pa.table(columns, _NODE_COLUMNS))
    for nodes in _of_files(pa.concat_tables(tables)):
        storage.write_parquet(attempt.path("nodes", "parquet"), nodes)
    # A column of one value takes next to nothing where the writer knows.
    constant = ("relation", "weight") if is_unweighted else ("relation",)
    row = 0
    for file in payload.edges:
        with storage.parquet_writer(attempt.path("edges", "parquet"), INDEXED_EDGES.schema, constant) as writer:
            for batch in storage.read_batches([file], ["weight"], _GROUP_ROWS):
                rows = slice(row, row + batch.num_rows)
                ends = (of_type.number[at[rows]] for of_type, at in zip((src, dst), pair_places, strict=True))
                arrays = [*map(pa.array, ends), pa.array(np.zeros(batch.num_rows, np.int64)), batch["weight"]]
                writer.write_table(pa.Table.from_arrays(arrays, schema=INDEXED_EDGES.schema))
                row = rows.stop
    return True


def _of_files(nodes: pa.Table) -> Iterator[pa.Table]:
    """Yield the nodes of each file, of bounded rows and bytes."""
    id_type, file = pa.int64(), np.arange(nodes.num_rows) // _FILE_NODES
    if pa.types.is_large_string(nodes.schema.field("node_id").type):
        id_type = pa.string()
        file += np.cumsum(pc.binary_length(nodes["node_id"]).to_numpy()) // _FILE_BYTES
    types = (id_type if name == "node_id" else pa.int64() for name in _NODE_COLUMNS)
    schema = pa.schema([pa.field(*column, nullable=False) for column in zip(_NODE_COLUMNS, types, strict=True)])
    starts = [0, *(np.flatnonzero(np.diff(file)) + 1).tolist(), nodes.num_rows]
    for first, stop in itertools.pairwise(starts):
        yield nodes.slice(first, stop - first).cast(schema)


def _add_up(
    payload: PairNumbersPayload,
    types: Sequence[_TypeIds | _TypeTexts],
    src: _TypeIds | _TypeTexts,
    dst: _TypeIds | _TypeTexts,
) -> tuple[tuple[NDArray[np.int32], NDArray[np.int32]], bool] | None:
    """Add neighbours and weights up by id.

    Returns
    -------
    where both ends of all pairs stand in the arrays of their types; whether all weights are 1. None where there are
    more texts than it may hold.
    """
    pairs = storage.rows_in(payload.edges)
    places = np.empty(pairs, np.int32), np.empty(pairs, np.int32)
    no_places, row, is_unweighted = np.empty(0, np.int32), 0, True
    src_id, dst_id = payload.places
    for batch in payload.batches(payload.edges, (src_id, dst_id, "weight")):
        at_src, at_dst = (column[row : row + batch.num_rows] for column in places)
        at_src[:], at_dst[:] = src.place(batch[src_id]), dst.place(batch[dst_id])
        weight = batch["weight"].to_numpy()
        add_ends(at_src, no_places, weight, src.degree, src.weight)
        # A self loop counts once, in the matrix and in the degree.
        add_ends(at_dst, at_src if src is dst else no_places, weight, dst.degree, dst.weight)
        is_unweighted = is_unweighted and bool((weight == ONE).all())
        row += batch.num_rows
        if pairs * _PAIR_BYTES + sum(of_type.nbytes for of_type in types) > payload.most_bytes:
            return None
    for batch in payload.batches(payload.decayed, [src_id, dst_id]):
        for of_type, column in ((src, src_id), (dst, dst_id)):
            places_of_batch = of_type.place(batch[column])
            of_type.is_there[places_of_batch] = True
    for of_type in types:
        of_type.is_there |= of_type.degree > 0
    return places, is_unweighted
