import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.graphquilt.published_neighbors import publish_lists, random_lists
from tests.graphquilt.published_tables import random_nodes


def test_the_overview_has_dates_and_releases(shop: Any) -> None:
    found = shop.call("inspect", "--json").json
    assert [day["date"] for day in found["dates"]] == ["2024-03-01", "2024-03-02"]
    # Another test may have run the second night again, or a stage of it.
    assert {day["verdict"]["verdict"] for day in found["dates"]} <= {"published", "unchanged", "done"}
    releases = found["published"]["shop"]["releases"]
    assert [release["data_date"] for release in releases] == ["2024-03-01", "2024-03-02"]
    assert found["published"]["shop"]["current"] == releases[-1]["release"]
    assert {release["gate"]["verdict"] for release in releases} == {"passed"}
    text = shop.call("inspect", "--name", "shop").out
    assert f"->  {releases[-1]['release']}  node_embeddings {releases[-1]['rows']:,} rows" in text


def test_a_release_has_the_rows_of_each_table(tmp_path: Path, call: Any) -> None:
    rng = np.random.default_rng(0)
    lists = random_lists(rng, {"item": 20, "user": 31})
    publish_lists(tmp_path, lists, vectors=random_nodes(rng, {"user": 8}), files=3)
    publish_lists(tmp_path, lists, release="2024-06-01-b")
    found = call("inspect", "--workspace", tmp_path, "--json").json["published"]["default"]["releases"]
    assert [release["tables"] for release in found] == [
        {"node_embeddings": 8, "ppr_neighbors": 51},
        {"ppr_neighbors": 51},
    ]
    text = call("inspect", "--workspace", tmp_path).out
    assert "->  2024-06-01-b             ppr_neighbors 51 rows  " in text
    assert "node_embeddings 8 rows, ppr_neighbors 51 rows  gate passed" in text


def test_a_day_has_its_tables_counts_and_costs(shop: Any) -> None:
    found = shop.call("inspect", "--date", "2024-03-02", "--json").json
    tables = {table["table"]: table for table in found["tables"]}
    manifest = json.loads(next(shop.workspace.glob("runs/2024-03-02/node_embeddings/*/manifest.json")).read_text())
    assert tables["node_embeddings"]["rows"] == sum(file["rows"] for file in manifest["files"])
    assert tables["node_embeddings"]["bytes"] == sum(file["bytes"] for file in manifest["files"])
    assert tables["node_embeddings"]["fingerprint"] == manifest["fingerprint"]
    assert found["ingest"]["read"] == 600
    assert found["ingest"]["rejected"] == {"null id": 5, "unreadable timestamp": 5}
    assert [row["row"] for row in found["ingest"]["examples"]["unreadable timestamp"]] == [590, 591, 592]
    assert [row["row"] for row in found["ingest"]["examples"]["null id"]] == [595, 596, 597]
    assert found["partition"]["parts"] == found["layout"]["parts"] == 1
    assert set(found["stages"]) >= {"ingest", "embed", "aggregate"}
    assert found["stages"]["embed"]["peak_bytes"] > 0


def test_no_id_of_a_person_is_printed(shop: Any) -> None:
    for more in ([], ["--date", "2024-03-02"]):
        for form in ([], ["--json"]):
            said = shop.call("inspect", *more, *form)
            assert said.code == 0
            assert "person-" not in said.out + said.err
            assert "thing-" not in said.out + said.err


def test_what_is_not_there_is_said(shop: Any) -> None:
    said = shop.call("inspect", "--date", "2020-01-01")
    assert said.code == 2
    assert "it has 2024-03-01, 2024-03-02" in said.err
    said = shop.call("inspect", "--name", "other")
    assert said.code == 2
    assert "there are shop" in said.err
