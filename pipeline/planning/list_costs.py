"""How lists are made and what that takes: whether tasks share sources or parts, and which solver is cheapest."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.config.lists import ListsConfig
from pipeline.config.model import PipelineConfig
from pipeline.config.ppr import PprConfig
from pipeline.embedding.ppr.lists import composed_threshold, pushed_entries
from pipeline.errors import ConfigError
from pipeline.kernels.ppr_chebyshev_bounds import (
    BLOCK,
    chebyshev_passes,
    smallest_tolerance,
    smallest_tolerance_of_halves,
)
from pipeline.kernels.transition import check_restart, check_tolerance

#: Seconds of one core of the machine that the tests run on; their ratios decide, and change less between machines.
_ROW_NEAR, _ROW_FAR = 15e-9, 45e-9  # 512 bytes from the last cache, from memory
_NEAR_BYTES = 48 << 20
_HALF_ROWS = 0.7  # of a pass over rows in bfloat16, next to float32 [lists of 100: .63 on Gowalla, .75 of 10 M edges]
_ROW_WORK = 100e-9  # a pass over one node's row besides its entries
_PUSH_NEAR, _PUSH_FAR = 20e-9, 60e-9  # an entry pushed
_WALK_STEP = 35e-9
_LISTED = 50e-9  # a score that enters a list


@dataclass(frozen=True)
class SolverChoice:
    """A solver, its estimated seconds on one core, and a sentence that says why."""

    solver: str
    seconds: float
    reason: str


def estimate_seconds(
    nodes: int, entries: int, sources: int, k: int, tolerance: float, restart: float, *, is_bipartite: bool
) -> Mapping[str, float]:
    """Return the seconds of each solver that can certify an l1 error; walks certify nothing.

    Parameters
    ----------
    nodes, entries : of the adjacency; an undirected edge is two entries.
    sources, k : lists wanted, and their length.
    tolerance : bound on the sum of all errors of a source. Push keeps it at the threshold of `push_threshold`.
    restart : in (0, 1).
    is_bipartite : as in `Transition`.

    Raises
    ------
    ValueError : a restart outside (0, 1), or a tolerance that is not above 0.
    """
    check_restart(restart)
    check_tolerance(tolerance)
    seconds = {"push": push_seconds(nodes, entries, sources, k, tolerance / max(entries, 1), restart)}
    if tolerance >= smallest_tolerance(restart):
        passes = chebyshev_passes(restart, tolerance, is_bipartite=is_bipartite)
        one_pass = pass_seconds(nodes, entries, min(BLOCK, max(1, sources)))
        if tolerance >= smallest_tolerance_of_halves(restart, is_bipartite=is_bipartite):
            one_pass *= _HALF_ROWS
        seconds["chebyshev"] = math.ceil(sources / BLOCK) * passes * one_pass + list_seconds(nodes, sources, k)
    return seconds


def pass_seconds(nodes: int, entries: int, width: int) -> float:
    """Estimate one pass over all entries with rows of ``width`` sources, `BLOCK` at most."""
    is_near = nodes * width * 4 <= _NEAR_BYTES
    # A narrow block moves less memory, but not less than a cache line an entry.
    share = max(width, 16) / BLOCK
    return share * (entries * (_ROW_NEAR if is_near else _ROW_FAR) + nodes * _ROW_WORK)


def choose_solver(
    seconds: Mapping[str, float], sources: int, entries: int, tolerance: float, restart: float
) -> SolverChoice:
    """Choose the solver that takes the fewest of the seconds that `estimate_seconds` returns."""
    solver = min(seconds, key=lambda name: (seconds[name], name))
    times = "".join(f"; {name} {seconds[name]:.3g} s" for name in sorted(seconds) if name != solver)
    if "chebyshev" not in seconds:
        times = "; chebyshev is out: float32 cannot certify so small an error"
    return SolverChoice(
        solver,
        seconds[solver],
        f"{solver} takes an estimated {seconds[solver]:.3g} s of one core for {sources} sources on {entries} entries "
        f"at an l1 error of {tolerance:g} and restart {restart:g}{times}",
    )


def push_seconds(nodes: int, entries: int, sources: int, k: int, threshold: float, restart: float) -> float:
    """Estimate push at a threshold in score per weighted degree, in units of the mean weight of an entry.

    Either the theorem's bound on its work, or sweeps over the whole graph until what is left is small enough.
    """
    per_entry = _PUSH_NEAR if nodes * 24 <= _NEAR_BYTES else _PUSH_FAR
    sweeps = 1 + max(0.0, -math.log(threshold * max(entries, 1))) / -math.log1p(-restart)
    pushes = min(1 / (threshold * restart), sweeps * entries)
    return sources * pushes * per_entry + list_seconds(nodes, sources, k)


def walk_seconds(nodes: int, sources: int, k: int, walks: int, restart: float) -> float:
    """Estimate so many walks a source."""
    return sources * walks / restart * _WALK_STEP + list_seconds(nodes, sources, k)


def list_seconds(nodes: int, sources: int, k: int) -> float:
    """Estimate the ranking of so many lists of k nodes."""
    return sources * k * (1 + math.log(max(1.0, nodes / max(k, 1)))) * _LISTED


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
    task_bytes, most = 2 * edges * entry_bytes + nodes * (_NODE_BYTES + 3 * _ROWS_BYTES), config.partition.worker_bytes
    across, reason = config.ppr.across, "as set"
    if across == "auto":
        across = "sources" if task_bytes <= most else "parts"
        reason = f"a task with the whole graph holds {task_bytes:,} bytes, and partition.worker_bytes is {most:,}"
    return ListPlan(across, reason, _solver_for(config, nodes, 2 * edges, max(1, sources), across), task_bytes)


def solved_length(config: PipelineConfig, targets: int) -> int:
    """Return how long lists are made: as asked, and longer by what is left out of them when they are published.

    No longer than there are nodes to list: a graph that grows has as many one day.
    """
    return min(config.list_keys.top_k + len(config.publish.exclude_ids.get(config.listed_type, ())), targets, _LONGEST)


def shards_of_lists(keys: PprConfig | ListsConfig, sources: int, seconds: float, slots: int) -> int:
    """Return how many tasks share the sources: as set, or so many that each is worth its start and lost cheaply."""
    if keys.shards is not None:
        return max(1, min(keys.shards, sources))
    fewest = math.ceil(sources * keys.top_k / _LISTED_AT_ONCE)
    shards = max(math.ceil(seconds / _TASK_SECONDS), slots if seconds > 1 else 1, fewest)
    return max(1, min(shards, sources))


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
    pushes = pushed_entries(sources, mean, composed_threshold(config.ppr, mean) * mean, config.ppr.restart)
    return ListTraffic(
        read_bytes=tasks * (nodes * _NODE_FILE_BYTES + 2 * edges * _ENTRY_BYTES),
        moved_bytes=math.ceil(pushes * crossing * _SENT_A_CROSSING * _SENT_BYTES),
        held_bytes=math.ceil(pushes * _HELD_AN_ENTRY * _HELD_BYTES),
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
        return _choice_as_set("push", seconds, "what parts are composed with")
    if ppr.solver == "push" or (ppr.solver == "auto" and ppr.push_threshold is not None):
        threshold = ppr.push_threshold or ppr.tolerance / max(entries, 1)
        return _choice_as_set("push", push_seconds(*counts, threshold, ppr.restart), "as set")
    if ppr.solver == "walks":
        return _choice_as_set("walks", walk_seconds(nodes, sources, ppr.top_k, ppr.walks, ppr.restart), "as set")
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


def _choice_as_set(solver: str, seconds: float, reason: str) -> SolverChoice:
    return SolverChoice(solver, seconds, f"{solver}: {reason}; an estimated {seconds:.3g} s of one core")
