"""Logistic regression, one label against all others, all labels at once."""

import numpy as np
from numpy.typing import NDArray

_MOST_STEPS = 100
_MOST_INNER = 200
_TOLERANCE = 1e-6


def logistic_regressions(
    rows: NDArray[np.float64], labels: NDArray[np.bool_], strength: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights and intercepts that minimise |w|^2 / 2 + C sum of log(1 + exp(-y (w.x + b))), y = +-1, per label.

    The intercept is not penalised, so it costs nothing that a label is rare and nothing that rows have a mean.
    Newton's method; its systems are solved by conjugate gradients for all labels together, so that all work is
    two products with the rows a step. The rows are turned to their principal axes first, where the Hessian is
    near enough to diagonal to be preconditioned by one. Steps that do not lower a label's loss are halved.

    Parameters
    ----------
    rows : (n, dim) float64, finite.
    labels : (n, labels) bool. A column with one value only has no finite intercept and is refused.
    strength : C, above 0: the inverse of the penalty, as in LIBLINEAR and scikit-learn.

    Returns
    -------
    weights : (dim, labels) float64. intercepts : (labels,) float64. The gradient of each label is at most 1e-6 of
    that of the constant model.

    Raises
    ------
    ValueError : ``strength`` is not above 0, or a label has one value only.

    Cost
    ----
    About 60 x 4 n dim labels operations; buffers 6 n labels and 2 n dim float64.

    Source
    ------
    Lin, Weng & Keerthi, "Trust region Newton method for large-scale logistic regression", JMLR 2008 (the
    truncated inner solves; here with a line search).
    """
    if not strength > 0:
        raise ValueError(f"strength is {strength}; C must be above 0")
    members = labels.sum(axis=0)
    if ((members == 0) | (members == labels.shape[0])).any():
        raise ValueError("a label has no row, or all rows; leave it out")
    mean = rows.mean(axis=0)
    deviations = rows - mean
    spread, axes = np.linalg.eigh(deviations.T @ deviations)
    features = np.column_stack((deviations @ axes, np.ones(rows.shape[0])))
    curvature = np.append(np.maximum(spread, 0.0), rows.shape[0])
    penalty = np.append(np.ones(rows.shape[1]), 0.0)
    share = members / labels.shape[0]
    weights = np.zeros((rows.shape[1] + 1, labels.shape[1]))
    weights[-1] = np.log(share / (1.0 - share))  # the best constant
    _newton(features, labels, strength, curvature, penalty, weights)
    straight = axes @ weights[:-1]
    return straight, weights[-1] - mean @ straight


def log_loss(scores: NDArray[np.float64], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """-log of the chance given to what is true, in nats; any shape, same shape."""
    return np.logaddexp(0.0, np.where(labels, -scores, scores))


def _newton(
    rows: NDArray[np.float64],
    labels: NDArray[np.bool_],
    strength: float,
    curvature: NDArray[np.float64],
    penalty: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> None:
    """Improve ``weights`` in place until each label's gradient is small."""
    truth = labels.astype(np.float64)
    scores = rows @ weights
    left = np.arange(labels.shape[1])
    goal = np.full(labels.shape[1], np.inf)
    for step in range(_MOST_STEPS):
        chance = _sigmoid(scores[:, left])
        gradient = strength * (rows.T @ (chance - truth[:, left])) + penalty[:, None] * weights[:, left]
        size = np.linalg.norm(gradient, axis=0)
        if step == 0:
            goal = _TOLERANCE * size
        is_open = size > goal[left]
        if not is_open.any():
            return
        left, gradient, chance, size = left[is_open], gradient[:, is_open], chance[:, is_open], size[is_open]
        certainty = chance * (1.0 - chance)
        condition = penalty[:, None] + strength * curvature[:, None] * certainty.mean(axis=0) + 1e-12
        # Inner accuracy grows as the outer one does: far from the end an exact step is wasted.
        accuracy = np.minimum(0.1, np.sqrt(size / np.maximum(goal[left], 1e-300) * _TOLERANCE))
        direction = _solve(rows, certainty, strength, penalty, condition, -gradient, accuracy)
        score_step = rows @ direction
        slope = (gradient * direction).sum(axis=0)
        before = scores[:, left], weights[:, left]
        length = _lengths(*before, score_step, direction, labels[:, left], strength, penalty, slope)
        weights[:, left] += length * direction
        scores[:, left] += length * score_step
        stuck = length == 0.0  # at the last digit: no step lowers the loss any more
        left = left[~stuck]
        if not left.size:
            return


def _solve(
    rows: NDArray[np.float64],
    certainty: NDArray[np.float64],
    strength: float,
    penalty: NDArray[np.float64],
    condition: NDArray[np.float64],
    right_side: NDArray[np.float64],
    accuracy: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Preconditioned conjugate gradients on (penalty + C X' W X) x = wanted, a column each."""
    solution = np.zeros_like(right_side)
    rest = right_side.copy()
    preconditioned_rest = rest / condition
    way = preconditioned_rest.copy()
    energy = (rest * preconditioned_rest).sum(axis=0)
    goal = accuracy * np.linalg.norm(right_side, axis=0)
    for _ in range(_MOST_INNER):
        curvature = penalty[:, None] * way + strength * (rows.T @ (certainty * (rows @ way)))
        bend = (way * curvature).sum(axis=0)
        length = np.divide(energy, bend, out=np.zeros_like(energy), where=bend > 0)
        solution += length * way
        rest -= length * curvature
        if (np.linalg.norm(rest, axis=0) <= goal).all():
            break
        preconditioned_rest = rest / condition
        fresh = (rest * preconditioned_rest).sum(axis=0)
        way = preconditioned_rest + np.divide(fresh, energy, out=np.zeros_like(fresh), where=energy > 0) * way
        energy = fresh
    return solution


def _lengths(
    scores: NDArray[np.float64],
    weights: NDArray[np.float64],
    score_step: NDArray[np.float64],
    direction: NDArray[np.float64],
    labels: NDArray[np.bool_],
    strength: float,
    penalty: NDArray[np.float64],
    slope: NDArray[np.float64],
) -> NDArray[np.float64]:
    """A step length for each label that lowers its loss: 1, 1/2, 1/4, ...; 0 where none does."""

    def loss(length: NDArray[np.float64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        fit = log_loss(scores[:, columns] + length[columns] * score_step[:, columns], labels[:, columns]).sum(axis=0)
        size = penalty[:, None] * (weights[:, columns] + length[columns] * direction[:, columns]) ** 2
        return np.asarray(strength * fit + 0.5 * size.sum(axis=0))

    length = np.ones(slope.size)
    open_ = np.arange(slope.size)
    before = loss(np.zeros(slope.size), open_)
    for _ in range(40):
        is_lower = loss(length, open_) <= before[open_] + 1e-4 * length[open_] * slope[open_]
        open_ = open_[~is_lower]
        if not open_.size:
            return length
        length[open_] *= 0.5
    length[open_] = 0.0
    return length


def _sigmoid(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 * (1.0 + np.tanh(0.5 * scores))
