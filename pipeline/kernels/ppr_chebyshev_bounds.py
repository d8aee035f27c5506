"""What block Chebyshev certifies of personalised PageRank in float32 and bfloat16, and how many passes it takes.

Pure numbers: the operator's spectrum, the l1 error that a residual proves, and the least that can be proven.
"""

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.transition import check_restart
from pipeline.kernels.vector_tiles import RUN

BLOCK = 128
"""Columns of one pass; a call with few sources makes do with 16, 32 or 64."""

UNIT = 2.0**-24  # of float32
ROUNDING = (RUN + 8) * UNIT
"""Of one stored row, relative to the sum of its absolute terms: an entry's product, a run's additions, the sum back
from float64, the factor and its product, the seeds' share and its addition, the residual's subtraction: 21 units."""

_HIDDEN = 2 * ROUNDING
"""What rounding may hide from the residual's l1 norm: each row is off by `ROUNDING` of its absolute terms, which
add up to restart + (1 - restart) |x| for the products and to |x| for the subtraction, and |x| is at most 1 + error.
On a bipartite graph the recovered side's rows are off by as much, and each side's terms count once."""

HALF_UNIT = 2.0**-9
"""Of bfloat16: what is rounded to it is off by at most this part."""


def smallest_tolerance(restart: float) -> float:
    """The least l1 error that float32 can certify, whatever the number of passes."""
    check_restart(restart)
    return 2 * _HIDDEN / (restart - _HIDDEN) if restart > _HIDDEN else math.inf


def smallest_tolerance_of_halves(restart: float, *, is_bipartite: bool) -> float:
    """The l1 error from which on lists are solved in bfloat16: twice that of a column whose moves round to nothing.

    Its residual is at most what rounding leaves, `HALF_UNIT` of the rows solved for and of what they send back; on a
    bipartite graph these have 1 / (2 - restart) of the mass at most. Moves that round to a cycle may leave more.
    """
    check_restart(restart)
    follow = 1 - restart
    back, mass = (follow * follow, 1 / (1 + follow)) if is_bipartite else (follow, 1.0)
    residual = np.array([HALF_UNIT * (1 + back) * mass])
    return float(2 * bound_of_halves(residual, restart, back, is_bipartite=is_bipartite)[0])


def bound_of_floats(residual: NDArray[np.float64], restart: float, closing_rate: float) -> NDArray[np.float64]:
    """The l1 error of columns in float32 with a residual, or after they have been moved by it.

    closing_rate : 1 of columns as they are; of moved ones what a move by the residual takes it down by, at least.
    """
    # 1e-9 covers the residual's own sum in float64, 3 units what becomes of z in x.
    residual = residual * (1 + 1e-9)
    before = (residual + _HIDDEN) / (restart - _HIDDEN)
    if closing_rate == 1:
        return before + 3 * UNIT
    # Moved by r + h, h what rounding hides: the residual is now P r - (1 - P) h, of which again h is hidden, and
    # no h is more than _HIDDEN (1 + error), before or after.
    hidden_residual = 4 * _HIDDEN
    return (closing_rate * residual + hidden_residual * (1 + before)) / (restart - hidden_residual) + 3 * UNIT


def bound_of_halves(
    residual: NDArray[np.float64], restart: float, closing_rate: float, *, is_bipartite: bool
) -> NDArray[np.float64]:
    """The l1 error of columns in bfloat16 with a residual, or after they have been moved by it.

    z is exact as it stands. On a bipartite graph the rows between are rounded: the residual that is measured is off by
    ``h <= hidden + more * error``, since they have 1 / (2 - restart) of the mass of exact scores at most. A move by it
    leaves P's (or P^2's) image of it, and h; then z is rounded, which the other side passes on. Lists are of sums in
    float32 of that.
    """
    follow = 1 - restart
    share, more = (follow / (1 + follow), follow) if is_bipartite else (0.0, 0.0)
    hidden_residual, more = _HIDDEN + HALF_UNIT * share, _HIDDEN + HALF_UNIT * more
    # 1e-9 covers the residual's own sum in float64.
    residual = residual * (1 + 1e-9)
    before = (residual + hidden_residual) / (restart - more)
    if closing_rate == 1:
        return before + 3 * UNIT
    after_move = (closing_rate * residual + hidden_residual + more * before) / restart
    return after_move + (HALF_UNIT + _HIDDEN) * (1 + 2 * after_move) + 3 * UNIT


def chebyshev_passes(restart: float, tolerance: float, *, is_bipartite: bool) -> float:
    """Passes until the l1 error is about ``tolerance``, by the spectrum's width; for estimates of cost.

    One and a half more than the rate says: the last one certifies, and its move is carried to a graph's other side.
    """
    low, high = spectrum_of(restart, is_bipartite=is_bipartite)
    return 1.5 + max(0.0, math.log(2 / tolerance) / -math.log(rate_of(low, high)))


def spectrum_of(restart: float, *, is_bipartite: bool) -> tuple[float, float]:
    """Ends of the spectrum of I - (1 - restart) P, or of I - (1 - restart)^2 P^2 on one side."""
    follow = 1 - restart
    return (1 - follow * follow, 1.0) if is_bipartite else (1 - follow, 1 + follow)


def rate_of(low: float, high: float) -> float:
    """Factor that a pass takes the error down by, in the long run."""
    root = math.sqrt(high / low)
    return (root - 1) / (root + 1)
