"""Retention of the baseline's graph and attributes: what of them is there tonight, of a sample by hash."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.evaluation.sampling import sample_by_key
from pipeline.locations import Location

SAMPLE = 5_000  # nodes of a type: a share of .9 is then known to .004
FEWEST = 20  # nodes or pairs, below which a share says nothing


@dataclass(frozen=True)
class NightGraph:
    """Files of the tables that describe a night's graph."""

    edges: tuple[Location, ...]
    node_index: tuple[Location, ...]


@dataclass(frozen=True)
class GraphComparison:
    """Input of the task that compares tonight's graph with the baseline's."""

    baseline: NightGraph
    tonight: NightGraph
    source_type: str
    target_type: str
    since_us: int | None  # where tonight's window begins
    half_life_us: int | None
    seed: int


@dataclass(frozen=True)
class Share:
    """How many of ``of`` are still there."""

    kept: int
    of: int


@dataclass(frozen=True)
class MedianRatio:
    """A ratio of medians, and of how many weights it is."""

    ratio: float
    of: int


@dataclass(frozen=True)
class Due:
    """How much of the baseline's graph is still in tonight's window."""

    pairs: int
    node_shares: Mapping[str, float]


@dataclass(frozen=True)
class GraphRetention:
    """How much of the baseline's graph is still there."""

    pairs: Share
    nodes: Mapping[str, Share]
    weights: Share
    renewed: Share
    new_weights: MedianRatio
    due: Due | None  # None: there is no window


def measure_graph(payload: GraphComparison) -> GraphRetention:
    """Return which nodes and pairs of the baseline that should still be there tonight are.

    A pair should be there if its last event is in tonight's window. A node should if it has such a pair. Where there
    is a window, ``due`` says how many of all pairs, and which shares of the nodes, these are.

    Cost
    ----
    Reads both node indexes and edge tables once; holds the ids of all nodes and the pairs of the sample.
    """
    has_window = payload.since_us is not None
    types, before = (payload.source_type, payload.target_type), payload.baseline
    ids = {name: _sampled_ids(before.node_index, name, payload.seed) for name in dict.fromkeys(types)}
    has_pair = {name: pa.array([], of_type.type) for name, of_type in ids.items()}
    of_sources, due_pairs = [], 0
    for rows in _edges(before.edges):
        due = rows.filter(pc.greater_equal(rows["last_ts"], payload.since_us)) if has_window else rows
        for name, column in zip(types, ("src_id", "dst_id"), strict=True):
            ends_of_sample = due[column].filter(pc.is_in(due[column], ids[name]))
            has_pair[name] = pc.unique(pa.concat_arrays([has_pair[name], ends_of_sample]))
        due_pairs += due.num_rows
        of_sources.append(due.filter(pc.is_in(due["src_id"], ids[types[0]])))
    old = pa.Table.from_batches(of_sources)
    new_ids = _sampled_ids(payload.tonight.node_index, types[0], payload.seed)
    new_ids = new_ids.filter(pc.invert(pc.is_in(new_ids, _ids_of(before.node_index, types[0]))))
    sources = pa.concat_arrays([ids[types[0]], new_ids])
    now = pa.Table.from_batches(
        [batch.filter(pc.is_in(batch["src_id"], sources)) for batch in _edges(payload.tonight.edges)]
    )
    ends = ["src_id", "dst_id"]
    both = old.join(now, ends, join_type="inner", right_suffix="_now", use_threads=False)
    new = now.join(old, ends, join_type="left anti", use_threads=False)
    nodes = {}
    for name, due_ids in has_pair.items():
        tonight = _ids_of(payload.tonight.node_index, name)
        nodes[name] = Share(pc.sum(pc.is_in(due_ids, tonight)).as_py() or 0, len(due_ids))
    shares = {name: len(has_pair[name]) / len(of_type) for name, of_type in ids.items()}
    return GraphRetention(
        pairs=Share(both.num_rows, old.num_rows),
        nodes=nodes,
        weights=_weights_kept(both, has_window=has_window),
        renewed=_later_pairs(both),
        new_weights=_new_weights(both, new, payload.half_life_us),
        due=Due(due_pairs, shares) if has_window else None,
    )


def _weights_kept(both: pa.Table, *, has_window: bool) -> Share:
    """Of pairs without a new event: how many weigh the same, but for the one factor that decay gives to all.

    A pair that decayed to nothing weighs less than that.
    """
    both = both.filter(pc.greater(both["weight"], 0))
    if has_window:  # a pair whose earlier events have left the window weighs less
        both = both.filter(pc.greater_equal(both["events_now"], both["events"]))
    # Undated pairs have no last event: one with a new event counts as changed. No pair's last event gets older.
    before, now = (both[name].fill_null(0).to_numpy() for name in ("last_ts", "last_ts_now"))
    old, new = (both[name].to_numpy().astype(np.float64)[now <= before] for name in ("weight", "weight_now"))
    if not old.size:
        return Share(0, 0)
    weight_now = old * np.median(new / old)
    # Fixed point: a weight of few units is rounded by more than a hundredth of itself.
    is_kept = (np.abs(new - weight_now) <= 0.01 * weight_now + 2) & (now == before)[now <= before]
    return Share(int(is_kept.sum()), int(old.size))


def _later_pairs(both: pa.Table) -> Share:
    """How many common pairs have a later last event, or more events where they have no time."""
    is_later = pc.greater(both["last_ts_now"], both["last_ts"]).fill_null(False)
    has_more = pc.and_(pc.is_null(both["last_ts"]), pc.greater(both["events_now"], both["events"]))
    return Share(pc.sum(pc.or_(is_later, has_more)).as_py() or 0, both.num_rows)


def _new_weights(both: pa.Table, new: pa.Table, half_life_us: int | None) -> MedianRatio:
    """Median weight of an event of the new pairs when it came, over that of the others."""
    weights = []
    for table, suffix in ((new, ""), (both, "_now")):
        table = table.filter(pc.greater(table[f"weight{suffix}"], 0))  # a weight that decayed to zero says nothing
        weight, events = (table[f"{name}{suffix}"].to_numpy().astype(np.float64) for name in ("weight", "events"))
        age = -table[f"last_ts{suffix}"].fill_null(0).to_numpy() / half_life_us if half_life_us else 0.0
        weights.append(np.log2(weight / events) + age)  # from the same moment for both
    if not all(log_weights.size for log_weights in weights):
        return MedianRatio(1.0, 0)
    return MedianRatio(float(np.exp2(np.median(weights[0]) - np.median(weights[1]))), min(map(len, weights)))


def _edges(files: Sequence[Location]) -> Iterator[pa.RecordBatch]:
    return storage.read_batches(files, ["src_id", "dst_id", "weight", "events", "last_ts"], 262_144)


def _sampled_ids(files: Sequence[Location], node_type: str, seed: int) -> pa.Array:
    nodes = nodes_of_type(files, node_type, ["node_id", "node_key"])
    positions = sample_by_key(nodes["node_key"].to_numpy().view(np.uint64), SAMPLE, seed)
    return nodes["node_id"].combine_chunks().take(pa.array(positions))


def _ids_of(files: Sequence[Location], node_type: str) -> pa.Array:
    return nodes_of_type(files, node_type, ["node_id"])["node_id"].combine_chunks()


def nodes_of_type(files: Sequence[Location], node_type: str, columns: list[str]) -> pa.Table:
    """Return columns of node_index, of the nodes of a type."""
    index = storage.read_parquet(files, [*columns, "node_type"])
    return index.filter(pc.equal(index["node_type"], node_type)).select(columns)


@dataclass(frozen=True)
class AttributeFiles:
    """Files of the features of a night's nodes, and of the index that numbers them."""

    node_features: tuple[Location, ...]
    node_index: tuple[Location, ...]


@dataclass(frozen=True)
class AttributeComparison:
    """Input of the task that compares tonight's attributes with those of the baseline."""

    baseline: AttributeFiles
    tonight: AttributeFiles
    types: tuple[str, ...]
    seed: int


@dataclass(frozen=True)
class AttributeRetention:
    """Sums of products of nodes' features: of both nights (``kept``), and of the baseline's night alone (``of``)."""

    kept: float
    of: float
    nodes: int


def measure_attributes(payload: AttributeComparison) -> dict[str, AttributeRetention]:
    """Return how alike features of both nights are, by node type, of nodes that are there on both nights.

    Features that are as they were make both products equal; those of other nodes make ``kept`` a share of ``of``, as
    large as features of any two nodes are alike.
    """
    retention = {}
    for node_type in payload.types:
        old, new = (_features(night, node_type) for night in (payload.baseline, payload.tonight))
        tonight = nodes_of_type(payload.tonight.node_index, node_type, ["node_key"])["node_key"].combine_chunks()
        old = old.filter(pc.is_in(old["node_key"], tonight))
        nodes = pc.unique(old["node_key"].combine_chunks())
        sample = nodes.take(pa.array(sample_by_key(nodes.to_numpy().view(np.uint64), SAMPLE, payload.seed)))
        old, new = (night.filter(pc.is_in(night["node_key"], sample)) for night in (old, new))
        both = old.join(new, ["node_key", "feature_key"], join_type="inner", right_suffix="_now", use_threads=False)
        retention[node_type] = AttributeRetention(
            kept=float(both["value"].to_numpy() @ both["value_now"].to_numpy()),
            of=float(old["value"].to_numpy() @ old["value"].to_numpy()),
            nodes=len(sample),
        )
    return retention


def _features(night: AttributeFiles, node_type: str) -> pa.Table:
    """Features of the nodes of a type: node_key, feature_key, value (float64)."""
    features = pa.concat_tables(storage.map_arrow(file) for file in night.node_features)
    features = features.set_column(2, "value", features["value"].cast(pa.float64()))
    index = nodes_of_type(night.node_index, node_type, ["node_ix", "node_key"])
    rows = features.join(index, ["node_ix"], join_type="inner", use_threads=False)
    return rows.select(["node_key", "feature_key", "value"])
