"""Nodes with attributes in the node index: ids that must match, and features by node number and by block."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.blocks.arrays import FeatureTable, ranges
from pipeline.config.model import PipelineConfig
from pipeline.engine import Engine, Frame
from pipeline.errors import InputError, StorageError
from pipeline.ingest.attributes.tables import ROW_BITS
from pipeline.ingest.figures import IngestFigures
from pipeline.ingest.id_match import IdMatch, why_no_match
from pipeline.locations import Location
from pipeline.tasks import Attempt, TaskFolder, TaskRecord, TaskRunner
from pipeline.workspace import Workspace
from schemas.tables import ATTRIBUTE_NODES, NODE_FEATURES, NODE_INDEX

log = logging.getLogger(__name__)

_MOST_EXAMPLES = 2_000_000  # ids that are read to explain a refusal


@dataclass(frozen=True)
class OrderPayload:
    """Input of the task that writes the features of some nodes; ``file`` has their numbers and places."""

    file: Location
    features: tuple[Location, ...]


class AttributeNodes(Generic[Frame]):
    """The nodes that have attributes, as an engine sees them: none of a graph without attributes.

    Relational verbs carry node numbers and places; the features themselves stay with the tasks.
    """

    def __init__(self, engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, id_type: pa.DataType):
        self._engine, self._config, self._workspace, self._id_type = engine, config, workspace, id_type
        self._frames: dict[str, Frame] = {}
        if files := workspace.files("attribute_nodes"):
            schema = ATTRIBUTE_NODES.schema_for(id_type)
            nodes = engine.read(files, schema.names, schema)
            self._frames = {name: engine.where_equal(nodes, "node_type", name) for name in sorted(config.attributes)}

    def of_type(self, node_type: str) -> list[Frame]:
        """Return the frame of (node_id, node_type, place) of a type; no frame where it has no attributes."""
        return [self._frames[node_type]] if node_type in self._frames else []

    def match_ids(
        self, nodes: Sequence[Location], linked_nodes: Mapping[str, int], figures: IngestFigures
    ) -> dict[str, IdMatch]:
        """Compare the ids of every type with those that have edges; warn if few match.

        Parameters
        ----------
        nodes : files of the node index, before edges are held out. linked_nodes : by type, its nodes that have an edge.

        Raises
        ------
        InputError : almost none match; with an example of each side, and the likely reason.
        """
        return {
            node_type: self._match_type(nodes, node_type, number, linked_nodes.get(node_type, 0), figures)
            for number, node_type in enumerate(self._frames)
        }

    def _match_type(
        self, nodes: Sequence[Location], node_type: str, number: int, linked_nodes: int, figures: IngestFigures
    ) -> IdMatch:
        engine = self._engine
        index = engine.read(nodes, ["node_id", "node_type", "degree"], NODE_INDEX.schema_for(self._id_type))
        linked_index = engine.where_positive(engine.where_equal(index, "node_type", node_type), "degree", positive=True)
        strangers = engine.rename(
            engine.without(self._frames[node_type], linked_index, ["node_id"]), {"node_id": "node_id"}, {}
        )
        schema = pa.schema([pa.field("node_id", self._id_type, nullable=False)])
        unknown = engine.write(strangers, self._workspace.scratch("index", f"strangers-{number}"), schema)
        nodes_with_values = figures.attributes[node_type].nodes
        match = IdMatch(nodes_with_values, linked_nodes, nodes_with_values - storage.rows_in(unknown))
        section = f"attributes.{node_type} ({self._config.attributes[node_type].path})"
        if match.is_no_match:
            of_persons = node_type == self._config.input.source_type
            reason = why_no_match(_ids(unknown, None), _ids(nodes, node_type), of_persons=of_persons)
            raise InputError(f"{match.describe(section)}: they say nothing of its nodes. {reason}")
        if match.is_weak:
            log.warning(
                "stage=index warning: %s; the others get rows from their attributes alone", match.describe(section)
            )
        return match

    def number(self, nodes: Sequence[Location]) -> list[TaskRecord[None]]:
        """Write the features of all nodes by node number; ``nodes`` are the files of the node index."""
        if not self._frames:
            return []
        engine, workspace = self._engine, self._workspace
        index = engine.read(nodes, ["node_ix", "node_id", "node_type"], NODE_INDEX.schema_for(self._id_type))
        places = engine.union(
            [
                engine.look_up(
                    engine.rename(frame, {"node_id": "node_id", "place": "place"}, {}),
                    engine.where_equal(index, "node_type", node_type),
                    {"node_id": "node_id"},
                    {"node_ix": "node_ix"},
                )
                for node_type, frame in self._frames.items()
            ]
        )
        schema = pa.schema([pa.field(name, pa.int64(), nullable=False) for name in ("node_ix", "place")])
        files = engine.write_sorted(places, workspace.scratch("index", "placed"), schema, ["node_ix"])
        rows, index_rows = storage.rows_in(files), workspace.manifest("attribute_nodes").rows
        if rows != index_rows:
            raise StorageError(
                f"{index_rows} nodes with attributes went into the index and {rows} came out: a file of "
                f"{workspace.folder('attribute_nodes')} has changed since; remove that folder and run ingest again"
            )
        features = tuple(workspace.files("attribute_features"))
        payloads = [OrderPayload(file, features) for file in files]
        return TaskFolder(engine, workspace.work("index")).run_each(order_features, "features", payloads)


def order_features(payload: OrderPayload, attempt: Attempt) -> None:
    """Task: the features of some nodes with ascending numbers."""
    table = storage.read_parquet([payload.file])
    node_ix, place = (table[name].to_numpy() for name in ("node_ix", "place"))
    file, row = place >> ROW_BITS, place & (2**ROW_BITS - 1)
    counts, pieces = np.zeros(node_ix.size, np.int64), []
    for number in np.flatnonzero(np.bincount(file)).tolist():
        positions = np.flatnonzero(file == number)
        features = storage.map_arrow(payload.features[number])
        feature_row = storage.column(features, "row")
        first, stop = (np.searchsorted(feature_row, row[positions], side) for side in ("left", "right"))
        counts[positions] = stop - first
        pieces.append((positions, first, features))
    indptr = np.concatenate([[0], np.cumsum(counts)])
    key, value = np.empty(indptr[-1], np.int64), np.empty(indptr[-1], np.float32)
    for positions, first, features in pieces:
        source, target = ranges(first, counts[positions]), ranges(indptr[positions], counts[positions])
        key[target] = storage.column(features, "feature_key")[source]
        value[target] = storage.column(features, "value")[source]
    columns = [pa.array(np.repeat(node_ix, counts)), pa.array(key), pa.array(value)]
    storage.write_arrow(attempt.path("features", "arrow"), pa.Table.from_arrays(columns, schema=NODE_FEATURES.schema))


def _ids(files: Sequence[Location], node_type: str | None) -> pa.Array:
    """Ids of files, at most as many as a driver holds; of a node index, those of a type that have edges."""
    ids: list[pa.Array] = []
    for file in files:
        with storage.open_parquet(file) as source:
            names = ["node_id"] if node_type is None else ["node_id", "node_type", "degree"]
            for batch in source.iter_batches(columns=names):
                if node_type is not None:
                    is_wanted = pc.and_(pc.equal(batch["node_type"], node_type), pc.greater(batch["degree"], 0))
                    batch = batch.filter(is_wanted)
                ids.append(batch.column(0).cast(pa.string()))
                if sum(map(len, ids)) >= _MOST_EXAMPLES:
                    return pa.concat_arrays(ids)
    return pa.concat_arrays(ids) if ids else pa.array([], pa.string())


@dataclass(frozen=True)
class TakePayload:
    """Input of the task that takes a block's features: the file of its nodes, and the features of all nodes."""

    nodes: Location
    features: tuple[Location, ...]


def hand_to_blocks(
    runner: TaskRunner, blocks: Iterable[tuple[str, int, Location]], features: Sequence[Location], folder: Location
) -> list[TaskRecord[None]]:
    """Write the features of every block, in order; none of the graph of parts, and nothing without attributes.

    Parameters
    ----------
    blocks : (name of its set, part, file of its nodes) of each.
    """
    if not features:
        return []
    payloads = {
        f"features-{name}-{part:05d}": TakePayload(nodes, tuple(features) if name != "quotient" else ())
        for name, part, nodes in blocks
    }
    return TaskFolder(runner, folder).run_named(take_features, payloads)


def take_features(payload: TakePayload, attempt: Attempt) -> None:
    """Task: the features of a block's local rows."""
    node_ix = storage.column(storage.map_arrow(payload.nodes), "node_ix")
    features = FeatureTable(payload.features).take(node_ix)
    columns = [np.repeat(node_ix, features.counts), features.key.view(np.int64), features.value]
    table = pa.Table.from_arrays([pa.array(column) for column in columns], schema=NODE_FEATURES.schema)
    storage.write_arrow(attempt.path("features", "arrow"), table)
