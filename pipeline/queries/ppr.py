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
from pipeline.embedding.ppr.list_request import ListRequest, candidates_of_sets
from pipeline.embedding.ppr.lists import CONFIDENCE, rounded_up, with_rounding
from pipeline.embedding.ppr.walk_graph import NO_EDGES, WalkGraph
from pipeline.embedding.ppr.walk_index import WalkIndex
from pipeline.embedding.ppr.whole_graph import whole_graph
from pipeline.engine import Engine, Frame
from pipeline.errors import ConfigError, InputError, MissingTableError
from pipeline.kernels.ppr_batch import batch_top_k, nodes_after
from pipeline.kernels.ppr_batch_passes import BatchRule
from pipeline.kernels.ppr_chebyshev import chebyshev_top_k, smallest_tolerance
from pipeline.kernels.ppr_push import push_top_k
from pipeline.kernels.ppr_top_k import TopK
from pipeline.kernels.ranking import NO_ROW
from pipeline.kernels.transition import RestartSets, restart_sets
from pipeline.queries.restart_batches import Batch
from pipeline.release_tables.finished_rows import NodeIds
from pipeline.workspace import Workspace, manifests_below
from schemas.published_tables import PPR_NEIGHBOR_LISTS


@dataclass(frozen=True)
class QueryOptions:
    """How a batch is answered. k : length of a list; None for the config's, as far as there are nodes.

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
    engine: Engine[Frame], config: PipelineConfig, workspace: Workspace, batch: Batch, options: QueryOptions
) -> pa.Table:
    """Return a row for each set, in order: ``query``, and the columns of the published ``ppr_neighbors``.

    ``node_type`` and ``node_id`` are null for sets of several nodes. Nodes of the set are never listed. A row depends
    on its set alone. The metadata, as JSON under ``graphquilt``, say how the scores were computed and what bounds their
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
    types: Mapping[str, Sequence[int]] = {name: figures["types"][name] for name in config.sides.published}
    target = _require_type(options.target_type or config.listed_type, types, "--target")
    first, stop = types[target]
    k = min(options.k or config.ppr.top_k, stop - first)
    ids = NodeIds(workspace.files("node_index"))
    of_type = _types_of(batch, options, config, types)
    node_ix = _numbers(batch.node_id, of_type, types, ids)
    index = None if options.is_exact else _index_manifest(config, workspace)
    whole = WalkGraph.read(whole_graph(engine, config, workspace)[0], config.ppr.edge_degree_power)
    request = ListRequest(config.ppr, config.embedding.seed, (int(first), int(stop)))
    sets, mass = _sets(batch, whole.rows_of(node_ix))
    if index is None:
        lists = _solve_exactly(whole, sets, request, k)
    else:
        walk_index = WalkIndex(workspace.files("ppr_index"), whole, config.ppr.restart, config.ppr.index_walks)
        lists = _solve_from_index(whole, walk_index, sets, request, k, options)
    metadata = {
        "table": PPR_NEIGHBOR_LISTS.name,
        "method": "ppr",
        "data_date": workspace.date.isoformat(),
        "restart": config.ppr.restart,
        "error_kind": "l1" if index is None else "confidence",
        **({"tolerance": config.ppr.tolerance} if index is None else {"confidence": CONFIDENCE}),
        **({} if index is None else {"walks": config.ppr.index_walks, "rounds": options.rounds}),
        "top_k": k,
        "target_type": target,
        "exclude_known": config.ppr.exclude_known,
        "degree_correction": config.ppr.degree_correction,
        "edge_degree_power": config.ppr.edge_degree_power,
    }
    return _answers(batch, of_type, lists, mass, whole, ids, (target, int(first), int(stop)), metadata)


def _require_type(node_type: str, types: Mapping[str, Sequence[int]], option: str) -> str:
    if node_type not in types:
        raise ConfigError(f"{option} is '{node_type}'; the graph has nodes of type {', '.join(types)}")
    return node_type


def _types_of(
    batch: Batch, options: QueryOptions, config: PipelineConfig, types: Mapping[str, Sequence[int]]
) -> Sequence[str]:
    if batch.node_type is not None:
        if unknown := sorted(set(batch.node_type) - set(types)):
            raise InputError(
                f"a node_type of the batch is '{unknown[0]}'; the graph has nodes of type {', '.join(types)}"
            )
        return batch.node_type
    node_type = options.source_type or config.ppr.source_type or (next(iter(types)) if len(types) == 1 else None)
    if node_type is None:
        raise ConfigError(f"--type is missing; the graph has nodes of type {', '.join(types)}")
    return [_require_type(node_type, types, "--type")] * len(batch.node_id)


def _numbers(
    node_id: Sequence[str], of_type: Sequence[str], types: Mapping[str, Sequence[int]], ids: NodeIds
) -> NDArray[np.int64]:
    """Return the number of each node."""
    node_ix = np.empty(len(node_id), np.int64)
    ids_of_all, type_of = pa.array(node_id, pa.string()), np.array(of_type, object)
    for node_type in dict.fromkeys(of_type):
        rows = np.flatnonzero(type_of == node_type)
        first, stop = types[node_type]
        ids_of_type = ids_of_all.take(pa.array(rows))
        number = pc.index_in(ids_of_type, value_set=ids.between(first, stop).cast(pa.string()))
        if number.null_count:
            unknown = pc.unique(ids_of_type.filter(pc.is_null(number))).to_pylist()
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            raise InputError(
                f"the graph has no {node_type} with the id '{unknown[0]}'{more}; it may be outside the window of the "
                "input, or spelt in another way upstream"
            )
        node_ix[rows] = number.to_numpy().astype(np.int64) + first
    return node_ix


def _index_manifest(config: PipelineConfig, workspace: Workspace) -> Mapping[str, Any]:
    """Return what the index of this config says of itself, or say which ones there are."""
    if workspace.finished("ppr_index") is not None or workspace.problem("ppr_index"):
        return workspace.manifest("ppr_index").figures
    folder = workspace.folder("ppr_index").parent
    others = [_index_name(manifest.figures) for manifest in manifests_below(folder)[0]]
    ppr = config.ppr
    name = _index_name({"restart": ppr.restart, "walks": ppr.index_walks, "edge_degree_power": ppr.edge_degree_power})
    there_are = f"; there are others, of this graph or an earlier one: {', '.join(others)}" if others else ""
    raise MissingTableError(
        f"there is no walk index of {name} for {workspace.described_date}{there_are}. Run 'graphquilt ppr-index' with "
        "the same options, or set ppr.restart, index_walks and edge_degree_power to those of one that is there, or "
        "give --exact"
    )


def _index_name(figures: Mapping[str, Any]) -> str:
    power = figures.get("edge_degree_power", 0.0)
    weights = f", edge_degree_power {power:g}" if power else ""
    return f"restart {figures['restart']:g} with {figures['walks']} walks a node{weights}"


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


def _solve_from_index(
    whole: WalkGraph, index: WalkIndex, sets: RestartSets, request: ListRequest, k: int, options: QueryOptions
) -> TopK:
    needed = nodes_after(whole.graph, sets.nodes, options.rounds)
    if len(sets) > 1 and index.bytes_for(needed) > options.memory_bytes:
        half = len(sets) // 2
        halves = [
            _solve_from_index(whole, index, sets.part(*span), request, k, options)
            for span in ((0, half), (half, len(sets)))
        ]
        return TopK(*(np.concatenate([getattr(p, name) for p in halves]) for name in ("nodes", "scores", "bound")))
    candidates = candidates_of_sets(request, whole, sets)
    fingerprints = index.fingerprints(needed)
    rule = BatchRule(request.ppr.restart, options.rounds, options.drop_below)
    return batch_top_k(whole.graph, fingerprints, sets, rule, k, candidates, CONFIDENCE)


def _solve_exactly(whole: WalkGraph, sets: RestartSets, request: ListRequest, k: int) -> TopK:
    """Return lists whose l1 error is under the tolerance, by whichever solver can certify it."""
    restart, tolerance, graph = request.ppr.restart, request.ppr.tolerance, whole.graph
    candidates = candidates_of_sets(request, whole, sets)
    if tolerance >= smallest_tolerance(restart):
        return chebyshev_top_k(graph, sets, restart, tolerance, k, candidates)
    # The error at a node is at most this times its degree.
    return push_top_k(graph, sets, restart, tolerance / float(graph.degree.sum()), k, candidates)


def _answers(
    batch: Batch,
    of_type: Sequence[str],
    lists: TopK,
    mass: NDArray[np.float64],
    whole: WalkGraph,
    ids: NodeIds,
    target: tuple[str, int, int],
    metadata: Mapping[str, Any],
) -> pa.Table:
    """Return the table of answers. Queries without a node that has edges have empty lists, and bound 0."""
    target_type, first, stop = target
    names = ids.between(first, stop)
    solved = mass > 0
    is_listed = lists.nodes != NO_ROW
    counts, bound = np.zeros(mass.size, np.int64), np.zeros(mass.size)
    counts[solved], bound[solved] = is_listed.sum(axis=1), lists.bound * mass[solved]
    scores = (lists.scores * mass[solved].astype(np.float32)[:, None])[is_listed]
    offsets = pa.array(offsets_of(counts).astype(np.int32))
    schema = PPR_NEIGHBOR_LISTS.schema_for(names.type)
    # A set of one node is that node's own list.
    rows = [int(start) if size == 1 else None for start, size in zip(batch.indptr, np.diff(batch.indptr), strict=False)]
    node_id = pa.array([None if row is None else batch.node_id[row] for row in rows], pa.string())
    neighbor_ids = names.take(pa.array(whole.node_ix[lists.nodes[is_listed]] - first))
    columns = {
        "query": pa.array(batch.names, pa.string()),
        "node_type": pa.array([None if row is None else of_type[row] for row in rows], pa.string()),
        "node_id": node_id.cast(names.type),
        "neighbor_type": pa.array([target_type] * mass.size, pa.string()),
        "neighbor_ids": pa.ListArray.from_arrays(offsets, neighbor_ids, type=schema.field("neighbor_ids").type),
        "scores": pa.ListArray.from_arrays(offsets, pa.array(scores), type=schema.field("scores").type),
        "error_bound": pa.array(rounded_up(with_rounding(bound))),
    }
    text = json.dumps(dict(metadata), sort_keys=True, allow_nan=False)
    return pa.table(columns).replace_schema_metadata({"graphquilt": text})
