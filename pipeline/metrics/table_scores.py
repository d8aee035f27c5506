"""The figures of published tables against pairs: what evaluate measures, one task a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline import storage
from pipeline.evaluation.scoring import score_table
from pipeline.locations import Location
from pipeline.metrics.scored_lists import list_figures, read_scored_lists
from pipeline.metrics.scored_pairs import Scoring
from pipeline.metrics.scored_tables import VectorFiles, read_edges_of, read_scored_table
from pipeline.metrics.train_pairs import PairBatches
from pipeline.tasks import Attempt


@dataclass(frozen=True)
class VectorScores:
    """Input of the task that scores a table of vectors."""

    scoring: Scoring
    vectors: VectorFiles


@dataclass(frozen=True)
class ListScores:
    """Input of the task that scores a table of lists."""

    scoring: Scoring
    lists: tuple[Location, ...]


@dataclass(frozen=True)
class Scores:
    """The figures of a table, as JSON values."""

    metrics: Mapping[str, Any]

    @classmethod
    def of(cls, metrics: Mapping[str, Any], *warnings: str | None) -> Scores:
        """Return figures, with a sentence of all warnings where there are any."""
        text = "; ".join(filter(None, warnings))
        return cls({**metrics, "warning": text} if text else metrics)


def measure_table(payload: VectorScores | ListScores, attempt: Attempt) -> Scores:  # noqa: ARG001
    """Task: all figures of one table."""
    return score_lists(payload) if isinstance(payload, ListScores) else score_vectors(payload)


def score_vectors(payload: VectorScores) -> Scores:
    """Return ranking and link prediction of a table of vectors."""
    scoring = payload.scoring
    scored = read_scored_table(payload.vectors)
    table = scored.table
    test_ends, warning = scoring.read_test_pairs()
    # Of the training pairs, those of other sources are neither ranked, nor left out of a list, nor negatives.
    train_ends = read_edges_of(scoring.train, test_ends, is_plain=scoring.is_plain)
    train, test = scored.pairs(train_ends), scored.pairs(test_ends)
    # An excluded id has edges, and no row.
    train = train.without(test, table) if scoring.is_held_out else train.known()
    pairs = test.with_rows(table)
    metrics = score_table(table, train, test, scoring.ks, scoring.sample, scoring.seed)
    return Scores.of(metrics, warning, _warn_of_train_pairs(metrics["test_pairs_in_train"], pairs.src.size))


def _warn_of_train_pairs(shared: int, pairs: int) -> str | None:
    """Warn of test pairs that the table was made from, if most are. A few are usual: people come back."""
    if 2 * shared <= pairs:
        return None
    return (
        f"{shared:,} of the {pairs:,} pairs of evaluate.path are among the interactions that the table was made from: "
        "ranking leaves them out and finds none of them, and AUC flatters; score pairs of after the run's date, or "
        "keep them out of input.path"
    )


def why_no_ranking(payload: ListScores) -> str | None:
    """Return why lists can't be ranked by the pairs; None if they can."""
    metadata = json.loads((storage.read_schema(payload.lists[0]).metadata or {}).get(b"graphquilt", b"{}"))
    source_type, target_type = payload.scoring.source_type, payload.scoring.target_type
    listed = metadata.get("source_type") or source_type, metadata.get("target_type") or target_type
    if listed == (source_type, target_type):
        return None
    return (
        f"no verdict: lists of {listed[0]} nodes hold {listed[1]} nodes, and pairs lead from {source_type} to "
        f"{target_type}"
    )


def score_lists(payload: ListScores) -> Scores:
    """Return recall, NDCG and their like of lists."""
    scoring = payload.scoring
    test, warning = scoring.read_test_pairs()
    types = scoring.source_type, scoring.target_type
    held_out = test if scoring.is_held_out else None
    train = PairBatches.of_files(scoring.train)
    scored = read_scored_lists(payload.lists, types, train, test, scoring.sample, scoring.seed, held_out=held_out)
    ranking = list_figures(scored.measure(scoring.ks))
    if types[0] == types[1]:
        ranking["unknown_pairs"] = scored.unknown_pairs
    return Scores.of({"ranking": ranking}, warning)
