"""Rows to a file of each format, and back through the parser."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import codec
from pipeline.ingest.counts import CheckedRows
from pipeline.ingest.parse import ParseRules, parse, rows_schema
from pipeline.ingest.pieces import ParseTask, split_tasks
from pipeline.ingest.sources import list_sources
from tests.ingest.row_by_row import ROLES, Row


def write(folder: Path, rows: Sequence[Row], file_format: str) -> Path:
    path = folder / f"rows.{file_format}"
    if file_format.startswith("csv"):
        opener: Any = gzip.open if file_format.endswith("gz") else open
        with opener(path, "wt", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(ROLES)
            writer.writerows([row[role] for role in ROLES] for row in rows)
    elif file_format == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        columns = {role: pa.array([row[role] for row in rows], pa.string()) for role in ROLES}
        pq.write_table(pa.table(columns), path, row_group_size=3)
    return path


def parse_all(path: Path, rules: ParseRules) -> list[CheckedRows]:
    tasks = [codec.from_text(ParseTask, codec.to_text(t)) for t in split_tasks(list_sources(str(path)), 4)]
    return [parsed for task in tasks for parsed in parse(task, rules)]


def kept_rows(parsed: Sequence[CheckedRows]) -> list[tuple[Any, ...]]:
    rows = [row for one in parsed for row in one.rows.cast(rows_schema(pa.string())).to_pylist()]
    return [(row["src_id"], row["dst_id"], row["weight"], row["last_ts"]) for row in rows]


def from_table(folder: Path, table: pa.Table, rules: ParseRules, **options: Any) -> list[CheckedRows]:
    pq.write_table(table, folder / "t.parquet", **options)
    return parse_all(folder / "t.parquet", rules)


def ids_in(parsed: Sequence[CheckedRows]) -> list[Any]:
    return [value for one in parsed for value in one.rows.column("src_id").to_pylist()]
