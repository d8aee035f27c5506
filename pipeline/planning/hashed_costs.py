"""What hashed PPR takes: a push or a column of passes from every node.

Tasks have the whole graph and some of the nodes each.
"""

import math

from pipeline.config.model import PipelineConfig
from pipeline.embedding.ppr.hashed import error_share, pushed_entries, reads_blocks
from pipeline.embedding.settings import Settings
from pipeline.kernels.ppr_chebyshev_bounds import BLOCK, chebyshev_passes
from pipeline.planning.list_costs import pass_seconds
from pipeline.planning.pricing import Price

#: Of one core of the machine that the tests run on: an entry that is pushed, where the state of a node is in its cache
#: and where it isn't; an entry and a node of the graph as a task opens it.
_PUSH_NEAR, _PUSH_FAR = 2e-9, 8e-9
_NEAR_BYTES, _STATE_BYTES = 48 << 20, 28
_OPEN_ENTRY, _OPEN_NODE = 15e-9, 50e-9
_TASK_SECONDS = 10.0  # what a lost worker costs
_OPENED = 10.0  # times what it takes to open the graph, at least
_ROW_BYTES_A_TASK = 1 << 26
#: Of a task beside its rows: an entry as it is mapped, a node's columns and state, sparse scores of 256 nodes.
_ENTRY_BYTES, _NODE_BYTES, _SCORES_BYTES = 8, 112, 64 << 20


def estimate_push_seconds(settings: Settings, edges: int) -> float:
    """Estimate the seconds of one core that all pushes, or passes, take."""
    if not edges:
        return 0.0
    nodes, entries = settings.graph.nodes, 2 * edges
    is_bipartite = settings.graph.source != settings.graph.target
    if reads_blocks(settings, entries, is_bipartite=is_bipartite):
        passes = chebyshev_passes(settings.ppr.restart, error_share(settings), is_bipartite=is_bipartite)
        return nodes / BLOCK * passes * pass_seconds(nodes, entries, BLOCK)
    # The most that the theorem allows [2 ns for each of these on Gowalla, thresholds of 1 to 100 times 1 / nodes].
    is_near = nodes * _STATE_BYTES <= _NEAR_BYTES
    return nodes * pushed_entries(settings, entries) * (_PUSH_NEAR if is_near else _PUSH_FAR)


def shards_of_rows(config: PipelineConfig, settings: Settings, edges: int, seconds: float) -> int:
    """Return how many tasks share the nodes: as set, or so many that each is worth opening the graph for."""
    nodes = max(settings.graph.nodes, 1)
    if config.ppr.shards is not None:
        return min(config.ppr.shards, nodes)
    fewest = math.ceil(nodes * 4 * settings.dim / _ROW_BYTES_A_TASK)
    worth = max(_TASK_SECONDS, _OPENED * _opening_seconds(nodes, edges))
    return min(max(math.ceil(seconds / worth), fewest), nodes)


def price_hashed_rows(config: PipelineConfig, settings: Settings, edges: int, slots: int, *, is_exact: bool) -> Price:
    """Price the tasks; nothing is exchanged."""
    seconds = estimate_push_seconds(settings, edges)
    shards = shards_of_rows(config, settings, edges, seconds)
    cpu = seconds + shards * _opening_seconds(settings.graph.nodes, edges)
    graph_bytes = 2 * edges * _ENTRY_BYTES + settings.graph.nodes * _NODE_BYTES
    rows = math.ceil(settings.graph.nodes / shards) * 4 * settings.dim
    return Price(
        parts=1,
        shards=shards,
        task_bytes=graph_bytes + rows + _SCORES_BYTES,
        floats_moved_per_node=0.0,
        cpu_seconds=cpu,
        wall_seconds=cpu / shards * math.ceil(shards / max(slots, 1)),
        tasks=shards,
        is_exact=is_exact,
    )


def _opening_seconds(nodes: int, edges: int) -> float:
    return 2 * edges * _OPEN_ENTRY + nodes * _OPEN_NODE
