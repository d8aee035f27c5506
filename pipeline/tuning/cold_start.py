"""The keys of [cold_start]: all pairs of some targets are hidden, and rows of a map have to find them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Features
from pipeline.embedding.cold_rows import mapped_rows
from pipeline.kernels.hashed_ridge import RidgeSums, hashed_features, ridge_coefficients
from pipeline.kernels.hashing import hash_nodes
from pipeline.tuning.options import ColdStartChoice
from pipeline.tuning.pair_weights import PairWeights
from pipeline.tuning.training_graph import TrainingGraph
from pipeline.tuning.validation import K, RankingValidation, TrainPart

#: Targets all of whose pairs are hidden.
TARGET_SHARE = 0.1
#: The penalty that is tried first costs least if it is the only one that there is time for.
RIDGES = (10.0, 1.0, 100.0)
#: An eighth of an octave apart: a step costs or wins less than what validation can tell.
NORMS = tuple(float(f"{0.75 * 2 ** (step / 8):.3g}") for step in range(-24, 25))
_STREAM = 0x636F6C64  # "cold": what parts this draw from others by the same seed


@dataclass(frozen=True, eq=False)
class ColdSplit:
    """Pairs that stay, the targets without any (n,) bool, and the ranking of what is hidden."""

    weights: PairWeights
    is_cold: NDArray[np.bool_]
    ranking: RankingValidation


def hide_targets(graph: TrainingGraph, weights: PairWeights, max_sources: int, seed: int) -> ColdSplit | None:
    """Hide all pairs of a tenth of the targets with features or side pairs, by hash, beside those hidden already.

    None if there is nothing to learn from or to find.
    """
    n, (first, stop) = graph.nodes, graph.target
    is_told_of = np.zeros(n, np.bool_) if graph.features is None else graph.features.counts > 0
    for side in graph.side_pairs:
        is_told_of[side.src] = is_told_of[side.dst] = True
    may_hide = np.zeros(n, np.bool_)
    may_hide[first:stop] = is_told_of[first:stop]
    is_cold = may_hide & (hash_nodes(graph.node_key, seed ^ _STREAM) < np.uint64(int(TARGET_SHARE * 2**64)))
    weights = weights.without(is_cold[graph.dst])
    stays = weights.stays
    train = TrainPart(
        node_key=graph.node_key,
        src=graph.src[stays],
        dst=graph.dst[stays],
        hidden_src=graph.src[~stays],
        hidden_dst=graph.dst[~stays],
        target=graph.target,
        is_plain=False,
    )
    is_warm = may_hide & (train.degree > 0)
    if not is_warm.any() or not is_cold.any():
        return None
    ranking = RankingValidation(train, max_sources, seed, is_cold)
    return ColdSplit(weights, is_cold, ranking) if ranking.units else None


def choose_cold_start(
    split: ColdSplit,
    features: Features,
    rows: NDArray[np.float32],
    own: NDArray[np.float32],
    largest_loss: float,
    allows: Callable[[int], bool],
) -> ColdStartChoice | None:
    """Choose the rows and the norm that find most hidden targets, and cost others a share of their recall at most.

    Parameters
    ----------
    features : of all nodes. rows : (n, dim) float32, embedded from the pairs that stay. own : (hidden targets, dim)
        float32, those that the method gives the hidden targets; zeros where it gives none.
    allows : whether there is time for one more kind of rows than were tried.

    Returns
    -------
    None if no norm finds any.
    """
    ranking, degree = split.ranking, split.ranking.degree
    cold = np.flatnonzero(split.is_cold)
    targets = ranking.target_nodes
    warm = targets[(degree[targets] > 0) & rows[targets].any(axis=1)]
    warm_length = np.linalg.norm(rows[warm], axis=1).mean()
    warm = warm[features.counts[warm] > 0]
    sums, warm_features = RidgeSums.zero(rows.shape[1]), features.rows(warm)
    sums.add(hashed_features(warm_features.indptr, warm_features.key, warm_features.value), rows[warm])
    rows, is_cold = rows.copy(), split.is_cold[targets]
    rows[cold] = 0.0
    _, alone, _ = _recalls(ranking, rows, is_cold)
    chance = min(1.0, K / targets.size)
    best: ColdStartChoice | None = None
    for number, ridge in enumerate([*([None] if own.any() else []), *(RIDGES if warm.size else [])]):
        if number > 1 and not allows(number):
            break
        if ridge is None:
            length = np.linalg.norm(own, axis=1)
            at_one = own * np.float32(warm_length / length[length > 0].mean())
        else:
            at_one = mapped_rows(features.rows(cold), ridge_coefficients(sums, ridge), 1.0)

        def choice_at(
            norm: float, ridge: float | None = ridge, at_one: NDArray[np.float32] = at_one
        ) -> ColdStartChoice:
            rows[cold] = np.float32(norm) * at_one
            recall, warm_recall, share = _recalls(ranking, rows, is_cold)
            kind: Literal["scaled", "map"] = "map" if ridge else "scaled"
            return ColdStartChoice(kind, norm, ridge, cold.size, recall, chance, warm_recall, alone, share)

        choice = _longest(choice_at, largest_loss)
        if choice is not None and (best is None or choice.recall > best.recall):
            best = choice
    return best if best is not None and best.recall > 0 else None


def _longest(choice_at: Callable[[float], ColdStartChoice], largest_loss: float) -> ColdStartChoice | None:
    """Return the choice of the largest norm whose loss is within bounds, by halving: longer rows cost no less."""
    low, high, best = -1, len(NORMS), None
    while high - low > 1:
        middle = (low + high) // 2
        choice = choice_at(NORMS[middle])
        if choice.loss <= largest_loss:
            low, best = middle, choice
        else:
            high = middle
    return best


def _recalls(
    ranking: RankingValidation, rows: NDArray[np.float32], is_cold: NDArray[np.bool_]
) -> tuple[float, float, float]:
    """Return the shares of the cold and of the other targets' pairs that are hits, and the cold share of lists."""
    per_item = ranking.measure(rows, ranking.units).per_item
    recalls = [
        float(per_item.hits[mask, 0].sum() / max(per_item.test_pairs[mask].sum(), 1)) for mask in (is_cold, ~is_cold)
    ]
    lengths = per_item.list_counts[:, 0]
    return recalls[0], recalls[1], float(lengths[is_cold].sum() / max(lengths.sum(), 1))
