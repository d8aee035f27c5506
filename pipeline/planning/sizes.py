"""What a run will need, from counts alone: columns of a row, number of parts, bytes on disk.

Everything here is arithmetic on sizes; nothing is read. Where a count is an upper bound, so is what follows
from it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.config.model import PipelineConfig
from pipeline.partitioning.cutting import ROW_BUFFERS, Bounds
from pipeline.partitioning.multilevel import IMBALANCE
from pipeline.partitioning.wide.top_levels import cut_bytes
from pipeline.planning.cuts import Cut, hash_cut
from pipeline.planning.embedding_work import work_for

#: Resident size of a Python process with all libraries that a task loads, before its task (measured).
PROCESS_BYTES = 300 * 2**20
#: Rows away from home that multilevel cuts leave, of those that homes drawn at random would, were all degrees the mean:
#: .32 on a planted graph in 8 parts; of edges, METIS cuts .33 of what chance cuts on Gowalla in 16.
_SHARE_OF_CHANCE = 1 / 3
#: Files of a cut by many tasks, kept until it has committed: of an entry, sent to its range (8), stored (4), and sent
#: and stored again by every contraction (12 each, of ever fewer); of a node, labels (4) and loads (8) after each round.
_WIDE_ENTRY_BYTES, _WIDE_NODE_BYTES = 42, 260
_MANY = 2**40  # nodes: no method has as many columns
#: Bytes of an id where it is not known: most are integers or short.
_ID_BYTES = 16
#: Of the walk index, compressed: a node that a walk visits, and an entry of the graph.
_VISIT_BYTES, _WALKED_ENTRY_BYTES = 1.4, 2.5


@dataclass(frozen=True)
class GraphCounts:
    """Counts of a graph; ``is_exact`` is False for upper bounds.

    id_bytes : of one id. degrees : (degree, nodes with it) of the targets; none: their mean is all that is known.
    """

    nodes: int
    edges: int
    targets: int  # nodes that edges point to; of one type, all
    is_exact: bool
    id_bytes: int = _ID_BYTES
    degrees: tuple[tuple[float, int], ...] = ()


def upper_bounds(rows: int, source_ids: int | None, target_ids: int | None, *, is_plain: bool) -> GraphCounts:
    """Bound a graph by the rows of its input.

    Parameters
    ----------
    source_ids, target_ids : most different ids of a column, where its smallest and largest integer are known.
    """
    sources = min(rows, source_ids) if source_ids is not None else rows
    targets = min(rows, target_ids) if target_ids is not None else rows
    pairs = sources * targets if not is_plain else rows
    nodes = sources + targets
    return GraphCounts(nodes, min(rows, pairs), targets=nodes if is_plain else targets, is_exact=False)


def held_columns(config: PipelineConfig) -> int:
    """Return the columns of a row of which a task holds three buffers, in one of the shards that ``embed`` may take.

    The row, its product and what is carried, or as many buffers as the method multiplies in; homes of split nodes add
    in float64.
    """
    work = work_for(config, nodes=2 * _MANY, targets=_MANY)
    shards = work.shards(config.embedding.shards or work.most_shards)
    widest = max((round_work.width for round_work in work.rounds), default=config.embedding.dim)
    width = work.columns_of_shard(widest, shards)
    extra = work.carried_columns(shards) * width / widest
    return max(width, math.ceil((max(2, work.buffers) * width + extra) / ROW_BUFFERS))


def bounds_of(config: PipelineConfig) -> Bounds:
    """Return what a leaf may hold."""
    return Bounds(config.partition.max_edges, config.partition.max_bytes, held_columns(config))


def expected_parts(config: PipelineConfig, graph: GraphCounts) -> int:
    """Return how many parts a graph is cut into, about."""
    return [1, *expected_levels(config, graph)][-1]


def expected_levels(config: PipelineConfig, graph: GraphCounts) -> list[int]:
    """Return about how many parts each level of cuts leaves: pieces are cut until they fit, with the rows of others."""
    if config.partition.method == "none":
        return []
    if config.partition.parts is not None:
        return [config.partition.parts]
    levels: list[int] = []
    bounds, parts = bounds_of(config), 1
    rows, edges = graph.nodes, graph.edges
    ends, destinations = (2 * edges, rows) if config.input.is_plain else (edges, graph.targets)
    while parts < graph.nodes and bounds.excess(rows, edges) * (IMBALANCE if parts > 1 else 1.0) > 1:
        parts *= bounds.children(rows, edges)
        of_chance = hash_cut(graph.nodes, graph.edges, [(ends / max(destinations, 1), destinations)], parts).copies
        away = _SHARE_OF_CHANCE * of_chance
        levels.append(parts)
        rows, edges = math.ceil((graph.nodes + away) / parts), math.ceil(graph.edges / parts)
    return levels


def is_cut_wide(config: PipelineConfig, graph: GraphCounts) -> bool:
    """Whether many tasks cut a graph, since one can't hold it."""
    return cut_bytes(graph.nodes, graph.edges) > config.partition.worker_bytes


def published_bytes(config: PipelineConfig, graph: GraphCounts) -> int:
    """Return the bytes of the tables of a release; compression is left aside."""
    dim = 0 if config.embedding.method == "none" else config.embedding.dim
    row = 4 * dim + graph.id_bytes + 24
    if dim and config.publish.compact != "none":
        row += dim + graph.id_bytes + 4
    if config.codes.enabled:
        row += 4 * config.codes.levels + graph.id_bytes + 12
    interests = interest_rows(config, graph) * (4 * dim + graph.id_bytes + 8)
    return graph.nodes * row + interests + _list_bytes(config, graph) + _index_bytes(config, graph)


def interest_rows(config: PipelineConfig, graph: GraphCounts) -> int:
    """Return the rows of ``user_interests`` at most."""
    interests = config.interests
    sources = graph.nodes if config.input.is_plain or not graph.is_exact else graph.nodes - graph.targets
    return min(graph.edges, sources * min(interests.per_source, interests.clusters))


def _list_bytes(config: PipelineConfig, graph: GraphCounts) -> int:
    return graph.nodes * (24 + 12 * min(config.list_keys.top_k, graph.targets)) if config.makes_lists else 0


def _index_bytes(config: PipelineConfig, graph: GraphCounts) -> int:
    if not config.ppr.walk_index:
        return 0
    visits = config.ppr.index_walks / config.ppr.restart
    a_node = visits * _VISIT_BYTES + graph.id_bytes + 8
    return math.ceil(graph.nodes * a_node + 2 * graph.edges * _WALKED_ENTRY_BYTES)


def disk_bytes(
    config: PipelineConfig,
    graph: GraphCounts,
    cut: Cut,
    *,
    input_bytes: int = 0,
    input_rows: int = 0,
    kept_bytes: int = 0,
) -> Mapping[str, int]:
    """Return the bytes on disk that each stage adds at its peak, by stage; compression is left aside.

    Parameters
    ----------
    kept_bytes : of files that ``embed`` keeps until its rounds are done.
    """
    dim = 0 if config.embedding.method == "none" else config.embedding.dim
    row = 16 + 4 * dim if dim else 0
    ids = 2 * graph.id_bytes
    # Columns that are constant take no room: weights where every row is worth 1, and times where there are none.
    has_weights = config.input.weight or config.input.event or config.input.half_life_days
    sums = 8 * (bool(has_weights) + bool(config.input.timestamp))
    tables = published_bytes(config, graph)
    cut_edges = graph.edges if cut.parts > 1 else 0
    pieces = cut_edges * 16
    if cut_edges and is_cut_wide(config, graph):
        entry, node = (_WIDE_ENTRY_BYTES, _WIDE_NODE_BYTES) if config.partition.method != "hash" else (12, 60)
        pieces = 2 * cut_edges * entry + graph.nodes * node
    return {
        # What it asks for before it starts, or the rows in working form and their sums.
        "ingest": max(3 * input_bytes, input_rows * (ids + sums) + graph.edges * (ids + 8 + sums)),
        "index": graph.nodes * (graph.id_bytes + 48) + graph.edges * 24,
        "partition": graph.nodes * 13 + pieces,
        "layout": sum(cut.rows) * 45 + sum(cut.entries) * 8 + cut_edges * 24,
        "embed": graph.nodes * row + kept_bytes + _list_bytes(config, graph),
        # Rows go to cells once more.
        "aggregate": tables + (graph.nodes * (8 + 4 * dim) if config.codes.of_vectors else 0),
        "publish": tables,  # a copy, where the file system has no clones
    }
