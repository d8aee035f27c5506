"""What one task of Spark does with the rows of a partition: opens them, does verbs on them in Polars, hands them on.

An opener makes frames of what Spark hands to the task; a sink makes of frames what Spark is handed back. Equal input
makes equal output, whenever a task is tried again: rows come in the order of their pieces, and each verb keeps one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import polars as pl
import pyarrow as pa

from pipeline.engines import integer_keys, verbs
from pipeline.engines.attempts import UnexpectedError, name_errors
from pipeline.engines.pieces import pack_error
from pipeline.errors import GraphquiltError

Rows = Iterator[pa.RecordBatch]  # of pipeline.engines.pieces
Step = Callable[[pl.LazyFrame], pl.LazyFrame]
Match = Callable[[pl.LazyFrame, pl.LazyFrame], pl.LazyFrame]  # of rows and a table
Opener = Callable[[Rows], Iterator[pl.LazyFrame]]
Add = Callable[[pl.DataFrame], pl.DataFrame]
Sink = Callable[[Iterator[pl.DataFrame], int], Rows]


@dataclass(frozen=True)
class PartitionTask:
    """A task over one partition of Spark's."""

    name: str  # of the task, with the partition's number
    opener: Opener
    steps: tuple[Step, ...]
    sink: Sink

    def run(self, rows: Rows, partition: int) -> Rows:
        """Yield what the sink makes of a partition's rows, or the error that is in its way."""
        try:
            with name_errors(f"{self.name}-{partition:05d}"):
                frames = (apply_steps(self.steps, frame).collect() for frame in self.opener(rows))
                yield from self.sink(frames, partition)
        except UnexpectedError:
            raise  # Spark tries again, elsewhere if it can
        except GraphquiltError as error:
            yield pack_error(error)


def apply_steps(steps: Sequence[Step], frame: pl.LazyFrame) -> pl.LazyFrame:
    """Take one step after the other."""
    return reduce(lambda rows, step: step(rows), steps, frame)


def select(frame: pl.LazyFrame, columns: Sequence[str]) -> pl.LazyFrame:
    """Keep some columns, in this order."""
    return frame.select(columns)


def sort(frame: pl.LazyFrame, keys: Sequence[str]) -> pl.LazyFrame:
    """Order rows by keys, nulls first; rows of equal keys stay in their order."""
    return frame.sort(keys, maintain_order=True)


def add_up(
    rows: pl.DataFrame, keys: Sequence[str], sums: Sequence[str], newest: Sequence[str], *, may_overflow: bool
) -> pl.DataFrame:
    """Return one row a key; InputError: a sum is beyond int64."""
    if not may_overflow and integer_keys.are_groups(rows, keys, newest):
        return integer_keys.sum_groups_in_order(rows, keys, sums, newest)
    with verbs.overflow_of(", ".join(sums)):
        return verbs.sum_by(rows.lazy(), keys, sums, newest, may_overflow=may_overflow, in_order=True).collect()
