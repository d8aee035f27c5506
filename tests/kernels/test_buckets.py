"""Dealing rows out by key."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.buckets import deal, hash_integers, hash_texts

WORDS = st.integers(0, 2**64 - 1)


def hashes_of_texts(texts: list[bytes], seed: int = 0) -> np.ndarray:
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    hashes = np.full(len(texts), seed, np.uint64)
    hash_texts(hashes, offsets, np.frombuffer(b"".join(texts), np.uint8))
    return hashes


@given(st.lists(WORDS, max_size=50), st.integers(1, 9))
def test_a_bucket_holds_its_rows_in_the_order_they_came(words: list[int], buckets: int) -> None:
    order, starts = deal(np.array(words, np.uint64), buckets)
    want = [
        [row for row, word in enumerate(words) if (word >> 32) * buckets >> 32 == bucket] for bucket in range(buckets)
    ]
    assert [order[first:stop].tolist() for first, stop in itertools.pairwise(starts)] == want


@given(st.lists(st.binary(max_size=20), max_size=20))
def test_a_text_is_hashed_by_its_own_bytes_alone(texts: list[bytes]) -> None:
    assert hashes_of_texts(texts).tolist() == [hashes_of_texts([text])[0] for text in texts]


@given(st.sets(st.binary(max_size=20)))
def test_different_texts_have_different_hashes(texts: set[bytes]) -> None:
    # 64 bits: a chance of 1e-16 for a hundred texts. Zeros at the end are what filling up words could hide.
    all_texts = sorted(texts | {b"", b"\0", b"\0\0", b"a", b"a\0", b"\0" * 8, b"\0" * 9, b"abcdefgh", b"abcdefgh\0"})
    assert len(set(hashes_of_texts(all_texts).tolist())) == len(all_texts)


def test_integers_in_a_row_spread_evenly() -> None:
    # Binomial: a bucket of 40,000 / 16 rows has a deviation of 48.4; none of 16 is six of them away.
    hashes = np.zeros(40_000, np.uint64)
    hash_integers(hashes, np.arange(40_000))
    _, starts = deal(hashes, 16)
    assert np.abs(np.diff(starts) - 2500).max() < 6 * 48.4


def test_the_second_key_is_mixed_into_the_first() -> None:
    hashes = np.zeros(10_000, np.uint64)
    left, right = np.divmod(np.arange(10_000), 100)
    hash_integers(hashes, left)
    assert max(Counter(hashes.tolist()).values()) == 100
    hash_integers(hashes, right)
    assert len(set(hashes.tolist())) == 10_000


def test_what_can_not_be_right_is_refused() -> None:
    hashes = np.zeros(2, np.uint64)
    with pytest.raises(ValueError, match="3 values for 2 rows"):
        hash_integers(hashes, np.zeros(3, np.int64))
    with pytest.raises(ValueError, match="2 offsets for 2 rows"):
        hash_texts(hashes, np.zeros(2, np.int64), np.zeros(2, np.uint8))
    with pytest.raises(ValueError, match="there are 2 bytes"):
        hash_texts(hashes, np.array([0, 1, 3]), np.zeros(2, np.uint8))
    with pytest.raises(ValueError, match="buckets is 0"):
        deal(hashes, 0)
