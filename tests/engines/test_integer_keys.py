"""Sums and look-ups by integers, in arrays and by joined keys, against dictionaries."""

from __future__ import annotations

from collections import Counter

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engines import integer_keys, partition_tasks
from pipeline.engines.local import LocalEngine

#: Close together, far apart, and at the ends of int64.
KEYS = st.integers(-3, 3) | st.integers(-3, 3).map(lambda key: key * 2**40) | st.integers(-(2**63), 2**63 - 1)
NEAR = st.integers(-(2**63) + 1, 2**63 - 9).flatmap(lambda low: st.lists(st.integers(low, low + 5), max_size=30))


@given(rows=st.lists(st.tuples(KEYS, KEYS, st.integers(0, 9)), max_size=25))
def test_sums_of_pairs(rows: list[tuple[int, int, int]]) -> None:
    frame = pl.LazyFrame(rows, schema={"src": pl.Int64, "dst": pl.Int64, "weight": pl.Int64}, orient="row")
    summed = LocalEngine().sum_by(frame, ["src", "dst"], ["weight"], ["weight 2"][:0], keys_repeat=False).collect()
    want: Counter[tuple[int, int]] = Counter()
    for src, dst, weight in rows:
        want[src, dst] += weight
    assert summed.columns == ["src", "dst", "weight"]
    assert sorted(summed.rows()) == sorted((*pair, want[pair]) for pair in {(src, dst) for src, dst, _ in rows})


@given(keys=NEAR)
def test_sums_of_keys_that_lie_near_each_other(keys: list[int]) -> None:
    frame = pl.LazyFrame({"key": keys, "one": [1] * len(keys)}, schema={"key": pl.Int64, "one": pl.Int64})
    _, ranges = integer_keys.survey_keys(frame, ["key"])
    engine = LocalEngine()
    summed = engine.sum_by(frame, ["key"], ["one"], keys_repeat=True, may_overflow=False).collect()
    assert sorted(summed.rows()) == sorted(Counter(keys).items())
    if ranges and ranges[0].span <= len(keys):
        assert summed["key"].is_sorted()  # the way by arrays


@given(known=st.sets(KEYS, max_size=9) | NEAR.map(set), others=st.lists(KEYS, max_size=9))
def test_what_a_table_says_of_keys(known: set[int], others: list[int]) -> None:
    table = {key: number for number, key in enumerate(sorted(known))}
    keys = [*others, *table, *table]
    frame = pl.LazyFrame({"id": keys, "row": range(len(keys))}, schema={"id": pl.Int64, "row": pl.Int64})
    of_table = pl.LazyFrame({"key": list(table), "ix": list(table.values())}, schema={"key": pl.Int64, "ix": pl.Int64})
    found = LocalEngine().look_up(frame, of_table, {"id": "key"}, {"id": "ix"}).collect()
    assert found.columns == ["row", "id"]
    assert sorted(found.rows()) == [(row, table[key]) for row, key in enumerate(keys) if key in table]


@given(
    rows=st.lists(st.tuples(KEYS, KEYS | st.none(), st.integers(0, 9), KEYS | st.none()), max_size=25),
    keys=st.sampled_from([["src"], ["src", "dst"], ["src", "dst", "weight"]]),
)
def test_a_task_adds_up_in_the_order_of_first_rows(
    rows: list[tuple[int, int | None, int, int | None]], keys: list[str]
) -> None:
    names = ["src", "dst", "weight", "newest"]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.Int64), orient="row")
    sums = [name for name in ("weight",) if name not in keys]
    added = partition_tasks.add_up(frame, keys, sums, ["newest"], may_overflow=False)
    want: dict[tuple[int | None, ...], list[tuple[int, int | None]]] = {}
    for row in rows:
        want.setdefault(row[: len(keys)], []).append(row[2:])
    assert added.rows() == [
        (
            *key,
            *(sum(weight for weight, _ in some) for _ in sums),
            max((newest for _, newest in some if newest is not None), default=None),
        )
        for key, some in want.items()
    ]
