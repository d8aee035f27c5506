"""Logistic regressions against scikit-learn's, and where these have no say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from pipeline.kernels.logistic_regression import log_loss, logistic_regressions


def some_data(n: int, dim: int, n_labels: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Rows with a mean and uneven columns; labels from common to rare."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, dim)) * np.geomspace(0.1, 3, dim) + 1.0
    scores = rows @ rng.standard_normal((dim, n_labels)) / np.sqrt(dim) + rng.logistic(size=(n, n_labels))
    labels = scores > np.quantile(scores, np.linspace(0.3, 0.98, n_labels), axis=0).diagonal()
    return rows, labels


def gradient(
    rows: NDArray[np.float64], truth: NDArray[np.bool_], weight: NDArray[np.float64], intercept: float, c: float
) -> NDArray[np.float64]:
    miss = 1.0 / (1.0 + np.exp(-(rows @ weight + intercept))) - truth
    return np.append(c * rows.T @ miss + weight, c * miss.sum())


@pytest.mark.parametrize("strength", [0.01, 1.0, 100.0])
def test_weights_are_those_of_scikit_learn(strength: float) -> None:
    rows, labels = some_data(400, 12, 5, 1)
    weights, intercepts = logistic_regressions(rows, labels, strength)
    for at in range(labels.shape[1]):
        theirs = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(rows, labels[:, at])
        np.testing.assert_allclose(weights[:, at], theirs.coef_[0], atol=2e-4)
        np.testing.assert_allclose(intercepts[at], theirs.intercept_[0], atol=1e-3)


@settings(max_examples=40)
@given(
    st.integers(2, 60),
    st.integers(1, 20),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-4, 0.05, 1.0, 1e4]),
    st.booleans(),
)
def test_the_gradient_is_a_millionth_of_the_constant_models(
    n: int, dim: int, seed: int, strength: float, is_flat: bool
) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, dim)) * rng.choice([0.0, 1e-3, 1.0, 50.0], dim)  # dead columns too
    if is_flat:
        rows[:, :] = rows[:, :1]  # of rank one
    labels = rng.random((n, 3)) < 0.5
    labels[0], labels[1] = True, False
    weights, intercepts = logistic_regressions(rows, labels, strength)
    assert np.isfinite(weights).all()
    assert np.isfinite(intercepts).all()
    for at in range(3):
        share = labels[:, at].mean()
        start = gradient(rows, labels[:, at], np.zeros(dim), float(np.log(share / (1 - share))), strength)
        end = gradient(rows, labels[:, at], weights[:, at], float(intercepts[at]), strength)
        # Turned by the principal axes and back, and the mean taken off, each costs rounding in the size of the terms.
        rounding = 1e-12 * strength * n * (1 + np.abs(rows).max())
        assert np.linalg.norm(end) <= 1e-5 * np.linalg.norm(start) + rounding


def test_a_label_does_not_see_the_others() -> None:
    rows, labels = some_data(300, 8, 4, 2)
    together = logistic_regressions(rows, labels, 1.0)[0]
    for at in range(4):
        alone = logistic_regressions(rows, labels[:, at : at + 1], 1.0)[0]
        np.testing.assert_allclose(together[:, at], alone[:, 0], atol=1e-5)


def test_loss_is_that_of_the_chance_given_to_the_truth() -> None:
    scores = np.array([-800.0, -1.0, 0.0, 2.0, 800.0])
    true = log_loss(scores, np.ones(5, np.bool_))
    np.testing.assert_allclose(true[1:], -np.log(1 / (1 + np.exp(-scores[1:]))), atol=1e-15)
    assert true[0] == 800.0  # no overflow
    np.testing.assert_array_equal(log_loss(-scores, np.zeros(5, np.bool_)), true)


def test_what_has_no_answer_is_refused() -> None:
    rows = np.ones((3, 1))
    with pytest.raises(ValueError, match="no row, or all rows"):
        logistic_regressions(rows, np.ones((3, 1), np.bool_), 1.0)
    with pytest.raises(ValueError, match="C must be above 0"):
        logistic_regressions(rows, np.array([[True], [False], [True]]), 0.0)
