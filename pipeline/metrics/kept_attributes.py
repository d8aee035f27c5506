"""How much of what attributes said of nodes on the baseline's night they say tonight, of a sample by hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.evaluation.sampling import sample_by_key
from pipeline.metrics.kept_pairs import SAMPLE
from pipeline.tasks import Attempt


def measure_attributes(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:  # noqa: ARG001
    """Task: by node type, products of nodes' features of both nights (``kept``), beside those of before alone (``of``).

    Of nodes that are there on both nights. Features that are as they were make both equal; those of other nodes make
    ``kept`` a share of it, as large as features of any two nodes are alike.
    """
    found = {}
    for node_type in payload["types"]:
        old, new = (_features(payload[side], node_type) for side in ("old", "new"))
        old = old.filter(pc.is_in(old["node_key"], _index(payload["new"], node_type)["node_key"].combine_chunks()))
        nodes = pc.unique(old["node_key"].combine_chunks())
        chosen = nodes.take(pa.array(sample_by_key(nodes.to_numpy().view(np.uint64), SAMPLE, payload["seed"])))
        old, new = (side.filter(pc.is_in(side["node_key"], chosen)) for side in (old, new))
        both = old.join(new, ["node_key", "feature_key"], join_type="inner", right_suffix="_now", use_threads=False)
        found[node_type] = {
            "kept": float(both["value"].to_numpy() @ both["value_now"].to_numpy()),
            "of": float(old["value"].to_numpy() @ old["value"].to_numpy()),
            "nodes": len(chosen),
        }
    return found


def _features(payload: Mapping[str, Sequence[str]], node_type: str) -> pa.Table:
    """Features of the nodes of a type: node_key, feature_key, value (float64)."""
    features = pa.concat_tables(storage.map_arrow(Path(file)) for file in payload["node_features"])
    features = features.set_column(2, "value", features["value"].cast(pa.float64()))
    joined = features.join(_index(payload, node_type), ["node_ix"], join_type="inner", use_threads=False)
    return joined.select(["node_key", "feature_key", "value"])


def _index(payload: Mapping[str, Sequence[str]], node_type: str) -> pa.Table:
    """Numbers and keys of the nodes of a type."""
    index = pa.concat_tables(
        pq.read_table(file, columns=["node_ix", "node_key", "node_type"], partitioning=None)
        for file in payload["node_index"]
    )
    return index.filter(pc.equal(index["node_type"], node_type)).drop_columns(["node_type"])
