"""fold_in_rows -> fold_in: with ids, in the table's coordinates, sorted and cut as the table is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.embedding.row_files import RowReader
from pipeline.embedding.rows import Rows, Settings
from pipeline.engine import Engine, Frame
from pipeline.kernels.procrustes import rotate_rows
from pipeline.release_tables.finished_rows import (
    ROW_GROUP_ROWS,
    NodeIds,
    PublishedNodes,
    refuse_not_finite,
    row_groups,
)
from pipeline.tasks import Attempt, TaskRecord, run_numbered
from schemas.tables import fold_in


@dataclass(frozen=True)
class FoldInRange:
    """Rows of one file of the table: their nodes, and the files and the rotation that they are made of."""

    nodes: PublishedNodes
    bounds: tuple[int, int]
    rows: tuple[Path, ...]
    rotation: Path | None
    dim: int


def write_fold_in(
    engine: Engine[Frame],
    folder: Path,
    nodes: PublishedNodes,
    settings: Settings,
    rotation: Path | None,
    ranges: Sequence[Sequence[int]],
    files: Sequence[Path],
) -> list[TaskRecord[None]]:
    """Write the rows of the type that neighbours of new nodes have, one file for each range that holds some.

    Parameters
    ----------
    rotation : the file of the matrix that turns rows into the published coordinates, if they are turned.
    files : of rows by node number, in coordinates that nothing has turned yet; none: nothing is written.
    """
    first, stop = settings.target
    bounds = [(max(first, start), min(stop, end)) for start, end in ranges] if files else []
    payloads = [
        FoldInRange(nodes, (start, end), tuple(files), rotation, settings.dim) for start, end in bounds if start < end
    ]
    return run_numbered(engine, write_range, "fold-in", folder, payloads)


def write_range(payload: FoldInRange, attempt: Attempt) -> None:
    """Task: one file of the table."""
    nodes = payload.nodes
    ids = NodeIds(nodes.node_index)
    schema = fold_in(payload.dim).schema_for(nodes.id_type)
    matrix = np.load(payload.rotation) if payload.rotation else None
    readers = [RowReader(file) for file in payload.rows]
    with pq.ParquetWriter(
        attempt.path("fold_in", "parquet"),
        schema,
        compression=dict.fromkeys(("node_type", "node_id"), "zstd") | {"row.list.element": "none"},
        use_dictionary=["node_type"],
        write_statistics=["node_type", "node_id"],
    ) as writer:
        for node_type, first, stop in row_groups(payload.bounds, nodes.types):
            rows = Rows.zeros(stop - first, payload.dim)
            for reader in readers:
                reader.fill(first, rows)
            if matrix is not None:
                rotate_rows(rows.values, matrix)
            refuse_not_finite(rows.values, first)
            table = pa.Table.from_arrays(
                [
                    pa.repeat(node_type, stop - first),
                    ids.between(first, stop),
                    pa.FixedSizeListArray.from_arrays(pa.array(rows.values.reshape(-1)), type=schema.field("row").type),
                ],
                schema=schema,
            )
            table = nodes.without_excluded(table, node_type)
            if table.num_rows:
                writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
