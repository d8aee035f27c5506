"""Integer keys of one machine: arrays over their range, and tables of row numbers, at a fifth of the CPU of Polars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from pipeline.engines import verbs
from pipeline.kernels.key_groups import largest_of_groups, number_groups, sum_groups

#: Keys that an array is made of, at most: 800 MB a column.
_MOST_KEYS = 100_000_000
_NO_VALUE = np.iinfo(np.int64).min
_PAIR = "both keys"


@dataclass(frozen=True)
class KeyRange:
    """The smallest key, and how many integers there are from it to the largest."""

    low: int
    span: int


def survey_keys(frame: pl.LazyFrame, keys: Sequence[str]) -> tuple[int, list[KeyRange]]:
    """Return the number of rows, and the range of each key; no ranges where a key is not int64, or missing."""
    schema = frame.collect_schema()
    columns = [pl.col(key) for key in keys] if all(schema[key] == pl.Int64 for key in keys) else []
    facts = [fact for key in columns for fact in (key.min().name.prefix("low "), key.max().name.prefix("high "))]
    nulls = pl.sum_horizontal(key.null_count() for key in columns) if columns else pl.lit(0)
    rows, null_count, *ends = (
        frame.select(pl.len().alias("rows"), nulls.alias("nulls"), *facts).collect(engine="streaming").row(0)
    )
    if not rows or null_count:
        return rows, []
    return rows, [KeyRange(low, high - low + 1) for low, high in zip(ends[::2], ends[1::2], strict=True)]


def can_be_array(keys: KeyRange, rows: int) -> bool:
    """Whether an array over the range of keys is no larger than a table of rows."""
    return keys.span <= min(rows, _MOST_KEYS)


def sum_in_arrays(frame: pl.LazyFrame, key: str, sums: Sequence[str], keys: KeyRange) -> pl.DataFrame:
    """One row a key, ascending: exact sums, which can't leave int64."""
    totals = {name: np.zeros(keys.span, np.int64) for name in sums}
    is_there = np.zeros(keys.span, np.bool_)
    for batch in frame.select(key, *sums).collect_batches(maintain_order=False, engine="streaming"):
        at = batch[key].to_numpy() - keys.low
        is_there[at] = True
        for name in sums:
            np.add.at(totals[name], at, batch[name].to_numpy())
    at = np.flatnonzero(is_there)
    return pl.DataFrame({key: at + keys.low, **{name: total[at] for name, total in totals.items()}})


def join_keys(frame: pl.LazyFrame, keys: Sequence[str], ranges: Sequence[KeyRange]) -> tuple[pl.LazyFrame, list[str]]:
    """Return the frame with one key for two, and its name; the frame and keys as they are where one can't hold both."""
    if len(ranges) != 2 or ranges[0].span * ranges[1].span >= 2**63:
        return frame, list(keys)
    first, second = (pl.col(key) - key_range.low for key, key_range in zip(keys, ranges, strict=True))
    return frame.with_columns((first * ranges[1].span + second).alias(_PAIR)).drop(keys), [_PAIR]


def part_keys(frame: pl.LazyFrame, keys: Sequence[str], ranges: Sequence[KeyRange]) -> pl.LazyFrame:
    """Undo :func:`join_keys`; a frame whose keys were not joined is returned as it is."""
    if _PAIR not in frame.collect_schema():
        return frame
    (major, minor), pair = ranges, pl.col(_PAIR)
    ends = (pair // minor.span + major.low).alias(keys[0]), (pair % minor.span + minor.low).alias(keys[1])
    return frame.select(*ends, pl.all().exclude(_PAIR))


def are_groups(rows: pl.DataFrame, keys: Sequence[str], newest: Sequence[str]) -> bool:
    """Whether :func:`sum_groups_in_order` can add rows up."""
    columns = [rows[name] for name in keys]
    return (
        len(keys) <= 2
        and all(column.dtype == pl.Int64 and not column.null_count() for column in columns)
        and all(rows[name].dtype == pl.Int64 and not (rows[name] == _NO_VALUE).any() for name in newest)
    )


def sum_groups_in_order(
    rows: pl.DataFrame, keys: Sequence[str], sums: Sequence[str], newest: Sequence[str]
) -> pl.DataFrame:
    """One row a key, in the order of the keys' first rows: sums, which can't leave int64, and the newest values."""
    group, first = number_groups([rows[name].to_numpy() for name in keys])
    if len(first) == rows.height:
        return rows.select(*keys, *sums, *newest)
    columns = {name: rows[name].gather(first) for name in keys}
    columns |= {name: pl.Series(sum_groups(group, len(first), rows[name].to_numpy())) for name in sums}
    for name in newest:
        largest = largest_of_groups(group, len(first), rows[name].fill_null(_NO_VALUE).to_numpy())
        columns[name] = pl.Series(largest).replace(_NO_VALUE, None)
    return pl.DataFrame(columns)


def look_up(
    frame: pl.LazyFrame,
    table: pl.LazyFrame,
    on: Mapping[str, str],
    take: Mapping[str, str],
    *,
    in_order: bool = False,
) -> pl.LazyFrame:
    """Do as :func:`pipeline.engines.verbs.look_up`, in an array where keys and values are integers that allow it."""
    if len(on) == len(take) == 1:
        (key, theirs), (new, value) = *on.items(), *take.items()
        rows, ranges = survey_keys(table, [theirs])
        is_integer = table.collect_schema()[value] == frame.collect_schema()[key] == pl.Int64
        if ranges and is_integer and can_be_array(ranges[0], 4 * rows):
            answers = table.select(theirs, pl.col(value).alias("value")).collect(engine="streaming")
            return look_up_in_array(frame, key, new, answers, ranges[0])
    return verbs.look_up(frame, table, on, take, in_order=in_order)


def look_up_in_array(frame: pl.LazyFrame, key: str, new: str, table: pl.DataFrame, keys: KeyRange) -> pl.LazyFrame:
    """Replace a key by the second column of a table whose first column is that key; rows without one are dropped."""
    values = np.full(keys.span + 1, _NO_VALUE)
    values[table.to_series(0).to_numpy() - keys.low] = table.to_series(1).to_numpy()

    def value_of(of_batch: pl.Series) -> pl.Series:
        # As unsigned integers, keys below the range are beyond it, too.
        at = (of_batch.to_numpy() - keys.low).view(np.uint64)
        return pl.Series(values[np.minimum(at, np.uint64(keys.span))])

    values_of_key = pl.col(key).map_batches(value_of, return_dtype=pl.Int64, is_elementwise=True).alias(f"taken {new}")
    return (
        frame.drop_nulls(key)
        .with_columns(values_of_key)
        .drop(key)
        .rename({f"taken {new}": new})
        .filter(pl.col(new) != _NO_VALUE)
    )
