"""How lists are made and what that takes: whether tasks share sources or parts, and which solver is cheapest."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.config.model import PipelineConfig
from pipeline.config.ppr import PprConfig
from pipeline.embedding.ppr.lists import composed_threshold, pushed_entries
from pipeline.errors import ConfigError
from pipeline.kernels.ppr_chebyshev import smallest_tolerance
from pipeline.planning.solver_choice import SolverChoice, choose_solver, estimate_seconds, push_seconds, walk_seconds

#: Of a task that holds the whole graph: an entry as it is mapped, a node's own columns, and rows of 128 sources.
_ENTRY_BYTES, _NODE_BYTES, _ROWS_BYTES = 8, 100, 512
_WEIGHT_BYTES = 4  # of an entry that is weighed anew
_TASK_SECONDS = 30.0  # of one core: what a lost worker costs
_LONGEST = 100_000  # of what ppr.top_k may be
_LISTED_AT_ONCE = 4_000_000  # entries of lists that a task holds, 12 bytes each

_NODE_FILE_BYTES = 45  # of a node in a block's files
#: Pairs of node and source that are sent a pushed entry that crosses the cut: .43 to .74 on Gowalla in 16 parts,
#: multilevel and hash, since what goes to one node in one round is added up. Such a pair is position and mass, and its
#: share of what says whose it is.
_SENT_A_CROSSING, _SENT_BYTES = 0.6, 14
#: What stays on disk of each pair of node and source that changed in a round, and how many there are a pushed entry.
_HELD_BYTES, _HELD_AN_ENTRY = 20, 0.5


@dataclass(frozen=True)
class ListPlan:
    """Whether tasks share the sources or the graph, and why; the solver; what a task with the whole graph holds."""

    across: str
    reason: str
    solver: SolverChoice
    task_bytes: int


@dataclass(frozen=True)
class ListTraffic:
    """Bytes that tasks over sources read of the graph, and that tasks over parts move and keep on disk meanwhile."""

    read_bytes: int
    moved_bytes: int
    held_bytes: int


def plan_lists(config: PipelineConfig, nodes: int, edges: int, sources: int) -> ListPlan:
    """Return how the lists of so many sources are made.

    Raises
    ------
    ConfigError : the solver that is set can't reach the tolerance, or can't be composed from parts.
    """
    entry_bytes = _ENTRY_BYTES + (_WEIGHT_BYTES if config.ppr.edge_degree_power else 0)
    needed, most = 2 * edges * entry_bytes + nodes * (_NODE_BYTES + 3 * _ROWS_BYTES), config.partition.worker_bytes
    across, reason = config.ppr.across, "as set"
    if across == "auto":
        across = "sources" if needed <= most else "parts"
        reason = f"a task with the whole graph holds {needed:,} bytes, and partition.worker_bytes is {most:,}"
    return ListPlan(across, reason, _solver_for(config, nodes, 2 * edges, max(1, sources), across), needed)


def solved_length(config: PipelineConfig, targets: int) -> int:
    """Return how long lists are made: as asked, and longer by what is left out of them when they are published.

    No longer than there are nodes to list: a graph that grows has as many one day.
    """
    return min(config.ppr.top_k + len(config.publish.exclude_ids.get(config.listed_type, ())), targets, _LONGEST)


def shards_of_lists(ppr: PprConfig, sources: int, seconds: float, slots: int) -> int:
    """Return how many tasks share the sources: as set, or so many that each is worth its start and lost cheaply."""
    if ppr.shards is not None:
        return max(1, min(ppr.shards, sources))
    fewest = math.ceil(sources * ppr.top_k / _LISTED_AT_ONCE)
    wanted = max(math.ceil(seconds / _TASK_SECONDS), slots if seconds > 1 else 1, fewest)
    return max(1, min(wanted, sources))


def list_traffic(
    config: PipelineConfig, nodes: int, edges: int, sources: int, tasks: int, crossing: float
) -> ListTraffic:
    """Estimate what lists read where tasks share the sources, and what they move where tasks share the graph.

    Tasks over sources map the whole graph; that is exact but for file headers. Tasks of one machine find the pages
    that another has read in memory. Estimates of parts are within a factor of two of what was measured on Gowalla in
    16 parts, both cuts; a graph whose mass spreads otherwise may be off by three.

    Parameters
    ----------
    tasks : over sources. crossing : share of the edges whose ends are at home in different parts; 0 of one part.
    """
    mean = 2 * edges / max(nodes, 1)
    pushed = pushed_entries(sources, mean, composed_threshold(config.ppr, mean) * mean, config.ppr.restart)
    return ListTraffic(
        read_bytes=tasks * (nodes * _NODE_FILE_BYTES + 2 * edges * _ENTRY_BYTES),
        moved_bytes=math.ceil(pushed * crossing * _SENT_A_CROSSING * _SENT_BYTES),
        held_bytes=math.ceil(pushed * _HELD_AN_ENTRY * _HELD_BYTES),
    )


def _solver_for(config: PipelineConfig, nodes: int, entries: int, sources: int, across: str) -> SolverChoice:
    ppr = config.ppr
    counts = nodes, entries, sources, ppr.top_k
    if across == "parts":
        if ppr.solver not in ("auto", "push"):
            raise ConfigError(
                f"ppr.solver is '{ppr.solver}' and lists are composed from parts, which push does: leave solver out, "
                "or set ppr.across = 'sources' and partition.worker_bytes to what the whole graph takes"
            )
        seconds = push_seconds(*counts, composed_threshold(ppr, entries / max(nodes, 1)), ppr.restart)
        return _configured("push", seconds, "what parts are composed with")
    if ppr.solver == "push" or (ppr.solver == "auto" and ppr.push_threshold is not None):
        threshold = ppr.push_threshold or ppr.tolerance / max(entries, 1)
        return _configured("push", push_seconds(*counts, threshold, ppr.restart), "as set")
    if ppr.solver == "walks":
        return _configured("walks", walk_seconds(nodes, sources, ppr.top_k, ppr.walks, ppr.restart), "as set")
    if ppr.solver == "chebyshev" and ppr.tolerance < smallest_tolerance(ppr.restart):
        raise ConfigError(
            f"ppr.solver is 'chebyshev', which computes in float32 and can't certify ppr.tolerance {ppr.tolerance:g} "
            f"at restart {ppr.restart:g}: the least is {smallest_tolerance(ppr.restart):.2g}; raise the tolerance, or "
            "use solver = 'push'"
        )
    seconds_of = estimate_seconds(*counts, ppr.tolerance, ppr.restart, is_bipartite=not config.input.is_plain)
    choice = choose_solver(seconds_of, sources, entries, ppr.tolerance, ppr.restart)
    if ppr.solver == "chebyshev" and choice.solver == "push":
        return SolverChoice("chebyshev", seconds_of["chebyshev"], f"chebyshev: as set; {choice.reason}")
    return choice


def _configured(solver: str, seconds: float, reason: str) -> SolverChoice:
    return SolverChoice(solver, seconds, f"{solver}: {reason}; an estimated {seconds:.3g} s of one core")
