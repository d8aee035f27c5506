"""Rows that a task holds until it has read all of them, and then writes as one row a pair; texts as numbers."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.ingest.parse import HeldColumns, constant_column, rows_schema
from pipeline.ingest.text_codes import TextCodes
from pipeline.ingest.weights import ONE
from pipeline.kernels.pair_sums import PairSums, sum_pairs
from pipeline.tasks import Attempt
from schemas.tables import EDGES

#: One task adds up all rows where no more tasks run at once: it takes a fifth of the CPU time that many tasks take.
MOST_SLOTS = 4
#: Rows of a row group, and of a file.
_GROUP_ROWS, _FILE_ROWS = 2**20, 2**22


class _Integers:
    """The ids of an end, which are integers: a pair is a word of their distances from the smallest."""

    def __init__(self) -> None:
        self._low, self._high = 2**63 - 1, -(2**63)
        self.nbytes = 0

    def add(self, ids: pa.Array) -> NDArray[np.signedinteger]:
        """Return what is held of some ids."""
        values: NDArray[np.int64] = ids.to_numpy()
        self._low, self._high = min(self._low, int(values.min())), max(self._high, int(values.max()))
        # A copy: a batch of the reader keeps twice its bytes.
        return values.astype(np.int32 if self._low >= -(2**31) and self._high < 2**31 else np.int64)

    def in_order(self) -> Callable[[NDArray[np.signedinteger]], NDArray[np.uint64]]:
        """Return what makes numbers from 0, in the order of the ids, of what is held."""
        # Differences of int64 wrap, and are right as unsigned ones.
        return lambda values: values.astype(np.int64).view(np.uint64) - np.uint64(self._low % 2**64)

    @property
    def bits(self) -> int:
        """Bits of the largest of these numbers."""
        return max(self._high - self._low, 0).bit_length()

    def ids(self, numbers: NDArray[np.uint64]) -> pa.Array:
        """Return the ids with such numbers."""
        return pa.array((numbers + np.uint64(self._low % 2**64)).view(np.int64))

    def as_read(self, values: NDArray[np.signedinteger]) -> pa.Array:
        """Return the ids that these values stand for."""
        return pa.array(values.astype(np.int64))


class _Texts:
    """The same of ids that are texts."""

    def __init__(self) -> None:
        self._codes = TextCodes()
        self._texts = pa.array([], pa.string())

    @property
    def nbytes(self) -> int:
        return self._codes.nbytes

    def add(self, ids: pa.Array) -> NDArray[np.signedinteger]:
        return self._codes.of(ids)

    def in_order(self) -> Callable[[NDArray[np.signedinteger]], NDArray[np.uint64]]:
        self._texts, place = self._codes.in_order()
        return lambda codes: place[codes].astype(np.uint64)

    @property
    def bits(self) -> int:
        return len(self._codes).bit_length()

    def ids(self, numbers: NDArray[np.uint64]) -> pa.Array:
        first, last = int(numbers.min()), int(numbers.max())
        local: NDArray[np.signedinteger] = (numbers - np.uint64(first)).astype(np.int32)
        texts = self._texts.slice(first, last - first + 1)
        if len(texts) > numbers.size // 2:  # else those between are written, too
            distinct, local = np.unique(local, return_inverse=True)
            texts = texts.take(pa.array(distinct))
        return pa.DictionaryArray.from_arrays(pa.array(local.astype(np.int32, copy=False)), texts.cast(pa.string()))

    def as_read(self, codes: NDArray[np.signedinteger]) -> pa.Array:
        return self._codes.texts.take(pa.array(codes)).cast(pa.string())


class _Columns(NamedTuple):
    """Columns of a batch; None where all rows have the same value."""

    src: NDArray[np.signedinteger]
    dst: NDArray[np.signedinteger]
    weight: NDArray[np.int64] | None
    last_ts: NDArray[np.int64] | None


class HeldPairs:
    """The rows of a task so far; ``is_undirected`` says that a pair is the same from both ends."""

    def __init__(self, columns: HeldColumns, *, is_undirected: bool) -> None:
        self._columns, self._is_undirected = columns, is_undirected
        self._batches: list[_Columns] = []
        self._rows = 0
        self._id_type: pa.DataType | None = None
        self._ends: list[_Integers | _Texts] = []

    def takes(self, rows: pa.RecordBatch, weight_total: int) -> bool:
        """Hold the rows of a batch, and return whether that can be: else they can't be added up here.

        ``weight_total`` is that of all rows up to these.
        """
        if not rows.num_rows:
            return True
        id_type = rows.schema.field("src_id").type
        if self._id_type is None:
            self._id_type, kind = id_type, _Integers if pa.types.is_int64(id_type) else _Texts
            first = kind()
            self._ends = [first, first if self._is_undirected else kind()]
        nbytes = self._columns.bytes_of(self._rows + rows.num_rows) + sum(end.nbytes for end in self._ends)
        if id_type != self._id_type or nbytes > self._columns.most_bytes or weight_total >= 2**63:
            return False
        src, dst = (end.add(ids) for end, ids in zip(self._ends, rows.columns[:2], strict=True))
        if sum(end.bits for end in self._ends) > 64:
            return False
        weight = rows["weight"].to_numpy().copy() if self._columns.has_weights else None
        last_ts = rows["last_ts"].to_numpy().copy() if self._columns.has_times else None
        self._batches.append(_Columns(src, dst, weight, last_ts))
        self._rows += rows.num_rows
        return True

    def release(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows as they came."""
        schema = rows_schema(self._id_type)
        for src, dst, weight, last_ts in self._let_go():
            ends = (end.as_read(values) for end, values in zip(self._ends, (src, dst), strict=True))
            weights = constant_column(ONE, src.size) if weight is None else pa.array(weight)
            times = pa.nulls(src.size, pa.int64()) if last_ts is None else pa.array(last_ts)
            yield pa.RecordBatch.from_arrays([*ends, weights, constant_column(1, src.size), times], schema=schema)

    def _let_go(self) -> Iterator[_Columns]:
        """Yield the batches as they came; one that was yielded is not held any more."""
        self._batches.reverse()
        while self._batches:
            yield self._batches.pop()

    def write(self, attempt: Attempt) -> None:
        """Write the pairs that weigh something as "edges", and those that have decayed as "decayed"."""
        if not self._rows:
            return
        weight = np.concatenate([batch.weight for batch in self._batches]) if self._columns.has_weights else None
        newest = np.concatenate([batch.last_ts for batch in self._batches]) if self._columns.has_times else None
        sums = sum_pairs(self._words(), weight, newest)
        if sums.weight is None or sums.weight.min() > 0:
            self._write(attempt, "edges", sums)
            return
        for role, rows in (("edges", sums.weight > 0), ("decayed", sums.weight <= 0)):
            self._write(attempt, role, sums.take(rows))

    def _words(self) -> NDArray[np.uint64]:
        """Return each pair as one word, in the order of its ids; no batch is held any more."""
        src_number, dst_number = (end.in_order() for end in self._ends)
        shift = np.uint64(self._ends[1].bits)
        words, row = np.empty(self._rows, np.uint64), 0
        for batch in self._let_go():
            src, dst = src_number(batch.src), dst_number(batch.dst)
            if self._is_undirected:
                src, dst = np.minimum(src, dst), np.maximum(src, dst)
            words[row : row + src.size] = (src << shift) | dst
            row += src.size
        return words

    def _write(self, attempt: Attempt, role: str, sums: PairSums) -> None:
        category = pa.dictionary(pa.uint32(), pa.string())
        is_text = self._id_type == pa.string()
        fields = {field.name: field for field in EDGES.schema_for(self._id_type)}
        fields |= {name: field.with_type(category) for name, field in fields.items() if name.endswith("_type")}
        if is_text:
            ids = pa.dictionary(pa.int32(), pa.string())
            fields |= {name: fields[name].with_type(ids) for name in ("src_id", "dst_id")}
        schema, file_rows = pa.schema(fields.values()), _GROUP_ROWS if is_text else _FILE_ROWS
        differs = {"events": sums.events, "weight": sums.weight if sums.events is None else 1, "last_ts": sums.newest}
        constant = ["src_type", "dst_type", "relation", *(name for name, values in differs.items() if values is None)]
        for first in range(0, sums.words.size, file_rows):
            with storage.parquet_writer(attempt.path(role, "parquet"), schema, constant) as writer:
                stop = min(first + file_rows, sums.words.size)
                for row in range(first, stop, _GROUP_ROWS):
                    group = sums.take(slice(row, min(row + _GROUP_ROWS, stop)))
                    writer.write_table(pa.Table.from_arrays(self._arrays(group), schema=schema))

    def _arrays(self, sums: PairSums) -> list[pa.Array]:
        n, bits = sums.words.size, self._ends[1].bits
        numbers = sums.words >> np.uint64(bits), sums.words & np.uint64(2**bits - 1)
        src_id, dst_id = (end.ids(of_end) for end, of_end in zip(self._ends, numbers, strict=True))
        events = constant_column(1, n) if sums.events is None else pa.array(sums.events)
        if sums.weight is not None:
            weight = pa.array(sums.weight)
        else:
            weight = constant_column(ONE, n) if sums.events is None else pa.array(sums.events * ONE)
        src_type, dst_type = (
            pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.uint32)), [node_type])
            for node_type in (self._columns.src_type, self._columns.dst_type)
        )
        last_ts = pa.nulls(n, pa.int64()) if sums.newest is None else pa.array(sums.newest)
        relation = constant_column(self._columns.relation, n)
        return [src_id, src_type, dst_id, dst_type, relation, weight, events, last_ts]
