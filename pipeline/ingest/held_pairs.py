"""Rows of integer ids that a task holds until it has read all of them, and then writes as one row a pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.ingest.parse import HeldColumns, repeated, rows_schema
from pipeline.ingest.weights import ONE
from pipeline.kernels.pair_sums import PairSums, sum_pairs
from pipeline.tasks import Attempt
from schemas.tables import EDGES

#: Rows of a row group, and of a file.
_GROUP_ROWS, _FILE_ROWS = 2**20, 2**22


@dataclass
class _IdRange:
    """The smallest and the largest id of a column."""

    low: int = 2**63 - 1
    high: int = -(2**63)

    def add(self, ids: NDArray[np.int64]) -> None:
        self.low, self.high = min(self.low, int(ids.min())), max(self.high, int(ids.max()))

    @property
    def dtype(self) -> type[np.signedinteger]:
        return np.int32 if self.low >= -(2**31) and self.high < 2**31 else np.int64

    @property
    def bits(self) -> int:
        return max(self.high - self.low, 0).bit_length()


class _Held(NamedTuple):
    """Columns of a batch; None where all rows have the same value."""

    src_id: NDArray[np.signedinteger]
    dst_id: NDArray[np.signedinteger]
    weight: NDArray[np.int64] | None
    last_ts: NDArray[np.int64] | None

    @property
    def rows(self) -> pa.RecordBatch:
        n, ends = self.src_id.size, (pa.array(ids.astype(np.int64)) for ids in (self.src_id, self.dst_id))
        weight = repeated(ONE, n) if self.weight is None else pa.array(self.weight)
        last_ts = pa.nulls(n, pa.int64()) if self.last_ts is None else pa.array(self.last_ts)
        return pa.RecordBatch.from_arrays([*ends, weight, repeated(1, n), last_ts], schema=rows_schema(pa.int64()))


@dataclass
class HeldPairs:
    """The rows of a task so far."""

    columns: HeldColumns
    _batches: list[_Held] = field(default_factory=list)
    _rows: int = 0
    _ranges: tuple[_IdRange, _IdRange] = field(default_factory=lambda: (_IdRange(), _IdRange()))

    def takes(self, rows: pa.RecordBatch, weight_total: int) -> bool:
        """Hold the rows of a batch, and return whether that can be: else they can't be added up here.

        ``weight_total`` is that of all rows up to these.
        """
        if not rows.num_rows:
            return True
        if not pa.types.is_int64(rows.schema.field("src_id").type):
            return False
        ends = [ids.to_numpy() for ids in rows.columns[:2]]
        for of_column, ids in zip(self._ranges, ends, strict=True):
            of_column.add(ids)
        self._rows += rows.num_rows
        src, dst = self._ranges
        if src.bits + dst.bits > 64 or self._rows > self.columns.most_rows or weight_total >= 2**63:
            return False
        # Copies: a batch of the reader keeps twice its bytes.
        src_id, dst_id = (ids.astype(one.dtype) for ids, one in zip(ends, self._ranges, strict=True))
        weight = rows["weight"].to_numpy().copy() if self.columns.has_weights else None
        last_ts = rows["last_ts"].to_numpy().copy() if self.columns.has_times else None
        self._batches.append(_Held(src_id, dst_id, weight, last_ts))
        return True

    def release(self) -> Iterator[_Held]:
        """Yield the batches as they came; one that was yielded is not held any more."""
        self._batches.reverse()
        while self._batches:
            yield self._batches.pop()

    def write(self, attempt: Attempt) -> None:
        """Write the pairs that weigh something as "edges", and those that have decayed as "decayed"."""
        if not self._rows:
            return
        weight = np.concatenate([one.weight for one in self._batches]) if self.columns.has_weights else None
        newest = np.concatenate([one.last_ts for one in self._batches]) if self.columns.has_times else None
        sums = sum_pairs(self._words(), weight, newest)
        if sums.weight is None or sums.weight.min() > 0:
            self._write(attempt, "edges", sums)
            return
        for role, rows in (("edges", sums.weight > 0), ("decayed", sums.weight <= 0)):
            self._write(attempt, role, sums.take(rows))

    def _words(self) -> NDArray[np.uint64]:
        """Return each pair as one word, in the order of its ids; no batch is held any more."""
        shift = np.uint64(self._ranges[1].bits)
        words, row = np.empty(self._rows, np.uint64), 0
        for batch in self.release():
            # Differences of int64 wrap, and are right as unsigned ones.
            first, second = (
                ids.astype(np.int64).view(np.uint64) - np.uint64(one.low % 2**64)
                for ids, one in zip(batch[:2], self._ranges, strict=True)
            )
            words[row : row + first.size] = (first << shift) | second
            row += first.size
        return words

    def _write(self, attempt: Attempt, role: str, sums: PairSums) -> None:
        category = pa.dictionary(pa.uint32(), pa.string())
        fields = EDGES.schema_for(pa.int64())
        schema = pa.schema([one.with_type(category) if one.name.endswith("_type") else one for one in fields])
        differs = {"events": sums.events, "weight": sums.weight if sums.events is None else 1, "last_ts": sums.newest}
        constant = ["src_type", "dst_type", "relation", *(name for name, values in differs.items() if values is None)]
        for first in range(0, sums.words.size, _FILE_ROWS):
            with storage.parquet_writer(attempt.path(role, "parquet"), schema, constant) as writer:
                stop = min(first + _FILE_ROWS, sums.words.size)
                for row in range(first, stop, _GROUP_ROWS):
                    some = sums.take(slice(row, min(row + _GROUP_ROWS, stop)))
                    writer.write_table(pa.Table.from_arrays(self._arrays(some), schema=schema))

    def _arrays(self, sums: PairSums) -> list[pa.Array]:
        src, dst = self._ranges
        n, shift = sums.words.size, np.uint64(dst.bits)
        first, second = sums.words >> shift, sums.words & np.uint64(2**dst.bits - 1)
        src_id, dst_id = (
            (ids + np.uint64(one.low % 2**64)).view(np.int64) for ids, one in ((first, src), (second, dst))
        )
        events = repeated(1, n) if sums.events is None else pa.array(sums.events)
        if sums.weight is not None:
            weight = pa.array(sums.weight)
        else:
            weight = repeated(ONE, n) if sums.events is None else pa.array(sums.events * ONE)
        src_type, dst_type = (
            pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.uint32)), [one])
            for one in (self.columns.src_type, self.columns.dst_type)
        )
        last_ts = pa.nulls(n, pa.int64()) if sums.newest is None else pa.array(sums.newest)
        relation = repeated(self.columns.relation, n)
        return [pa.array(src_id), src_type, pa.array(dst_id), dst_type, relation, weight, events, last_ts]
