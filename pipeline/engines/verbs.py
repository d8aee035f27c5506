"""The relational verbs in Polars: what they mean on one machine, and inside of a task on any."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import polars as pl

from pipeline.errors import InputError


def rename(frame: pl.LazyFrame, columns: Mapping[str, str], constants: Mapping[str, int | str]) -> pl.LazyFrame:
    """Columns by new name ({new: old}), and constant columns: integers are int64."""
    return frame.select(
        *(pl.col(old).alias(new) for new, old in columns.items()),
        *(
            pl.lit(value, dtype=pl.Int64 if isinstance(value, int) else pl.String).alias(new)
            for new, value in constants.items()
        ),
    )


def union(frames: Sequence[pl.LazyFrame], names: Sequence[str]) -> pl.LazyFrame:
    """All rows of frames, frame by frame; of their columns, those named."""
    return pl.concat([frame.select(names) for frame in frames], how="vertical")


def sum_by(
    frame: pl.LazyFrame,
    keys: Sequence[str],
    sums: Sequence[str],
    newest: Sequence[str],
    *,
    may_overflow: bool,
    in_order: bool = False,
) -> pl.LazyFrame:
    """One row a key: integer sums, and the largest of ``newest``; ``in_order`` of the keys' first rows.

    A sum beyond int64 fails when the frame is collected: see :func:`overflow_of`.
    """
    if not sums and not newest:
        return frame.select(keys).unique(maintain_order=in_order)
    columns = [pl.col(name) for name in sums]
    if may_overflow:
        # Polars' int64 sums wrap in silence. Summed in 128 bits, the way back is a checked cast.
        totals = [column.cast(pl.Int128).sum().cast(pl.Int64, strict=True) for column in columns]
    else:
        totals = [column.sum() for column in columns]
    return frame.group_by(keys, maintain_order=in_order).agg(*totals, *(pl.col(name).max() for name in newest))


def where_positive(frame: pl.LazyFrame, column: str, *, positive: bool) -> pl.LazyFrame:
    """Rows whose integer column is above 0 (``positive``), or is not."""
    return frame.filter(pl.col(column) > 0 if positive else pl.col(column) <= 0)


def where_equal(frame: pl.LazyFrame, column: str, value: str) -> pl.LazyFrame:
    """Rows whose column is ``value``."""
    return frame.filter(pl.col(column) == value)


def where_different(frame: pl.LazyFrame, left: str, right: str) -> pl.LazyFrame:
    """Rows whose two columns differ."""
    return frame.filter(pl.col(left) != pl.col(right))


def look_up(
    frame: pl.LazyFrame,
    table: pl.LazyFrame,
    on: Mapping[str, str],
    take: Mapping[str, str],
    *,
    in_order: bool = False,
) -> pl.LazyFrame:
    """Replace key columns by what a table says of them; see :class:`pipeline.engine.Engine`."""
    # A taken column may have the name of a key that goes: it gets its name when the key is gone.
    new_names = {f"taken {new}": new for new in take}
    answers = table.select(
        *(pl.col(theirs).alias(ours) for ours, theirs in on.items()),
        *(pl.col(take[new]).alias(waiting) for waiting, new in new_names.items()),
    )
    matches = frame.join(answers, on=list(on), how="inner", maintain_order="left" if in_order else None)
    return matches.drop(list(on)).rename(new_names)


def without(frame: pl.LazyFrame, table: pl.LazyFrame, keys: Sequence[str], *, in_order: bool = False) -> pl.LazyFrame:
    """Rows of ``frame`` whose keys are not in ``table``."""
    return frame.join(table.select(keys), on=list(keys), how="anti", maintain_order="left" if in_order else None)


@contextmanager
def overflow_of(subject: Any) -> Iterator[None]:
    """Turn the failed cast of :func:`sum_by` into an InputError that names the table."""
    try:
        yield
    except pl.exceptions.InvalidOperationError as error:
        raise InputError(
            f"a sum for {subject} is beyond int64 ({error}); scale the summed column down in the input"
        ) from error
