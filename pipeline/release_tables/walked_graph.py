"""What the two tables of the walk index share: the graph, how it is walked, and the rows that its nodes have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import codec
from pipeline.blocks.arrays import offsets_of
from pipeline.config.model import PipelineConfig
from pipeline.embedding.ppr.walk_graph import GraphFiles
from pipeline.embedding.ppr.whole_graph import whole_graph
from pipeline.errors import InputError
from pipeline.ingest.figures import IndexFigures
from pipeline.release_tables.finished_rows import PublishedNodes
from pipeline.release_tables.published_table import TableRun
from pipeline.tasks import TaskRecord
from pipeline.workspace import UNDATED
from schemas.contracts import TableContract

_MOST_NODES = 2**31  # rows are named in 32 bits


@dataclass(frozen=True)
class WalkRequest:
    """What sets the rows of an index; ``walks`` from each node."""

    restart: float
    walks: int
    edge_degree_power: float
    seed: int

    @classmethod
    def of(cls, config: PipelineConfig) -> WalkRequest:
        """Return that of a configuration."""
        ppr = config.ppr
        return cls(ppr.restart, ppr.index_walks, ppr.edge_degree_power, config.embedding.seed)


@dataclass(frozen=True)
class WalkedGraph:
    """What tasks are handed: files of the graph and of the ids, and what the tables say of themselves.

    count : nodes of the graph, published or not. metadata : as JSON, without what names the table.
    """

    nodes: PublishedNodes
    count: int
    files: GraphFiles
    request: WalkRequest
    metadata: str

    def schema_of(self, contract: TableContract) -> pa.Schema:
        """Return the columns of a table, with its metadata."""
        about = {"table": contract.name, "contract_version": contract.version, **json.loads(self.metadata)}
        text = json.dumps(about, sort_keys=True, allow_nan=False)
        return contract.schema_for(self.nodes.id_type).with_metadata({"graphquilt": text})


def walked_graph(run: TableRun) -> tuple[WalkedGraph, list[TaskRecord[None]]]:
    """Return the graph of a run as its index is made of it, and the records of the tasks that brought it together.

    Raises
    ------
    InputError : it has too many nodes.
    """
    config, workspace = run.config, run.workspace
    nodes = workspace.figures("node_index", IndexFigures).nodes
    if nodes > _MOST_NODES:
        raise InputError(
            f"the graph has {nodes:,} nodes, and a walk index names {_MOST_NODES:,} at most; set ppr.walk_index = false"
        )
    files, records = whole_graph(run.engine, config, workspace)
    request = WalkRequest.of(config)
    metadata: dict[str, Any] = {
        "data_date": workspace.date.isoformat(),
        "undated": workspace.date == UNDATED,
        "window_days": config.input.window_days,
        **codec.to_values(request),
        "edge_source_type": config.input.source_type,
        "edge_target_type": config.input.target_type,
        "nodes": nodes,
    }
    return WalkedGraph(PublishedNodes.of(config, workspace), nodes, files, request, json.dumps(metadata)), records


def list_array(lengths: NDArray[np.int64], values: NDArray[Any], dtype: pa.DataType) -> pa.ListArray:
    """Return lists that stand one after the other as a column."""
    return pa.ListArray.from_arrays(pa.array(offsets_of(lengths).astype(np.int32)), pa.array(values), type=dtype)


def value_columns(names: Sequence[str]) -> dict[str, str]:
    """Return by column of lists the column of its values, as Parquet names it."""
    return {name: f"{name}.list.element" for name in names}
