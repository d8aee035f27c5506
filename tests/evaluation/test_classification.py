"""Node classification against scikit-learn, and the protocol's rules."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from pipeline.evaluation.classification import classify_nodes, f1_scores, top_labels
from pipeline.kernels.hashing import hash_nodes, splitmix64


def labelled(n: int, dim: int, n_labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, dim)).astype(np.float32)
    scores = rows @ rng.standard_normal((dim, n_labels)) + rng.logistic(size=(n, n_labels))
    labels = scores > np.quantile(scores, 0.8, axis=0)
    labels[np.arange(n), scores.argmax(axis=1)] = True
    return rows, splitmix64(np.arange(n, dtype=np.uint64)), labels


@given(st.integers(1, 30), st.integers(1, 6), st.data())
def test_f1_is_scikit_learns(n: int, n_labels: int, data: st.DataObject) -> None:
    truth, predicted = (data.draw(hnp.arrays(np.bool_, (n, n_labels))) for _ in range(2))
    want = [f1_score(truth, predicted, average=average, zero_division=0) for average in ("micro", "macro")]
    if n_labels == 1:  # scikit-learn takes one column for two classes
        both = np.column_stack((truth, np.zeros_like(truth))), np.column_stack((predicted, np.zeros_like(truth)))
        want = [f1_score(*both, average="micro", zero_division=0)] * 2
    assert f1_scores(truth, predicted) == pytest.approx(want, abs=1e-12)


def test_as_many_labels_as_known_and_the_smaller_one_first() -> None:
    scores = np.array([[0.1, 0.9, 0.5], [0.5, 0.5, 0.5], [-np.inf, 1.0, 2.0]])
    got = top_labels(scores, np.array([2, 1, 3]))
    assert got.tolist() == [[False, True, True], [True, False, False], [True, True, True]]


def test_the_protocol_step_by_step_with_scikit_learn() -> None:
    rows, node_key, labels = labelled(300, 6, 4)
    (at_half,) = classify_nodes(rows, node_key, labels, [0.5], [0, 1], strength=0.7)
    for shuffle in at_half.shuffles:
        order = np.argsort(hash_nodes(node_key, shuffle.seed))
        train, test = order[:150], order[150:]
        scores = np.column_stack(
            [
                LogisticRegression(C=0.7, tol=1e-10, max_iter=10_000)
                .fit(rows[train].astype(np.float64), labels[train, at])
                .decision_function(rows[test].astype(np.float64))
                for at in range(4)
            ]
        )
        predicted = np.zeros((150, 4), np.bool_)
        for node, count in enumerate(labels[test].sum(axis=1)):
            predicted[node, np.argsort(-scores[node], kind="stable")[:count]] = True
        want = [f1_score(labels[test], predicted, average=average) for average in ("micro", "macro")]
        assert [shuffle.micro_f1, shuffle.macro_f1] == pytest.approx(want, abs=1e-12)
        assert (shuffle.train_nodes, shuffle.test_nodes, shuffle.labels_fitted) == (150, 150, 4)
    micro = [shuffle.micro_f1 for shuffle in at_half.shuffles]
    assert at_half.micro_f1 == pytest.approx(np.mean(micro))
    assert at_half.micro_f1_deviation == pytest.approx(np.std(micro, ddof=1))


def test_the_order_of_nodes_does_not_matter() -> None:
    rows, node_key, labels = labelled(120, 5, 3)
    shuffled = np.random.default_rng(0).permutation(120)
    want = classify_nodes(rows, node_key, labels, [0.3], [4])
    assert classify_nodes(rows[shuffled], node_key[shuffled], labels[shuffled], [0.3], [4]) == want


def test_a_label_that_no_train_node_has_is_never_predicted_and_one_that_all_have_always() -> None:
    rows, node_key, _ = labelled(40, 3, 1)
    order = np.argsort(hash_nodes(node_key, 0))
    labels = np.zeros((40, 3), np.bool_)
    labels[:, 1] = True  # all
    labels[order[30:], 0] = True  # half of the test nodes alone
    labels[order[:10], 2] = True
    ((half,),) = [one.shuffles for one in classify_nodes(rows, node_key, labels, [0.5], [0])]
    assert half.labels_fitted == 1
    # Ten test nodes have label 1, and it is predicted; ten have 0 and 1, and 1 and 2 are.
    assert half.micro_f1 == pytest.approx(2 * (10 + 10) / (30 + 30))


def test_shares_that_leave_a_side_empty_are_refused() -> None:
    rows, node_key, labels = labelled(10, 3, 2)
    for share in (0.05, 1.0):
        with pytest.raises(ValueError, match="leaves a side empty"):
            classify_nodes(rows, node_key, labels, [share], [0])
    with pytest.raises(ValueError, match="9 nodes with labels"):
        classify_nodes(rows, node_key, labels[1:], [0.5], [0])
