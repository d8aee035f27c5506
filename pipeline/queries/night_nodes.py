"""The nodes of a night, and how many came and went."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.locations import Location
from pipeline.queries.night_run import NightRun, files_of_release
from pipeline.report.amounts import describe_sample
from pipeline.report.night import NodeCounts
from schemas.published_tables import NODE_EMBEDDINGS

#: Nodes of two nights together that are counted one by one, which takes some seconds.
_MOST_COUNTED = 10_000_000


def count_nodes(night: NightRun) -> list[NodeCounts]:
    """Return the nodes by type: counted, or of a large graph as a sample was measured."""
    types = _counts_by_type({"stages": night.stages, "config": night.config})
    before = _counts_by_type(night.other_manifest)
    is_measured = night.compared_with is None
    shares = night.metrics.get("drift", {}).get("kept", {}).get("nodes", {}) if is_measured else {}
    moves: Mapping[str, tuple[int, int]] = {}
    if not is_measured or sum(types.values()) + sum(before.values()) <= _MOST_COUNTED:
        moves = _new_and_lost(night.vector_files, files_of_release(night.other_folder, NODE_EMBEDDINGS))
    counts = []
    for node_type, nodes in types.items():
        new, lost_nodes = moves.get(node_type, (None, None))
        share, sample = shares.get(node_type), ""
        if new is None and share and node_type in before:
            lost_nodes = round(before[node_type] * (1 - share["kept"] / share["of"]))
            new = max(nodes - before[node_type] + lost_nodes, 0)
            sample = describe_sample(share["of"], before[node_type], "nodes")
        counts.append(NodeCounts(node_type, nodes, new, lost_nodes, sample))
    return counts


def _counts_by_type(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Return the nodes of every type that is published, of a release's manifest."""
    types = manifest.get("stages", {}).get("index", {}).get("figures", {}).get("types", {})
    config = manifest.get("config") or {}
    names = [*types]
    if config.get("relations"):
        ends = [config["input"][key] for key in ("source_type", "target_type")]
        names = config["publish"]["node_types"] or ends
    return {name: stop - first for name, (first, stop) in types.items() if name in names}


def _new_and_lost(files: Sequence[Location], other_files: Sequence[Location]) -> dict[str, tuple[int, int]]:
    """Return by type how many nodes came and went; nothing where one of the tables has no vectors."""
    if not files or not other_files:
        return {}
    ids: list[dict[str, pa.Array]] = []
    for table_files in (files, other_files):
        table = storage.read_parquet(table_files, ["node_type", "node_id"])
        of_type = {name: pc.equal(table["node_type"], name) for name in pc.unique(table["node_type"]).to_pylist()}
        columns = {name: table["node_id"].filter(mask).combine_chunks() for name, mask in of_type.items()}
        ids.append(columns)
    moves = {}
    for node_type, now in ids[0].items():
        before = ids[1].get(node_type, now[:0])
        if before.type != now.type:
            now, before = now.cast(pa.string()), before.cast(pa.string())
        both = pc.sum(pc.is_in(now, before)).as_py() or 0
        moves[node_type] = len(now) - both, len(before) - both
    return moves
