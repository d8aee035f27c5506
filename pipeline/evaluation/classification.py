"""Node classification: can a linear model read the labels off the rows?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.hashing import hash_nodes
from pipeline.kernels.logistic_regression import logistic_regressions

TRAIN_SHARES = (0.1, 0.5, 0.9)
SHUFFLES = 5
STRENGTH = 0.05


@dataclass(frozen=True)
class Shuffle:
    """One split: its seed, nodes on both sides, labels that a model could be made for, and the two F1."""

    seed: int
    train_nodes: int
    test_nodes: int
    labels_fitted: int
    micro_f1: float
    macro_f1: float


@dataclass(frozen=True)
class ShareMetrics:
    """Means over the shuffles at one train share, and standard deviations (n - 1; 0 for one shuffle)."""

    train_share: float
    micro_f1: float
    micro_f1_deviation: float
    macro_f1: float
    macro_f1_deviation: float
    shuffles: tuple[Shuffle, ...]

    @classmethod
    def of(cls, train_share: float, shuffles: Sequence[Shuffle]) -> ShareMetrics:
        """Take the means."""
        micro = mean_and_deviation([shuffle.micro_f1 for shuffle in shuffles])
        macro = mean_and_deviation([shuffle.macro_f1 for shuffle in shuffles])
        return cls(train_share, *micro, *macro, tuple(shuffles))


def classify_nodes(
    rows: NDArray[np.float32],
    node_key: NDArray[np.uint64],
    labels: NDArray[np.bool_],
    shares: Sequence[float] = TRAIN_SHARES,
    seeds: Sequence[int] = tuple(range(SHUFFLES)),
    strength: float = STRENGTH,
) -> list[ShareMetrics]:
    """DeepWalk's protocol: one-vs-rest logistic regression, as many labels predicted as the node is known to have.

    A shuffle orders the nodes by the hash of (its seed, their keys); the first ``share`` of them train the
    models. For each other node the labels with the highest scores are predicted, as many as it truly has (equal
    scores: the smaller label). A label that no train node has is never predicted.

    Parameters
    ----------
    rows : (n, dim) float32, as a linear model is to see them: the metadata's similarity for classifiers says
        whether as they are ("dot") or as unit rows ("cosine"). They are not scaled any further.
    node_key : (n,) uint64.
    labels : (n, labels) bool; every node has one at least.
    shares : of the nodes, to train on; each above 0 and below 1.
    seeds : of the shuffles, named so that others can repeat them.
    strength : C of the regression.

    Raises
    ------
    ValueError : shapes differ, a share is outside (0, 1), or it leaves no node on one side.

    Cost
    ----
    10,312 x 128 with 39 labels, 3 shares, 5 shuffles: 2 s.

    Source
    ------
    Perozzi, Al-Rfou & Skiena, "DeepWalk", KDD 2014, and its scoring.py; Tang & Liu, KDD 2009 (the number of labels).
    """
    n = rows.shape[0]
    if labels.shape[0] != n or node_key.shape != (n,):
        raise ValueError(f"there are {n} rows, {labels.shape[0]} nodes with labels and {node_key.size} keys")
    wide = rows.astype(np.float64)
    return [
        ShareMetrics.of(share, [_classify_once(wide, node_key, labels, share, seed, strength) for seed in seeds])
        for share in shares
    ]


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) from sums that don't depend on the order; deviation 0 for one value."""
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1))


def f1_scores(truth: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> tuple[float, float]:
    """Micro- and macro-F1 of (n, labels) bool; a label neither true nor predicted anywhere counts as 0."""
    both = (truth & prediction).sum(axis=0).astype(np.float64)
    total = truth.sum(axis=0) + prediction.sum(axis=0)
    micro = 2.0 * both.sum() / max(total.sum(), 1)
    return float(micro), float((2.0 * both / np.maximum(total, 1)).mean())


def top_labels(scores: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the ``count[i]`` highest scores of each row; equal ones from the left."""
    order = np.argsort(-scores, axis=1, kind="stable")
    is_top = np.zeros(scores.shape, np.bool_)
    np.put_along_axis(is_top, order, np.arange(scores.shape[1]) < count[:, None], axis=1)
    return is_top


def _classify_once(
    rows: NDArray[np.float64],
    node_key: NDArray[np.uint64],
    labels: NDArray[np.bool_],
    share: float,
    seed: int,
    strength: float,
) -> Shuffle:
    n = rows.shape[0]
    size = int(share * n)
    if not 0 < share < 1 or not 0 < size < n:
        raise ValueError(f"a train share of {share} of {n} nodes leaves a side empty; give shares between 0 and 1")
    order = np.argsort(hash_nodes(node_key, seed), kind="stable")
    train, test = order[:size], order[size:]
    members = labels[train].sum(axis=0)
    is_fitted = (members > 0) & (members < size)
    scores = np.full((n - size, labels.shape[1]), -np.inf)
    scores[:, members == size] = np.inf
    if is_fitted.any():
        weights, intercepts = logistic_regressions(rows[train], labels[train][:, is_fitted], strength)
        scores[:, is_fitted] = rows[test] @ weights + intercepts
    micro, macro = f1_scores(labels[test], top_labels(scores, labels[test].sum(axis=1)))
    return Shuffle(seed, size, n - size, int(is_fitted.sum()), micro, macro)
