"""Training pairs as lists of neighbours are compared with them: batch by batch, and only those of some sources kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline import storage
from pipeline.locations import Location

Ends = tuple[pa.Array, pa.Array]

_BATCH_PAIRS = 1_048_576


@dataclass(frozen=True, eq=False)
class PairBatches:
    """Ids of both ends of pairs, in batches that are read once; ``kind``: the ids' type."""

    kind: pa.DataType
    batches: Iterable[Ends]

    @classmethod
    def of_files(cls, files: Sequence[Location]) -> PairBatches:
        """Return the pairs of an edges table."""
        batches = storage.read_batches(files, ["src_id", "dst_id"], _BATCH_PAIRS)
        kind = storage.read_schema(files[0]).field("src_id").type
        return cls(kind, ((batch["src_id"], batch["dst_id"]) for batch in batches))

    @classmethod
    def of_arrays(cls, ends: Ends) -> PairBatches:
        """Return pairs in memory."""
        return cls(ends[0].type if ends[0].type == ends[1].type else pa.string(), [ends])


@dataclass(frozen=True, eq=False)
class TrainPairs:
    """What is kept of training pairs.

    ends : pairs of the sources that were asked for. targets : the different ids that any pair leads to.
    degree : (targets,) int64, pairs that lead to each.
    """

    ends: Ends
    targets: pa.Array
    degree: NDArray[np.int64]

    @classmethod
    def of(
        cls, pairs: PairBatches, kind: pa.DataType, sources: pa.Array, held_out: Ends | None, *, is_plain: bool
    ) -> TrainPairs:
        """Look at all pairs, those held out left aside.

        Parameters
        ----------
        kind : the type of ids that is wanted. sources : ids. is_plain : pairs count from both of their ends.
        """
        of_sources = [both_ways((pa.array([], kind), pa.array([], kind)), kind, is_plain=is_plain)]
        counts = DistinctCounts(kind)
        held_out_ends = None if held_out is None else both_ways(held_out, kind, is_plain=is_plain)
        for batch in pairs.batches:
            ends = both_ways(batch, kind, is_plain=is_plain)
            if held_out_ends is not None:
                ends = _without(ends, held_out_ends)
            counts.add(ends[1])
            is_of_source = pc.is_in(ends[0], value_set=sources)
            of_sources.append((ends[0].filter(is_of_source), ends[1].filter(is_of_source)))
        src, dst = (pa.concat_arrays(column) for column in zip(*of_sources, strict=True))
        targets, degree = counts.result()
        return cls((src, dst), targets, degree)


class DistinctCounts:
    """How often each value comes, in arrays that come one after the other."""

    def __init__(self, kind: pa.DataType) -> None:
        self._counts = pa.table({"value": pa.array([], kind), "count": pa.array([], pa.int64())})
        self._fresh: list[pa.Table] = []

    def add(self, values: pa.Array) -> None:
        """Count some more; all are added up when they have doubled."""
        counts = pc.value_counts(values)
        self._fresh.append(pa.table({"value": counts.field("values"), "count": counts.field("counts")}))
        if sum(table.num_rows for table in self._fresh) > self._counts.num_rows:
            self._settle()

    def result(self) -> tuple[pa.Array, NDArray[np.int64]]:
        """Return the different values, in the order of their first places, and their counts."""
        self._settle()
        return self._counts["value"].combine_chunks(), self._counts["count"].to_numpy()

    def _settle(self) -> None:
        every = pa.concat_tables([self._counts, *self._fresh])
        counts = every.group_by("value", use_threads=False).aggregate([("count", "sum")])
        self._counts, self._fresh = counts.rename_columns({"count_sum": "count"}).select(["value", "count"]), []


def both_ways(ends: Ends, kind: pa.DataType, *, is_plain: bool) -> Ends:
    """Return the ids in one type; pairs of one type of nodes from either of their ends."""
    src, dst = (ids.cast(kind) for ids in ends)
    return (pa.concat_arrays([src, dst]), pa.concat_arrays([dst, src])) if is_plain else (src, dst)


def _without(ends: Ends, excluded_ends: Ends) -> Ends:
    tables = [pa.table({"src": src, "dst": dst}) for src, dst in (ends, excluded_ends)]
    rest = tables[0].join(tables[1], ["src", "dst"], join_type="left anti", use_threads=False)
    return rest["src"].combine_chunks(), rest["dst"].combine_chunks()
