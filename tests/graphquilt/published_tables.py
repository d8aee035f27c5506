"""Published tables for tests: real files in the layout that readers rely on."""

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

from graphquilt.locations import Location
from pipeline import storage
from pipeline.publishing.release import Publication, publish
from schemas.published_tables import node_embeddings
from tests.publishing.working_files import contents

Nodes = Mapping[str, tuple[Sequence[Any], np.ndarray]]  # type -> ids in the table's order, (n, dim) float32


def random_nodes(
    rng: np.random.Generator, counts: Mapping[str, int], dim: int = 8, as_text: bool = False
) -> dict[str, tuple[list[Any], np.ndarray]]:
    """Nodes with scattered ids; one row in about ten is zero."""
    nodes: dict[str, tuple[list[Any], np.ndarray]] = {}
    for node_type, count in counts.items():
        numbers = rng.choice(max(1, 10 * count), count, replace=False) - count
        ids = sorted((f"n{number}é" for number in numbers), key=str.encode) if as_text else sorted(map(int, numbers))
        rows = rng.standard_normal((count, dim)).astype(np.float32)
        rows[rng.random(count) < 0.1] = 0
        nodes[node_type] = (list(ids), rows)
    return nodes


def metadata_of(nodes: Nodes, retrieval: str = "dot") -> dict[str, Any]:
    return {
        "data_date": "2024-06-01",
        "method": "fastrp",
        "similarity": {"retrieval": retrieval, "feature": "dot", "classifier": "cosine"},
        "mean_vectors": {
            known: [float(x) for x in rows.mean(axis=0)] for known, (_, rows) in nodes.items() if len(rows)
        },
        "space_id": "space-1",
    }


def write_part(path: Path, nodes: Nodes, *, metadata: Mapping[str, Any] | None = None, row_group: int = 7) -> Path:
    """Write one file, sorted, with row groups of one type each."""
    dim = next(iter(nodes.values()))[1].shape[1]
    contract = node_embeddings(dim)
    is_text = any(isinstance(value, str) for ids, _ in nodes.values() for value in ids)
    schema = contract.schema_for(pa.string() if is_text else pa.int64())
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["node_type", "cluster_path"]) as writer:
        for node_type in sorted(nodes):
            ids, rows = nodes[node_type]
            columns = {
                "node_type": [node_type] * len(ids),
                "node_id": list(ids),
                "embedding": pa.FixedSizeListArray.from_arrays(
                    pa.array(rows.reshape(-1), pa.float32()), type=schema.field("embedding").type
                ),
                "norm": np.linalg.norm(rows.astype(np.float64), axis=1).astype(np.float32),
                "degree": np.ones(len(ids), np.int64),
                "weight": np.ones(len(ids), np.float32),
                "cluster_path": ["0"] * len(ids),
            }
            table = pa.table(
                {name: pa.array(value, schema.field(name).type) for name, value in columns.items()},
                schema=schema,
            )
            if len(ids):
                writer.write_table(table, row_group_size=row_group)
        writer.add_key_value_metadata({"graphquilt": json.dumps(metadata or metadata_of(nodes))})
    return path


def publish_nodes(
    root: Location,
    nodes: Nodes,
    *,
    release: str = "2024-06-01-aaaaaaaaaaaa",
    date: dt.date = dt.date(2024, 6, 1),
    files: int = 1,
    name: str = "default",
    row_group: int = 7,
    retrieval: str = "dot",
    **options: Any,
) -> Publication:
    """Publish nodes, cut into files as a big table is."""
    place = root / "runs" / date.isoformat() / "node_embeddings" / release
    pieces, metadata = _cut(nodes, files), metadata_of(nodes, retrieval)
    staging, parts = storage.staging_folder(place), []
    for number, piece in enumerate(pieces):
        file = f"part-{number:05}.parquet"
        part = write_part(staging / file, piece, row_group=row_group, metadata=metadata)
        if staging != place:
            storage.move_in(part, place / file)
        parts.append((place / file, file))
    return publish(root, name, contents(release, {"node_embeddings": parts}, date), **options)


def _cut(nodes: Nodes, files: int) -> list[Nodes]:
    """Cut the rows of all types, in order, into files of about equal rows."""
    total = sum(len(ids) for ids, _ in nodes.values())
    cuts = np.linspace(0, total, files + 1).astype(int)
    pieces: list[Nodes] = []
    for start, stop in pairwise(cuts):
        piece, seen = {}, 0
        for node_type in sorted(nodes):
            ids, rows = nodes[node_type]
            part = slice(max(0, start - seen), max(0, stop - seen))
            piece[node_type] = (ids[part], rows[part])
            seen += len(ids)
        pieces.append(piece)
    return pieces
