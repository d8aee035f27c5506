"""Rows of pairs added up: the same as a dictionary does it."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels import pair_sums
from pipeline.kernels.pair_sums import sum_pairs


def check(words: list[int], weight: list[int] | None, newest: list[int] | None) -> None:
    by_word: dict[int, list[int]] = defaultdict(list)
    for row, word in enumerate(words):
        by_word[word].append(row)
    want = sorted(by_word)
    values = [None if one is None else np.array(one, np.int64) for one in (weight, newest)]
    sums = sum_pairs(np.array(words, np.uint64), *values)
    assert sums.words.tolist() == want
    events = [1] * len(want) if sums.events is None else sums.events.tolist()
    assert events == [len(by_word[word]) for word in want]
    for given_values, got, add in ((weight, sums.weight, sum), (newest, sums.newest, max)):
        assert (got is None) == (given_values is None)
        if given_values is not None and got is not None:
            assert got.tolist() == [add(given_values[row] for row in by_word[word]) for word in want]


@given(st.data())
def test_sums_equal_a_dictionary(data: st.DataObject) -> None:
    some = [*data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=8)), 0, 2**64 - 1]
    words = data.draw(st.lists(st.sampled_from(some), max_size=40))
    values = st.none() | st.lists(st.integers(-(2**40), 2**40), min_size=len(words), max_size=len(words))
    check(words, data.draw(values), data.draw(values))


@pytest.mark.parametrize("highest", [1, 200, 2**39, 2**64 - 1])
def test_many_buckets(highest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_sums, "_BUCKET_WORDS", 16)
    rng = np.random.default_rng(highest % 97)
    words = rng.integers(0, highest, 3_000, np.uint64, endpoint=True)
    words[::3] = words[0]  # a bucket far larger than the others
    check(words.tolist(), rng.integers(0, 2**40, words.size).tolist(), None)
    check(words.tolist(), None, None)
