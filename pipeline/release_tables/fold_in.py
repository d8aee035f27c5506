"""fold_in_rows -> fold_in: with ids, in the table's coordinates, sorted and cut as the table is."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.embedding.row_files import RowReader
from pipeline.embedding.rows import Rows
from pipeline.kernels.procrustes import rotate_rows
from pipeline.locations import Location
from pipeline.release_tables.alignment import rotation_file
from pipeline.release_tables.finished_rows import (
    ROW_GROUP_ROWS,
    NodeIds,
    PublishedNodes,
    refuse_not_finite,
    row_groups,
)
from pipeline.release_tables.published_table import NoFigures, PublishedTable, TableRun, WrittenTable
from pipeline.tasks import Attempt
from schemas import published_tables as tables


@dataclass(frozen=True)
class FoldInRange:
    """Rows of one file of the table: their nodes, and the files and the rotation that they are made of."""

    nodes: PublishedNodes
    bounds: tuple[int, int]
    rows: tuple[Location, ...]
    rotation: Location | None
    dim: int


def write_fold_in(run: TableRun) -> WrittenTable[NoFigures]:
    """Write the rows of the type that neighbours of new nodes have, one file for each range that holds some.

    A form whose new nodes need no such rows leaves none behind: nothing is written then.
    """
    config, workspace = run.config, run.workspace
    files = tuple(workspace.files("fold_in_rows"))
    if not files:
        return WrittenTable([], NoFigures(), [])
    nodes, rotation = PublishedNodes.of(config, workspace), rotation_file(run)
    first, stop = nodes.types[config.input.target_type]
    bounds = [(max(first, start), min(stop, end)) for start, end in run.ranges]
    payloads = [
        FoldInRange(nodes, (start, end), files, rotation, config.embedding.dim) for start, end in bounds if start < end
    ]
    records = run.run_tasks(write_range, "fold-in", payloads)
    return WrittenTable(records, NoFigures(), records)


def write_range(payload: FoldInRange, attempt: Attempt) -> None:
    """Task: one file of the table."""
    nodes = payload.nodes
    ids = NodeIds(nodes.node_index)
    schema = tables.fold_in(payload.dim).schema_for(nodes.id_type)
    matrix = storage.load_array(payload.rotation) if payload.rotation else None
    readers = [RowReader(file) for file in payload.rows]
    with pq.ParquetWriter(
        attempt.path(tables.FOLD_IN, "parquet"),
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


TABLE = PublishedTable(
    name=tables.FOLD_IN,
    contract=tables.fold_in,
    is_wanted=lambda config: config.publish.fold_in and config.embedding.method != "none",
    write=write_fold_in,
    figures=NoFigures,
)
