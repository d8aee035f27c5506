"""fold_in_rows -> fold_in: with ids, in the table's coordinates, sorted and cut as the table is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.embedding.row_files import RowReader
from pipeline.embedding.rows import Rows
from pipeline.engine import Engine, Frame
from pipeline.kernels.procrustes import rotate_rows
from pipeline.release_tables.finished_rows import ROW_GROUP_ROWS, NodeIds, excluded, refuse_not_finite, row_groups
from pipeline.tasks import Attempt, Task, TaskRecord, run_missing
from schemas.tables import fold_in


def write_fold_in(
    engine: Engine[Frame],
    place: Path,
    common: Mapping[str, Any],
    ranges: Sequence[Sequence[int]],
    files: Sequence[Path],
) -> list[TaskRecord[Any]]:
    """Write the rows of the type that neighbours of new nodes have, one file for each range that holds some.

    Parameters
    ----------
    common : what the tasks of the main table are told.
    files : of rows by node number, in coordinates that nothing has turned yet; none: nothing is written.
    """
    settings = common["settings"]
    first, stop = settings["target"]
    ours = [bounds for bounds in ranges if max(first, bounds[0]) < min(stop, bounds[1])] if files else []
    told = {name: common[name] for name in ("node_index", "types", "exclude_ids", "rotation")}
    told |= {"dim": settings["embedding"]["dim"], "rows": [str(file) for file in files], "first": first, "stop": stop}
    tasks = [Task(f"fold-in-{n:05d}", place, {**told, "range": bounds}) for n, bounds in enumerate(ours)]
    return run_missing(engine, write_range, tasks)


def write_range(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: one file of the table."""
    dim = int(payload["dim"])
    ids = NodeIds(payload["node_index"])
    schema = fold_in(dim).schema_for(pq.read_schema(payload["node_index"][0]).field("node_id").type)
    matrix = np.load(payload["rotation"]) if payload["rotation"] else None
    readers = [RowReader(Path(file)) for file in payload["rows"]]
    bounds = [max(payload["range"][0], payload["first"]), min(payload["range"][1], payload["stop"])]
    written = 0
    with pq.ParquetWriter(
        attempt.path("fold_in", "parquet"),
        schema,
        compression=dict.fromkeys(("node_type", "node_id"), "zstd") | {"row.list.element": "none"},
        use_dictionary=["node_type"],
        write_statistics=["node_type", "node_id"],
    ) as writer:
        for node_type, first, stop in row_groups(bounds, payload["types"]):
            rows = Rows.zeros(stop - first, dim)
            for reader in readers:
                reader.fill(first, rows)
            if matrix is not None:
                rotate_rows(rows.values, matrix)
            refuse_not_finite(rows.values, first)
            node_id = ids.between(first, stop)
            table = pa.Table.from_arrays(
                [
                    pa.array([node_type]).take(pa.array(np.zeros(stop - first, np.int8))),
                    node_id,
                    pa.FixedSizeListArray.from_arrays(pa.array(rows.values.reshape(-1)), type=schema.field("row").type),
                ],
                schema=schema,
            )
            unwanted = excluded(node_type, node_id, payload["exclude_ids"])
            if unwanted is not None:
                table = table.filter(pa.array(~unwanted))
            if table.num_rows:
                writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
                written += table.num_rows
    return {"fold_in_rows": written}
