"""Retention of the baseline's attributes: how alike nodes' features of both nights are, of a sample by hash."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.evaluation.sampling import sample_by_key
from pipeline.locations import Location
from pipeline.metrics.graph_retention import SAMPLE, nodes_of_type


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
