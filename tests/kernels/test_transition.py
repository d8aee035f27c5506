import numpy as np
import pytest

from pipeline.kernels.transition import restart_sets, single_seeds, transition

INDPTR = np.array([0, 2, 3, 4, 4])
INDICES = np.array([1, 2, 0, 0], np.int32)
WEIGHTS = np.array([0.5, 2.0, 0.5, 2.0], np.float32)


def test_degrees_are_sums_of_weights_and_a_loop_counts_once() -> None:
    assert transition(INDPTR, INDICES, WEIGHTS).degree.tolist() == [2.5, 0.5, 2.0, 0.0]
    assert transition(INDPTR, INDICES).degree.tolist() == [2.0, 1.0, 1.0, 0.0]
    assert transition(np.array([0, 1]), np.zeros(1, np.int32)).degree.tolist() == [1.0]


def test_a_graph_is_undirected_if_every_way_back_weighs_the_same() -> None:
    assert transition(INDPTR, INDICES, WEIGHTS).is_undirected
    assert transition(INDPTR, INDICES).is_undirected
    # The same sums of rows and of columns: a cycle.
    assert not transition(np.array([0, 1, 2, 3]), np.array([1, 2, 0], np.int32)).is_undirected
    assert not transition(INDPTR, INDICES, np.array([0.5, 2.0, 0.5, 1.0], np.float32)).is_undirected


def test_restart_sets_add_up_to_1() -> None:
    sets = restart_sets(np.array([0, 2, 3]), np.array([3, 1, 1]), np.array([1.0, 3.0, 7.0]))
    assert sets.shares.tolist() == [0.25, 0.75, 1.0]
    assert sets.part(1, 2).nodes.tolist() == [1]
    assert len(single_seeds(np.array([5, 6]))) == 2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"indptr": INDPTR.astype(np.int32)}, TypeError, "indptr is int32"),
        ({"indices": INDICES.astype(np.int64)}, TypeError, "indices is int64"),
        ({"weights": WEIGHTS.astype(float)}, TypeError, "weights is float64"),
        ({"indptr": np.array([0, 3, 2, 4, 4])}, ValueError, "rise from 0"),
        ({"indptr": np.array([0, 2, 3, 3, 3])}, ValueError, "rise from 0"),
        ({"indices": np.array([1, 4, 0, 0], np.int32)}, IndexError, "from 0 to 4"),
        ({"weights": WEIGHTS[:3].copy()}, ValueError, "3 weights for 4"),
        ({"weights": WEIGHTS - np.float32(0.5)}, ValueError, "above 0"),
        ({"weights": np.full(4, np.nan, np.float32)}, ValueError, "above 0"),
        ({"left": 5}, ValueError, "left is 5"),
        ({"left": 2}, ValueError, "one side of 2"),
    ],
)
def test_graphs_that_do_not_fit(change: dict[str, np.ndarray], error: type[Exception], message: str) -> None:
    transition(INDPTR, INDICES, WEIGHTS, 1)
    with pytest.raises(error, match=message):
        transition(**{"indptr": INDPTR, "indices": INDICES, "weights": WEIGHTS, **change})


@pytest.mark.parametrize(
    ("indptr", "weights", "message"),
    [
        ([0, 2, 2], [1.0, 1.0], "set 1 has no node"),
        ([0, 1, 2], [1.0, 0.0], "above 0"),
        ([0, 1, 3], [1.0, 1.0], "do not fit"),
    ],
)
def test_restart_sets_that_do_not_fit(indptr: list[int], weights: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        restart_sets(np.array(indptr), np.array([0, 1]), np.array(weights))
