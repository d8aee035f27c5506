"""Published lists against exact personalised PageRank, or exact scores of a filter, for a sample of sources."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import neighbors_of, offsets_of
from pipeline.config.lists import ListsConfig
from pipeline.config.model import PipelineConfig
from pipeline.embedding import row_files
from pipeline.embedding.figures import EmbedFigures
from pipeline.embedding.filtered_lists import (
    BASIS,
    BasisPayload,
    find_basis,
    rule_of,
    settings_of_basis,
    sides_of_filter,
)
from pipeline.embedding.ppr.list_request import ListRequest
from pipeline.embedding.ppr.lists import threshold_of
from pipeline.embedding.ppr.walk_graph import NO_EDGES, GraphFiles, WalkGraph
from pipeline.embedding.ppr.whole_graph import whole_graph
from pipeline.engine import Engine, Frame
from pipeline.evaluation.exact_scores import (
    ListRules,
    SampledLists,
    affordable_sources,
    broken_bounds,
    compare_lists,
    compare_vectors,
    exact_filter_scores,
    exact_scores,
)
from pipeline.evaluation.position_lists import PositionLists
from pipeline.evaluation.sampling import sample_by_key
from pipeline.kernels.alias_tables import alias_tables
from pipeline.kernels.ppr_chebyshev import chebyshev_scores
from pipeline.kernels.ppr_push import push_scores
from pipeline.kernels.ppr_walks import WalkRule, walk_scores
from pipeline.kernels.transition import single_seeds
from pipeline.locations import Location
from pipeline.metrics.scored_lists import rows_of_sources
from pipeline.release_tables.finished_rows import NodeIds, PublishedNodes
from pipeline.tasks import Attempt, TaskFolder, TaskRecord
from pipeline.workspace import Workspace

#: Of the task that holds the whole graph for this: an entry, and a node for each source and in any case.
_ENTRY_BYTES, _SCORE_BYTES, _NODE_BYTES = 40, 16, 2_048
_BASIS_BYTES = 12  # an eigenvector's entry: as it is read, and in float64


def check_exactly(
    engine: Engine[Frame], config: PipelineConfig, workspace: Workspace
) -> tuple[dict[str, Any], list[TaskRecord[Any]]]:
    """Solve a sample of the sources exactly and return the figures, or a note where the graph is too large."""
    graph = workspace.manifest("node_index").figures
    entries, most = 2 * graph["edges"], config.partition.worker_bytes
    figures = workspace.figures("neighbor_lists", EmbedFigures).of_lists()
    node_bytes = _SCORE_BYTES * affordable_sources(entries) + _NODE_BYTES + _BASIS_BYTES * (figures.rank or 0)
    solve_bytes = entries * _ENTRY_BYTES + graph["nodes"] * node_bytes
    if solve_bytes > most:
        note = (
            f"not measured: solving exactly holds about {solve_bytes:,} bytes, and partition.worker_bytes is {most:,}"
        )
        return {"note": note}, []
    nodes = PublishedNodes.of(config, workspace)
    files, records = whole_graph(engine, config, workspace)
    sample = SampleOfTable(
        graph=files,
        lists=tuple(workspace.files("neighbor_lists")),
        published_files=tuple(workspace.files(config.list_table)),
        nodes=nodes,
        target_type=config.listed_type,
        top_k=config.list_keys.top_k,
        exclude_known=config.list_keys.exclude_known,
        seed=config.evaluate.seed,
    )
    tasks = TaskFolder(engine, workspace.work("evaluate"), records)
    if config.lists.filter is None:
        ppr = config.ppr.model_copy(update={"solver": figures.solver, "across": figures.across})
        request = ListRequest(ppr, config.embedding.seed, sample.targets)
        answer = tasks.run(compare_sample, "exact", ExactnessPayload(sample, request, figures.error_kind))
        return dict(answer.result), tasks.records
    rows, columns = sides_of_filter(config, graph["types"])
    basis: Location | None = None
    if figures.rank:  # the same bytes as those that lists were made with, which embed has removed
        settings = settings_of_basis(config.lists, rows, columns, config.embedding.seed)
        basis = tasks.run(find_basis, BASIS, BasisPayload(files, settings)).file(BASIS)
    lists = config.lists.model_copy(update={"shards": None, "sources": None})
    comparison = tasks.run(compare_filtered, "exact", FilterExactnessPayload(sample, lists, rows, columns, basis))
    return dict(comparison.result), tasks.records


@dataclass(frozen=True)
class SampleOfTable:
    """A published table of lists, and what they may hold. lists : as the solvers made them. published : the table."""

    graph: GraphFiles
    lists: tuple[Location, ...]
    published_files: tuple[Location, ...]
    nodes: PublishedNodes
    target_type: str
    top_k: int
    exclude_known: bool
    seed: int

    @property
    def targets(self) -> tuple[int, int]:
        """Node numbers of the type that is listed."""
        return self.nodes.types[self.target_type]


@dataclass(frozen=True)
class ExactnessPayload:
    """Input of the task that solves a sample of PageRank's lists."""

    sample: SampleOfTable
    request: ListRequest
    error_kind: str


@dataclass(frozen=True)
class FilterExactnessPayload:
    """Input of the task that solves a sample of a filter's lists. rows, columns, basis : as of `FilterPayload`."""

    sample: SampleOfTable
    lists: ListsConfig
    rows: tuple[int, int]
    columns: tuple[int, int]
    basis: Location | None


def compare_sample(payload: ExactnessPayload, attempt: Attempt) -> Mapping[str, Any]:  # noqa: ARG001
    """Task: the figures of a table's lists and of the solver's vectors, as JSON values."""
    request, ppr = payload.request, payload.request.ppr
    walks = WalkGraph.read(payload.sample.graph, ppr.edge_degree_power)
    lists, rules, figures = _read_sample(payload.sample, walks)
    rules = replace(
        rules, factor=walks.degree.astype(np.float64) ** -ppr.degree_correction, error_kind=payload.error_kind
    )
    exact = exact_scores(walks.graph, lists.sources, ppr.restart)
    figures |= compare_lists(lists, exact, rules)
    if ppr.across != "parts":  # lists of parts are no one solver's
        figures["l1"] = compare_vectors(*_vectors(walks, request, lists.sources), exact)
    return {**figures, "errors": list(broken_bounds(figures))}


def compare_filtered(payload: FilterExactnessPayload, attempt: Attempt) -> Mapping[str, Any]:  # noqa: ARG001
    """Task: the figures of a table's lists by a filter."""
    walks = WalkGraph.read(payload.sample.graph)
    lists, rules, figures = _read_sample(payload.sample, walks)
    rows, columns = walks.rows_between(*payload.rows), walks.rows_between(*payload.columns)
    basis = np.zeros((columns[1] - columns[0], 0), np.float32)
    if payload.basis is not None:
        basis = row_files.read_all(payload.basis, 0)[1].values
    exact = exact_filter_scores(walks.graph, lists.sources, rows, columns, basis, rule_of(payload.lists))
    figures |= compare_lists(lists, exact, rules)
    return {**figures, "errors": list(broken_bounds(figures, "neighbors"))}


def _read_sample(sample: SampleOfTable, walks: WalkGraph) -> tuple[SampledLists, ListRules, dict[str, Any]]:
    """Return the lists of some sources, what they may hold by scores as they are, and how many there are."""
    node_ix = np.concatenate([storage.column(storage.map_arrow(file), "node_ix") for file in sample.lists])
    rows = walks.rows_of(node_ix)
    rows = rows[rows != NO_EDGES]
    population = rows.size
    rows = rows[sample_by_key(walks.node_key[rows], affordable_sources(walks.graph.indices.size), sample.seed)]
    ids = NodeIds(sample.nodes.node_index)
    targets = ids.between(*sample.targets)
    lists = _published_lists(sample, walks, rows, ids, targets)
    rules = ListRules(
        walks.rows_between(*sample.targets),
        sample.top_k,
        np.ones(walks.graph.n),
        _excluded_rows(sample, walks, lists.sources, targets),
        "pointwise",
    )
    return lists, rules, {"sources": lists.sources.size, "population": population, "seed": sample.seed}


def _published_lists(
    sample: SampleOfTable, walks: WalkGraph, rows: NDArray[np.int64], ids: NodeIds, targets: pa.Array
) -> SampledLists:
    """Read the published lists of some rows, ascending; sources that are not published are left out."""
    node_ix = walks.node_ix[rows]
    tables, sources = [], []
    for node_type, (first, stop) in sample.nodes.types.items():
        batch = node_ix[(node_ix >= first) & (node_ix < stop)]
        if not batch.size:
            continue
        node_id = ids.between(first, stop).take(pa.array(batch - first))
        table = rows_of_sources(sample.published_files, node_type, node_id)
        tables.append(table)
        position = pc.index_in(table["node_id"].combine_chunks(), node_id).to_numpy(zero_copy_only=False)
        sources.append(batch[position.astype(np.int64)])
    lists = pa.concat_tables(tables).combine_chunks()
    neighbors = lists["neighbor_ids"].combine_chunks()
    target = pc.index_in(neighbors.flatten(), targets).to_numpy(zero_copy_only=False).astype(np.int64)
    lengths = pc.list_value_length(neighbors).to_numpy(zero_copy_only=False)
    return SampledLists(
        sources=walks.rows_of(np.concatenate(sources)),
        indptr=offsets_of(lengths),
        nodes=walks.rows_of(sample.targets[0] + target),
        scores=lists["scores"].combine_chunks().flatten().to_numpy(),
        bound=lists["error_bound"].to_numpy(),
    )


def _excluded_rows(
    sample: SampleOfTable, walks: WalkGraph, sources: NDArray[np.int64], targets: pa.Array
) -> PositionLists:
    """Return rows that each source's list must not hold: itself, what is not published, neighbours if known."""
    is_unwanted = sample.nodes.find_excluded(sample.target_type, targets)
    unwanted_rows = np.zeros(0, np.int64)
    if is_unwanted is not None:
        unwanted_rows = walks.rows_of(sample.targets[0] + np.flatnonzero(is_unwanted))
        unwanted_rows = unwanted_rows[unwanted_rows != NO_EDGES]
    own = np.arange(sources.size)
    pairs = [(own, sources), (np.repeat(own, unwanted_rows.size), np.tile(unwanted_rows, sources.size))]
    if sample.exclude_known:
        pairs.append(neighbors_of(walks.graph.indptr, walks.graph.indices, own, sources))
    source, row = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return PositionLists.from_pairs(source, row, sources.size)


def _vectors(
    walks: WalkGraph, request: ListRequest, rows: NDArray[np.int64]
) -> tuple[NDArray[np.floating[Any]], NDArray[np.float64] | None]:
    """Whole vectors of the solver that made the lists, with its settings, and its bounds on the sum of their errors."""
    ppr, graph, sources = request.ppr, walks.graph, single_seeds(rows)
    if ppr.solver == "chebyshev":
        return chebyshev_scores(graph, sources, ppr.restart, ppr.tolerance)
    if ppr.solver == "push":
        scores = push_scores(graph, sources, ppr.restart, threshold_of(ppr, float(graph.degree.sum())))
    else:
        alias = None if graph.weights is None else alias_tables(graph.indptr, graph.indices, graph.weights)
        rule = WalkRule(ppr.restart, ppr.walks, request.seed)
        scores = walk_scores(graph, alias, sources, walks.node_key[rows], rule)
    dense = np.zeros((rows.size, graph.n))
    dense[np.repeat(np.arange(rows.size), np.diff(scores.indptr)), scores.nodes] = scores.scores
    return dense, scores.missing if ppr.solver == "push" else None
