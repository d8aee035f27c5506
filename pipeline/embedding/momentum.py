"""Momentum of subspace iteration: A Z_r - β Z_r-1 in the place of A Z_r, as Chebyshev polynomials of A are built.

With β = c² / 4 the columns are those of a polynomial that stays small on [-c, c] and grows fastest outside of it. Where
a spectrum is flat, k such products part its eigenvalues as some k² / 2 plain ones do. c is the smallest eigenvalue that
the columns hold; how much the column grew that grew least says how large it is. See Saad, "Numerical methods for large
eigenvalue problems", chapter 5 (Chebyshev subspace iteration).
"""

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.embedding.fact_files import Facts
from pipeline.embedding.rows import Rows
from pipeline.kernels.subspace import Basis, combine_columns


def add_momentum(rows: Rows, carried_rows: Rows, facts: Facts) -> NDArray[np.float32]:
    """Take β Z_r-1 off complete rows of A Z_r, in place; return the rows of Z_r, which homes carry on.

    Parameters
    ----------
    carried_rows : beside each other, the rows that Z_r was made of by the facts' ``transform``, and Z_r-1 in their
        coordinates. Before there is a transform, both are as they are, and there is no momentum.
    """
    width = rows.values.shape[1]
    current, before = carried_rows.values[:, :width], carried_rows.values[:, width:]
    if "transform" not in facts:
        return current.copy()
    if facts["momentum"][0]:
        momentum_rows = combine_columns(before, facts["transform"] * facts["momentum"][0])
        np.subtract(rows.values, momentum_rows, out=rows.values)
    return combine_columns(current, facts["transform"])


def next_momentum(basis: Basis, facts: Facts) -> NDArray[np.float64]:
    """Return β of the next product and how much the least column grew, from the singular values of what this one left.

    A column of the eigenvalue c grows by g_r = c - β / g_r-1, which tells c. Inside of [-c, c] columns grow by the root
    of β, in the mean, and say nothing. (2,) float64; β never falls. It is 0 after the first product, whose rows weren't
    orthonormal.
    """
    if "momentum" not in facts:
        return np.zeros(2)
    before, growth_before = facts["momentum"]
    growth = float(basis.values[basis.rank - 1]) if basis.rank else 0.0
    smallest = growth + (before / max(growth_before, math.sqrt(before)) if before else 0.0)
    return np.array([max(before, smallest**2 / 4.0), growth])
