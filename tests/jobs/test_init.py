import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.commands.config_text import toml_text
from jobs.commands.first_rows import first_rows
from jobs.commands.guess import guess_columns
from pipeline.config import PipelineConfig, key_reference
from pipeline.errors import InputError


def interactions(rows: int = 200) -> pa.Table:
    rng = np.random.default_rng(3)
    return pa.table(
        {
            "event": [("view", "buy")[n % 2] for n in range(rows)],
            "rating": [1 + n % 5 for n in range(rows)],
            "user_id": [f"u{n}" for n in rng.integers(0, 20, rows)],
            "item_id": rng.integers(0, 15, rows),
            "ts": 1_700_000_000 + 3600 * np.arange(rows),
        }
    )


def write(table: pa.Table, path: Path) -> Path:
    if path.suffix == ".csv":
        pacsv.write_csv(table, path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    else:
        pq.write_table(table, path)
    return path


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_what_init_writes_runs_unchanged(suffix: str, tmp_path: Path, call: Callable[..., Any]) -> None:
    source = write(interactions(), tmp_path / f"in.{suffix}")
    config = tmp_path / "made.toml"
    said = call("init", source, "--out", config, "--json")
    assert said.code == 0, said.err
    assert said.json["guessed"] == {
        "source": "user_id",
        "source_type": "user",
        "target": "item_id",
        "target_type": "item",
        "timestamp": "ts",
        "timestamp_unit": "s",
        "weight": "rating",
    }
    assert set(said.json["guessed"]) <= set(said.json["why"])
    work = ["--workspace", tmp_path / "work", "--set", "embedding.dim=8"]
    assert call("config", "--check", config).code == 0
    done = call("run", "--config", config, *work, "--json")
    assert done.code == 0, done.err
    assert done.json["published"]
    # The last of 200 hours after 2023-11-14 22:13:20.
    assert done.json["date"] == "2023-11-23"


def test_nothing_is_overwritten(tmp_path: Path, call: Callable[..., Any]) -> None:
    source = write(interactions(), tmp_path / "in.csv")
    (tmp_path / "made.toml").write_text("mine")
    said = call("init", source, "--out", tmp_path / "made.toml")
    assert said.code == 2
    assert "exists and is not overwritten" in said.err
    assert (tmp_path / "made.toml").read_text() == "mine"
    said = call("init", source, "--out", tmp_path / "no" / "made.toml")
    assert said.code == 2
    assert "can't be written" in said.err


def test_a_relative_path_is_found_from_elsewhere(
    tmp_path: Path, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    write(interactions(), tmp_path / "in.csv")
    monkeypatch.chdir(tmp_path)
    assert call("init", "in.csv", "--out", "configs/made.toml").code == 0
    monkeypatch.chdir("/")
    said = call("plan", "--config", tmp_path / "configs/made.toml", "--workspace", tmp_path / "work", "--json")
    assert said.code == 0, said.err
    assert said.json["input"]["files"] == 1


@pytest.mark.parametrize(
    ("columns", "source", "target", "types"),
    [
        (("src", "dst"), "src", "dst", ("node", "node")),
        (("target", "source"), "source", "target", ("node", "node")),
        (("package", "needs"), "package", "needs", ("package", "package")),
        (("movieId", "userId"), "userId", "movieId", ("user", "movie")),
        (("customer", "sku"), "customer", "sku", ("customer", "sku")),
        (("alpha", "beta"), "alpha", "beta", ("alpha", "beta")),
        (("note", "left_uuid", "right_uuid"), "left_uuid", "right_uuid", ("node", "node")),
        (("note", "shop_id", "town_id"), "shop_id", "town_id", ("shop", "town")),
    ],
)
def test_ends_are_told_by_name_or_place(
    columns: tuple[str, ...], source: str, target: str, types: tuple[str, str]
) -> None:
    values = {name: pa.array([f"{name} {n}" for n in range(20)]) for name in columns}
    guess = guess_columns(values)
    assert (guess.values["source"], guess.values["target"]) == (source, target)
    assert (guess.values["source_type"], guess.values["target_type"]) == types


def test_ends_that_share_values_are_of_one_type() -> None:
    values = {"alpha": pa.array(["x", "y", "z"]), "beta": pa.array(["y", "z", "x"])}
    assert guess_columns(values).values["source_type"] == "node"
    assert guess_columns(values).values["target_type"] == "node"


def test_float_ids_are_refused_with_the_columns() -> None:
    with pytest.raises(InputError, match=r"user_id \(double\), item_id \(string\)"):
        guess_columns({"user_id": pa.array([1.0]), "item_id": pa.array(["a"])})


@given(
    st.sampled_from(["s", "ms", "us", "ns"]),
    # From 1973-03-03 to 2286-11-20: seconds of nine and ten digits.
    st.lists(st.integers(10**8, 10**10 - 1), min_size=1, max_size=20),
)
@settings(max_examples=60)
def test_the_unit_of_integers_is_told_by_magnitude(unit: str, seconds: list[int]) -> None:
    factor = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    if seconds[0] * factor >= 2**63:
        seconds = [10**9]
    moments = [min(second * factor, 2**63 - 1) for second in seconds]
    columns = {"src": pa.array(["a"] * len(moments)), "dst": pa.array(["b"] * len(moments)), "time": pa.array(moments)}
    assert guess_columns(columns).values["timestamp_unit"] == unit
    if unit != "ns":  # ingest reads integers of up to 18 digits as text
        columns["time"] = pa.array([str(moment) for moment in moments])
        assert guess_columns(columns).values["timestamp_unit"] == unit


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([1, 2, 3], "no seconds, ms, us or ns of our days"),
        ([1.5e9] * 3, "ingest reads no double as a time"),
        (["soon", "later", "never"], "3 of the first 3 values can't be read as one"),
    ],
)
def test_a_time_that_ingest_would_refuse_is_left_out(values: list[Any], why: str) -> None:
    guess = guess_columns({"src": pa.array(["a"] * 3), "dst": pa.array(["b"] * 3), "ts": pa.array(values)})
    assert "timestamp" not in guess.values
    assert why in guess.why["timestamp"]


@pytest.mark.parametrize("values", [[0.0, 1.0, 2.0], [-1, 2, 3], ["much", "more", "most"], [None, 1, 2]])
def test_a_weight_that_ingest_would_reject_is_left_out(values: list[Any]) -> None:
    guess = guess_columns({"src": pa.array(["a"] * 3), "dst": pa.array(["b"] * 3), "weight": pa.array(values)})
    assert "weight" not in guess.values
    assert "weight" in guess.why["weight"]


def test_ids_of_text_formats_stay_text(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("a_id,b_id\n12345678901234567890,007\n")
    assert {str(column.type) for column in first_rows(str(tmp_path / "in.csv")).columns.values()} == {"string"}
    (tmp_path / "in.jsonl").write_text('{"a_id": 12345678901234567890, "b_id": 7}\n')
    assert first_rows(str(tmp_path / "in.jsonl")).columns["a_id"].to_pylist() == ["12345678901234567890"]


def test_columns_told_by_folders_are_seen(tmp_path: Path) -> None:
    (tmp_path / "event=click").mkdir()
    write(interactions().select(["user_id", "item_id"]), tmp_path / "event=click" / "in.parquet")
    found = first_rows(str(tmp_path))
    assert found.columns["event"][0].as_py() == "click"


@pytest.mark.parametrize(
    ("text", "sentence"), [("", "has no rows"), ("a_id,b_id\n", "has no rows"), ("a_id;b_id\n1;2\n", "parted by ';'")]
)
def test_an_unusable_input_exits_4(text: str, sentence: str, tmp_path: Path, call: Callable[..., Any]) -> None:
    (tmp_path / "in.csv").write_text(text)
    said = call("init", tmp_path / "in.csv", "--out", tmp_path / "made.toml", "--json")
    assert said.code == 4, said.err
    assert sentence in said.json["error"]
    assert not (tmp_path / "made.toml").exists()


@given(
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=3, max_size=3, unique=True),
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=5),
)
@settings(max_examples=60)
def test_any_name_survives_the_file(names: list[str], kinds: list[str]) -> None:
    columns = {name: pa.array([f"{name}{n}" for n in range(len(kinds))]) for name in names}
    columns["event"] = pa.array(kinds)
    guess = guess_columns(columns)
    text = toml_text({"input": {"path": names[0], **guess.values}}, {("input", k): v for k, v in guess.remarks.items()})
    config = PipelineConfig.model_validate(tomllib.loads(text))
    assert config.input.source == guess.values["source"]
    assert config.input.path == names[0]


def test_the_file_has_every_key(tmp_path: Path, call: Callable[..., Any]) -> None:
    call("init", write(interactions(), tmp_path / "in.csv"), "--out", tmp_path / "made.toml")
    section, found = "", set()
    for line in (tmp_path / "made.toml").read_text().splitlines():
        if line.removeprefix("# ").startswith("["):
            section = line.removeprefix("# ").strip("[]")
        elif " =" in line:
            found.add((section, line.removeprefix("# ").split(" =")[0]))
    assert {(section, key) for section, key, _, _ in key_reference()} <= found
