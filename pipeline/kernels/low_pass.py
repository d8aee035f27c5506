"""Low-pass polynomials in the Chebyshev basis, and how many eigenvalues one lets through.

An operator's spectrum is mapped to [-1, 1] first. Di Napoli, Polizzi & Saad, "Efficient estimation of eigenvalue
counts in an interval", 2016; damping after Jackson, as in Weisse et al., Reviews of Modern Physics 78 (2006).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import InMatrix, OutMatrix, kernel

#: Coefficients are whole multiples of this: libraries' cosines differ in the last bits, and results must not.
_STEP = 2.0**-40
#: Cuts that are tried lie this many to the width of the spectrum, 2.
_CUT_STEPS = 2_048


def step_coefficients(degree: int, cut: float) -> list[float]:
    """Coefficients c_0 ... c_degree of the damped polynomial near 1 above ``cut`` and near 0 below it.

    Σ c_k T_k(y) lies between 0 and 1 on [-1, 1] and rises from 0 to 1 within about pi / degree of ``cut``.

    Raises
    ------
    ValueError : if the degree is below 1 or the cut is not inside (-1, 1).
    """
    if degree < 1 or not -1.0 < cut < 1.0:
        raise ValueError(f"degree is {degree} and cut {cut}; the degree must be at least 1, the cut inside (-1, 1)")
    angle = math.acos(cut)
    plain = [angle / math.pi, *(2.0 * math.sin(k * angle) / (k * math.pi) for k in range(1, degree + 1))]
    return [round(damping * value / _STEP) * _STEP for damping, value in zip(_jackson(degree), plain, strict=True)]


def eigenvalues_above(moments: Sequence[float], cut: float) -> float:
    """Estimate how many eigenvalues lie above ``cut`` from moments: the traces of T_0(A), T_1(A), ..."""
    degree = len(moments) - 1
    return math.fsum(c * moment for c, moment in zip(step_coefficients(degree, cut), moments, strict=True))


def cut_above(moments: Sequence[float], count: float) -> float:
    """Return the largest cut, in whole steps of 2 / ``_CUT_STEPS``, that lets about ``count`` eigenvalues through.

    The polynomial that counts never falls as the cut falls, save for the estimate's own noise; the first cut from
    above that lets through enough is taken, and the lowest if none does.
    """
    cuts = 2.0 * np.arange(_CUT_STEPS - 1, 1, -1) / _CUT_STEPS - 1.0
    # Which of them may do is seen in float64 at once; that it does is for the exact sum to say.
    order = np.arange(1, len(moments))
    weights = np.array(_jackson(len(moments) - 1))[1:] * np.array(moments[1:]) * 2.0 / (order * math.pi)
    counts = moments[0] * np.arccos(cuts) / math.pi + np.sin(np.outer(np.arccos(cuts), order)) @ weights
    slack = 1e-9 * float(np.abs(moments).sum())
    for cut in cuts[counts >= count - slack].tolist():
        if eigenvalues_above(moments, cut) >= count:
            return cut
    return 2.0 / _CUT_STEPS - 1.0


def _jackson(degree: int) -> list[float]:
    n = degree + 1
    turn = math.pi / (n + 1)
    return [((n - k + 1) * math.cos(k * turn) + math.sin(k * turn) / math.tan(turn)) / (n + 1) for k in range(n)]


def next_term(
    product: NDArray[np.float32],
    state: NDArray[np.float32],
    factors: tuple[float, float, float],
    weights: tuple[float, float],
) -> None:
    """One step of the three-term recurrence, with its sum, in place.

    With the columns of ``state`` in thirds (sum, T_k, T_k-1): T_k+1 = f0 * product + f1 * T_k + f2 * T_k-1 goes to
    ``product``, the sum grows by w0 * T_k + w1 * T_k+1, and ``state`` becomes (sum, T_k+1, T_k). In float64, each
    entry rounded once.

    Parameters
    ----------
    product : (n, width) float32, C-contiguous: A T_k. state : (n, 3 * width) float32, C-contiguous.
    """
    if state.shape != (len(product), 3 * product.shape[1]):
        raise ValueError(f"state has shape {state.shape}; it must be {(len(product), 3 * product.shape[1])}")
    _next_term(product, state, *factors, *weights)


@kernel
def _next_term(
    product: OutMatrix[np.float32],
    state: OutMatrix[np.float32],
    of_product: float,
    of_current: float,
    of_previous: float,
    weight_current: float,
    weight_next: float,
) -> None:
    width = product.shape[1]
    # By way of rows of their own, which nothing else overlaps: so loops are vectorised.
    terms, sums = np.empty(width, np.float32), np.empty(width, np.float32)
    for i in range(len(product)):
        for col in range(width):
            current = np.float64(state[i, width + col])
            previous = np.float64(state[i, 2 * width + col])
            term = np.float32(of_product * np.float64(product[i, col]) + of_current * current + of_previous * previous)
            terms[col] = term
            sums[col] = np.float32(np.float64(state[i, col]) + weight_current * current + weight_next * term)
        for col in range(width):
            state[i, 2 * width + col] = state[i, width + col]
        for col in range(width):
            state[i, col] = sums[col]
        for col in range(width):
            state[i, width + col] = terms[col]
        for col in range(width):
            product[i, col] = terms[col]


def paired_sum(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    """Sum of ``x * y`` over all entries, in float64 and row order; (n, width) float32, C-contiguous, both."""
    if x.shape != y.shape:
        raise ValueError(f"x has shape {x.shape} and y {y.shape}; they must agree")
    return float(_paired_sum(np.ascontiguousarray(x), np.ascontiguousarray(y)))


@kernel
def _paired_sum(x: InMatrix[np.float32], y: InMatrix[np.float32]) -> float:
    total = 0.0
    for i in range(len(x)):
        for col in range(x.shape[1]):
            total += np.float64(x[i, col]) * np.float64(y[i, col])
    return total
