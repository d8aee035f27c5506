"""Which nodes get a list: all, those of a type, or those that a file names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline import storage
from pipeline.config.model import PipelineConfig
from pipeline.engine import Engine, Frame
from pipeline.errors import InputError
from pipeline.ingest.id_files import read_id_pieces
from pipeline.ingest.id_match import IdMatch, why_no_match
from pipeline.ingest.lake.snapshot import read_pins
from pipeline.ingest.pieces import ParseTask, split_tasks
from pipeline.ingest.sources import list_sources, select_unchanged
from pipeline.ingest.text.formats import TextFormat
from pipeline.locations import Location
from pipeline.release_tables.finished_rows import NodeIds, PublishedNodes
from pipeline.tasks import Attempt, TaskFolder, TaskRecord
from pipeline.workspace import Workspace

_SCHEMA = pa.schema([pa.field("node_ix", pa.int64(), nullable=False)])


@dataclass(frozen=True)
class ChosenSources:
    """An Arrow file of ascending node numbers, their count, and how many ids of the file are of no node here."""

    file: Location
    rows: int
    unknown: int
    records: Sequence[TaskRecord[Any]]


@dataclass(frozen=True)
class SourcesPayload:
    """Input of the task that numbers the sources.

    types : ranges of the types that sources may have.
    parse : the files of chosen sources; None: all nodes of these types are sources. section : of the key that names
        them, "ppr" or "lists".
    digest : the embed stage's fingerprint, which holds that of the files.
    """

    node_index: tuple[Location, ...]
    types: Mapping[str, tuple[int, int]]
    parse: tuple[ParseTask, ...] | None
    text: TextFormat
    source_type: str
    section: str
    digest: str


def find_sources(
    engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, folder: Location
) -> ChosenSources:
    """Return the sources of lists.

    Raises
    ------
    InputError : the file of sources can't be read, names a type that there isn't, or no node of the graph.
    """
    nodes = PublishedNodes.of(config, workspace)
    source_type = config.list_source_type
    # Columns are always named: [input] may be of files without a header, and these are others.
    keys = config.input.model_dump(include={"delimiter", "quote", "encoding", "comment", "null_values"})
    payload = SourcesPayload(
        node_index=nodes.node_index,
        types=nodes.types if source_type is None else {source_type: nodes.types[source_type]},
        parse=_parse_tasks(config, workspace),
        text=TextFormat.from_keys(keys),
        source_type=config.input.source_type,
        section=config.list_section,
        digest=workspace.fingerprints["embed"],
    )
    record = TaskFolder(engine, folder).run(number_sources, "sources", payload)
    return ChosenSources(record.file("sources"), record.files[0].rows or 0, record.result, [record])


def _parse_tasks(config: PipelineConfig, workspace: Workspace) -> tuple[ParseTask, ...] | None:
    """Return what to parse of the chosen sources."""
    if config.list_keys.sources is None:
        return None
    pins = read_pins(workspace.root, workspace.date)
    key = f"{config.list_section}.sources"
    files = list_sources(config.list_keys.sources, workspace.date, key=key, snapshots=pins)
    return tuple(split_tasks(select_unchanged(files, workspace.inputs.files)))


def number_sources(payload: SourcesPayload, attempt: Attempt) -> int:
    """Task: the node numbers of the sources; returns how many ids of the file are of no node here."""
    types, unknown = payload.types, 0
    if payload.parse is None:
        node_ix = np.concatenate([np.arange(first, stop) for first, stop in sorted(types.values())])
    else:
        texts = {"node_id": pa.string(), "node_type": pa.string()}
        pieces = [piece for task in payload.parse for piece in task.pieces]
        listed_nodes = read_id_pieces(
            pieces, texts, ["node_id"], f"{payload.section}.sources", payload.text
        ).drop_null()
        ids = NodeIds(payload.node_index)
        node_ix, unknown = _numbers_of(listed_nodes, types, ids, pieces[0].address, payload)
    storage.write_arrow(attempt.path("sources", "arrow"), pa.Table.from_arrays([pa.array(node_ix)], schema=_SCHEMA))
    return unknown


def _numbers_of(
    listed_nodes: pa.Table, types: Mapping[str, tuple[int, int]], ids: NodeIds, path: str, payload: SourcesPayload
) -> tuple[NDArray[np.int64], int]:
    """Return the ascending numbers of the nodes that a file names, and how many of its ids are of none."""
    key = f"{payload.section}.sources"
    if "node_type" not in listed_nodes.column_names and len(types) > 1:
        raise InputError(
            f"{key} {path} has no column node_type, and the graph has the types {sorted(types)}; add the column, "
            f"or set {payload.section}.source_type"
        )
    numbers = []
    for node_type, (first, stop) in types.items():
        of_type = listed_nodes
        if "node_type" in listed_nodes.column_names:
            of_type = listed_nodes.filter(pc.equal(listed_nodes["node_type"], node_type))
        node_id = pc.unique(of_type["node_id"].combine_chunks())
        positions = pc.drop_null(pc.index_in(node_id, value_set=ids.between(first, stop).cast(pa.string())))
        numbers.append(positions.to_numpy(zero_copy_only=False).astype(np.int64) + first)
    node_ix = np.sort(np.concatenate(numbers))
    distinct = listed_nodes.group_by(listed_nodes.column_names).aggregate([]).num_rows
    match = IdMatch(distinct, sum(stop - first for first, stop in types.values()), node_ix.size)
    if match.is_no_match:
        graph_ids = pa.concat_arrays([ids.between(*bounds).cast(pa.string()) for bounds in types.values()])
        reason = why_no_match(listed_nodes["node_id"], graph_ids, of_persons=payload.source_type in types)
        raise InputError(
            f"{match.describe(f'{key} {path}')} as {sorted(types)}; check the columns node_id and node_type, and "
            f"the window of the input. {reason}"
        )
    return node_ix, distinct - node_ix.size
