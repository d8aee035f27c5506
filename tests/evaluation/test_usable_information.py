"""Usable information: bits where they were planted, none where noise was."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.link_prediction import pair_codes
from pipeline.evaluation.table import Pairs, Table
from pipeline.evaluation.usable_information import BLOCKS, binned_score, usable_information
from pipeline.kernels.hashing import splitmix64


def table_of(rows: np.ndarray) -> Table:
    """Two types, half of the rows each, all of one degree."""
    n = len(rows) // 2
    node_key = splitmix64(np.arange(2 * n, dtype=np.uint64))
    return Table(rows, node_key, np.ones(2 * n, np.int64), {"a": (0, n), "b": (n, 2 * n)}, "a", "b", "dot")


def planted(n: int, dim: int, strength: float, seed: int = 0) -> tuple[Table, Pairs, np.ndarray]:
    """A matching: node i is linked to n + i, and the first block of their rows agrees; all else is noise."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((2 * n, dim)).astype(np.float32)
    block = dim // BLOCKS
    share = math.sqrt(strength)
    rows[n:, :block] = share * rows[:n, :block] + math.sqrt(1 - strength) * rows[n:, :block]
    pairs = Pairs(np.arange(n), np.arange(n) + n)
    return table_of(rows), pairs, pair_codes(pairs.src, pairs.dst, 2 * n, is_undirected=False)


def test_noise_has_no_bits_and_the_planted_block_has_all() -> None:
    table, pairs, edge_codes = planted(4000, 32, 0.8)
    got = usable_information(table, pairs, edge_codes, 0, None)
    assert got is not None
    assert len(got.blocks) == BLOCKS
    first, *others = got.blocks
    assert first.bits > 0.2
    for one in others:
        # A model of p weights fitted to n rows of noise loses p / (2 n ln 2) bits on others, give or take.
        price = 5 / (2 * 4000 * math.log(2))
        assert abs(one.bits + price) < 4 * max(one.standard_error, price)
    assert sum(one.bits for one in others) < 0  # and it is not hidden
    assert got.prefixes[-1].bits == pytest.approx(first.bits, abs=0.02)  # noise takes nothing away
    assert [one.columns for one in got.prefixes] == [(0, 16), (0, 32)]
    assert not got.is_sampled


def test_bits_are_those_of_a_binary_channel() -> None:
    n = 20_000
    rng = np.random.default_rng(1)
    # Signs: the product is +1 at nine edges of ten, and a coin elsewhere.
    sign, flip = rng.choice([-1.0, 1.0], n), np.where(rng.random(n) < 0.1, -1.0, 1.0)
    rows = np.concatenate((sign, sign * flip)).astype(np.float32)[:, None]
    table = table_of(rows)
    pairs = Pairs(np.arange(n), np.arange(n) + n)
    edge_codes = pair_codes(pairs.src, pairs.dst, 2 * n, is_undirected=False)
    got = usable_information(table, pairs, edge_codes, 0, None)
    assert got is not None
    # P(edge | product 1) = .9 / 1.4, P(edge | -1) = .1 / .6: the mutual information of a binary channel.
    entropy = lambda p: -p * math.log2(p) - (1 - p) * math.log2(1 - p)  # noqa: E731
    want = 1 - 0.7 * entropy(0.9 / 1.4) - 0.3 * entropy(0.1 / 0.6)
    assert got.score_alone.bits == pytest.approx(want, abs=4 * got.score_alone.standard_error)
    assert got.blocks[0].bits == pytest.approx(got.score_alone.bits, abs=1e-9)
    assert got.score_alone.standard_error < 0.01
    # The model is as good as the channel: bins of its scores lose nothing, and 2^-H(Y|X) = 2^(I - 1).
    assert got.score_alone.netinfof_score == pytest.approx(2.0 ** (want - 1.0), abs=0.01)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=60))
def test_the_score_is_that_of_the_entropy_of_each_bin(pairs: list[tuple[int, bool]]) -> None:
    scores, truth = np.array([score for score, _ in pairs], np.float64), np.array([is_edge for _, is_edge in pairs])
    doubt = 0.0
    for low, high in ((-1, 2), (2, 4), (4, 9)):
        inside = [is_edge for score, is_edge in pairs if low <= score < high]
        for outcome in (True, False):
            chance = inside.count(outcome) / max(len(inside), 1)
            doubt -= inside.count(outcome) / len(pairs) * math.log2(chance) if chance else 0.0
    got = binned_score(scores, truth, np.array([2.0, 4.0]))
    assert got == pytest.approx(2.0**-doubt)
    assert 0.5 - 1e-12 <= got <= 1.0
    assert got == binned_score(np.exp(scores), truth, np.exp([2.0, 4.0]))  # only the order of pairs counts


def test_the_sample_is_stated_and_too_few_pairs_say_so() -> None:
    table, pairs, edge_codes = planted(500, 16, 0.5)
    got = usable_information(table, pairs, edge_codes, 0, 100)
    assert got is not None
    assert (got.pairs, got.population, got.is_sampled) == (100, 500, True)
    assert usable_information(table, Pairs(pairs.src[:2], pairs.dst[:2]), edge_codes, 0, None) is None
    assert usable_information(table, Pairs.none(), edge_codes, 0, None) is None
