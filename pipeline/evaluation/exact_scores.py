"""Scores of a few sources solved exactly, and lists and vectors held against them.

They are computed in float64 over scipy matrices: no kernel of the solvers that are judged has a part in them.
Personalised PageRank comes from conjugate gradients, and its error is proven by its own residual.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.position_lists import PositionLists
from pipeline.kernels.graph_filter import FilterRule
from pipeline.kernels.transition import Transition, check_restart, check_sources, single_seeds

if TYPE_CHECKING:
    from scipy import sparse

#: Sources that a table is judged by, and fewer where the graph is large: sources times entries is at most this.
SAMPLE = 64
_MOST_WORK = 120_000_000
_FEWEST = 2
#: Sum of the errors of one source that is left; what counts as a tie is twice that.
REMAINDER = 1e-9
_GOAL = 1e-10
_MOST_STEPS = 2_000
_COLUMNS = 16  # sources solved at once: rows of two cache lines
#: A listed score is a float32, and so is the factor that corrects it.
_ROUNDING = 2.0**-22
#: Share of the largest terms of a score that float64 may leave wrong: products of some dozens of its roundings.
_FILTER_ROUNDING = 2.0**-40
#: Share of scores that lists with a confidence of .95 may have outside of their bounds.
_UNLUCKY = 0.05


@dataclass(frozen=True, eq=False)
class ExactScores:
    """scores (sources, n) float64; remainder (sources,) float64: proven bound on the sum of each source's errors."""

    scores: NDArray[np.float64]
    remainder: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SampledLists:
    """Lists of a sample of sources, in rows of the graph.

    sources : (s,) int64, each with edges. indptr (s + 1,), nodes (entries,) int64, scores (entries,) float32, best
    first: list i is ``nodes[indptr[i]:indptr[i + 1]]``. bound : (s,) float32, as the table states it.
    """

    sources: NDArray[np.int64]
    indptr: NDArray[np.int64]
    nodes: NDArray[np.int64]
    scores: NDArray[np.float32]
    bound: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ListRules:
    """What lists may hold. span : rows [first, stop). k : most entries. factor : (n,) float64 that scores are
    multiplied by. left_out : for each source rows that its list must not hold, itself among them.
    error_kind : "l1", "pointwise" or "confidence": what the stated bound is on.
    """

    span: tuple[int, int]
    k: int
    factor: NDArray[np.float64]
    left_out: PositionLists
    error_kind: str


def affordable_sources(entries: int, sources: int = SAMPLE) -> int:
    """Return how many sources are solved exactly on a graph with so many entries: some seconds to a minute's work."""
    return min(sources, max(_FEWEST, _MOST_WORK // max(entries, 1)))


def exact_scores(graph: Transition, sources: NDArray[np.int64], restart: float) -> ExactScores:
    """Solve ``x = restart * s + (1 - restart) * P^T x`` for single sources of an undirected graph.

    With d the degrees and y = x / sqrt(d) that is ``(I - (1 - restart) d^-1/2 A d^-1/2) y = restart * d^-1/2 s``,
    symmetric and positive definite. The sum of the errors of x is at most that of its residual over ``restart``,
    since the inverse of ``I - (1 - restart) P^T`` has l1 norm ``1 / restart``.

    Raises
    ------
    ValueError : a directed graph, a restart outside (0, 1), or no convergence to `REMAINDER`.

    Cost
    ----
    10 to 40 products with the graph for each 16 sources; memory: 32 to 40 bytes an entry, 1 KB a node and 8 bytes a
    node and source.
    """
    check_restart(restart)
    check_sources(graph, single_seeds(sources))
    if not graph.is_undirected:
        raise ValueError("the graph is directed: conjugate gradients need a symmetric matrix")
    root = np.sqrt(np.where(graph.degree > 0, graph.degree, 1.0))
    system = _System(_symmetric_step(graph, root), 1 - restart, root, graph.left)
    scores, remainder = np.empty((sources.size, graph.n)), np.empty(sources.size)
    for start in range(0, sources.size, _COLUMNS):
        batch = sources[start : start + _COLUMNS]
        right_side = np.zeros((graph.n, batch.size))
        # A node without edges keeps its walk: all of it, not the share that restarts.
        share = np.where(graph.degree[batch] > 0, restart, 1.0)
        right_side[batch, np.arange(batch.size)] = share / root[batch]
        solution, left = system.solve(right_side, restart)
        scores[start : start + batch.size] = (solution * root[:, None]).T
        remainder[start : start + batch.size] = left
    if (remainder > REMAINDER).any():
        raise ValueError(
            f"the exact scores of {int((remainder > REMAINDER).sum())} of {sources.size} sources converged to "
            f"{remainder.max():.3g} only, and {REMAINDER:g} was wanted; weights may differ by too many orders"
        )
    return ExactScores(scores, remainder)


def compare_lists(lists: SampledLists, exact: ExactScores, rules: ListRules) -> dict[str, Any]:
    """Hold lists against the exact scores, as JSON values.

    A listed node is right if its exact score, corrected, is at least that of the last of the exact list, less twice
    the remainder: nodes that tie are all right. Precision is the share of the exact list's places that right nodes
    fill; nodes of score 0 are in no exact list. A score is outside if it is farther from the exact one than the
    stated bound, the remainder and float32's rounding allow; a node is misplaced if no list of this source may
    hold it. Bounds are broken if any is (of "confidence" bounds, more than 1 in 20 scores).
    """
    precision, errors, room = [], [np.zeros(0)], [np.zeros(0)]
    misplaced_nodes = 0
    first, stop = rules.span
    for place in range(lists.sources.size):
        value = exact.scores[place] * rules.factor
        slack = 2 * exact.remainder[place]
        may_list = np.zeros(value.size, np.bool_)
        may_list[first:stop] = True
        left_out = rules.left_out.of(place, place + 1).positions
        may_list[left_out] = False
        entries = slice(lists.indptr[place], lists.indptr[place + 1])
        nodes, scores = lists.nodes[entries], lists.scores[entries].astype(np.float64)
        distinct_nodes = np.unique(nodes[may_list[nodes]])
        misplaced_nodes += nodes.size - distinct_nodes.size
        precision.append(_precision(value[may_list], value[distinct_nodes], rules.k, slack))
        errors.append(np.abs(scores - value[nodes]))
        tolerance = float(lists.bound[place]) + slack + _ROUNDING * np.maximum(scores, value[nodes])
        room.append(np.broadcast_to(tolerance, nodes.shape) - errors[-1])
    error, left = np.concatenate(errors), np.concatenate(room)
    outside = int((left < 0).sum())
    is_broken = outside > (_UNLUCKY * error.size if rules.error_kind == "confidence" else 0)
    return {
        "k": rules.k,
        f"precision@{rules.k}": math.fsum(precision) / max(len(precision), 1),
        f"lowest_precision@{rules.k}": min(precision, default=1.0),
        "scores": error.size,
        "largest_error": float(error.max(initial=0.0)),
        "largest_bound": float(lists.bound.max(initial=0.0)),
        "error_kind": rules.error_kind,
        "outside": outside,
        "largest_excess": float(max(0.0, -left.min(initial=0.0))),
        "misplaced": misplaced_nodes,
        "bounds_hold": not (is_broken or misplaced_nodes),
        "remainder": float(exact.remainder.max(initial=0.0)),
    }


def compare_vectors(
    rows: NDArray[np.floating[Any]], bound: NDArray[np.float64] | None, exact: ExactScores
) -> dict[str, Any]:
    """Sum of the errors of whole vectors: its mean and its largest, and what the solver says it is at most.

    rows : (sources, n), a solver's. bound : (sources,) its bounds on that sum, None where it has none.
    """
    l1 = np.abs(rows - exact.scores).sum(axis=1)
    is_over = np.zeros(0, np.bool_) if bound is None else l1 > bound + exact.remainder + _ROUNDING
    return {
        "mean": math.fsum(l1.tolist()) / max(l1.size, 1),
        "max": float(l1.max(initial=0.0)),
        "largest_bound": None if bound is None else float(bound.max(initial=0.0)),
        "bounds_hold": not is_over.any(),
    }


def broken_bounds(figures: Mapping[str, Any], table: str = "ppr_neighbors") -> Sequence[str]:
    """Return a sentence for each bound that does not hold in an exact comparison."""
    sentences = []
    way_out = "choose another ppr.solver" if table == "ppr_neighbors" else "the solver is at fault: please report it"
    if figures.get("outside") and not figures["bounds_hold"]:
        sentences.append(
            f"{table}: of {figures['scores']} scores sampled {figures['outside']} are farther from the exact "
            f"ones than error_bound says, by up to {figures['largest_excess']:.3g}; {way_out}"
        )
    if figures.get("misplaced"):
        sentences.append(
            f"{table}: {figures['misplaced']} nodes in the lists sampled are no candidates of their source, or "
            "are listed twice; run embed and aggregate again"
        )
    l1 = figures.get("l1") or {}
    if l1 and not l1["bounds_hold"]:
        sentences.append(
            f"ppr_neighbors: the solver is {l1['max']:.3g} from exact PageRank, beyond its own bound; choose another "
            "ppr.solver"
        )
    return sentences


def _precision(candidates: NDArray[np.float64], list_values: NDArray[np.float64], k: int, slack: float) -> float:
    """Share of the exact list's places that are filled rightly, by the scores of all candidates and of the list."""
    above = candidates[candidates > slack]
    places = min(k, above.size)
    if not places:
        return 1.0
    last = np.partition(above, above.size - places)[above.size - places]
    return min(int((list_values >= last - slack).sum()), places) / places


def _symmetric_step(graph: Transition, root: NDArray[np.float64]) -> sparse.csr_array:
    """d^-1/2 A d^-1/2, float64."""
    from scipy import sparse  # a fifth of a second, which most runs have no use for

    values = np.ones(graph.indices.size) if graph.weights is None else graph.weights.astype(np.float64)
    values /= np.repeat(root, np.diff(graph.indptr))
    values /= root[graph.indices]
    return sparse.csr_array((values, graph.indices, graph.indptr), (graph.n, graph.n))


class _System:
    """``(I - follow * step) y = b``; of a graph with two sides the smaller one is solved for, in half the steps."""

    def __init__(self, step: sparse.csr_array, follow: float, root: NDArray[np.float64], left: int | None) -> None:
        self._step, self._follow, self._root = step, follow, root
        n = root.size
        self._inner, self._outer = slice(0, n), slice(0, 0)
        if left is not None:
            sides = slice(0, left), slice(left, n)
            self._inner, self._outer = sides if left <= n - left else sides[::-1]
            self._there, self._back = step[self._outer, self._inner], step[self._inner, self._outer]

    def solve(self, right_side: NDArray[np.float64], restart: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """y, a column each, and by column the sum of the errors of ``x = root * y`` at most."""
        solution = np.zeros_like(right_side)
        remainder = np.full(right_side.shape[1], np.inf)
        while True:
            # The true residual: rounding parts the one that a descent carries along from it.
            residual = right_side - solution + self._follow * (self._step @ solution)
            before, remainder = remainder, _l1(residual, self._root) / restart
            if (remainder <= _GOAL).all() or (remainder >= 0.5 * before).all():
                return solution, remainder
            solution += self._correction(residual, restart * _GOAL / 2)

    def _correction(self, residual: NDArray[np.float64], goal: float) -> NDArray[np.float64]:
        correction = np.zeros_like(residual)
        inner, outer, follow = self._inner, self._outer, self._follow
        if outer.stop == outer.start:
            correction[:] = _descend(lambda rows: self._step @ rows, follow, self._root, residual, goal)
            return correction
        start = residual[inner] + follow * (self._back @ residual[outer])
        correction[inner] = _descend(
            lambda rows: self._back @ (self._there @ rows), follow * follow, self._root[inner], start, goal
        )
        correction[outer] = residual[outer] + follow * (self._there @ correction[inner])
        return correction


def _descend(
    product: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    follow: float,
    root: NDArray[np.float64],
    residual: NDArray[np.float64],
    goal: float,
) -> NDArray[np.float64]:
    """Conjugate gradients for ``rows - follow * product(rows) = residual``, a column each, until residuals are small.

    Small: the sum of ``|residual| * root`` of every column is at most the goal.
    """
    residual = residual.copy()
    solution, direction = np.zeros_like(residual), residual.copy()
    power = np.einsum("ij,ij->j", residual, residual)
    for _ in range(_MOST_STEPS):
        image = product(direction)
        image *= -follow
        image += direction
        curve = np.einsum("ij,ij->j", direction, image)
        pace = np.divide(power, curve, out=np.zeros_like(power), where=curve > 0)
        image *= pace
        residual -= image
        np.multiply(direction, pace, out=image)
        solution += image
        fresh = np.einsum("ij,ij->j", residual, residual)
        if (_l1(residual, root) <= goal).all() or not (fresh > 0).any():
            break
        direction *= np.divide(fresh, power, out=np.zeros_like(power), where=power > 0)
        direction += residual
        power = fresh
    return solution


def _l1(rows: NDArray[np.float64], root: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of ``|rows| * root`` by column: in units of x."""
    return root @ np.abs(rows)


def exact_filter_scores(
    graph: Transition,
    sources: NDArray[np.int64],
    rows: tuple[int, int],
    columns: tuple[int, int],
    basis: NDArray[np.float32],
    rule: FilterRule,
) -> ExactScores:
    """Scores of all nodes, 0 of those outside of the columns; arguments as of `graph_filter.GraphFilter`.

    Chebyshev's own recurrence, where the solver takes Clenshaw's.

    Cost
    ----
    Two products with the graph for each degree; 20 bytes an entry and five times 8 bytes a column and source.
    """
    from scipy import sparse  # a fifth of a second, which most runs have no use for

    values = np.ones(graph.indices.size) if graph.weights is None else graph.weights.astype(np.float64)
    matrix = sparse.csr_array((values, graph.indices, graph.indptr), (graph.n, graph.n))
    edges = matrix[slice(*rows), slice(*columns)]
    degree = graph.degree[slice(*columns)]
    to_root, to_row = (1 / np.sqrt(np.where(of > 0, of, 1.0)) for of in (degree, graph.degree[slice(*rows)]))
    step = sparse.diags_array(to_row) @ edges @ sparse.diags_array(to_root)
    power = np.where(degree > 0, np.where(degree > 0, degree, 1.0) ** rule.beta, 0.0)  # no edge, no score
    signal = (edges[sources - rows[0]].toarray() / np.where(power > 0, power, 1.0)).T

    def shift(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return 2 * (step.T @ (step @ x)) - x

    before, term = signal, shift(signal)
    total = rule.coefficients[0] * before + rule.coefficients[1] * term
    for coefficient in rule.coefficients[2:]:
        before, term = term, 2 * shift(term) - before
        total += coefficient * term
    vectors = basis.astype(np.float64)
    total += rule.alpha * (vectors @ (vectors.T @ signal))
    scores = np.zeros((sources.size, graph.n))
    scores[:, slice(*columns)] = (total * power[:, None]).T
    # No Chebyshev polynomial of the step, nor the product with the basis, is longer than the signal; terms of large
    # degrees may cancel, so that the scores themselves bound no rounding.
    largest = (np.abs(rule.coefficients).sum() + rule.alpha) * np.linalg.norm(signal, axis=0)
    return ExactScores(scores, _FILTER_ROUNDING * power.sum() * largest)
