"""Runs on lake tables: any input may be one, its snapshot is in fingerprint and manifest, and stays for all stages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from jobs.cli import parser_of
from jobs.commands import plan
from pipeline.stages.chain import STAGE_NAMES
from tests.ingest.lake_tables import iceberg_table
from tests.stages.chains import Chain, config_for, users_and_items


def with_a_past(folder: Path, wanted: pa.Table, **options: Any) -> Path:
    """A Delta table of some rows, whose folder holds others too."""
    write_deltalake(folder, wanted.slice(0, wanted.num_rows // 2), **options)
    strangers = pa.table({name: pa.array([77_777], kind) for name, kind in zip(*described(wanted), strict=True)})
    write_deltalake(folder, strangers, mode="append", **options)
    write_deltalake(folder, wanted.slice(wanted.num_rows // 2), mode="append", **options)
    DeltaTable(folder).delete(f"{wanted.column_names[0]} = 77777")
    return folder


def described(table: pa.Table) -> tuple[list[str], list[pa.DataType]]:
    return table.column_names, table.schema.types


@pytest.fixture
def rows() -> pa.Table:
    table = pa.table(users_and_items(0, 400))
    return table.append_column("shop", pa.array([n % 3 for n in range(400)], pa.int64()))


def config_of(tmp_path: Path, inputs: dict[str, Path]) -> dict[str, Any]:
    return config_for(
        inputs["rows"],
        input={"source": "source", "target": "shop"} if "shop" in inputs else {},
        **{"attributes.item": {"path": str(inputs["about"]), "id": "item", "numbers": ["price"]}},
        ppr={"neighbors": True, "top_k": 5, "sources": str(inputs["sources"])},
        evaluate={"source": "file", "path": str(inputs["pairs"])},
    )


def test_every_input_may_be_a_lake_table(tmp_path: Path, rows: pa.Table, engine: Any) -> None:
    about = pa.table({"item": list(range(40)), "price": [float(n % 7) for n in range(40)]})
    pairs = pa.table({"source": list(range(20)), "target": [n % 10 for n in range(20)]})
    sources = pa.table({"node_id": list(range(30)), "node_type": ["user"] * 30})
    plain, lake = {}, {}
    for name, table in {"rows": rows, "about": about, "pairs": pairs, "sources": sources}.items():
        plain[name] = tmp_path / f"{name}.parquet"
        pq.write_table(table, plain[name])
    lake["rows"] = with_a_past(tmp_path / "lake" / "rows", rows, partition_by=["shop"])
    lake["pairs"] = with_a_past(tmp_path / "lake" / "pairs", pairs)
    write_deltalake(tmp_path / "lake" / "sources", sources)
    lake["sources"] = tmp_path / "lake" / "sources"
    described_items = iceberg_table(tmp_path / "lake" / "about", about.schema)
    described_items.append(about)
    lake["about"] = Path(described_items.location())

    of_lake, of_files = Chain(tmp_path / "a", engine), Chain(tmp_path / "b", engine)
    ended = of_lake.run(config_of(tmp_path, lake))
    assert ended.code == 0, ended.error
    made, want = of_lake.published(), of_files.publish(config_of(tmp_path, plain))
    assert made.data == want.data
    assert made.metrics["ranking"] == want.metrics["ranking"]
    figures = json.loads((made.folder / "manifest.json").read_text())["stages"]["ingest"]["figures"]
    assert figures["snapshots"] == [
        {"kind": "Delta", "table": str(lake["rows"]), "version": str(DeltaTable(lake["rows"]).version())}
    ]
    (snapshot,) = figures["attributes"]["item"]["snapshots"]
    assert snapshot["version"] == str(described_items.current_snapshot().snapshot_id)


def test_ends_may_be_partition_columns(tmp_path: Path, rows: pa.Table) -> None:
    folder = with_a_past(tmp_path / "rows", rows, partition_by=["shop"])
    pq.write_table(rows, tmp_path / "rows.parquet")
    keys = {"source": "source", "target": "shop", "target_type": "shop"}
    made = Chain(tmp_path / "a").publish(config_for(folder, input=keys))
    assert made.data == Chain(tmp_path / "b").publish(config_for(tmp_path / "rows.parquet", input=keys)).data


def test_stages_one_by_one_read_what_ingest_read(tmp_path: Path, rows: pa.Table) -> None:
    folder = with_a_past(tmp_path / "rows", rows)
    chain, config = Chain(tmp_path / "chain"), config_for(folder)
    for name in STAGE_NAMES:
        ended = chain.run(config, [name])
        assert ended.code == 0, ended.error
        write_deltalake(folder, rows.slice(0, 1), mode="append")  # the table goes on being written
        arguments = [
            "--config",
            str(chain.write_config(config)),
            "--workspace",
            str(chain.root),
            "--date",
            "1970-01-01",
        ]
        plan.answer(parser_of("plan", plan).parse_args(arguments))  # which looks at the newest, and changes nothing
    first = chain.published()
    again = chain.run(config)
    assert again.code == 0, again.error
    assert "ingest" not in again.skipped  # a new run reads what is newest now
    assert again.figures("ingest")["read"] == rows.num_rows + len(STAGE_NAMES)
    assert chain.published().data != first.data


def test_a_version_of_the_same_files_is_another_input(tmp_path: Path, rows: pa.Table) -> None:
    """What a deletion vector or a renamed column changes stands in no data file."""
    folder = with_a_past(tmp_path / "rows", rows)
    chain, config = Chain(tmp_path / "chain"), config_for(folder)
    chain.publish(config)
    assert "ingest" in chain.run(config).skipped
    DeltaTable(folder).alter.set_table_properties({"delta.appendOnly": "false"})
    assert "ingest" not in chain.run(config).skipped
