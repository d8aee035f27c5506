"""The tables of a release are one list: a new one is an object in it, and nothing else is edited."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graphquilt.locate import locate
from pipeline.release_tables.published_tables import PUBLISHED_TABLES
from tests.conftest import ROOT
from tests.stages.chains import Chain, config_for, friends, write_rows
from tests.stages.chains import to_toml as toml


def graphquilt(folder: Path, command: str, *arguments: str, name: str = "with-degrees", **environment: str) -> Any:
    """Run a command with the toy table in the list; return its exit code and the object that it printed."""
    config = folder / "config.toml"
    rows = write_rows(folder / "in.parquet", friends())
    config.write_text(toml(config_for(rows, plain=True, publish={"name": name, "rows_per_file": 20})))
    program = [sys.executable, "-m", "tests.release_tables.node_degrees", command, "--json"]
    workspace = ["--workspace", str(folder / "workspace")]
    ended = subprocess.run(
        [*program, *workspace, *(["--config", str(config)] if command == "run" else []), *arguments],
        capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **environment},
    )  # fmt: skip
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def degrees() -> Counter[int]:
    """Return the neighbours of each node, by id."""
    rows = friends()
    pairs = {(min(one), max(one)) for one in zip(rows["source"].tolist(), rows["target"].tolist(), strict=True)}
    return Counter(end for pair in pairs for end in pair)


def test_a_new_table_is_one_object(tmp_path: Path) -> None:
    code, answer = graphquilt(tmp_path, "run")
    assert code == 0, answer
    assert answer["tables"] == ["node_embeddings", "node_degrees"]

    location = locate(tmp_path / "workspace", "with-degrees", deep=True)
    files = location.files("node_degrees")
    assert len(files) > 1
    table = pa.concat_tables(pq.read_table(file, partitioning=None) for file in files)
    assert dict(zip(table["node_id"].to_pylist(), table["degree"].to_pylist(), strict=True)) == degrees()

    manifest = location.manifest
    assert location.tables == ("node_degrees", "node_embeddings")
    assert sum(entry["rows"] for entry in location.file_entries("node_degrees")) == len(degrees())
    assert manifest["largest_degree"] == max(degrees().values())
    assert manifest["stages"]["aggregate"]["figures"]["largest_degree"] == manifest["largest_degree"]
    (published,) = graphquilt(tmp_path, "inspect")[1]["published"]["with-degrees"]["releases"]
    assert published["tables"]["node_degrees"] == len(degrees())

    again = graphquilt(tmp_path, "run")[1]
    assert again["verdict"] == "unchanged"
    assert [stage["stage"] for stage in again["stages"] if not stage["skipped"]] == ["publish"]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"DEGREE_COLUMN": "neighbours"}, "has no column 'degree'"),
        ({"DEGREE_LEFT_OUT": "1"}, f"node_degrees has {len(degrees()) - 3} rows instead of {len(degrees())}"),
    ],
)
def test_a_new_table_is_held_to_its_contract(fault: dict[str, str], says: str, tmp_path: Path) -> None:
    code, answer = graphquilt(tmp_path, "run", **fault)
    assert code != 0
    assert says in answer["error"]
    assert not (tmp_path / "workspace/published/with-degrees/CURRENT.json").exists()


def test_a_run_that_does_not_want_a_table_publishes_the_same_bytes(tmp_path: Path) -> None:
    code, answer = graphquilt(tmp_path / "with", "run", name="default")
    assert code == 0, answer
    assert answer["tables"] == ["node_embeddings"]
    chain = Chain(tmp_path / "without")
    config = config_for(tmp_path / "with/in.parquet", plain=True, publish={"rows_per_file": 20})
    published = chain.publish(config)
    here = sorted((Path(answer["path"]) / "node_embeddings").iterdir())
    assert [file.read_bytes() for file in here] == list(published.data.values())


def test_figures_of_tables_have_names_of_their_own() -> None:
    names = Counter(field.name for table in PUBLISHED_TABLES for field in fields(table.figures))
    assert {name for name, count in names.items() if count > 1} == set()
