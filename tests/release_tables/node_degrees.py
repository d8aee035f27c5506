"""A toy table of a release, as one object: the degree of each node. Run as a program, it is ``graphquilt`` with it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.blocks.arrays import NodeArrays
from pipeline.config.model import PipelineConfig
from pipeline.release_tables import published_tables
from pipeline.release_tables.finished_rows import NodeIds, PublishedNodes, row_groups
from pipeline.release_tables.published_table import PublishedTable, TableRun, WrittenTable
from pipeline.tasks import Attempt
from pipeline.workspace import Workspace
from schemas.contracts import TableContract

NAME = "node_degrees"
_FIELDS = {"node_type": pa.string(), "node_id": pa.string(), "degree": pa.int64()}
CONTRACT = TableContract(NAME, 1, pa.schema([pa.field(*one, nullable=False) for one in _FIELDS.items()]), ("node_id",))


@dataclass(frozen=True)
class DegreeFigures:
    largest_degree: int = 0


@dataclass(frozen=True)
class DegreePayload:
    nodes: PublishedNodes
    bounds: tuple[int, int]
    files: tuple[Path, ...]
    column: str
    left_out: int  # rows of each file, and so too few of all


@dataclass(frozen=True)
class DegreeResult:
    largest: int


def write_degrees(payload: DegreePayload, attempt: Attempt) -> DegreeResult:
    ids, arrays = NodeIds(payload.nodes.node_index), NodeArrays(payload.files)
    pieces = []
    for node_type, first, stop in row_groups(payload.bounds, payload.nodes.types):
        degree = arrays.take("degree", np.arange(first, stop))
        names = pa.array([node_type] * (stop - first))
        pieces.append(pa.table({"node_type": names, "node_id": ids.between(first, stop), payload.column: degree}))
    table = pa.concat_tables(pieces).slice(payload.left_out)
    pq.write_table(table, attempt.path(NAME, "parquet"))
    return DegreeResult(max(table[payload.column].to_pylist()))


def write(run: TableRun) -> WrittenTable[DegreeFigures]:
    nodes = PublishedNodes.of(run.config, run.workspace)
    files = tuple(run.workspace.files("node_arrays"))
    column, left_out = os.environ.get("DEGREE_COLUMN", "degree"), int(os.environ.get("DEGREE_LEFT_OUT", "0"))
    payloads = [DegreePayload(nodes, bounds, files, column, left_out) for bounds in run.ranges]
    records = run.run_tasks(write_degrees, "degrees", payloads)
    return WrittenTable(records, DegreeFigures(max(one.result.largest for one in records)), records)


def is_wanted(config: PipelineConfig) -> bool:
    return config.publish.name == "with-degrees"


def nodes_of(workspace: Workspace) -> int:
    return int(workspace.manifest("node_index").figures["nodes"])


TABLE = PublishedTable(
    name=NAME,
    contract=lambda _: CONTRACT,
    is_wanted=is_wanted,
    write=write,
    figures=DegreeFigures,
    expected_rows=nodes_of,
    counts=("largest_degree",),
)

if __name__ == "__main__":
    # Named as workers import it; before the chain is imported, which reads the list.
    from tests.release_tables import node_degrees

    published_tables.PUBLISHED_TABLES += (node_degrees.TABLE,)
    from graphquilt.__main__ import main

    sys.exit(main(sys.argv[1:]))
