"""Sums of more rows than the local engine adds up at a time: the same sums, in less memory."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engines import polars_tables
from pipeline.engines.local import LocalEngine
from pipeline.errors import InputError
from pipeline.planning import stage_costs
from tests.memory import memory_growth

SCHEMA = pa.schema([("src", pa.int64()), ("dst", pa.string()), ("weight", pa.int64()), ("last", pa.int64())])
ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from("abcé"), st.integers(0, 9), st.none() | st.integers(0, 9)), max_size=25
)


@given(rows=ROWS, at_a_time=st.integers(1, 8), keys_repeat=st.booleans())
def test_shares_of_the_keys_make_the_sums_of_all(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, str, int, int | None]],
    at_a_time: int,
    keys_repeat: bool,
) -> None:
    folder = tmp_path_factory.mktemp("sums")
    columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * 4
    pq.write_table(pa.table(columns, schema=SCHEMA), folder / "in.parquet")
    want: dict[tuple[int, str], list[int | None]] = defaultdict(lambda: [0, None])
    for src, dst, weight, last in rows:
        entry = want[src, dst]
        entry[0] = int(entry[0] or 0) + weight
        entry[1] = max((one for one in (entry[1], last) if one is not None), default=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(polars_tables, "REPEATING_ROWS" if keys_repeat else "SUMMED_ROWS", at_a_time)
        engine = LocalEngine()
        frame = engine.read([folder / "in.parquet"], SCHEMA.names, SCHEMA)
        summed = engine.sum_by(frame, ["src", "dst"], ["weight"], ["last"], keys_repeat=keys_repeat)
        files = engine.write(summed, folder / "out", SCHEMA)
    found = [row for file in files for row in pq.read_table(file, schema=SCHEMA).to_pylist()]
    assert {(row["src"], row["dst"]): [row["weight"], row["last"]] for row in found} == want
    assert len(found) == len(want)


def test_a_sum_beyond_int64_is_refused_in_any_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polars_tables, "SUMMED_ROWS", 2)
    pq.write_table(pa.table([[1, 2, 3, 1], list("aaaa"), [2**62] * 4, [0] * 4], schema=SCHEMA), tmp_path / "in.parquet")
    engine = LocalEngine()
    frame = engine.read([tmp_path / "in.parquet"], SCHEMA.names, SCHEMA)
    summed = engine.sum_by(frame, ["src", "dst"], ["weight"], ["last"], keys_repeat=False)
    with pytest.raises(InputError, match="beyond int64"):
        engine.write(summed, tmp_path / "out", SCHEMA)


@pytest.mark.parametrize("keys", [["src", "dst"], ["src"]])
def test_memory_is_that_of_one_share(keys: list[str], tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(0), 6_000_000
    columns = {name: rng.integers(0, 2**20, rows) for name in ("src", "dst")}
    pq.write_table(pa.table({**columns, "weight": np.ones(rows, np.int64)}), tmp_path / "in.parquet")
    whole, share = (memory_growth(_add_up, tmp_path, keys, at_a_time) for at_a_time in (rows, rows // 12))
    assert share < 0.6 * whole
    if len(keys) == 1:  # ends of edges, with a plan's bytes, but for an id (8 more) and a degree (8 less)
        assert 0.5 < (rows - rows // 12) * stage_costs._WAITING_END_BYTES / (whole - share) < 2


def _add_up(folder: Path, keys: list[str], at_a_time: int) -> None:
    polars_tables.SUMMED_ROWS = polars_tables.REPEATING_ROWS = at_a_time
    columns = [*keys, "weight"]
    schema = pa.schema([(name, pa.int64()) for name in columns])
    engine = LocalEngine()
    frame = engine.read([folder / "in.parquet"], columns, schema)
    summed = engine.sum_by(frame, keys, ["weight"], keys_repeat=len(keys) == 1)
    engine.write(summed, folder / str(at_a_time), schema)


def test_a_plan_knows_how_many_are_added_up_at_a_time() -> None:
    assert (stage_costs._SUMMED_ROWS, stage_costs._REPEATING_ROWS) == (
        polars_tables.SUMMED_ROWS,
        polars_tables.REPEATING_ROWS,
    )
