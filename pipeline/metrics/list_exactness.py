"""Published lists against exact personalised PageRank, for a sample of sources."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import neighbors_of, offsets_of
from pipeline.config.model import PipelineConfig
from pipeline.embedding.ppr.asked import ListsAsked
from pipeline.embedding.ppr.lists import threshold_of
from pipeline.embedding.ppr.walk_graph import NO_EDGES, GraphFiles, WalkGraph
from pipeline.embedding.ppr.whole_graph import whole_graph
from pipeline.engine import Engine, Frame
from pipeline.evaluation.position_lists import PositionLists
from pipeline.evaluation.ppr_exact import (
    ListRules,
    SampledLists,
    affordable_sources,
    broken,
    compare_lists,
    compare_vectors,
    exact_scores,
)
from pipeline.evaluation.sampling import sample_by_key
from pipeline.kernels.alias_tables import alias_tables
from pipeline.kernels.ppr_chebyshev import chebyshev_scores
from pipeline.kernels.ppr_push import push_scores
from pipeline.kernels.ppr_walks import walk_scores
from pipeline.kernels.transition import single_seeds
from pipeline.metrics.scored_lists import rows_of_sources
from pipeline.release_tables.finished_rows import NodeIds, excluded
from pipeline.tasks import Attempt, Task, TaskRecord, run_missing
from pipeline.workspace import Workspace

#: Of the task that holds the whole graph for this: an entry, and a node for each source and in any case.
_ENTRY_BYTES, _SCORE_BYTES, _NODE_BYTES = 40, 16, 2_048


def check_exactly(
    engine: Engine[Frame], config: PipelineConfig, workspace: Workspace
) -> tuple[dict[str, Any], list[TaskRecord[Any]]]:
    """Solve a sample of the sources exactly and return the figures, or a note where the graph is too large."""
    graph = workspace.manifest("node_index").figures
    entries, most = 2 * graph["edges"], config.partition.worker_bytes
    node_bytes = _SCORE_BYTES * affordable_sources(entries) + _NODE_BYTES
    needed = entries * _ENTRY_BYTES + graph["nodes"] * node_bytes
    if needed > most:
        note = f"not measured: solving exactly holds about {needed:,} bytes, and partition.worker_bytes is {most:,}"
        return {"note": note}, []
    made = workspace.manifest("neighbor_lists").figures["lists"]
    ppr = config.ppr.model_copy(update={"solver": made["solver"], "across": made["across"]})
    target_type = config.listed_type
    first, stop = graph["types"][target_type]
    files, records = whole_graph(engine, config, workspace)
    payload = {
        "asked": ListsAsked(ppr, config.embedding.seed, graph["nodes"], (first, stop)).to_json(),
        "graph": files.to_json(),
        "lists": [str(file) for file in workspace.files("neighbor_lists")],
        "table": [str(file) for file in workspace.files("ppr_neighbors")],
        "node_index": [str(file) for file in workspace.files("node_index")],
        "types": graph["types"],
        "target_type": target_type,
        "exclude_ids": {node_type: list(ids) for node_type, ids in config.publish.exclude_ids.items()},
        "error_kind": made["error_kind"],
        "seed": config.evaluate.seed,
    }
    done = run_missing(engine, compare_sample, [Task("exact", workspace.work("evaluate"), payload)])
    return dict(done[0].result["exact"]), [*records, *done]


def compare_sample(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:  # noqa: ARG001
    """Task: the figures of a table's lists."""
    asked = ListsAsked.from_json(payload["asked"])
    walks = WalkGraph.read(GraphFiles.from_json(payload["graph"]), asked.ppr.edge_degree_power)
    node_ix = np.concatenate([storage.column(storage.map_arrow(Path(file)), "node_ix") for file in payload["lists"]])
    rows = walks.rows_of(node_ix)
    rows = rows[rows != NO_EDGES]
    population = rows.size
    rows = rows[sample_by_key(walks.node_key[rows], affordable_sources(walks.graph.indices.size), payload["seed"])]
    names = _Names(walks, payload)
    lists = names.lists_of(rows)
    exact = exact_scores(walks.graph, lists.sources, asked.ppr.restart)
    rules = ListRules(
        walks.rows_between(*asked.targets),
        asked.ppr.top_k,
        walks.degree.astype(np.float64) ** -asked.ppr.degree_correction,
        _left_out(walks, lists.sources, names.excluded, exclude_known=asked.ppr.exclude_known),
        payload["error_kind"],
    )
    found = {"sources": lists.sources.size, "population": population, "seed": payload["seed"]}
    found |= compare_lists(lists, exact, rules)
    if asked.ppr.across != "parts":  # lists of parts are no one solver's
        found["l1"] = compare_vectors(*_vectors(walks, asked, lists.sources), exact)
    return {"exact": {**found, "errors": list(broken(found))}}


class _Names:
    """The published lists in rows of the graph."""

    def __init__(self, walks: WalkGraph, payload: Mapping[str, Any]) -> None:
        self._walks, self._payload = walks, payload
        self._ids = NodeIds(payload["node_index"])
        first, stop = payload["types"][payload["target_type"]]
        self._first, self._targets = first, self._ids.between(first, stop)
        unwanted = excluded(payload["target_type"], self._targets, payload["exclude_ids"])
        gone = np.zeros(0, np.int64) if unwanted is None else first + np.flatnonzero(unwanted)
        excluded_rows = walks.rows_of(gone) if gone.size else gone
        #: Rows of the nodes that are left out of the published tables.
        self.excluded = excluded_rows[excluded_rows != NO_EDGES]

    def lists_of(self, rows: NDArray[np.int64]) -> SampledLists:
        """Read the lists of some rows, ascending; sources that are not published are left out."""
        node_ix = self._walks.node_ix[rows]
        tables, sources = [], []
        for node_type, (first, stop) in self._payload["types"].items():
            here = node_ix[(node_ix >= first) & (node_ix < stop)]
            if not here.size:
                continue
            node_id = self._ids.between(first, stop).take(pa.array(here - first))
            table = rows_of_sources(self._payload["table"], node_type, node_id)
            tables.append(table)
            found = pc.index_in(table["node_id"].combine_chunks(), node_id).to_numpy(zero_copy_only=False)
            sources.append(here[found.astype(np.int64)])
        lists = pa.concat_tables(tables).combine_chunks()
        neighbors = lists["neighbor_ids"].combine_chunks()
        place = pc.index_in(neighbors.flatten(), self._targets).to_numpy(zero_copy_only=False).astype(np.int64)
        lengths = pc.list_value_length(neighbors).to_numpy(zero_copy_only=False)
        return SampledLists(
            sources=self._walks.rows_of(np.concatenate(sources)),
            indptr=offsets_of(lengths),
            nodes=self._walks.rows_of(self._first + place),
            scores=lists["scores"].combine_chunks().flatten().to_numpy(),
            bound=lists["error_bound"].to_numpy(),
        )


def _left_out(
    walks: WalkGraph, sources: NDArray[np.int64], excluded_rows: NDArray[np.int64], *, exclude_known: bool
) -> PositionLists:
    """Rows that each source's list must not hold: itself, what is not published, and where asked its neighbours."""
    own = np.arange(sources.size)
    pairs = [(own, sources), (np.repeat(own, excluded_rows.size), np.tile(excluded_rows, sources.size))]
    if exclude_known:
        pairs.append(neighbors_of(walks.graph.indptr, walks.graph.indices, own, sources))
    places, rows = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return PositionLists.from_pairs(places, rows, sources.size)


def _vectors(
    walks: WalkGraph, asked: ListsAsked, rows: NDArray[np.int64]
) -> tuple[NDArray[np.floating[Any]], NDArray[np.float64] | None]:
    """Whole vectors of the solver that made the lists, with its settings, and its bounds on the sum of their errors."""
    ppr, graph, sources = asked.ppr, walks.graph, single_seeds(rows)
    if ppr.solver == "chebyshev":
        return chebyshev_scores(graph, sources, ppr.restart, ppr.tolerance)
    if ppr.solver == "push":
        found = push_scores(graph, sources, ppr.restart, threshold_of(ppr, float(graph.degree.sum())))
    else:
        alias = None if graph.weights is None else alias_tables(graph.indptr, graph.indices, graph.weights)
        found = walk_scores(graph, alias, sources, walks.node_key[rows], ppr.restart, ppr.walks, asked.seed)
    dense = np.zeros((rows.size, graph.n))
    dense[np.repeat(np.arange(rows.size), np.diff(found.indptr)), found.nodes] = found.scores
    return dense, found.missing if ppr.solver == "push" else None
