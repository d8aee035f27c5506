"""The keys of [cold_start] that tuning chooses, against sorted scores."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.blocks.arrays import Features
from pipeline.embedding.cold_rows import mapped_rows
from pipeline.kernels.hashed_ridge import RidgeSums, hashed_features, ridge_coefficients
from pipeline.kernels.node_keys import node_keys
from pipeline.tuning.cold_start import NORMS, RIDGES, ColdSplit, choose_cold_start
from pipeline.tuning.validation import K, RankingValidation, TrainPart

USERS, ITEMS, DIM, BRANDS = 200, 120, 12, 10
#: Brand b is feature b.
KEYS = node_keys("brand", [str(brand).encode() for brand in range(BRANDS)])


def planted(seed: int) -> tuple[TrainPart, np.ndarray, Features, np.ndarray]:
    """Users who like items of two brands; a tenth of the items has all its pairs hidden, others lose a fifth."""
    rng = np.random.default_rng(seed)
    brand = np.arange(ITEMS) % BRANDS
    liked = np.stack([rng.choice(BRANDS, 2, replace=False) for _ in range(USERS)])
    chance = 0.02 + 0.5 * (brand == liked[:, :1]) + 0.5 * (brand == liked[:, 1:])
    src, item = np.nonzero(rng.random((USERS, ITEMS)) < chance * rng.random(ITEMS))
    dst = item + USERS
    is_cold = np.zeros(USERS + ITEMS, np.bool_)
    is_cold[USERS + rng.choice(ITEMS, ITEMS // 10, replace=False)] = True
    hidden = is_cold[dst] | (rng.random(src.size) < 0.2)
    key = np.concatenate([node_keys(name, [str(n).encode() for n in range(size)]) for name, size in SIDES])
    train = TrainPart(
        *(key, src[~hidden], dst[~hidden], src[hidden], dst[hidden]), (USERS, USERS + ITEMS), is_plain=False
    )
    counts = np.append(np.zeros(USERS, np.int64), np.ones(ITEMS, np.int64))
    features = Features.of_counts(counts, KEYS[brand], np.ones(ITEMS, np.float32))
    # Rows of singular vectors of the pairs that stay: any method's would do.
    pairs = np.zeros((USERS, ITEMS))
    pairs[train.src, train.dst - USERS] = 1.0
    left, values, right = np.linalg.svd(pairs, full_matrices=False)
    rows = np.vstack([left[:, :DIM] * values[:DIM], right[:DIM].T * np.sqrt(values[:DIM])]).astype(np.float32)
    rows[is_cold] = 0.0
    return train, is_cold, features, rows


SIDES = (("user", USERS), ("item", ITEMS))


def recalls(train: TrainPart, is_cold: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """Recall of cold and other items' pairs, by sorting all scores of a user."""
    hits: dict[bool, list[bool]] = {True: [], False: []}
    degree = train.degree
    for user in np.unique(train.hidden_src):
        if degree[user]:
            train_items = set(train.dst[train.src == user].tolist())
            candidates = [n for n in range(USERS, USERS + ITEMS) if (degree[n] or is_cold[n]) and n not in train_items]
            scores = rows[candidates].astype(np.float64) @ rows[user].astype(np.float64)
            best = {candidates[place] for place in np.argsort(-scores, kind="stable")[:K]}
            for item in train.hidden_dst[train.hidden_src == user].tolist():
                if degree[item] or is_cold[item]:
                    hits[bool(is_cold[item])].append(item in best)
    return float(np.mean(hits[True])), float(np.mean(hits[False]))


@pytest.mark.parametrize(("seed", "bound"), [(0, 0.02), (1, 0.05), (2, 0.3)])
def test_the_choice_is_the_best_of_all_norms_and_penalties(seed: int, bound: float) -> None:
    train, is_cold, features, rows = planted(seed)
    ranking = RankingValidation(train, USERS, 0, is_cold)
    split = ColdSplit(None, is_cold, ranking)  # type: ignore[arg-type]
    choice = choose_cold_start(split, features, rows, rows[is_cold], bound, lambda _: True)
    _, alone = recalls(train, is_cold, rows)
    warm = np.flatnonzero((features.counts > 0) & (train.degree > 0))
    warm_features = features.rows(warm)
    sums = RidgeSums.zero(DIM)
    sums.add(hashed_features(warm_features.indptr, warm_features.key, warm_features.value), rows[warm])
    figures = {}
    for ridge in RIDGES:
        of_map = mapped_rows(features.rows(np.flatnonzero(is_cold)), ridge_coefficients(sums, ridge), 1.0)
        within = []
        for norm in NORMS:
            table = rows.copy()
            table[is_cold] = np.float32(norm) * of_map
            cold_recall, warm_recall = recalls(train, is_cold, table)
            if 1 - warm_recall / alone <= bound:
                within.append((norm, cold_recall, warm_recall))
        figures[ridge] = within[-1]
    best = max(RIDGES, key=lambda ridge: figures[ridge][1])
    assert choice is not None
    assert (choice.ridge, choice.norm) == (best, figures[best][0])
    assert (choice.recall, choice.warm_recall) == pytest.approx(figures[best][1:])
    assert choice.warm_recall_alone == pytest.approx(alone)
    assert choice.recall > 3 * choice.chance if bound > 0.1 else choice.recall > 0


def test_rows_of_the_method_are_taken_where_they_find_more() -> None:
    train, is_cold, features, rows = planted(0)
    ranking = RankingValidation(train, USERS, 0, is_cold)
    split = ColdSplit(None, is_cold, ranking)  # type: ignore[arg-type]
    pairs = np.zeros((USERS, USERS + ITEMS))
    pairs[train.hidden_src, train.hidden_dst] = 1.0
    told = np.linalg.lstsq(rows[:USERS].astype(np.float64), pairs[:, is_cold], rcond=None)[0].T.astype(np.float32)
    choice = choose_cold_start(split, features, rows, told, 0.05, lambda number: number < 2)
    assert choice is not None
    assert (choice.rows, choice.ridge) == ("scaled", None)
    warm = rows[USERS:][train.degree[USERS:] > 0]
    length = np.linalg.norm(warm, axis=1).mean() / np.linalg.norm(told, axis=1).mean()
    table = rows.copy()
    table[is_cold] = np.float32(choice.norm * length) * told
    assert recalls(train, is_cold, table) == pytest.approx((choice.recall, choice.warm_recall))
