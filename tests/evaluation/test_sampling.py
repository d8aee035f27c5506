import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.sampling import KeySample, sample_by_key

KEYS = np.random.default_rng(1).integers(0, 2**64, 5000, np.uint64)


def test_the_same_nodes_are_chosen_in_any_numbering() -> None:
    order = np.random.default_rng(2).permutation(KEYS.size)
    chosen, again = (keys[sample_by_key(keys, 100, seed=7)] for keys in (KEYS, KEYS[order]))
    assert set(chosen.tolist()) == set(again.tolist())


def test_samples_of_one_seed_are_nested_and_of_another_are_not() -> None:
    small, large, other = (sample_by_key(KEYS, size, seed) for size, seed in ((100, 7), (200, 7), (100, 8)))
    assert set(small) < set(large)
    assert len(set(small) & set(other)) < 20  # two expected by chance


def test_all_nodes_where_there_are_too_few() -> None:
    assert sample_by_key(KEYS[:3], 3, 0).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="sample size is 0"):
        sample_by_key(KEYS, 0, 0)


@given(
    keys=st.lists(st.integers(0, 20), min_size=1, max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=5),
    size=st.integers(1, 45),
)
def test_keys_that_come_in_batches_give_the_same_sample(keys: list[int], cuts: list[int], size: int) -> None:
    every, sample = np.array(keys, np.uint64), KeySample(size, seed=5)
    for some in np.split(every, sorted(cuts)):
        sample.add(some)
    np.testing.assert_array_equal(sample.positions, sample_by_key(every, size, seed=5))
