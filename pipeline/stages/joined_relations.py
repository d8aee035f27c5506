"""indexed_edges -> joined_edges, joined_nodes: several relations as one graph, each with its strength.

A graph of one relation is what ``indexed_edges`` and ``node_arrays`` hold, and nothing is written. Of several, the
weights of each are multiplied by its strength, in float64, and rounded to the unit of weights; pairs that two relations
have become one. Sums are of integers again, so that no order or engine changes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.config.model import PipelineConfig
from pipeline.engine import Engine, Frame
from pipeline.errors import InputError
from pipeline.ingest.weights import times_strength
from pipeline.locations import Location
from pipeline.stages.outcome import OutputFile, describe_engine_files, describe_task_files
from pipeline.tasks import Attempt, TaskFolder
from pipeline.workspace import Workspace
from schemas.tables import JOINED_EDGES, NODE_ARRAYS

_STAGE = "layout"
_ENDS = ("src_ix", "dst_ix")


@dataclass(frozen=True)
class StrengthPayload:
    """Input of the task that multiplies the weights of a file of edges."""

    file: Location
    strength: float
    relation: str


@dataclass(frozen=True)
class TotalsPayload:
    """Input of the task that writes the nodes of a file with the totals of all relations.

    first : number of its first node. totals : files of (node_ix, degree, weight), ascending over the files.
    """

    arrays: Location
    first: int
    totals: tuple[Location, ...]


def join_relations(
    engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, tasks: TaskFolder
) -> dict[str, list[OutputFile]]:
    """Write the graph of all relations together; return the files of both tables, none where there is one relation.

    Raises
    ------
    InputError : a weight times its relation's strength is too large.
    """
    relations = list(
        zip(config.all_relations, config.strengths, workspace.files_by_relation("indexed_edges"), strict=True)
    )
    if len(relations) == 1:
        return {"joined_edges": [], "joined_nodes": []}
    payloads = [
        StrengthPayload(file, strength, relation.name) for relation, strength, files in relations for file in files
    ]
    weighted_files = [record.file("edges") for record in tasks.run_each(multiply_weights, "strength", payloads)]
    edges = engine.read(weighted_files, JOINED_EDGES.schema.names, JOINED_EDGES.schema)
    sums = engine.sum_by(edges, _ENDS, ["weight"], keys_repeat=False)
    edge_files = engine.write(sums, workspace.scratch(_STAGE, "joined"), JOINED_EDGES.schema)
    totals = _write_totals(engine, workspace, edge_files)
    arrays = workspace.files("node_arrays")
    starts = np.concatenate([[0], np.cumsum([storage.map_arrow(file).num_rows for file in arrays])])
    of_files = [TotalsPayload(file, int(first), tuple(totals)) for file, first in zip(arrays, starts, strict=False)]
    node_records = tasks.run_each(write_totals, "totals", of_files)
    return {
        "joined_edges": describe_engine_files(edge_files),
        "joined_nodes": describe_task_files(node_records, "nodes"),
    }


def multiply_weights(payload: StrengthPayload, attempt: Attempt) -> None:
    """Task: the edges of a file, their weights times the strength; no weight falls to zero."""
    table = storage.read_parquet([payload.file], [*_ENDS, "weight"])
    try:
        weight = times_strength(table["weight"].to_numpy(), payload.strength)
    except InputError as error:
        raise InputError(f"relations.{payload.relation}: {error}") from error
    columns = [table["src_ix"], table["dst_ix"], pa.array(weight)]
    storage.write_parquet(attempt.path("edges", "parquet"), pa.Table.from_arrays(columns, schema=JOINED_EDGES.schema))


def _write_totals(engine: Engine[Frame], workspace: Workspace, edge_files: Sequence[Location]) -> list[Location]:
    """Write degree and weight of the nodes that have edges, ascending by node_ix."""
    edges = engine.read(edge_files, JOINED_EDGES.schema.names, JOINED_EDGES.schema)
    # A self loop counts once, in the matrix and in the degree.
    without_loops = engine.where_different(edges, *_ENDS)
    ends = [
        engine.rename(frame, {"node_ix": column, "weight": "weight"}, {"degree": 1})
        for frame, column in ((edges, "src_ix"), (without_loops, "dst_ix"))
    ]
    sums = engine.sum_by(engine.union(ends), ["node_ix"], ["degree", "weight"], keys_repeat=True)
    schema = pa.schema([pa.field(name, pa.int64(), nullable=False) for name in ("node_ix", "degree", "weight")])
    return engine.write_sorted(sums, workspace.scratch(_STAGE, "totals"), schema, ["node_ix"])


def write_totals(payload: TotalsPayload, attempt: Attempt) -> None:
    """Task: the nodes of a file, with their neighbours and weights over all relations."""
    keys = storage.column(storage.map_arrow(payload.arrays), "node_key")
    degree, weight = np.zeros(keys.size, np.int64), np.zeros(keys.size, np.int64)
    is_here = (pc.field("node_ix") >= payload.first) & (pc.field("node_ix") < payload.first + keys.size)
    for file in payload.totals:
        table = storage.read_parquet([file]).filter(is_here)
        row = table["node_ix"].to_numpy() - payload.first
        degree[row], weight[row] = table["degree"].to_numpy(), table["weight"].to_numpy()
    arrays = [pa.array(keys), pa.array(degree), pa.array(weight)]
    storage.write_arrow(attempt.path("nodes", "arrow"), pa.Table.from_arrays(arrays, schema=NODE_ARRAYS.schema))
