from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.kernels.hashing import splitmix64
from pipeline.kernels.ranking import NO_ROW
from pipeline.tuning.validation import (
    K,
    LabelValidation,
    RankingValidation,
    Score,
    SeveralValidations,
    TrainPart,
    standard_error,
)


def keys(n: int) -> NDArray[np.uint64]:
    return splitmix64(np.arange(n, dtype=np.uint64))


def part_of(pairs: NDArray[np.int64], is_hidden: NDArray[np.bool_], n: int, first: int) -> TrainPart:
    """Positions 0..first-1 are sources; ``first`` 0: a plain graph."""
    stays, hidden = pairs[~is_hidden], pairs[is_hidden]
    return TrainPart(keys(n), stays[:, 0], stays[:, 1], hidden[:, 0], hidden[:, 1], (first, n), is_plain=first == 0)


@st.composite
def parts(draw: st.DrawFn) -> tuple[TrainPart, NDArray[np.float32]]:
    """Small graphs of one or two types with some pairs hidden, and a table: small integers, so that ties are common."""
    is_plain = draw(st.booleans())
    first = 0 if is_plain else draw(st.integers(1, 12))
    n = first + draw(st.integers(2, 40))
    left = st.integers(0, n - 1) if is_plain else st.integers(0, first - 1)
    pairs = draw(
        st.lists(st.tuples(left, st.integers(first, n - 1)), min_size=1, max_size=120, unique_by=lambda p: frozenset(p))
    )
    is_hidden = [draw(st.booleans()) and left != right for left, right in pairs]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = rng.integers(-2, 3, (n, 3)).astype(np.float32)
    return part_of(np.array(pairs, np.int64), np.array(is_hidden), n, first), rows


def by_hand(part: TrainPart, rows: NDArray[np.float32]) -> tuple[dict[int, tuple[float, float]], int]:
    """Recall and NDCG of each source, straight from the definition; and the sources without anything left."""
    n = part.node_key.size
    known: dict[int, set[int]] = {node: {node} if part.is_plain else set() for node in range(n)}
    wanted: dict[int, set[int]] = {}
    linked = set(part.src.tolist()) | set(part.dst.tolist())
    for left, right in zip(part.src.tolist(), part.dst.tolist(), strict=True):
        known[left].add(right)
        if part.is_plain:
            known[right].add(left)
    for left, right in zip(part.hidden_src.tolist(), part.hidden_dst.tolist(), strict=True):
        wanted.setdefault(left, set()).add(right)
        if part.is_plain:
            wanted.setdefault(right, set()).add(left)
    found = {}
    for source, answers in wanted.items():
        if source not in linked:
            continue
        open_to_it = [node for node in range(*part.target) if node in linked and node not in known[source]]
        ranked = sorted(open_to_it, key=lambda node: (-float(rows[source] @ rows[node]), node))[:K]
        gains = [1 / math.log2(place + 2) for place, node in enumerate(ranked) if node in answers]
        ideal = [1 / math.log2(place + 2) for place in range(min(K, len(answers)))]
        found[source] = (len(gains) / len(answers), sum(gains) / sum(ideal))
    return found, len(wanted.keys() - found.keys())


@given(parts())
def test_figures_are_those_of_the_definition(made: tuple[TrainPart, NDArray[np.float32]]) -> None:
    part, rows = made
    want, unknown = by_hand(part, rows)
    asked = RankingValidation(part, 10**6, 0)
    assert asked.units == asked.population == len(want)
    assert asked.unknown_sources == unknown
    if not want:
        return
    score = asked(rows, "dot", asked.units)
    # float64 sums of at most 20 terms.
    np.testing.assert_allclose(sorted(score.deciding), sorted(ndcg for _, ndcg in want.values()), atol=1e-12)
    assert score.figures["recall@20"] == pytest.approx(np.mean([recall for recall, _ in want.values()]), abs=1e-12)
    assert score.value == pytest.approx(score.figures["ndcg@20"], abs=1e-12)


@given(parts(), st.integers(1, 5))
def test_lists_score_as_the_table_that_ranks_so(made: tuple[TrainPart, NDArray[np.float32]], few: int) -> None:
    part, rows = made
    asked = RankingValidation(part, 10**6, 0)
    sources = asked.sources[:few]
    known: dict[int, set[int]] = {node: {node} if part.is_plain else set() for node in range(part.node_key.size)}
    for left, right in zip(part.src.tolist(), part.dst.tolist(), strict=True):
        known[left].add(right)
        if part.is_plain:
            known[right].add(left)
    linked = {node for node, others in known.items() if others - {node}} | set(part.dst.tolist())
    listed = np.full((sources.size, K), NO_ROW)
    for place, source in enumerate(sources.tolist()):
        may = [node for node in range(*part.target) if node in linked and node not in known[source]]
        best = sorted(may, key=lambda node: (-float(rows[source] @ rows[node]), node))[:K]
        listed[place, : len(best)] = best
    got, want = asked.of_lists(listed), asked(rows, "dot", sources.size)
    np.testing.assert_array_equal(got.deciding, want.deciding)
    assert got.figures == {name: want.figures[name] for name in got.figures}


@given(parts(), st.integers(1, 5))
def test_the_first_units_are_the_same_in_a_longer_list(made: tuple[TrainPart, NDArray[np.float32]], few: int) -> None:
    part, rows = made
    asked = RankingValidation(part, 10**6, 0)
    whole, first = asked(rows, "dot", asked.units), asked(rows, "dot", few)
    np.testing.assert_array_equal(first.deciding, whole.deciding[:few])


@given(parts(), st.randoms(use_true_random=False))
def test_the_order_of_pairs_says_nothing(made: tuple[TrainPart, NDArray[np.float32]], random: object) -> None:
    part, rows = made
    order, hidden_order = np.arange(part.src.size), np.arange(part.hidden_src.size)
    random.shuffle(order)  # type: ignore[attr-defined]
    random.shuffle(hidden_order)  # type: ignore[attr-defined]
    other = replace(
        part,
        src=part.src[order],
        dst=part.dst[order],
        hidden_src=part.hidden_src[hidden_order],
        hidden_dst=part.hidden_dst[hidden_order],
    )
    one, two = (RankingValidation(each, 5, 3) for each in (part, other))
    np.testing.assert_array_equal(one(rows, "dot", 5).deciding, two(rows, "dot", 5).deciding)


def test_cosine_leaves_lengths_out() -> None:
    # The source is linked to 2; of 3 (hidden, along its direction) and 4 (long, askew), dot prefers 4.
    part = part_of(np.array([[0, 2], [0, 3], [1, 3], [1, 4]]), np.array([False, True, False, False]), n=5, first=2)
    rows = np.array([[1, 0], [0, 1], [0, 0.5], [1, 0], [3, 9]], np.float32)
    asked = RankingValidation(part, 10, 0)
    assert asked(rows, "cosine", 1).value == 1.0
    assert asked(rows, "dot", 1).value == pytest.approx(1 / math.log2(3))


def test_fewer_sources_are_a_sample_and_say_so() -> None:
    pairs = np.stack([np.repeat(np.arange(50), 4), 50 + np.tile(np.arange(4), 50)], axis=1)
    asked = RankingValidation(part_of(pairs, np.arange(200) % 4 == 0, 54, 50), 7, 0)
    assert (asked.units, asked.population) == (7, 50)
    # Item 50 is hidden from everybody and has nothing left: asked for, and never found.
    assert (asked.targets, asked.unknown_pairs, asked.hidden_pairs) == (3, 7, 7)
    assert asked(np.ones((54, 2), np.float32), "dot", 7).value == 0.0


@given(parts(), st.integers(0, 2**32))
def test_several_splits_are_their_sources_together(made: tuple[TrainPart, NDArray[np.float32]], seed: int) -> None:
    part, rows = made
    is_hidden = np.random.default_rng(seed).random(part.src.size) < 0.5
    stays, asked = ~is_hidden, is_hidden & (part.src != part.dst)
    other = replace(
        part, src=part.src[stays], dst=part.dst[stays], hidden_src=part.src[asked], hidden_dst=part.dst[asked]
    )
    splits = [RankingValidation(each, 10**6, 0) for each in (part, other)]
    tables = [rows, rows[::-1].copy()]
    both = SeveralValidations(splits)
    if not all(split.units for split in splits):
        return
    scores = [split(table, "dot", split.units) for split, table in zip(splits, tables, strict=True)]
    score = both(np.concatenate(tables), "dot", both.units)
    np.testing.assert_array_equal(score.deciding, np.concatenate([one.deciding for one in scores]))
    assert score.figures["ndcg@20"] == pytest.approx(score.value, abs=1e-12)


def test_labels_that_rows_spell_out_are_read_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    nodes, labelled = 400, np.arange(0, 400, 2)
    label = rng.integers(0, 4, labelled.size)
    labels = np.eye(4, dtype=np.bool_)[label]
    rows = rng.standard_normal((nodes, 8)).astype(np.float32)
    asked = LabelValidation(keys(nodes), labelled, labels, 0)
    chance = asked(rows, "dot", asked.units).value
    rows[labelled, :4] += 20 * labels
    told = asked(rows, "dot", asked.units)
    assert told.deciding.size == asked.units == 5
    assert told.value > 0.99
    # One label of four each, 100 nodes a shuffle, and shuffles share nodes: five standard deviations of one.
    assert abs(chance - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 100)


def test_the_standard_error_is_that_of_a_mean() -> None:
    values = np.random.default_rng(0).standard_normal(10_000)
    # The standard deviation of a sample standard deviation is sigma / sqrt(2 n): five of them.
    assert standard_error(values) == pytest.approx(0.01, rel=5 / math.sqrt(20_000))
    assert Score(values, {}).error == standard_error(values)
    assert standard_error(values[:1]) == 0.0
