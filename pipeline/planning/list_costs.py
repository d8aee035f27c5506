"""How lists are made, and what that takes: sources or parts are dealt out, and which solver is cheapest."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.config.model import PipelineConfig
from pipeline.config.ppr import PprConfig
from pipeline.embedding.ppr.lists import composed_threshold
from pipeline.embedding.ppr.traffic import composed_traffic, sharded_read_bytes
from pipeline.errors import ConfigError
from pipeline.kernels.ppr_chebyshev import smallest_tolerance
from pipeline.kernels.ppr_choice import Choice, choose, push_seconds, walk_seconds

#: Of a task that holds the whole graph: an entry as it is mapped, a node's own columns, and rows of 128 sources.
_ENTRY_BYTES, _NODE_BYTES, _ROWS_BYTES = 8, 100, 512
_WEIGHT_BYTES = 4  # of an entry that is weighed anew
_TASK_SECONDS = 30.0  # of one core: what a lost worker costs
_LONGEST = 100_000  # of what ppr.top_k may be
_LISTED_AT_ONCE = 4_000_000  # entries of lists that a task holds, 12 bytes each


@dataclass(frozen=True)
class WayOfLists:
    """Whether tasks share the sources or the graph, and why; the solver; what a task with the whole graph holds."""

    across: str
    because: str
    choice: Choice
    task_bytes: int


@dataclass(frozen=True)
class Traffic:
    """Bytes that tasks over sources read of the graph, and that tasks over parts move; estimates but for the first."""

    read_bytes: int
    moved_bytes: int
    held_bytes: int


def way_of_lists(config: PipelineConfig, nodes: int, edges: int, sources: int) -> WayOfLists:
    """Return how the lists of so many sources are made.

    Raises
    ------
    ConfigError : the solver that is set can't reach the tolerance, or can't be composed from parts.
    """
    needed, most = task_bytes(config.ppr, nodes, 2 * edges), config.partition.worker_bytes
    across, because = config.ppr.across, "as set"
    if across == "auto":
        across = "sources" if needed <= most else "parts"
        because = f"a task with the whole graph holds {needed:,} bytes, and partition.worker_bytes is {most:,}"
    return WayOfLists(across, because, _solver(config, nodes, 2 * edges, max(1, sources), across), needed)


def solved_length(config: PipelineConfig, targets: int) -> int:
    """Return how long lists are made: as asked, and longer by what is left out of them when they are published.

    No longer than there are nodes to list: a graph that grows has as many one day.
    """
    return min(config.ppr.top_k + len(config.publish.exclude_ids.get(config.listed_type, ())), targets, _LONGEST)


def task_bytes(ppr: PprConfig, nodes: int, entries: int) -> int:
    """Return what a task with the whole graph holds at most, the pages of its map counted."""
    entry = _ENTRY_BYTES + (_WEIGHT_BYTES if ppr.edge_degree_power else 0)
    return entries * entry + nodes * (_NODE_BYTES + 3 * _ROWS_BYTES)


def traffic_of_lists(
    config: PipelineConfig, nodes: int, edges: int, sources: int, tasks: int, crossing: float, parts: int
) -> Traffic:
    """Return what either way reads and moves.

    Parameters
    ----------
    tasks : over sources. crossing : share of the edges whose ends are at home in different parts.
    """
    mean = 2 * edges / max(nodes, 1)
    error = composed_threshold(config.ppr, mean) * mean
    moved = composed_traffic(sources, mean, error, config.ppr.restart, crossing, parts)
    return Traffic(sharded_read_bytes(nodes, 2 * edges, tasks), moved.moved_bytes, moved.held_bytes)


def shards_of_lists(ppr: PprConfig, sources: int, seconds: float, slots: int) -> int:
    """Return how many tasks share the sources: as set, or so many that each is worth its start and lost cheaply."""
    if ppr.shards is not None:
        return max(1, min(ppr.shards, sources))
    fewest = math.ceil(sources * ppr.top_k / _LISTED_AT_ONCE)
    wanted = max(math.ceil(seconds / _TASK_SECONDS), slots if seconds > 1 else 1, fewest)
    return max(1, min(wanted, sources))


def _solver(config: PipelineConfig, nodes: int, entries: int, sources: int, across: str) -> Choice:
    ppr = config.ppr
    counts = nodes, entries, sources, ppr.top_k
    choice = choose(*counts, ppr.tolerance, ppr.restart, is_bipartite=not config.input.is_plain)
    if across == "parts":
        if ppr.solver not in ("auto", "push"):
            raise ConfigError(
                f"ppr.solver is '{ppr.solver}' and lists are composed from parts, which push does: leave solver out, "
                "or set ppr.across = 'sources' and partition.worker_bytes to what the whole graph takes"
            )
        threshold = composed_threshold(ppr, entries / max(nodes, 1))
        seconds = push_seconds(*counts, threshold, ppr.restart)
        return Choice("push", seconds, f"push: what parts are composed with; {_about(seconds)}", choice.estimates)
    if ppr.solver == "push" or (ppr.solver == "auto" and ppr.push_threshold is not None):
        threshold = ppr.push_threshold or ppr.tolerance / max(entries, 1)
        seconds = push_seconds(*counts, threshold, ppr.restart)
        return Choice("push", seconds, f"push: as set; {_about(seconds)}", choice.estimates)
    if ppr.solver == "walks":
        seconds = walk_seconds(nodes, sources, ppr.top_k, ppr.walks, ppr.restart)
        return Choice("walks", seconds, f"walks: as set; {_about(seconds)}", choice.estimates)
    if ppr.solver == "chebyshev" and "chebyshev" not in choice.estimates:
        raise ConfigError(
            f"ppr.solver is 'chebyshev', which computes in float32 and can't certify ppr.tolerance {ppr.tolerance:g} "
            f"at restart {ppr.restart:g}: the least is {smallest_tolerance(ppr.restart):.2g}; raise the tolerance, or "
            "use solver = 'push'"
        )
    if ppr.solver == "chebyshev" and choice.solver == "push":
        return Choice("chebyshev", choice.estimates["chebyshev"], f"chebyshev: as set; {choice.reason}", {})
    return choice


def _about(seconds: float) -> str:
    return f"an estimated {seconds:.3g} s of one core"
