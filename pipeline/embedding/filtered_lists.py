"""Lists by a filter of the graph: one task finds the leading eigenvectors, others solve some of the sources each.

Every task has the whole graph, so that neither the number of parts nor that of tasks changes a bit of the lists.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import Block, neighbors_of
from pipeline.config.graph_sides import span_of
from pipeline.config.lists import ListsConfig
from pipeline.config.model import PipelineConfig
from pipeline.embedding import row_files
from pipeline.embedding.methods import EMBEDDING, method_for
from pipeline.embedding.ppr.list_request import exclusions_of
from pipeline.embedding.ppr.lists import rounded_up, table_of_lists
from pipeline.embedding.ppr.walk_graph import NO_EDGES, GraphFiles, WalkGraph
from pipeline.embedding.round_tasks import rounds_of_block
from pipeline.embedding.row_files import RowFormat
from pipeline.embedding.rows import SUBSPACE, Rows
from pipeline.embedding.settings import GraphSummary, Settings
from pipeline.embedding.sinks import MemorySink
from pipeline.kernels.graph_filter import LINEAR, FilterRule, GraphFilter, plateau_coefficients
from pipeline.kernels.ppr_chebyshev_bounds import BLOCK
from pipeline.kernels.ppr_top_k import Candidates
from pipeline.kernels.ranking import NO_ROW
from pipeline.locations import Location
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt

BASIS = "basis"
"""The role of the file of eigenvectors."""


@dataclass(frozen=True)
class BasisPayload:
    """Input of the task that finds the leading eigenvectors."""

    graph: GraphFiles
    settings: Settings


@dataclass(frozen=True)
class BasisResult:
    """How many eigenvectors were found, and how far they were off one product earlier, as spectral reports it."""

    rank: int
    residual: float


@dataclass(frozen=True)
class FilterPayload:
    """Input of the task that makes lists; ``span`` is the range of sources in their Arrow file.

    lists : without what sets no result: shards are unset. rows, columns : node numbers of the side of sources and of
    that of listed nodes. targets : of those among the columns that lists hold.
    basis : file of the eigenvectors; None where they don't count.
    """

    lists: ListsConfig
    graph: GraphFiles
    rows: tuple[int, int]
    columns: tuple[int, int]
    targets: tuple[int, int]
    basis: Location | None
    sources: Location
    span: tuple[int, int]


def sides_of_filter(
    config: PipelineConfig, types: Mapping[str, tuple[int, int]]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the node numbers of the side that sources are of, and of that of the listed type."""
    own, other = config.sides.around(config.listed_type)
    return span_of(other, types), span_of(own, types)


def settings_of_basis(lists: ListsConfig, rows: tuple[int, int], columns: tuple[int, int], seed: int) -> Settings:
    """Return the settings of the spectral method whose eigenvectors are those of P = M^T M.

    Of one type they are those of D^-1/2 A D^-1/2 with the largest magnitudes, whose square P is.
    """
    nodes = max(rows[1], columns[1])
    keys = {"method": "spectral", "dim": lists.rank, "rank": lists.rank, "reduction": "truncate", "shift": 0.0}
    if rows == columns:
        embedding = EMBEDDING(**keys, seed=seed, eigenvalues="both", degree_offset=0.0)
        return Settings(GraphSummary(nodes, rows, columns), embedding, "plain", keeps_subspace=True)
    embedding = EMBEDDING(**keys, seed=seed, user_degree_power=0.5, item_degree_power=0.5, no_return=0.0)
    return Settings(GraphSummary(nodes, rows, columns), embedding, "bipartite", keeps_subspace=True)


def find_basis(payload: BasisPayload, attempt: Attempt) -> BasisResult:
    """Task: the leading eigenvectors, a row for each listed node with edges."""
    files = payload.graph
    node_ix, rows, result = leading_eigenvectors(Block.read(0, files.nodes, files.edges, None), payload.settings)
    form = RowFormat(result.rank, has_noise_scale=False)
    row_files.write_rows(attempt.path(BASIS, BATCHES), node_ix, Rows(rows, np.zeros(len(rows))), form)
    return result


def leading_eigenvectors(
    block: Block, settings: Settings
) -> tuple[NDArray[np.int64], NDArray[np.float32], BasisResult]:
    """Return the nodes that have rows, (nodes, rank) orthonormal columns by falling eigenvalue, and what was found."""
    sink = _SubspaceSink(settings, block)
    for _, _, after in rounds_of_block(block, settings, sink):
        settings = after
    method = method_for(settings)
    ((role, node_ix, subspace),) = sink.emitted_rows
    rank = int(np.count_nonzero(settings.facts["eigenvalues"]))
    rows = method.reduce(subspace, node_ix, settings, role).values[:, :rank]
    return node_ix, np.ascontiguousarray(rows), BasisResult(rank, float(settings.facts["residual"][0]))


class _SubspaceSink(MemorySink):
    """Keeps orthonormal columns alone: nobody reads rows of embeddings."""

    def emit_some(self, node_ix: NDArray[np.int64], rows: Rows, role: str = "rows") -> None:
        """Keep rows of that role."""
        if role == SUBSPACE:
            super().emit_some(node_ix, rows, role)


def rule_of(lists: ListsConfig) -> FilterRule:
    """Return what scores are."""
    linear = lists.filter == "linear"
    coefficients = LINEAR if linear else plateau_coefficients(lists.phi, lists.filter_degree)
    return FilterRule(coefficients, lists.alpha, lists.beta)


def solve_filtered(payload: FilterPayload, attempt: Attempt) -> float:
    """Task: the lists of a range of sources; returns the largest error bound. Those without edges have empty lists."""
    walks = WalkGraph.read(payload.graph)
    columns = walks.rows_between(*payload.columns)
    basis = np.zeros((columns[1] - columns[0], 0), np.float32)
    if payload.basis is not None:
        basis = row_files.read_all(payload.basis, 0)[1].values
    lists = payload.lists
    solver = GraphFilter(walks.graph, walks.rows_between(*payload.rows), columns, basis, rule_of(lists))
    node_ix = storage.column(storage.map_arrow(payload.sources), "node_ix")[slice(*payload.span)]
    pieces = [
        _lists_of(walks, solver, walks.rows_between(*payload.targets), lists, node_ix[first : first + BLOCK])
        for first in range(0, max(1, node_ix.size), BLOCK)
    ]
    table = pa.concat_tables(pieces)
    storage.write_arrow(attempt.path("lists", "arrow"), table)
    return float(table["error_bound"].to_numpy().max(initial=0.0))


def _lists_of(
    walks: WalkGraph, solver: GraphFilter, targets: tuple[int, int], lists: ListsConfig, node_ix: NDArray[np.int64]
) -> pa.Table:
    """Return rows of NEIGHBOR_LISTS for some nodes, in their order."""
    rows = walks.rows_of(node_ix)
    has_edges = rows != NO_EDGES
    rows = rows[has_edges]
    own = np.arange(rows.size)
    exclusions: list[tuple[NDArray[np.int64], NDArray[np.integer]]] = [(own, rows)]
    if lists.exclude_known:
        exclusions.append(neighbors_of(walks.graph.indptr, walks.graph.indices, own, rows))
    best = solver.top_k(rows, lists.top_k, Candidates(*targets, None, exclusions_of(exclusions, rows.size)))
    is_listed = best.nodes != NO_ROW
    counts, bound = np.zeros(node_ix.size, np.int64), np.zeros(node_ix.size, np.float32)
    counts[has_edges], bound[has_edges] = is_listed.sum(axis=1), rounded_up(best.bound)
    return table_of_lists(node_ix, counts, walks.node_ix[best.nodes[is_listed]], best.scores[is_listed], bound)
