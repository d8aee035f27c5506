"""Which solver of personalised PageRank is cheapest for given counts, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.kernels.ppr_chebyshev import BLOCK, chebyshev_passes, smallest_tolerance
from pipeline.kernels.ppr_walks import walks_needed
from pipeline.kernels.transition import check_restart, check_tolerance

#: Seconds of one core of the machine that the tests run on; their ratios decide, and change less between machines.
_ROW_NEAR, _ROW_FAR = 15e-9, 45e-9  # 512 bytes from the last cache, from memory
_NEAR_BYTES = 48 << 20
_ROW_WORK = 100e-9  # a pass over one node's row besides its entries
_PUSH_NEAR, _PUSH_FAR = 4e-9, 15e-9  # an entry pushed
_WALK_STEP = 35e-9
_LISTED = 50e-9  # a score that enters a list
_CONFIDENCE = 0.95

ERROR_KINDS = {"chebyshev": "l1", "push": "pointwise", "walks": "confidence"}


@dataclass(frozen=True)
class Choice:
    """A solver, the unit of its error bound, its estimated seconds on one core, and a sentence that says why."""

    solver: str
    error_kind: str
    seconds: float
    reason: str
    estimates: Mapping[str, float]


def choose(
    nodes: int,
    entries: int,
    sources: int,
    k: int,
    tolerance: float,
    restart: float,
    *,
    is_bipartite: bool,
    is_undirected: bool = True,
) -> Choice:
    """The solver whose estimate is lowest.

    Parameters
    ----------
    nodes, entries : of the adjacency; an undirected edge is two entries.
    sources, k : lists wanted, and their length.
    tolerance : how far a score may be off, in units of 1. Chebyshev keeps the sum of all errors below it, push the
        error at a node of average degree, walks with confidence .95 that of a score of this size.
    restart : in (0, 1).
    is_bipartite, is_undirected : as in `Transition`.

    Returns
    -------
    The choice, with the estimates of all solvers that can do it.

    Raises
    ------
    ValueError : a restart outside (0, 1), or a tolerance that is not above 0.
    """
    check_restart(restart)
    check_tolerance(tolerance)
    listed = sources * k * (1 + math.log(max(1.0, nodes / max(k, 1)))) * _LISTED
    estimates = {}
    if is_undirected and tolerance >= smallest_tolerance(restart):
        width = min(BLOCK, max(1, sources))
        is_near = nodes * width * 4 <= _NEAR_BYTES
        # A narrow block moves less memory, but not less than a cache line an entry.
        share = max(width, 16) / BLOCK
        one_pass = share * (entries * (_ROW_NEAR if is_near else _ROW_FAR) + nodes * _ROW_WORK)
        passes = chebyshev_passes(restart, tolerance, is_bipartite=is_bipartite)
        estimates["chebyshev"] = math.ceil(sources / BLOCK) * passes * one_pass + listed
    degree = max(1.0, entries / max(nodes, 1))
    per_entry = _PUSH_NEAR if nodes * 24 <= _NEAR_BYTES else _PUSH_FAR
    # Either the theorem's bound, or sweeps over the whole graph until what is left is small enough.
    sweeps = 1 + max(0.0, math.log(1 / tolerance)) / -math.log1p(-restart)
    estimates["push"] = sources * min(degree / (tolerance * restart), sweeps * entries) * per_entry + listed
    walks = walks_needed(tolerance, tolerance, _CONFIDENCE)
    estimates["walks"] = sources * walks / restart * _WALK_STEP + listed
    solver = min(estimates, key=lambda name: (estimates[name], name))
    others = ", ".join(f"{name} {estimates[name]:.3g} s" for name in sorted(estimates) if name != solver)
    return Choice(
        solver,
        ERROR_KINDS[solver],
        estimates[solver],
        f"{solver} takes an estimated {estimates[solver]:.3g} s of one core for {sources} sources on {entries} entries "
        f"at tolerance {tolerance:g} ({ERROR_KINDS[solver]}) and restart {restart:g}; {others}{_excluded(estimates)}",
        estimates,
    )


def _excluded(estimates: Mapping[str, float]) -> str:
    if "chebyshev" in estimates:
        return ""
    return "; chebyshev is out: the graph is directed, or float32 cannot certify so small a tolerance"
