"""Which nodes get a list: all, those of a type, or those that a file names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline import codec, storage
from pipeline.config.model import PipelineConfig
from pipeline.engine import Engine, Frame
from pipeline.errors import InputError
from pipeline.ingest.id_files import read_id_pieces
from pipeline.ingest.id_match import IdMatch, why_no_match
from pipeline.ingest.lake.pins import read_pins
from pipeline.ingest.pieces import ParseTask, split_tasks
from pipeline.ingest.sources import list_sources, select_unchanged
from pipeline.ingest.text.formats import TextFormat
from pipeline.release_tables.finished_rows import NodeIds
from pipeline.tasks import Attempt, Task, TaskRecord, run_missing
from pipeline.workspace import Workspace

_SCHEMA = pa.schema([pa.field("node_ix", pa.int64(), nullable=False)])


@dataclass(frozen=True)
class Sources:
    """An Arrow file of ascending node numbers, their count, and how many ids of the file are of no node here."""

    file: Path
    rows: int
    unknown: int
    records: Sequence[TaskRecord[Any]]


def find_sources(engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, place: Path) -> Sources:
    """Return the sources of lists.

    Raises
    ------
    InputError : ``ppr.sources`` can't be read, names a type that there isn't, or no node of the graph.
    """
    types = workspace.manifest("node_index").figures["types"]
    of_type = config.ppr.source_type
    payload = {
        "node_index": [str(file) for file in workspace.files("node_index")],
        "types": types if of_type is None else {of_type: types[of_type]},
        "parse": _files(config, workspace),
        # Columns are always named: [input] may be of files without a header, and these are others.
        "text": config.input.model_dump(
            mode="json", include={"delimiter", "quote", "encoding", "comment", "null_values"}
        ),
        "source_type": config.input.source_type,
        "digest": workspace.fingerprints["embed"],  # which holds that of the file
    }
    (record,) = run_missing(engine, number_sources, [Task("sources", place, payload)])
    found = record.result
    return Sources(record.file("sources"), int(found["sources_rows"]), int(found["unknown"]), [record])


def _files(config: PipelineConfig, workspace: Workspace) -> list[dict[str, Any]] | None:
    """The pieces of the files of ppr.sources."""
    if config.ppr.sources is None:
        return None
    pins = read_pins(workspace.root, workspace.date)
    files = list_sources(config.ppr.sources, workspace.date, key="ppr.sources", snapshots=pins)
    return [codec.to_values(task) for task in split_tasks(select_unchanged(files, workspace.inputs.files))]


def number_sources(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: the node numbers of the sources."""
    types, parts = payload["types"], payload["parse"]
    unknown = 0
    if parts is None:
        node_ix = np.concatenate([np.arange(first, stop) for first, stop in sorted(types.values())])
    else:
        texts = {"node_id": pa.string(), "node_type": pa.string()}
        text = TextFormat.from_keys(payload["text"])
        pieces = [piece for part in parts for piece in codec.from_values(ParseTask, part).pieces]
        wanted = read_id_pieces(pieces, texts, ["node_id"], "ppr.sources", text).drop_null()
        node_ix, unknown = _numbers_of(
            wanted, types, NodeIds(payload["node_index"]), pieces[0].address, str(payload["source_type"])
        )
    storage.write_arrow(attempt.path("sources", "arrow"), pa.Table.from_arrays([pa.array(node_ix)], schema=_SCHEMA))
    return {"sources_rows": node_ix.size, "unknown": unknown}


def _numbers_of(
    wanted: pa.Table, types: Mapping[str, Sequence[int]], ids: NodeIds, path: str, source_type: str
) -> tuple[NDArray[np.int64], int]:
    """Return the ascending numbers of the nodes that a file names, and how many of its ids are of none."""
    if "node_type" not in wanted.column_names and len(types) > 1:
        raise InputError(
            f"ppr.sources {path} has no column node_type, and the graph has the types {sorted(types)}; add the column, "
            "or set ppr.source_type"
        )
    found, named = [], 0
    for node_type, (first, stop) in types.items():
        some = wanted
        if "node_type" in wanted.column_names:
            some = wanted.filter(pc.equal(wanted["node_type"], node_type))
        asked = pc.unique(some["node_id"].combine_chunks())
        known = ids.between(first, stop).cast(pa.string())
        places = pc.drop_null(pc.index_in(asked, value_set=known)).to_numpy(zero_copy_only=False)
        found.append(np.sort(places.astype(np.int64)) + first)
        named += places.size
    numbers = np.sort(np.concatenate(found))
    distinct = wanted.group_by(wanted.column_names).aggregate([]).num_rows
    match = IdMatch(distinct, sum(stop - first for first, stop in types.values()), named)
    if match.is_no_match:
        there = pa.concat_arrays([ids.between(*of).cast(pa.string()) for of in types.values()])
        reason = why_no_match(wanted["node_id"], there, of_persons=source_type in types)
        raise InputError(
            f"{match.describe(f'ppr.sources {path}')} as {sorted(types)}; check the columns node_id and node_type, and "
            f"the window of the input. {reason}"
        )
    return numbers, distinct - named
