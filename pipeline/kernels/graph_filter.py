"""Scores by a polynomial of the graph, and by its leading eigenvectors, of many sources at once.

With B the rows of one side of the graph (all nodes, where there is one type), M = D_R^-1/2 B D_C^-1/2 and
P = M^T M, whose spectrum is [0, 1], the scores of source r are ``D_C^β [h(P) + α V V^T] D_C^-β B_r``. h is given by its
coefficients in Chebyshev's basis on [-1, 1], that is in 2 P - 1; V are orthonormal columns.

The unknown is ``D_C^-1/2`` times that, of which P becomes D_C^-1 B^T D_R^-1 B: no entry needs a weight of its own, and
a product is the pass of `ppr_chebyshev`. Clenshaw's recurrence is that of a Chebyshev step with other factors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import read_only
from pipeline.kernels.buffers import aligned_empty
from pipeline.kernels.csr import Csr, entries_of_rows
from pipeline.kernels.elementary import power_or_zero
from pipeline.kernels.ppr_chebyshev_bounds import BLOCK, ROUNDING, UNIT
from pipeline.kernels.ppr_passes import NodeScales, SeedTerms, SideRows, chebyshev_pass, recover_side
from pipeline.kernels.ppr_top_k import Candidates, TopK, check_candidates, top_k_of_columns
from pipeline.kernels.residual_tiles import Coefficients, Iterate, Summands
from pipeline.kernels.rows import row_norms
from pipeline.kernels.spmm import spmm
from pipeline.kernels.subspace import combine_columns
from pipeline.kernels.transition import Transition

#: Coefficients are whole multiples of this: libraries' powers and cosines differ in the last bits, results must not.
_STEP = 2.0**-40
_SLACK = 1.01  # what products of several rounding errors come to, at most

LINEAR = (0.5, 0.5)
"""h(P) = P."""


def plateau_coefficients(phi: float, degree: int) -> tuple[float, ...]:
    """Return the coefficients of the plateau's polynomial, which interpolates it at the ``degree + 1`` Chebyshev nodes.

    On y = 2 μ - 1, μ an eigenvalue of P, the plateau is ``.5 + .5 sign(y) |y|^phi``: μ itself at phi = 1; above 1, flat
    around μ = .5 and steep at both ends.

    Raises
    ------
    ValueError : phi not above 0, or a degree below 1.

    Source
    ------
    Kim et al., "ChebyCF", SIGIR 2025 (arXiv 2505.00552).
    """
    if phi <= 0 or degree < 1:
        raise ValueError(f"phi is {phi} and degree {degree}; phi must be above 0, the degree at least 1")
    angles = [(j + 0.5) * math.pi / (degree + 1) for j in range(degree + 1)]
    values = [0.5 + 0.5 * math.copysign(abs(math.cos(angle)) ** phi, math.cos(angle)) for angle in angles]
    coefficients = []
    for k in range(degree + 1):
        total = math.fsum(value * math.cos(k * angle) for value, angle in zip(values, angles, strict=True))
        coefficients.append(round((1 if k == 0 else 2) * total / (degree + 1) / _STEP) * _STEP)
    return tuple(coefficients)


@dataclass(frozen=True)
class FilterRule:
    """What scores are: ``coefficients`` of h, at least two; ``alpha`` and ``beta`` as above, neither below 0."""

    coefficients: Sequence[float]
    alpha: float
    beta: float


class _Signals(NamedTuple):
    """f = D_C^-β B_r of each source: (sources + 1,) offsets, positions among the columns, values."""

    indptr: NDArray[np.int64]
    position: NDArray[np.int64]
    value: NDArray[np.float64]


class GraphFilter:
    """The scores of sources on one graph, `BLOCK` sources at a time.

    Parameters
    ----------
    graph : undirected. rows : the range of nodes that sources are of. columns : that of the nodes scored; of a graph
        with sides the other side, of any other all nodes, as the rows.
    basis : (columns, rank) float32, C-contiguous; columns of a real orthonormal matrix, or none.

    Raises
    ------
    ValueError : a directed graph, ranges or a basis that do not fit, fewer than two coefficients.

    Cost
    ----
    A block takes two passes over the entries for each degree, of 512 bytes an entry, and a product of the basis
    with (rank, 128). Buffers: 512 bytes a node and two times 512 a column; a second copy of the basis.
    """

    def __init__(
        self,
        graph: Transition,
        rows: tuple[int, int],
        columns: tuple[int, int],
        basis: NDArray[np.float32],
        rule: FilterRule,
    ) -> None:
        _check_sides(graph, rows, columns)
        if basis.shape[0] != columns[1] - columns[0]:
            raise ValueError(f"basis has {basis.shape[0]} rows; {columns[1] - columns[0]} nodes are scored")
        if len(rule.coefficients) < 2:
            raise ValueError(f"there are {len(rule.coefficients)} coefficients; give those of degree 0 and 1 at least")
        self._graph, self._rows, self._columns, self._rule, self._basis = graph, rows, columns, rule, basis
        degree = graph.degree[slice(*columns)]
        self._scales = read_only(
            NodeScales(power_or_zero(graph.degree, -1.0).astype(np.float32), np.zeros_like(graph.degree))
        )
        self._to_root = power_or_zero(degree, -0.5)
        self._from_score = power_or_zero(degree, -rule.beta)
        self._to_score = np.zeros(graph.n, np.float32)
        self._to_score[slice(*columns)] = power_or_zero(degree, rule.beta + 0.5)
        self._ideal = (basis * (rule.alpha * self._to_root[:, None])).astype(np.float32)
        self._z = aligned_empty((graph.n, BLOCK))
        self._other_rows = self._z[slice(*rows)] if graph.left is not None else aligned_empty((graph.n, BLOCK))
        self._step = aligned_empty((degree.size, BLOCK))
        self._longest = float(row_norms(basis).max(initial=0.0))

    def top_k(self, sources: NDArray[np.int64], k: int, candidates: Candidates) -> TopK:
        """Return the k best nodes of each source.

        Parameters
        ----------
        sources : (m,) nodes of the graph, among its rows.
        candidates : among the columns; their factor, if they have one, multiplies scores.

        Returns
        -------
        ``bound`` is on the error of every score of a source, before any factor: what float32 may have made of the
        scores that exact numbers and this basis have (`_bound`). Nodes that differ by more than twice that are in the
        right order, and a node left out has no score above the last of its list by more. Of one block,
        sources do not depend on each other; of another place in it, a product of the basis may differ in its last bits.
        """
        check_candidates(candidates, self._graph.n, sources.size, k)
        scores, nodes = np.empty((sources.size, k), np.float32), np.empty((sources.size, k), np.int64)
        bound = np.empty(sources.size)
        factor = self._to_score if candidates.factor is None else self._to_score * candidates.factor
        candidate_degrees = self._graph.degree[candidates.start : candidates.stop]
        largest = float(power_or_zero(candidate_degrees, self._rule.beta).max(initial=0.0))
        for first in range(0, sources.size, BLOCK):
            block = slice(first, min(first + BLOCK, sources.size))
            bound[block] = self._solve(sources[block]) * largest
            of_some = read_only(candidates.of_sources(block.start, block.stop)._replace(factor=factor))
            top_k_of_columns(self._z, of_some, scores[block], nodes[block])
        return TopK(nodes, scores, bound)

    def top_k_of_variants(
        self, sources: NDArray[np.int64], k: int, candidates: Candidates, variants: Sequence[tuple[int, float]]
    ) -> NDArray[np.int64]:
        """Return the lists of other rules over the same polynomial: (variants, sources, k) nodes, as in `top_k`.

        Parameters
        ----------
        sources : `BLOCK` at most. variants : (rank, factor), ranks not falling: as many leading columns of the basis
            count, and alpha is the rule's times the factor.
        """
        check_candidates(candidates, self._graph.n, sources.size, k)
        polynomial, basis_products = self._parts(self._signals(sources))
        all_candidates = read_only(candidates.of_sources(0, sources.size)._replace(factor=self._to_score))
        scores = np.empty((sources.size, k), np.float32)
        nodes = np.empty((len(variants), sources.size, k), np.int64)
        low_pass = np.zeros_like(polynomial)
        columns, width = self._z[slice(*self._columns)], 0
        for (rank, factor), of_variant in zip(variants, nodes, strict=True):
            if rank > width:
                coefficients = basis_products[:, width:rank].T.astype(np.float64)
                low_pass += combine_columns(self._ideal[:, width:rank], coefficients)
                width = rank
            np.multiply(low_pass, np.float32(factor), out=columns)
            columns += polynomial
            top_k_of_columns(self._z, all_candidates, scores, of_variant)
        return nodes

    def scores(self, sources: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the scores of all columns for at most `BLOCK` sources: (columns, sources) float32."""
        self._solve(sources)
        columns = slice(*self._columns)
        return self._z[columns, : sources.size] * self._to_score[columns, None]

    def _solve(self, sources: NDArray[np.int64]) -> NDArray[np.float64]:
        """Leave the scores over ``_to_score`` in the columns of z; return their bounds for a node of degree 1."""
        signals = self._signals(sources)
        polynomial, basis_products = self._parts(signals)
        columns_of_z = self._z[slice(*self._columns)]
        combine_columns(self._ideal, basis_products.T.astype(np.float64), out=columns_of_z)
        columns_of_z += polynomial
        indptr, _, value = signals
        source = np.repeat(np.arange(sources.size), np.diff(indptr))
        total = np.bincount(source, value, sources.size).astype(np.float64)
        length = np.sqrt(np.bincount(source, value * value, sources.size))
        return self._bound(length, total, row_norms(basis_products[: sources.size]))

    def _parts(self, signals: _Signals) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return h(P) f in the unit of z, (columns, BLOCK), until the next call, and V^T f, (BLOCK, rank)."""
        indptr, position, value = signals
        source = np.repeat(np.arange(indptr.size - 1), np.diff(indptr))
        order = np.argsort(position, kind="stable")
        of_z = (value * self._to_root[position]).astype(np.float32)
        self._run_polynomial(SeedTerms((position + self._columns[0])[order], source[order], of_z[order]))
        basis_products = aligned_empty((BLOCK, self._basis.shape[1]))
        basis_products[:] = 0.0  # always as many columns: what a product rounds depends on its shape
        if self._basis.shape[1]:
            matrix = Csr(indptr, position.astype(np.int32), value.astype(np.float32))
            spmm(matrix, self._basis, basis_products, start=0, stop=indptr.size - 1)
        return self._step, basis_products

    def _signals(self, sources: NDArray[np.int64]) -> _Signals:
        graph = self._graph
        indptr, entry = entries_of_rows(graph.indptr, sources)
        position = graph.indices[entry].astype(np.int64) - self._columns[0]
        weight = 1.0 if graph.weights is None else graph.weights[entry].astype(np.float64)
        return _Signals(indptr, position, weight * self._from_score[position])

    def _run_polynomial(self, seeds: SeedTerms) -> None:
        """Leave h(P) of the seeds, in the unit of z, in ``_step``: by Clenshaw's recurrence, from the last coefficient.

        b_k = c_k f + 2 (2 P - 1) b_k+1 - b_k+2 is b_k+1 + step_k with step_k = step_k+1 + 4 r_k, where
        r_k = P b_k+1 - b_k+1 + c_k f / 4: a residual that is pulled by 4. What is wanted, c_0 f + (2 P - 1) b_1 - b_2,
        is the step that pulls by 2.
        """
        graph, coefficients = self._graph, self._rule.coefficients
        (start, stop), (first, _) = self._columns, self._rows
        current, step, other_rows = self._z[start:stop], self._step, self._other_rows
        step[:] = 0.0
        np.add.at(step, (seeds.rows - start, seeds.cols), np.float32(coefficients[-1]) * seeds.values)
        current[:] = step
        no_seeds = read_only(SeedTerms(seeds.rows[:0], seeds.cols[:0], seeds.values[:0]))
        unit, residual = np.ones(BLOCK, np.float32), np.zeros(BLOCK)
        for k in range(len(coefficients) - 2, -1, -1):
            pull = np.float32(4.0 if k else 2.0)
            inner = read_only(Summands(current, start))
            recover_side(graph.csr, SideRows(inner, other_rows), first, no_seeds, self._scales.factor)
            of_degree = read_only(seeds._replace(values=seeds.values * np.float32(coefficients[k] / pull)))
            moves = read_only(Coefficients(unit, unit * pull, unit if k else np.zeros_like(unit)))
            iterate = Iterate(read_only(Summands(other_rows, first)), current, current, step, residual)
            chebyshev_pass(graph.csr, iterate, start, of_degree, self._scales, moves, False)

    def _bound(
        self, length: NDArray[np.float64], total: NDArray[np.float64], basis_products: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Bound the error of each source's scores over D_C^β.

        In the norm of D_C^1/2 z no product with P is longer than what it is of, nor is T_k of 2 P - 1. An error made at
        step k of Clenshaw's recurrence is an error of c_k f, which T_k takes to the result. It is that of three
        rows of at most `ROUNDING` (the side between, the residual's sum and its subtraction), pulled by 4, and that of
        step and b, rounded once each, this time and last time. ``‖b_k‖ <= Σ_j>=k (j - k + 1) |c_j| ‖f‖``, since
        |U_n| <= n + 1. A sum over the basis adds rank roundings; no entry is longer than the longest row times what is
        mixed.

        Parameters
        ----------
        length, total : l2 and l1 norm of each signal f. mixed : ‖V^T f‖.
        """
        c = np.abs(np.array(self._rule.coefficients))
        degrees = np.arange(c.size)
        sizes = np.array([(c * np.maximum(degrees - k + 1, 0)).sum() for k in range(c.size)])
        of_steps = 4 * 3 * ROUNDING * sizes[1:].sum() + 2 * UNIT * (sizes[:-1] + sizes[1:]).sum()
        of_polynomial = of_steps + (ROUNDING + 3 * UNIT) * c.sum()
        rank, longest, alpha = self._basis.shape[1], self._longest, self._rule.alpha
        of_basis = alpha * longest * ((rank + 4) * UNIT * basis_products + ROUNDING * longest * total)
        of_result = 4 * UNIT * (c.sum() * length + alpha * longest * basis_products)
        return _SLACK * (of_polynomial * length + of_basis + of_result)


def _check_sides(graph: Transition, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    if not graph.is_undirected:
        raise ValueError("the graph is directed (an edge and its way back weigh differently): P would not be M^T M")
    every = (0, graph.n)
    sides = [(every, every)]
    if graph.left is not None:
        left, right = (0, graph.left), (graph.left, graph.n)
        sides = [(left, right), (right, left)]
    if (rows, columns) not in sides:
        raise ValueError(f"rows are {rows} and columns {columns}; they must be one of {sides}")
