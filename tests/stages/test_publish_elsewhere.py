"""Releases go to another address than the workspace, and everything that looks for them looks there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from graphquilt import EmbeddingTable, files
from graphquilt.__main__ import main
from graphquilt.locations import Location, parse_location
from graphquilt.pointers import CURRENT
from graphquilt.releases import find_problems
from pipeline import storage
from tests.object_store import bucket, moto_endpoint, object_store  # noqa: F401
from tests.stages.chains import EPOCH, Chain, config_for, users_and_items, with_changes, write_rows

DAY = 86_400


@pytest.fixture(params=["folder", "objects"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "folder":
        return tmp_path / "elsewhere"
    return parse_location(request.getfixturevalue("bucket") + "/tables")


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain(tmp_path / "chain")


def dated_rows(path: Path) -> Path:
    rows = users_and_items(2, 400)
    return write_rows(path, {**rows, "ts": [EPOCH + (number % 4) * DAY + 60 for number in range(400)]})


def current(root: Location) -> str:
    return str(json.loads(files.read(root / "published/default" / CURRENT))["release"])


def test_a_night_publishes_elsewhere_and_builds_on_what_is_there(
    chain: Chain, tmp_path: Path, elsewhere: Location
) -> None:
    here = config_for(
        dated_rows(tmp_path / "in.parquet"), input={"timestamp": "ts", "timestamp_unit": "s"},
        publish={"keep_releases": 1, "min_age_hours": 0.0},
    )  # fmt: skip
    there = with_changes(here, publish={"to": str(elsewhere)})
    first = chain.run(there, date="2000-01-02")
    assert (first.code, first.answer["verdict"]) == (0, "published"), first.error
    second = chain.run(there, date="2000-01-03")
    assert second.code == 0, second.error
    assert not (chain.root / "published").exists()
    assert second.answer["current"]["release"] == second.answer["release"] == current(elsewhere)

    folder = parse_location(second.answer["path"])
    manifest = json.loads(files.read(folder / "manifest.json"))
    assert manifest["baseline"] == first.answer["release"]
    assert find_problems(folder, deep=True) == []
    third = chain.run(there, date="2000-01-04")
    # The first one has been cleaned away; the baseline stays.
    assert files.names_in(folder.parent) == [second.answer["release"], third.answer["release"]]

    # In the workspace they have no baseline. No vector is computed again, and every byte is the same.
    again = chain.run(here, date="2000-01-03")
    assert (again.code, again.answer["verdict"]) == (0, "published"), again.error
    assert set(again.skipped) == {"ingest", "index", "partition", "layout", "embed"}
    own = Path(again.answer["path"])
    assert {file.name for file in storage.files_below(own)} == {file.name for file in storage.files_below(folder)}
    for name in files.names_in(own / "node_embeddings"):
        assert files.read(own / "node_embeddings" / name) == files.read(folder / "node_embeddings" / name)


def test_commands_of_readers_take_the_address(
    chain: Chain, tmp_path: Path, elsewhere: Location, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_for(
        dated_rows(tmp_path / "in.parquet"), input={"timestamp": "ts", "timestamp_unit": "s"},
        publish={"to": str(elsewhere), "min_age_hours": 0.0},
    )  # fmt: skip
    releases = [chain.run(config, date=f"2000-01-0{day}").answer["release"] for day in (2, 3)]
    address = ["--workspace", str(elsewhere)]
    with EmbeddingTable.open(str(elsewhere)) as table:
        ids, vectors = table.to_numpy("item")
        assert table.release == releases[1]
    assert main(["current", *address]) == 0
    assert capsys.readouterr().out == f"{elsewhere}/published/default/releases/{releases[1]}/node_embeddings\n"
    assert main(["query", "embed", str(ids[0]), *address, "--type", "item", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["row"] == pytest.approx(vectors[0].tolist())
    assert main(["rollback", *address]) == 0
    assert current(elsewhere) == releases[0]
    assert main(["check", *address, "--deep"]) == 0
    assert main(["inspect", *address]) == 0
    assert main(["clean", "--workspace", str(chain.root), "--config", str(chain.write_config(config)),
                 "--keep-releases", "1"]) == 0  # fmt: skip
    assert current(elsewhere) == releases[0]
    assert f"->  {releases[0]}" in capsys.readouterr().out


def test_an_address_that_is_none_is_refused_before_anything_runs(chain: Chain, tmp_path: Path) -> None:
    config = config_for(tmp_path / "no.parquet", publish={"to": "ftp://host/tables"})
    ended = chain.run(config)
    assert ended.code == 2
    assert "publish.to" in ended.error
    assert "ftp://host/tables is on 'ftp'" in ended.error
    assert "tables are in a folder, or on s3://, gs:// or az://" in ended.error
