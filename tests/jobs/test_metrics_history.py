"""Every night leaves its figures: published, refused, cleaned away."""

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from schemas.metrics_history import METRICS_HISTORY


def test_the_figures_of_every_night_outlive_its_release(shop: Any, tmp_path: Path, call: Any) -> None:
    where = ["--config", shop.config, "--workspace", tmp_path]
    nights = ["2024-03-01", "2024-03-02"]
    published = [call("run", *where, "--date", night, "--json").json for night in nights]
    refused = call("run", *where, "--date", "2024-03-03", "--set", "publish.gates.min_rows=1000")
    assert refused.code == 3
    folder = tmp_path / "published" / "shop"
    releases = {path.name: path for path in (folder / "releases").iterdir()}
    metrics = {name: json.loads((path / "metrics.json").read_text()) for name, path in releases.items()}
    shutil.rmtree(folder / "releases" / published[0]["release"])

    table = pq.read_table(folder / "metrics_history.parquet")
    METRICS_HISTORY.check_schema(table.schema, "here")
    METRICS_HISTORY.check_rows(table, "here")
    rows = table.to_pylist()
    assert [dt.date.isoformat(day) for day in sorted({row["data_date"] for row in rows})] == [*nights, "2024-03-03"]
    verdicts = {row["release"]: row["verdict"] for row in rows}
    assert [verdicts[night["release"]] for night in published] == ["passed", "passed"]
    values = {(row["release"], row["kind"], row["name"]): row for row in rows}
    for name, figures in metrics.items():
        for key in ("rows", "zero_rows"):
            assert values[name, "metric", key]["value"] == figures[key]
        assert values[name, "stage", "embed.seconds"]["value"] >= 0
    (gate,) = (row for row in rows if row["verdict"] == "refused" and row["name"] == "min_rows rows")
    assert (gate["kind"], gate["bound"]) == ("gate", 1000)
    assert gate["value"] < 1000
