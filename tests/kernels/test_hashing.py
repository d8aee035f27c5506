import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.hashing import hash_cells, hash_nodes, hash_pairs, order_of_hashes, splitmix64

WORD = 2**64 - 1
words = st.integers(0, WORD)


def mixed(word: int) -> int:
    """SplitMix64 in Python's own integers, from Vigna's reference code."""
    z = (word + 0x9E3779B97F4A7C15) & WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
    return z ^ (z >> 31)


def test_splitmix64_gives_the_published_sequence_of_seed_0() -> None:
    states = np.arange(5, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]
    assert splitmix64(states)[:4].tolist() == published


@given(st.lists(words, min_size=1, max_size=5), words, st.integers(1, 5))
def test_all_hashes_are_chains_of_splitmix64(keys: list[int], seed: int, dim: int) -> None:
    array = np.array(keys, np.uint64)
    rows = [mixed(key ^ mixed(seed)) for key in keys]
    assert hash_nodes(array, seed).tolist() == rows
    assert hash_cells(array, dim, seed).tolist() == [[mixed((row + col) & WORD) for col in range(dim)] for row in rows]
    reverse = keys[::-1]
    assert hash_pairs(array, array[::-1], seed).tolist() == [
        mixed(row ^ other) for row, other in zip(rows, reverse, strict=True)
    ]


def test_a_cell_depends_on_its_key_and_column_only() -> None:
    keys = hash_nodes(np.arange(100, dtype=np.uint64), 3)
    whole = hash_cells(keys, 32, 1)
    np.testing.assert_array_equal(hash_cells(keys[[7, 99, 7]], 20, 1), whole[[7, 99, 7], :20])


def test_neighbouring_keys_do_not_share_shifted_rows() -> None:
    cells = hash_cells(np.arange(50, dtype=np.uint64), 50, 0)
    assert len(np.unique(cells)) == cells.size


def test_pairs_are_ordered() -> None:
    keys = np.arange(1000, dtype=np.uint64)
    forward, backward = hash_pairs(keys, keys[::-1], 5), hash_pairs(keys[::-1], keys, 5)
    assert not (forward == backward).any()
    assert len(np.unique(forward)) == len(keys)


def test_bits_are_balanced_for_consecutive_keys() -> None:
    # Each bit of n words is a fair coin: the share of ones lies within 5 standard deviations, sqrt(1/4n).
    cells = hash_cells(np.arange(2000, dtype=np.uint64), 16, 0).reshape(-1)
    for bit in range(64):
        ones = np.count_nonzero(cells >> np.uint64(bit) & np.uint64(1)) / cells.size
        assert abs(ones - 0.5) < 5 * np.sqrt(0.25 / cells.size)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="seed"):
        hash_nodes(np.zeros(1, np.uint64), seed)


def test_signed_keys_are_refused_with_the_remedy() -> None:
    with pytest.raises(TypeError, match="view"):
        hash_nodes(np.zeros(1, np.int64), 0)  # type: ignore[arg-type]


def test_pairs_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="equally many"):
        hash_pairs(np.zeros(2, np.uint64), np.zeros(3, np.uint64), 0)


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(0, 5))
def test_equal_hashes_are_ordered_by_place(keys: list[int], seed: int) -> None:
    node_key = np.array(keys, np.uint64)
    want = sorted(range(len(keys)), key=lambda place: (int(hash_nodes(node_key[place : place + 1], seed)[0]), place))
    assert order_of_hashes(node_key, seed).tolist() == want
