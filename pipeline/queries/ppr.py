"""Batches of restart sets -> the nodes nearest to each, from the walk index or exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.blocks.arrays import offsets_of
from pipeline.config.model import PipelineConfig
from pipeline.embedding.ppr.asked import ListsAsked, candidates_of_sets
from pipeline.embedding.ppr.lists import CONFIDENCE, rounded_up, with_rounding
from pipeline.embedding.ppr.walk_graph import NO_EDGES, WalkGraph
from pipeline.embedding.ppr.walk_index import WalkIndex
from pipeline.embedding.ppr.whole_graph import whole_graph
from pipeline.engine import Engine, Frame
from pipeline.errors import ConfigError, InputError, MissingTableError
from pipeline.kernels.ppr_batch import batch_top_k, nodes_after
from pipeline.kernels.ppr_chebyshev import chebyshev_top_k, smallest_tolerance
from pipeline.kernels.ppr_push import push_top_k
from pipeline.kernels.ppr_top_k import TopK
from pipeline.kernels.ranking import NO_ROW
from pipeline.kernels.transition import RestartSets, restart_sets
from pipeline.queries.restart_batches import Batch
from pipeline.release_tables.finished_rows import NodeIds
from pipeline.workspace import Workspace, manifests_below
from schemas.tables import PPR_NEIGHBOR_LISTS


@dataclass(frozen=True)
class Wishes:
    """How a batch is answered. k : None for the config's, as far as there are nodes.

    memory_bytes : for fingerprints; batches that need more are taken in halves, which read the index once each.
    """

    source_type: str | None
    target_type: str | None
    k: int | None
    rounds: int
    drop_below: float
    is_exact: bool
    memory_bytes: int = 4 << 30


def answer_batch(
    engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, batch: Batch, wishes: Wishes
) -> pa.Table:
    """Return a row for each set, in order: ``query``, and the columns of the published ``ppr_neighbors``.

    ``node_type`` and ``node_id`` are null for sets of several nodes. Nodes of the set are never listed. A row depends
    on its set alone. The metadata, as JSON under ``graphquilt``, say how the scores were found and what bounds their
    error.

    Raises
    ------
    ConfigError : an option names no type of the graph. InputError : an empty batch, a node or type of it that the graph
    does not have.
    MissingTableError : there is no walk index of this config.
    """
    if not batch.names:
        raise InputError("the batch is empty; give at least one id, or a --batch file with rows")
    figures = workspace.manifest("node_index").figures
    types: Mapping[str, Sequence[int]] = figures["types"]
    target = _known_type(wishes.target_type or config.listed_type, types, "--target")
    first, stop = types[target]
    k = min(wishes.k or config.ppr.top_k, stop - first)
    ids = NodeIds([str(file) for file in workspace.files("node_index")])
    of_type = _types_of(batch, wishes, config, types)
    node_ix = _numbers(batch.node_id, of_type, types, ids)
    index = None if wishes.is_exact else _index_manifest(config, workspace)
    whole = WalkGraph.read(whole_graph(engine, config, workspace)[0], config.ppr.edge_degree_power)
    asked = ListsAsked(config.ppr, config.embedding.seed, int(figures["nodes"]), (int(first), int(stop)))
    sets, mass = _sets(batch, whole.rows_of(node_ix))
    if index is None:
        found = _exactly(whole, sets, asked, k)
    else:
        opened = WalkIndex(workspace.files("ppr_index"), whole, config.ppr.restart, config.ppr.index_walks)
        found = _from_index(whole, opened, sets, asked, k, wishes)
    metadata = {
        "table": PPR_NEIGHBOR_LISTS.name,
        "method": "ppr",
        "data_date": workspace.date.isoformat(),
        "restart": config.ppr.restart,
        "error_kind": "l1" if index is None else "confidence",
        **({"tolerance": config.ppr.tolerance} if index is None else {"confidence": CONFIDENCE}),
        **({} if index is None else {"walks": config.ppr.index_walks, "rounds": wishes.rounds}),
        "top_k": k,
        "target_type": target,
        "exclude_known": config.ppr.exclude_known,
        "degree_correction": config.ppr.degree_correction,
        "edge_degree_power": config.ppr.edge_degree_power,
    }
    return _table(batch, of_type, found, mass, whole, ids, (target, int(first), int(stop)), metadata)


def _known_type(asked: str, types: Mapping[str, Sequence[int]], option: str) -> str:
    if asked not in types:
        raise ConfigError(f"{option} is '{asked}'; the graph has nodes of type {', '.join(types)}")
    return asked


def _types_of(
    batch: Batch, wishes: Wishes, config: PipelineConfig, types: Mapping[str, Sequence[int]]
) -> Sequence[str]:
    if batch.node_type is not None:
        if unknown := sorted(set(batch.node_type) - set(types)):
            raise InputError(
                f"a node_type of the batch is '{unknown[0]}'; the graph has nodes of type {', '.join(types)}"
            )
        return batch.node_type
    asked = wishes.source_type or config.ppr.source_type or (next(iter(types)) if len(types) == 1 else None)
    if asked is None:
        raise ConfigError(f"--type is missing; the graph has nodes of type {', '.join(types)}")
    return [_known_type(asked, types, "--type")] * len(batch.node_id)


def _numbers(
    node_id: Sequence[str], of_type: Sequence[str], types: Mapping[str, Sequence[int]], ids: NodeIds
) -> NDArray[np.int64]:
    """Return the number of each node."""
    found = np.empty(len(node_id), np.int64)
    wanted, kinds = pa.array(node_id, pa.string()), np.array(of_type, object)
    for node_type in dict.fromkeys(of_type):
        places = np.flatnonzero(kinds == node_type)
        first, stop = types[node_type]
        asked = wanted.take(pa.array(places))
        number = pc.index_in(asked, value_set=ids.between(first, stop).cast(pa.string()))
        if number.null_count:
            unknown = pc.unique(asked.filter(pc.is_null(number))).to_pylist()
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            raise InputError(
                f"the graph has no {node_type} with the id '{unknown[0]}'{more}; it may be outside the window of the "
                "input, or spelt in another way upstream"
            )
        found[places] = number.to_numpy().astype(np.int64) + first
    return found


def _index_manifest(config: PipelineConfig, workspace: Workspace) -> Mapping[str, Any]:
    """Return what the index of this config says of itself, or say which ones there are."""
    made = workspace.finished("ppr_index")
    if made is not None or workspace.problem("ppr_index"):
        return workspace.manifest("ppr_index").figures
    folder = workspace.place("ppr_index").parent
    known = [_said_of(made.figures) for made in manifests_below(folder)[0]]
    ppr = config.ppr
    asked = {"restart": ppr.restart, "walks": ppr.index_walks, "edge_degree_power": ppr.edge_degree_power}
    there_are = f"; there are others, of this graph or an earlier one: {', '.join(known)}" if known else ""
    raise MissingTableError(
        f"there is no walk index of {_said_of(asked)} for {workspace.date}{there_are}. Run 'graphquilt ppr-index' with "
        "the same options, or set ppr.restart, index_walks and edge_degree_power to those of one that is there, or "
        "give --exact"
    )


def _said_of(asked: Mapping[str, Any]) -> str:
    power = asked.get("edge_degree_power", 0.0)
    weighed = f", edge_degree_power {power:g}" if power else ""
    return f"restart {asked['restart']:g} with {asked['walks']} walks a node{weighed}"


def _sets(batch: Batch, rows: NDArray[np.int64]) -> tuple[RestartSets, NDArray[np.float64]]:
    """Return the sets of queries whose nodes have edges, and the share of each query's weight that those have.

    Nodes ascend within a set and are named once, so that shares don't depend on how a query was written.
    """
    query = np.repeat(np.arange(len(batch.names)), np.diff(batch.indptr))
    order = np.lexsort((batch.weight, rows, query))
    query, rows, weight = query[order], rows[order], batch.weight[order]
    starts = np.flatnonzero((np.diff(query, prepend=-1) != 0) | (np.diff(rows, prepend=-2) != 0))
    query, rows, weight = query[starts], rows[starts], np.add.reduceat(weight, starts)
    total, has_edges = np.bincount(query, weight, len(batch.names)), rows != NO_EDGES
    query, rows, weight = query[has_edges], rows[has_edges], weight[has_edges]
    mass = np.bincount(query, weight, len(batch.names)) / total
    sizes = np.bincount(query, minlength=len(batch.names))
    indptr = offsets_of(sizes[sizes > 0])
    return restart_sets(indptr, rows, weight), mass


def _from_index(
    whole: WalkGraph, index: WalkIndex, sets: RestartSets, asked: ListsAsked, k: int, wishes: Wishes
) -> TopK:
    needed = nodes_after(whole.graph, sets.nodes, wishes.rounds)
    if len(sets) > 1 and index.bytes_for(needed) > wishes.memory_bytes:
        half = len(sets) // 2
        parts = [
            _from_index(whole, index, sets.part(*span), asked, k, wishes) for span in ((0, half), (half, len(sets)))
        ]
        return TopK(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("nodes", "scores", "bound")))
    candidates = candidates_of_sets(asked, whole, sets)
    fingerprints = index.fingerprints(needed)
    return batch_top_k(
        *(whole.graph, fingerprints, sets, asked.ppr.restart, wishes.rounds, k, candidates),
        *(wishes.drop_below, CONFIDENCE),
    )


def _exactly(whole: WalkGraph, sets: RestartSets, asked: ListsAsked, k: int) -> TopK:
    """Lists whose l1 error is under the tolerance, by whichever solver can certify it."""
    restart, tolerance, graph = asked.ppr.restart, asked.ppr.tolerance, whole.graph
    candidates = candidates_of_sets(asked, whole, sets)
    if tolerance >= smallest_tolerance(restart):
        return chebyshev_top_k(graph, sets, restart, tolerance, k, candidates)
    # The error at a node is at most this times its degree.
    return push_top_k(graph, sets, restart, tolerance / float(graph.degree.sum()), k, candidates)


def _table(
    batch: Batch,
    of_type: Sequence[str],
    found: TopK,
    mass: NDArray[np.float64],
    whole: WalkGraph,
    ids: NodeIds,
    target: tuple[str, int, int],
    metadata: Mapping[str, Any],
) -> pa.Table:
    """Queries without a node that has edges have empty lists, and bound 0."""
    target_type, first, stop = target
    names = ids.between(first, stop)
    solved = mass > 0
    is_listed = found.nodes != NO_ROW
    counts, bound = np.zeros(mass.size, np.int64), np.zeros(mass.size)
    counts[solved], bound[solved] = is_listed.sum(axis=1), found.bound * mass[solved]
    scores = (found.scores * mass[solved].astype(np.float32)[:, None])[is_listed]
    offsets = pa.array(offsets_of(counts).astype(np.int32))
    schema = PPR_NEIGHBOR_LISTS.schema_for(names.type)
    single = np.diff(batch.indptr) == 1
    # A set of one node is that node's own list.
    places = [int(start) if alone else None for start, alone in zip(batch.indptr, single, strict=False)]
    node_id = pa.array([None if at is None else batch.node_id[at] for at in places], pa.string())
    listed = names.take(pa.array(whole.node_ix[found.nodes[is_listed]] - first))
    columns = {
        "query": pa.array(batch.names, pa.string()),
        "node_type": pa.array([None if at is None else of_type[at] for at in places], pa.string()),
        "node_id": node_id.cast(names.type),
        "neighbor_type": pa.array([target_type] * mass.size, pa.string()),
        "neighbor_ids": pa.ListArray.from_arrays(offsets, listed, type=schema.field("neighbor_ids").type),
        "scores": pa.ListArray.from_arrays(offsets, pa.array(scores), type=schema.field("scores").type),
        "error_bound": pa.array(rounded_up(with_rounding(bound))),
    }
    text = json.dumps(dict(metadata), sort_keys=True, allow_nan=False)
    return pa.table(columns).replace_schema_metadata({"graphquilt": text})
