"""Published lists of neighbours for tests: real files in the layout that readers rely on."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.publishing.release import Publication, publish
from schemas.published_tables import PPR_NEIGHBOR_LISTS
from tests.graphquilt.published_tables import Nodes, write_part
from tests.publishing.working_files import contents

#: type -> id -> the listed ids, their scores and the bound on these.
Lists = Mapping[str, Mapping[Any, tuple[Sequence[Any], Sequence[float], float]]]


def random_lists(
    rng: np.random.Generator,
    counts: Mapping[str, int],
    *,
    target_type: str = "item",
    top_k: int = 5,
    as_text: bool = False,
) -> dict[str, dict[Any, tuple[list[Any], list[float], float]]]:
    """Lists of 0 to ``top_k`` nodes, of scattered ids, scores equal now and then."""
    ids: dict[str, list[Any]] = {}
    for node_type, count in counts.items():
        numbers = [int(number) for number in rng.choice(10 * count, count, replace=False) - count]
        texts = sorted((f"n{number}é" for number in numbers), key=str.encode)
        ids[node_type] = list(texts) if as_text else sorted(numbers)
    lists: dict[str, dict[Any, tuple[list[Any], list[float], float]]] = {}
    for node_type, known in ids.items():
        lists[node_type] = {}
        for node_id in known:
            length = min(int(rng.integers(0, top_k + 1)), len(ids[target_type]))
            listed = [ids[target_type][at] for at in rng.choice(len(ids[target_type]), length, replace=False)]
            scores = np.sort(rng.integers(1, 6, length) / 8)[::-1]  # exact in float32
            lists[node_type][node_id] = (listed, scores.tolist(), float(np.float32(rng.random())))
    return lists


def metadata_of(**others: Any) -> dict[str, Any]:
    return {
        "contract_version": 1,
        "data_date": "2024-06-01",
        "method": "ppr",
        "restart": 0.25,
        "error_kind": "pointwise",
        "target_type": "item",
        "top_k": 5,
        **others,
    }


def table_of(lists: Lists, target_type: str = "item") -> pa.Table:
    """Rows as they come, without metadata."""
    rows = [
        (node_type, node_id, target_type, *one)
        for node_type, of_type in lists.items()
        for node_id, one in of_type.items()
    ]
    is_text = any(isinstance(row[1], str) for row in rows)
    schema = PPR_NEIGHBOR_LISTS.schema_for(pa.string() if is_text else pa.int64())
    columns = list(zip(*rows, strict=True)) if rows else [[]] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def write_lists(path: Path, lists: Lists, *, row_group: int = 7, **metadata: Any) -> Path:
    """Write one file, sorted, with row groups of one type each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = table_of(lists).schema
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["node_type", "neighbor_type"]) as writer:
        for node_type in sorted(lists):
            if lists[node_type]:
                writer.write_table(table_of({node_type: lists[node_type]}).cast(schema), row_group_size=row_group)
        writer.add_key_value_metadata({"graphquilt": json.dumps(metadata_of(**metadata))})
    return path


def publish_lists(
    root: Path,
    lists: Lists | None,
    *,
    vectors: Nodes | None = None,
    release: str = "2024-06-01-aaaaaaaaaaaa",
    date: dt.date = dt.date(2024, 6, 1),
    name: str = "default",
    files: int = 1,
    row_group: int = 7,
    **metadata: Any,
) -> Publication:
    """Publish lists, vectors, or both in one release."""
    place = root / "runs" / date.isoformat() / release
    tables: dict[str, list[tuple[Path, str]]] = {}
    if lists is not None:
        tables["ppr_neighbors"] = [
            (
                write_lists(place / f"lists-{at}.parquet", piece, row_group=row_group, **metadata),
                f"part-{at:05}.parquet",
            )
            for at, piece in enumerate(_cut(lists, files))
        ]
    if vectors is not None:
        tables["node_embeddings"] = [(write_part(place / "vectors.parquet", vectors), "part-00000.parquet")]
    return publish(root, name, contents(release, tables, date))


def _cut(lists: Lists, files: int) -> list[Lists]:
    """Cut the rows of all types, in order, into files of about equal rows."""
    rows = [(node_type, node_id) for node_type in sorted(lists) for node_id in lists[node_type]]
    cuts = np.linspace(0, len(rows), files + 1).astype(int)
    return [
        {
            node_type: {node_id: lists[node_type][node_id] for known, node_id in rows[start:stop] if known == node_type}
            for node_type in sorted(lists)
        }
        for start, stop in pairwise(cuts)
    ]
