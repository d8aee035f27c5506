"""Which solver of personalised PageRank is cheapest for given counts, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.kernels.ppr_chebyshev import BLOCK, chebyshev_passes, smallest_tolerance
from pipeline.kernels.transition import check_restart, check_tolerance

#: Seconds of one core of the machine that the tests run on; their ratios decide, and change less between machines.
_ROW_NEAR, _ROW_FAR = 15e-9, 45e-9  # 512 bytes from the last cache, from memory
_NEAR_BYTES = 48 << 20
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
        width = min(BLOCK, max(1, sources))
        is_near = nodes * width * 4 <= _NEAR_BYTES
        # A narrow block moves less memory, but not less than a cache line an entry.
        share = max(width, 16) / BLOCK
        one_pass = share * (entries * (_ROW_NEAR if is_near else _ROW_FAR) + nodes * _ROW_WORK)
        passes = chebyshev_passes(restart, tolerance, is_bipartite=is_bipartite)
        seconds["chebyshev"] = math.ceil(sources / BLOCK) * passes * one_pass + _list_seconds(nodes, sources, k)
    return seconds


def choose_solver(
    seconds: Mapping[str, float], sources: int, entries: int, tolerance: float, restart: float
) -> SolverChoice:
    """Choose the solver that takes the fewest of the seconds that `estimate_seconds` returns."""
    solver = min(seconds, key=lambda name: (seconds[name], name))
    others = "".join(f"; {name} {seconds[name]:.3g} s" for name in sorted(seconds) if name != solver)
    if "chebyshev" not in seconds:
        others = "; chebyshev is out: float32 cannot certify so small an error"
    return SolverChoice(
        solver,
        seconds[solver],
        f"{solver} takes an estimated {seconds[solver]:.3g} s of one core for {sources} sources on {entries} entries "
        f"at an l1 error of {tolerance:g} and restart {restart:g}{others}",
    )


def push_seconds(nodes: int, entries: int, sources: int, k: int, threshold: float, restart: float) -> float:
    """Estimate push at a threshold in score per weighted degree, in units of the mean weight of an entry.

    Either the theorem's bound on its work, or sweeps over the whole graph until what is left is small enough.
    """
    per_entry = _PUSH_NEAR if nodes * 24 <= _NEAR_BYTES else _PUSH_FAR
    sweeps = 1 + max(0.0, -math.log(threshold * max(entries, 1))) / -math.log1p(-restart)
    pushed = min(1 / (threshold * restart), sweeps * entries)
    return sources * pushed * per_entry + _list_seconds(nodes, sources, k)


def walk_seconds(nodes: int, sources: int, k: int, walks: int, restart: float) -> float:
    """Estimate so many walks a source."""
    return sources * walks / restart * _WALK_STEP + _list_seconds(nodes, sources, k)


def _list_seconds(nodes: int, sources: int, k: int) -> float:
    return sources * k * (1 + math.log(max(1.0, nodes / max(k, 1)))) * _LISTED
