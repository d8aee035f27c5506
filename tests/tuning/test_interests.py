"""Lists by interests on hidden pairs against loops over dictionaries, and which keys are chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pipeline.tuning.interests as tuning
from graphquilt.interest_table import share_out
from pipeline.codes.interest_tasks import find_interest_clusters
from pipeline.config.interests import InterestsConfig
from pipeline.embedding.in_memory import block_from_edges
from pipeline.kernels.node_keys import node_keys
from pipeline.tuning.interests import InterestSplit, InterestSubject, choose_interests, without_matrix
from pipeline.tuning.search import Candidate, Trial, VariantScore
from pipeline.tuning.training_graph import TrainingGraph
from pipeline.tuning.validation import RankingValidation, Score, TrainPart
from tests.stages.test_user_interests import expected_interests

USERS, ITEMS, DIM, GROUPS = 30, 40, 4, 4
UNIT = 2**32
KEYS = InterestsConfig(clusters=GROUPS, per_source=3, smoothing=2.0, own_share=0.3)


def planted(seed: int, *, plain: bool) -> tuple[TrainingGraph, list[InterestSplit]]:
    """Users who like items of two groups; two splits that hide other pairs, with rows that nothing made."""
    random = np.random.default_rng(seed)
    first = 0 if plain else USERS
    n = first + ITEMS
    liked = random.random((USERS, ITEMS)) < np.where(
        (np.arange(USERS)[:, None] - np.arange(ITEMS)) % GROUPS < 2, 0.4, 0.05
    )
    src, item = np.nonzero(liked)
    dst = item + first
    if plain:
        src, dst = np.unique(np.sort(np.stack([src, dst])[:, src != dst], axis=0), axis=1)
    key = node_keys("node", [str(one).encode() for one in range(n)])
    sources, targets = ((0, n), (0, n)) if plain else ((0, USERS), (USERS, n))
    weight = np.full(src.size, UNIT)
    graph = TrainingGraph(
        *(np.arange(n), key, src, dst, weight, sources, targets),
        is_plain=plain,
        all_pairs=src.size,
        rows=sources,
        columns=targets,
    )
    splits = []
    for _ in range(2):
        hidden = random.random(src.size) < 0.3
        stays = ~hidden
        train = TrainPart(key, src[stays], dst[stays], src[hidden], dst[hidden], targets, is_plain=plain)
        rows = random.standard_normal((n, DIM)).astype(np.float32)
        if not plain:  # of one type, these are the neighbours of others, too
            rows[[0, 3]] = 0.0
        block = block_from_edges(key, src[stays], dst[stays], weight[stays])
        splits.append(InterestSplit(RankingValidation(train, 20, 0), block, rows))
    return graph, splits


def expected_recalls(
    graph: TrainingGraph, split: InterestSplit, k: int, keys: InterestsConfig | None, *, cosine: bool
) -> list[float]:
    """Recall of each source of a split in lists of k, by sorting all items for each of its queries."""
    train = split.ranking._train
    both = graph.is_plain
    pairs = [*zip(train.src.tolist(), train.dst.tolist(), strict=True)]
    hidden = [*zip(train.hidden_src.tolist(), train.hidden_dst.tolist(), strict=True)]
    pairs, hidden = ([*some, *((b, a) for a, b in some if both)] for some in (pairs, hidden))
    interests: dict[Any, list[tuple[int, float, np.ndarray]]] = {}
    if keys is not None:
        sides = tuple(sorted({graph.rows, graph.columns}))
        cluster = find_interest_clusters(split.block, sides, graph.source, graph.target, keys.clusters).cluster
        numbers = dict(enumerate(cluster.tolist()))
        rows = dict(enumerate(split.rows))
        zero = {node for node, row in rows.items() if not row.any()}
        edges = dict.fromkeys(pairs, 1.0)
        with np.errstate(invalid="ignore"):
            interests = expected_interests(edges, numbers, rows, keys.model_dump(), set())
        interests = {node: some for node, some in interests.items() if node not in zero}
    scored = split.rows.astype(float)
    if cosine:
        scored = scored / np.maximum(np.linalg.norm(scored, axis=1, keepdims=True), 1e-30)
    ranked = sorted({b for _, b in pairs})
    recalls = []
    for source in split.ranking.sources.tolist():
        asked = interests.get(source, [(0, 1.0, scored[source])])
        weights = np.array([one[1] for one in asked], np.float32)
        free = [one for one in ranked if (source, one) not in set(pairs) and not (both and one == source)]
        listed: list[int] = []
        for seats, (_, _, query) in zip(share_out(np.array([0, len(asked)]), weights, k), asked, strict=True):
            best = sorted(
                (one for one in free if one not in listed), key=lambda one: (-float(scored[one] @ query), one)
            )
            listed += best[:seats]
        wanted = [b for a, b in hidden if a == source]
        recalls.append(len(set(wanted) & set(listed)) / len(wanted))
    return recalls


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("keys", [None, KEYS])
def test_recall_is_that_of_sorted_scores(
    plain: bool, similarity: str, keys: InterestsConfig | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "LENGTHS", (8, 15))
    graph, splits = planted(1, plain=plain)
    subject = InterestSubject(graph, splits, similarity, 20)
    for k, score in zip((8, 15), subject.score(keys), strict=True):
        expected = [expected_recalls(graph, split, k, keys, cosine=similarity == "cosine") for split in splits]
        np.testing.assert_allclose(score.deciding, np.concatenate(expected))
        assert 0.05 < score.value < 0.95


SOURCES = 400
NOISE = np.random.default_rng(0).standard_normal((2, SOURCES)) * 0.1
ERROR = float((NOISE.mean(axis=0)).std(ddof=1)) / SOURCES**0.5


def choose(gains: dict[tuple[int, float], tuple[float, float]], clusters: int = 0, most: int = 99) -> Any:
    """Choose among keys whose recalls at 200 and 500 are above those of one query by planted means, with noise."""
    base = np.full((2, SOURCES), 0.5)

    def score(keys: InterestsConfig) -> list[Score]:
        gain = gains.get((keys.clusters, keys.own_share), (-1.0, -1.0))
        noise = NOISE - NOISE.mean(axis=1, keepdims=True)
        return [Score(one, {}) for one in base + noise + np.array(gain)[:, None]]

    alone = [Score(one, {}) for one in base]
    return choose_interests(score, alone, InterestsConfig(clusters=clusters), lambda tried: tried < most)


@pytest.mark.parametrize(
    ("gains", "clusters", "own_share"),
    [
        ({(100, 0.5): (0.05, 0.05)}, 100, 0.5),
        ({(100, 0.5): (1.5 * ERROR, 1.5 * ERROR)}, 0, 0.5),  # noise
        ({(100, 0.5): (-0.05, 0.2)}, 0, 0.5),  # a loss at one length
        ({(100, 0.5): (0.05, 0.05), (300, 0.5): (0.2, 0.2), (300, 0.25): (0.3, 0.3)}, 300, 0.25),
        ({(100, 0.5): (0.05, 0.05), (300, 0.5): (-0.05, 0.4)}, 100, 0.5),  # the best mean is none that wins
    ],
)
def test_keys_are_taken_that_win_at_all_lengths(
    gains: dict[tuple[int, float], tuple[float, float]], clusters: int, own_share: float
) -> None:
    choice = choose(gains)
    assert (choice.keys.clusters, choice.keys.own_share) == (clusters, own_share)
    best = gains[choice.best.clusters, choice.best.own_share]
    assert [choice.recall[f"recall@{k}"] for k in (200, 500)] == pytest.approx([0.5 + gain for gain in best])
    assert choice.error == pytest.approx(ERROR)


def test_what_the_config_has_must_win_too_and_comes_first() -> None:
    lost = choose({(50, 0.5): (0.0, 0.0)}, clusters=50)
    assert (lost.keys.clusters, lost.best.clusters) == (0, 50)
    won = choose({(50, 0.5): (0.2, 0.2), (100, 0.5): (0.2, 0.2)}, clusters=50)
    assert won.keys.clusters == 50
    assert choose({(50, 0.5): (0.1, 0.1), (100, 0.5): (0.2, 0.2)}, clusters=50, most=1).tried == 1


def trial(value: float, noise: int = 0, *, is_whole: bool = True, width: int = 8, **changes: Any) -> Trial:
    best = VariantScore({}, Score(value + NOISE[noise] - NOISE[noise].mean(), {}))
    return Trial(Candidate("", "", changes, width=width), [best], best, is_whole, 0.0, 0.0, 0.0, 0)


def test_the_best_rows_without_a_matrix_stand_in_for_those_with_one_within_noise() -> None:
    chosen = trial(1.0, compatibility=0.3)
    near, farther, worse = trial(0.997, 1), trial(0.996, 1), trial(0.98, 1)
    others = [trial(0.999, 1, compatibility=1.0), trial(1.0, width=16), trial(1.0, is_whole=False)]
    assert without_matrix(chosen, [*others, worse, farther, near, chosen]) is near
    assert without_matrix(chosen, [*others, worse, chosen]) is None
    assert without_matrix(near, [*others, chosen, near]) is near
