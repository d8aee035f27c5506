"""Whether the ids of attributes are those of the interactions: if almost none are, vectors would be made of nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.config.model import PipelineConfig
from pipeline.engine import Engine, Frame
from pipeline.errors import InputError
from pipeline.ingest.id_match import IdMatch, why_no_match
from pipeline.stages.node_attributes import nodes_with_attributes
from pipeline.tasks import TaskRecord
from pipeline.workspace import Workspace
from schemas.tables import NODE_INDEX

log = logging.getLogger(__name__)

_MOST_EXAMPLES = 2_000_000  # ids that are read to explain a refusal


def judge_attribute_ids(
    engine: Engine[Frame],
    config: PipelineConfig,
    workspace: Workspace,
    numbered: Sequence[TaskRecord[Any]],
    id_type: pa.DataType,
) -> dict[str, dict[str, int]]:
    """Refuse attributes of which almost no id has an edge; warn if few have; return the counts by type.

    Parameters
    ----------
    numbered : records of the node index's files, before edges are held out.

    Raises
    ------
    InputError : with an example of each side, and the likely reason.
    """
    files = [record.file("nodes") for record in numbered]
    nodes = engine.read(files, ["node_id", "node_type", "degree"], NODE_INDEX.schema_for(id_type))
    counts: dict[str, dict[str, int]] = {}
    schema = pa.schema([pa.field("node_id", id_type, nullable=False)])
    for number, (node_type, given) in enumerate(sorted(config.attributes.items())):
        described = nodes_with_attributes(engine, workspace, node_type, id_type)
        if described is None:
            continue
        of_type = engine.where_equal(nodes, "node_type", node_type)
        linked = engine.where_positive(of_type, "degree", positive=True)
        strangers = engine.rename(engine.without(described, linked, ["node_id"]), {"node_id": "node_id"}, {})
        unknown = engine.write(strangers, workspace.scratch("index", f"strangers-{number}"), schema)
        asked = int(workspace.manifest("edges").figures["attributes"][node_type]["nodes"])
        known = sum(int(record.result["linked"].get(node_type, 0)) for record in numbered)
        found = IdMatch(asked, known, asked - storage.rows_in(unknown))
        what = f"attributes.{node_type} ({given.path})"
        counts[node_type] = asdict(found)
        if found.is_nothing:
            reason = why_no_match(
                _ids(unknown, None), _ids(files, node_type), of_persons=node_type == config.input.source_type
            )
            raise InputError(f"{found.told(what)}: they say nothing of its nodes. {reason}")
        if found.is_little:
            log.warning("stage=index warning: %s; the others get rows from their attributes alone", found.told(what))
    return counts


def _ids(files: Sequence[Path], node_type: str | None) -> pa.Array:
    """Ids of files, at most as many as a driver holds; of a node index, those of a type that have edges."""
    found: list[pa.Array] = []
    for file in files:
        with pq.ParquetFile(file) as source:
            names = ["node_id"] if node_type is None else ["node_id", "node_type", "degree"]
            for batch in source.iter_batches(columns=names):
                if node_type is not None:
                    is_wanted = pc.and_(pc.equal(batch["node_type"], node_type), pc.greater(batch["degree"], 0))
                    batch = batch.filter(is_wanted)
                found.append(batch.column(0).cast(pa.string()))
                if sum(map(len, found)) >= _MOST_EXAMPLES:
                    return pa.concat_arrays(found)
    return pa.concat_arrays(found) if found else pa.array([], pa.string())
