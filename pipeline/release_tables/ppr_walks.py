"""blocks -> ppr_walks: walks from every node, each node on the way counted: fingerprints that queries end at."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.embedding.ppr.walk_graph import NO_EDGES, WalkGraph
from pipeline.ingest.figures import IndexFigures
from pipeline.kernels.alias_tables import AliasTables, alias_tables
from pipeline.kernels.ppr_walks import WalkRule, walk_visits
from pipeline.kernels.transition import single_seeds
from pipeline.planning.walk_costs import walk_tasks
from pipeline.release_tables.finished_rows import PublishedRows
from pipeline.release_tables.published_table import PublishedTable, TableRun, WrittenTable
from pipeline.release_tables.walked_graph import WalkedGraph, list_array, value_columns, walked_graph
from pipeline.tasks import Attempt
from schemas.published_tables import PPR_WALK_ROWS, PPR_WALKS

_GROUP_VISITS = 1 << 16  # of a row group, about: a point read decodes a tenth of a megabyte
_VISITS_AT_ONCE = 1 << 22  # that a task holds, 40 bytes each at most
_VALUES = value_columns(["visited", "visits"])


@dataclass(frozen=True)
class WalkPayload:
    """Input of the task that walks; ``span`` is the range of node numbers that it walks from."""

    graph: WalkedGraph
    span: tuple[int, int]


@dataclass(frozen=True)
class WalkResult:
    """Pairs of nodes in a file, and the visits that these count."""

    entries: int
    visits: int


@dataclass(frozen=True)
class WalkFigures:
    """Pairs of nodes in the index, the visits that these count, and the bytes of its files."""

    walk_entries: int = 0
    walk_visits: int = 0
    walk_bytes: int = 0


def write_walks(run: TableRun) -> WrittenTable[WalkFigures]:
    """Walk from all nodes, a range of them a task; ranges depend on the graph and the walks, not on the workers."""
    graph, _ = walked_graph(run)
    counts = run.workspace.figures("node_index", IndexFigures)
    tasks = walk_tasks(counts.nodes, counts.edges, graph.request.walks / graph.request.restart)
    bounds = [counts.nodes * number // tasks for number in range(tasks + 1)]
    records = run.run_tasks(walk_from_nodes, "walks", [WalkPayload(graph, span) for span in pairwise(bounds)])
    figures = WalkFigures(
        walk_entries=sum(record.result.entries for record in records),
        walk_visits=sum(record.result.visits for record in records),
        walk_bytes=sum(record.files[0].bytes for record in records),
    )
    return WrittenTable([record for record in records if record.files[0].rows], figures, records)


def walk_from_nodes(payload: WalkPayload, attempt: Attempt) -> WalkResult:
    """Task: the rows of a range of nodes."""
    request = payload.graph.request
    rule = WalkRule(request.restart, request.walks, request.seed)
    whole = WalkGraph.read(payload.graph.files, request.edge_degree_power)
    weights = whole.graph.weights
    alias = None if weights is None else alias_tables(whole.graph.indptr, whole.graph.indices, weights)
    rows, schema = PublishedRows(payload.graph.nodes, payload.graph.count), payload.graph.schema_of(PPR_WALK_ROWS)
    node_ix = rows.between(*payload.span)
    group = max(1, int(_GROUP_VISITS * rule.restart / rule.walks))
    at_once = group * max(1, int(_VISITS_AT_ONCE * rule.restart / rule.walks) // group)
    entries, visits = 0, 0
    with pq.ParquetWriter(
        attempt.path(PPR_WALKS, "parquet"),
        schema,
        # Differences of ascending numbers are packed; so is a dictionary of counts, which are nearly all 1.
        compression="zstd",
        use_dictionary=[_VALUES["visits"]],
        column_encoding={"row": "DELTA_BINARY_PACKED", _VALUES["visited"]: "DELTA_BINARY_PACKED"},
        write_statistics=["row"],
    ) as writer:
        for start in range(0, node_ix.size, at_once):
            batch = node_ix[start : start + at_once]
            lengths, visited_rows, counts = _visits(whole, alias, batch, rows, rule)
            columns = [
                pa.array(rows.of(batch)),
                list_array(lengths, visited_rows, schema.field("visited").type),
                list_array(lengths, counts, schema.field("visits").type),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=group)
            entries += visited_rows.size
            visits += int(counts.sum())
    return WalkResult(entries, visits)


def _visits(
    whole: WalkGraph,
    alias: AliasTables | None,
    node_ix: NDArray[np.int64],
    rows: PublishedRows,
    rule: WalkRule,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Return how many nodes the walks of each node were at, these nodes' rows, ascending, and how often."""
    from scipy.sparse import csr_array  # a fifth of a second, which most runs have no use for

    at = whole.rows_of(node_ix)
    with_edges = np.flatnonzero(at != NO_EDGES)
    seeds = at[with_edges]
    visits = walk_visits(whole.graph, alias, single_seeds(seeds), whole.node_key[seeds], rule)
    # Transposed twice, nodes ascend, in time proportional to their number.
    shape = (seeds.size, whole.graph.n)
    matrix = csr_array((visits.visits, visits.nodes, visits.indptr), shape=shape).tocsc().tocsr()
    source, visited_ix = np.repeat(with_edges, np.diff(matrix.indptr)), whole.node_ix[matrix.indices]
    is_published = rows.are_published(visited_ix)
    lengths = np.bincount(source[is_published], minlength=node_ix.size)
    return lengths, rows.of(visited_ix[is_published]), matrix.data[is_published]


TABLE = PublishedTable(
    name=PPR_WALKS,
    contract=lambda _: PPR_WALK_ROWS,
    is_wanted=lambda config: config.ppr.walk_index,
    write=write_walks,
    figures=WalkFigures,
)
