"""Inputs and configs that can't be used: a clear message, the right exit code, nothing published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.stages.chains import EPOCH, Chain, config_for, friends, users_and_items, with_changes, write_rows

ROWS = users_and_items(0, 100)
TODAY = "1970-01-01"


def missing_column(path: Path) -> None:
    write_rows(path, {"source": ROWS["source"], "item": ROWS["target"]})


def empty(path: Path) -> None:
    write_rows(path, {"source": pa.array([], pa.int64()), "target": pa.array([], pa.int64())})


def float_ids(path: Path) -> None:
    write_rows(path, {**ROWS, "source": ROWS["source"].astype(np.float64)})


def truncated(path: Path) -> None:
    write_rows(path, ROWS)
    path.write_bytes(path.read_bytes()[:-100])


def not_parquet(path: Path) -> None:
    path.write_bytes(b"hello" * 100)


def damaged_inside(path: Path) -> None:
    write_rows(path, users_and_items(0, 50_000))
    data = bytearray(path.read_bytes())
    data[8:2_000] = b"\xff" * 1_992
    path.write_bytes(bytes(data))


def all_rejected(path: Path) -> None:
    write_rows(path, {"source": pa.nulls(5, pa.int64()), "target": pa.nulls(5, pa.int64())})


INPUTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing column": (missing_column, "target"),
    "empty": (empty, "no rows"),
    "float ids": (float_ids, "float|double"),
    "truncated": (truncated, "in.parquet"),
    "not Parquet": (not_parquet, "in.parquet"),
    "damaged inside": (damaged_inside, "in.parquet"),
    "all rejected": (all_rejected, "null id: 5"),
}


def refused(chain: Chain, config: dict[str, Any], code: int, *words: str, dated: bool = True) -> str:
    ended = chain.run(config)
    assert ended.code == code, ended.error
    for word in words:
        assert any(one in ended.error for one in word.split("|")), ended.error
    assert ended.answer["published"] is False
    assert chain.current() is None
    assert not (chain.root / "published").exists()
    if dated:
        gate = chain.gate(TODAY)
        assert gate is not None
        assert (gate["verdict"], gate["exit_code"], gate["reasons"]) == ("failed", code, [ended.error])
    return ended.error


@pytest.mark.parametrize("name", INPUTS)
def test_bad_input(name: str, tmp_path: Path) -> None:
    write, word = INPUTS[name]
    write(tmp_path / "in.parquet")
    refused(Chain(tmp_path / "chain"), config_for(tmp_path / "in.parquet"), 4, word)


@pytest.mark.spark
@pytest.mark.parametrize("name", ["missing column", "all rejected"])
def test_bad_input_on_spark(name: str, tmp_path: Path, spark_session: Any) -> None:
    from pipeline.engines.spark import SparkEngine

    write, word = INPUTS[name]
    write(tmp_path / "in.parquet")
    chain = Chain(tmp_path / "chain", SparkEngine(spark_session))
    refused(chain, config_for(tmp_path / "in.parquet"), 4, word)


def test_no_such_file(tmp_path: Path) -> None:
    # No date is known yet, so there is no folder to leave a verdict in.
    refused(Chain(tmp_path), config_for(tmp_path / "nothing.parquet"), 4, "nothing.parquet", dated=False)


def test_no_such_file_with_a_date_leaves_a_verdict(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    ended = chain.run(config_for(tmp_path / "nothing.parquet"), date="2024-05-01")
    assert ended.code == 4
    assert chain.gate("2024-05-01")["reasons"] == [ended.error]


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    # A folder under the name of a file: root may read everything else.
    (tmp_path / "in.parquet").mkdir()
    refused(Chain(tmp_path / "chain"), config_for(tmp_path / "in.parquet"), 4, "in.parquet", dated=False)


def test_nothing_but_self_loops(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", {"source": [1, 2], "target": [1, 2]})
    config = config_for(path, plain=True, input={"max_rejected_share": 1.0})
    refused(Chain(tmp_path / "chain"), config, 4, "no edges are left", "self loop: 2")


def test_all_edges_outside_of_the_window(tmp_path: Path) -> None:
    path = write_rows(
        tmp_path / "in.parquet", {**friends(0), "ts": np.full(len(friends(0)["source"]), EPOCH + 10 * 86_400)}
    )
    config = config_for(path, plain=True, input={"timestamp": "ts", "timestamp_unit": "s"})
    chain = Chain(tmp_path / "chain")
    ended = chain.run(config, date="2000-01-05")
    assert ended.code == 4
    assert "no edges are left" in ended.error
    assert chain.current() is None


WEIGHTS = [float("nan"), float("inf"), -float("inf"), 0.0, -1.0]


@pytest.mark.parametrize("share", [0.01, 0.1])
def test_bad_rows_are_rejected_one_by_one_and_then_judged_by_their_share(share: float, tmp_path: Path) -> None:
    source = pa.array([None, *ROWS["source"].tolist()[1:]], pa.int64())
    weight = np.ones(100)
    weight[1:6] = WEIGHTS
    path = write_rows(tmp_path / "in.parquet", {"source": source, "target": ROWS["target"], "weight": weight})
    config = config_for(path, input={"weight": "weight", "max_rejected_share": share})
    chain = Chain(tmp_path / "chain")
    if share < 0.06:
        message = refused(chain, config, 4, "0.06", "max_rejected_share is 0.01")
        assert "null id: 1" in message
        return
    ended = chain.run(config)
    assert ended.code == 0, ended.error
    assert sum(ended.figures("ingest")["rejected"].values()) == 6
    workspace = chain.workspace(config)
    rejected = pa.concat_tables(pq.read_table(file) for file in workspace.files("rejected"))
    assert sorted(rejected["row"].to_pylist()) == list(range(6))
    assert ended.figures("ingest")["kept"] == 94


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"embedding": {"dim": 0}}, ["embedding.dim"]),
        ({"embedding": {"dims": 8}}, ["no key embedding.dims", "did you mean 'dim'"]),
        ({"embeding": {"dim": 8}}, ["no key embeding"]),
        ({"embedding": {"method": "fastprp"}}, ["embedding.method", "'fastprp'", "fastrp"]),
        ({"embedding": {"method": "none"}}, ["nothing would be published", "ppr.neighbors"]),
        ({"embedding": {"method": "spectral", "boundary": "drop"}}, ["embedding.boundary", "'exchange'"]),
        ({"embedding": {"form": "low_pass", "boundary": "halo"}}, ["embedding.boundary", "low_pass"]),
        ({"embedding": {"method": "spectral", "dim": 8, "rank": 4}}, ["embedding.rank is 4", "raise rank"]),
        ({"embedding": {"method": "spectral", "shards": 2}}, ["embedding.shards is 2", "leave shards out"]),
        ({"embedding": {"method": "spectral", "form": "two_tower"}}, ["embedding.form", "leave form out"]),
        ({"embedding": {"form": "classic"}, "publish": {"fold_in": True}}, ["publish.fold_in", "'classic'"]),
        ({"evaluate": {"source": "shadow"}}, ["shadow", "not built yet"]),
        ({"evaluate": {"source": "file"}}, ["path"]),
        ({"publish": {"name": "../elsewhere"}}, ["publish.name"]),
    ],
)
def test_bad_config(changes: dict[str, dict[str, object]], words: list[str], tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", ROWS)
    refused(Chain(tmp_path / "chain"), with_changes(config_for(path), **changes), 2, *words, dated=False)


def test_a_bad_config_with_a_date_leaves_a_verdict(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    ended = chain.run(config_for(tmp_path / "in.parquet", embedding={"dims": 8}), date="2024-05-01")
    assert ended.code == 2
    assert chain.gate("2024-05-01")["exit_code"] == 2


def test_even_powers_alone_on_two_types(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", ROWS)
    config = config_for(path, embedding={"form": "classic", "iteration_weights": [0.0, 1.0]})
    refused(Chain(tmp_path / "chain"), config, 2, "noise", dated=False)
