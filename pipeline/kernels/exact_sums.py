"""Sums of float64 without rounding: the same whatever the order, or how the numbers are cut into pieces."""

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

#: Sums are integers in units of 2**-UNIT_BITS: every float64 is a whole number of them.
UNIT_BITS = 1_126
_MANTISSA_BITS = 53
_HALF = 26


def exact_sum(values: NDArray[np.float64]) -> int:
    """The sum of finite numbers in units of ``2**-UNIT_BITS``; (n,) float64, n below 2**36.

    Raises
    ------
    ValueError : a number is not finite.

    Cost
    ----
    A sort by exponent, O(n log n), and one big-integer addition for each exponent that occurs.
    """
    if not np.isfinite(values).all():
        raise ValueError("a number is not finite; it has no exact sum")
    fraction, exponent = np.frexp(values)
    whole = np.ldexp(fraction, _MANTISSA_BITS).astype(np.int64)  # exact: below 2**53
    order = np.argsort(exponent, kind="stable")
    whole, exponent = whole[order], exponent[order]
    starts = np.flatnonzero(np.diff(exponent, prepend=np.int32(2**30)))
    if not starts.size:
        return 0
    high, low = (np.add.reduceat(half, starts) for half in (whole >> _HALF, whole & (2**_HALF - 1)))
    return sum(
        ((h << _HALF) + part) << (power - _MANTISSA_BITS + UNIT_BITS)
        for h, part, power in zip(high.tolist(), low.tolist(), exponent[starts].tolist(), strict=True)
    )


def mean_of(total: int, count: int) -> float:
    """The exact mean of ``count`` numbers that sum to ``total`` units, rounded once; 0 of none."""
    return float(Fraction(total, count << UNIT_BITS)) if count else 0.0


def scale_of(values: NDArray[np.float64]) -> int:
    """The least e >= 0 for which all numbers times 2**-e are below 1: squares of what is left can't overflow."""
    return max(0, math.frexp(float(np.abs(values).max(initial=0.0)))[1])
