"""The training pairs in memory, for work on one machine that tries things: read from what ingest and index made."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import Features, FeatureTable, NodeArrays
from pipeline.config.graph_sides import span_of
from pipeline.config.model import PipelineConfig
from pipeline.errors import InputError
from pipeline.ingest.figures import IndexFigures
from pipeline.kernels.hashing import hash_nodes
from pipeline.locations import Location
from pipeline.workspace import Workspace

#: Turns a seed into one of this module's own: index draws the users whose pairs it holds out from the same keys.
_STREAM = 0x73697A65
_PAIRS_AT_ONCE = 1_048_576


@dataclass(frozen=True, eq=False)
class SidePairs:
    """Pairs of a relation beside the main one: (pairs,) int64 positions and weights, as of strength 1.

    is_tuned : whether its strength is a key of its own, of which others may be tried.
    """

    relation: str
    is_tuned: bool
    strength: float
    src: NDArray[np.int64]
    dst: NDArray[np.int64]
    weight: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TrainingGraph:
    """Pairs that may be learnt from, and the nodes with any: a position is a row of all arrays of nodes.

    node_ix, node_key : (n,) int64 ascending and uint64. src, dst, weight : (pairs,) int64, ends by position,
    weights in fixed point, of the main relation; side_pairs : of the others. source, target : ranges of positions of
    the main relation's two types; rows, columns : those of the sides; all the same on plain graphs. all_pairs : pairs
    of the main relation before any sample. features : of all nodes, None without attributes.
    """

    node_ix: NDArray[np.int64]
    node_key: NDArray[np.uint64]
    src: NDArray[np.int64]
    dst: NDArray[np.int64]
    weight: NDArray[np.int64]
    source: tuple[int, int]
    target: tuple[int, int]
    is_plain: bool
    all_pairs: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    side_pairs: tuple[SidePairs, ...] = ()
    features: Features | None = None

    @property
    def nodes(self) -> int:
        """Nodes with pairs."""
        return self.node_ix.size

    @property
    def is_sampled(self) -> bool:
        """Whether some pairs were left out to fit memory."""
        return self.src.size < self.all_pairs


def read_training_graph(config: PipelineConfig, workspace: Workspace, max_pairs: int, seed: int) -> TrainingGraph:
    """Read the indexed pairs; pairs that ``evaluate.source = "holdout"`` hides are not among them.

    Where there are more than ``max_pairs``, users are kept by hashes of their keys with all their pairs, so that
    about as many pairs remain (on plain graphs nodes, with the edges between them). Read in batches.

    Raises
    ------
    MissingTableError : index has not run. InputError : the sample has no pairs.
    """
    arrays = NodeArrays(workspace.files("node_arrays"))
    key_of = arrays.all("node_key").view(np.uint64)
    files, *side_files = workspace.files_by_relation("indexed_edges")
    all_pairs = storage.rows_in(files)
    share = min(1.0, max_pairs / max(all_pairs, 1))
    is_kept = _kept_nodes(key_of, share, seed, is_plain=config.input.is_plain)
    types = workspace.figures("node_index", IndexFigures).types
    if is_kept is not None:  # a sample is of the main relation's sources, with all that joins them
        first, stop = types[config.input.source_type]
        is_kept[:first] = is_kept[stop:] = True
    src, dst, weight = _read_pairs(files, is_kept)
    if src.size == 0:
        raise InputError(f"no pairs are left of {all_pairs:,} where {max_pairs:,} may be kept; allow more")
    side_pairs = [_read_pairs(files, is_kept) for files in side_files]
    has_pair = np.zeros(arrays.nodes, np.bool_)
    for ends in (src, dst, *(ends for of_side in side_pairs for ends in of_side[:2])):
        has_pair[ends] = True
    node_ix = np.flatnonzero(has_pair)
    position = np.cumsum(has_pair) - 1

    def positions_between(names: Collection[str]) -> tuple[int, int]:
        first, stop = np.searchsorted(node_ix, span_of(names, types))
        return int(first), int(stop)

    relations = zip(config.all_relations[1:], config.strengths[1:], side_pairs, strict=True)
    return TrainingGraph(
        node_ix=node_ix,
        node_key=key_of[node_ix],
        src=position[src],
        dst=position[dst],
        weight=weight,
        source=positions_between([config.input.source_type]),
        target=positions_between([config.input.target_type]),
        is_plain=config.input.is_plain,
        all_pairs=all_pairs,
        rows=positions_between(config.sides.rows),
        columns=positions_between(config.sides.columns),
        side_pairs=tuple(
            SidePairs(relation.name, relation in config.relations, strength, position[left], position[right], units)
            for relation, strength, (left, right, units) in relations
        ),
        features=FeatureTable(workspace.files("node_features")).take(node_ix) if config.attributes else None,
    )


def _read_pairs(
    files: Sequence[Location], is_kept: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return both ends and the weights of indexed pairs, of those whose ends are both kept."""
    columns = [[np.empty(0, np.int64)] for _ in range(3)]
    for batch in storage.read_batches(files, ["src_ix", "dst_ix", "weight"], _PAIRS_AT_ONCE):
        src, dst, weight = (batch[name].to_numpy() for name in ("src_ix", "dst_ix", "weight"))
        if is_kept is not None:
            is_inside = is_kept[src] & is_kept[dst]
            src, dst, weight = src[is_inside], dst[is_inside], weight[is_inside]
        for column, values in zip(columns, (src, dst, weight), strict=True):
            column.append(values)
    src, dst, weight = (np.concatenate(column) for column in columns)
    return src, dst, weight


def sample_remarks(graph: TrainingGraph) -> list[str]:
    """Say which pairs tuning is done on, where it is not all of them."""
    if not graph.is_sampled:
        return []
    unit = "nodes" if graph.is_plain else "users"
    return [
        f"tuned on {graph.src.size:,} of {graph.all_pairs:,} pairs, those of {unit} chosen by hash, so that they fit "
        "memory and some candidates fit the budget (--max-pairs sets another number); figures are of that smaller graph"
    ]


@dataclass(frozen=True, eq=False)
class History:
    """When each pair was last seen, in microseconds UTC (None: undated input), and how often: (pairs,) int64."""

    last_us: NDArray[np.int64] | None
    events: NDArray[np.int64]


def history_of(graph: TrainingGraph, workspace: Workspace) -> History:
    """Return what the edges know of the graph's pairs beside their weights.

    Pairs are found in the edges by their ids: what index has held out or the sample left out is passed over.
    """
    finder = _Positions(graph, workspace)
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
    is_dated = True
    columns = ["src_id", "dst_id", "last_ts", "events"]
    for batch in storage.read_batches(workspace.files_by_relation("edges")[0], columns, _PAIRS_AT_ONCE):
        is_dated = is_dated and not batch["last_ts"].null_count
        src, dst = finder(batch["src_id"], graph.source), finder(batch["dst_id"], graph.target)
        is_here = (src >= 0) & (dst >= 0)
        last = batch["last_ts"].fill_null(0).to_numpy()
        parts.append((_codes(src[is_here], dst[is_here], graph), last[is_here], batch["events"].to_numpy()[is_here]))
    codes, last_us, events = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(codes)
    at = order[np.searchsorted(codes, _codes(graph.src, graph.dst, graph), sorter=order)]
    return History(last_us[at] if is_dated else None, events[at])


def positions_of(ids: pa.Array, node_type: str, graph: TrainingGraph, workspace: Workspace) -> NDArray[np.int64]:
    """Positions of nodes by id, -1 for those that the graph does not have; ids of another type are compared as text."""
    types = workspace.figures("node_index", IndexFigures).types
    bounds = np.searchsorted(graph.node_ix, types[node_type])
    return _Positions(graph, workspace)(ids, (int(bounds[0]), int(bounds[1])))


class _Positions:
    """Finds positions by id, in one type at a time."""

    def __init__(self, graph: TrainingGraph, workspace: Workspace) -> None:
        self._graph = graph
        self._ids = storage.read_parquet(workspace.files("node_index"), ["node_id"])["node_id"].combine_chunks()
        self._ids_between: dict[tuple[int, int], pa.Array] = {}

    def __call__(self, ids: pa.Array, positions: tuple[int, int]) -> NDArray[np.int64]:
        first, stop = positions
        if positions not in self._ids_between:
            self._ids_between[positions] = self._ids.take(pa.array(self._graph.node_ix[first:stop]))
        graph_ids = self._ids_between[positions]
        if graph_ids.type != ids.type:
            graph_ids, ids = graph_ids.cast(pa.string()), ids.cast(pa.string())
        row = pc.index_in(ids, graph_ids).cast(pa.int64()).fill_null(-1 - first)
        return np.asarray(row.to_numpy() + first)


def _codes(src: NDArray[np.int64], dst: NDArray[np.int64], graph: TrainingGraph) -> NDArray[np.int64]:
    if graph.is_plain:
        src, dst = np.minimum(src, dst), np.maximum(src, dst)
    return src * graph.nodes + dst


def _kept_nodes(node_key: NDArray[np.uint64], share: float, seed: int, *, is_plain: bool) -> NDArray[np.bool_] | None:
    """Which nodes may keep their pairs; None: all. An edge of a plain graph needs both of its ends."""
    if share >= 1.0:
        return None
    node_share = math.sqrt(share) if is_plain else share
    return np.asarray(hash_nodes(node_key, seed ^ _STREAM) < np.uint64(int(node_share * 2**64)))
