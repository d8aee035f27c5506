"""The figures of published tables against pairs: what evaluate measures, one task a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graphquilt.row_lookup import as_matrix
from pipeline import storage
from pipeline.blocks.arrays import offsets_of
from pipeline.codes.code_files import NO_CLUSTER
from pipeline.codes.interest_tasks import read_interest_clusters
from pipeline.evaluation.interest_lists import SOURCES, SourceQueries, score_interests
from pipeline.evaluation.scoring import choose_queries, pairs_to_rank, score_table
from pipeline.evaluation.shared_rows import score_shared_rows
from pipeline.evaluation.table import Pairs
from pipeline.locations import Location
from pipeline.metrics.scored_lists import list_figures, read_scored_lists
from pipeline.metrics.scored_pairs import Scoring
from pipeline.metrics.scored_tables import ScoredTable, VectorFiles, read_edges_of, read_scored_table, runs_of_types
from pipeline.metrics.train_pairs import PairBatches
from pipeline.release_tables.finished_rows import NodeIds
from pipeline.tasks import Attempt

_BATCH_ROWS, _INTERESTS_AT_ONCE = 1_048_576, 65_536


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
class CodeScores:
    """Input of the task that scores codes by what they leave of a table of vectors whose nodes share rows.

    added_levels : numbers of a code whose rows are added up; 0: a cluster has one row.
    """

    scoring: Scoring
    vectors: VectorFiles
    codes: tuple[Location, ...]
    added_levels: int = 0


@dataclass(frozen=True)
class InterestScores:
    """Input of the task that scores lists by the interests of sources, next to those by their vectors.

    targets : range of the numbers of the nodes that are listed. clusters : of all nodes, by number.
    """

    scoring: Scoring
    vectors: VectorFiles
    interests: tuple[Location, ...]
    node_index: tuple[Location, ...]
    targets: tuple[int, int]
    clusters: Location


@dataclass(frozen=True)
class Scores:
    """The figures of a table, as JSON values."""

    metrics: Mapping[str, Any]

    @classmethod
    def of(cls, metrics: Mapping[str, Any], *warnings: str | None) -> Scores:
        """Return figures, with a sentence of all warnings where there are any."""
        text = "; ".join(filter(None, warnings))
        return cls({**metrics, "warning": text} if text else metrics)


Measured = VectorScores | ListScores | CodeScores | InterestScores


def measure_table(payload: Measured, attempt: Attempt) -> Scores:  # noqa: ARG001
    """Task: all figures of one table."""
    match payload:
        case ListScores():
            return score_lists(payload)
        case CodeScores():
            return score_codes(payload)
        case InterestScores():
            return score_interest_lists(payload)
        case _:
            return score_vectors(payload)


def score_vectors(payload: VectorScores) -> Scores:
    """Return ranking and link prediction of a table of vectors."""
    scoring = payload.scoring
    scored_table, train, test, warning = _read_vectors(scoring, payload.vectors)
    table, pairs = scored_table.table, test.with_rows(scored_table.table)
    metrics = score_table(table, train, test, scoring.ks, scoring.sample, scoring.seed)
    return Scores.of(metrics, warning, _warn_of_train_pairs(metrics["test_pairs_in_train"], pairs.src.size))


def score_codes(payload: CodeScores) -> Scores:
    """Return the ranking of a table of vectors whose nodes share the rows of clusters, and of hashes."""
    scoring = payload.scoring
    scored_table, train, test, warning = _read_vectors(scoring, payload.vectors)
    name, width = ("code", payload.added_levels) if payload.added_levels else ("cluster", 1)
    numbers = np.full((len(scored_table.table.rows), width), NO_CLUSTER, np.int32)
    for batch in storage.read_batches(payload.codes, ["node_type", "node_id", name], _BATCH_ROWS):
        for node_type, first, stop in runs_of_types(batch):
            nodes = batch.slice(first, stop - first)
            values = nodes[name].flatten() if payload.added_levels else nodes[name]
            numbers[scored_table.find(nodes["node_id"], node_type)] = values.to_numpy().reshape(-1, width)
    sample = scoring.sample or len(numbers)
    return Scores.of(
        score_shared_rows(scored_table.table, train, test, numbers, scoring.ks, sample, scoring.seed), warning
    )


def score_interest_lists(payload: InterestScores) -> Scores:
    """Return recall and diversity of lists by interests, and of those by vectors alone."""
    scoring = payload.scoring
    scored_table, train, test, warning = _read_vectors(scoring, payload.vectors)
    table = scored_table.table
    sample = min(scoring.sample or SOURCES, SOURCES)
    queries = choose_queries(table, *pairs_to_rank(table, train, test), sample, scoring.seed)
    cluster = np.full(len(table.rows), NO_CLUSTER, np.int32)
    position = scored_table.find(NodeIds(payload.node_index).between(*payload.targets), table.target)
    of_targets = read_interest_clusters(payload.clusters)[slice(*payload.targets)]
    cluster[position[position >= 0]] = of_targets[position >= 0]
    interests = _read_interests(payload.interests, scored_table, queries.user)
    return Scores.of(score_interests(table, queries, interests, cluster), warning)


def _read_interests(files: Sequence[Location], scored_table: ScoredTable, sources: NDArray[np.int64]) -> SourceQueries:
    """Read the interests of some nodes, given by their ascending positions in a table."""
    table = scored_table.table
    source_ids = scored_table.ids[table.source].take(pa.array(sources - table.ranges[table.source][0]))
    places, weights = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    queries = [np.empty((0, table.rows.shape[1]), np.float32)]
    for batch in storage.read_batches(files, ["node_id", "weight", "query"], _INTERESTS_AT_ONCE):
        place = pc.index_in(batch["node_id"], source_ids).fill_null(-1).to_numpy()
        places.append(place[place >= 0])
        weights.append(batch["weight"].to_numpy()[place >= 0])
        queries.append(as_matrix(batch["query"])[place >= 0])
    counts = np.bincount(np.concatenate(places), minlength=sources.size)
    return SourceQueries(offsets_of(counts), np.concatenate(weights), np.concatenate(queries))


def _read_vectors(scoring: Scoring, vectors: VectorFiles) -> tuple[ScoredTable, Pairs, Pairs, str | None]:
    """Return a table, the pairs that it was made from and those to score it by, and what to warn of."""
    scored_table = read_scored_table(vectors)
    test_ends, warning = scoring.read_test_pairs()
    # Training pairs of other sources are neither ranked, nor left out of a list, nor negatives.
    train_ends = read_edges_of(scoring.train, test_ends, is_plain=scoring.is_plain)
    train, test = scored_table.pairs(train_ends), scored_table.pairs(test_ends)
    # An excluded id has edges, and no row.
    train = train.without(test, scored_table.table) if scoring.is_held_out else train.between_rows()
    return scored_table, train, test, warning


def _warn_of_train_pairs(pairs_in_train: int, pairs: int) -> str | None:
    """Warn of test pairs that the table was made from, if most are. A few are usual: people come back."""
    if 2 * pairs_in_train <= pairs:
        return None
    return (
        f"{pairs_in_train:,} of the {pairs:,} pairs of evaluate.path are among the interactions that the table was "
        "made from: ranking leaves them out and finds none of them, and AUC flatters; score pairs of after the run's "
        "date, or keep them out of input.path"
    )


def why_no_ranking(payload: ListScores) -> str | None:
    """Return why lists can't be ranked by the pairs; None if they can."""
    metadata = json.loads((storage.read_schema(payload.lists[0]).metadata or {}).get(b"graphquilt", b"{}"))
    source_type, target_type = payload.scoring.source_type, payload.scoring.target_type
    types = metadata.get("source_type") or source_type, metadata.get("target_type") or target_type
    if types == (source_type, target_type):
        return None
    return (
        f"no verdict: lists of {types[0]} nodes hold {types[1]} nodes, and pairs lead from {source_type} to "
        f"{target_type}"
    )


def score_lists(payload: ListScores) -> Scores:
    """Return recall, NDCG and their like of lists."""
    scoring = payload.scoring
    test, warning = scoring.read_test_pairs()
    types = scoring.source_type, scoring.target_type
    held_out = test if scoring.is_held_out else None
    train = PairBatches.of_files(scoring.train)
    lists = read_scored_lists(payload.lists, types, train, test, scoring.sample, scoring.seed, held_out=held_out)
    ranking = list_figures(lists.measure(scoring.ks))
    if types[0] == types[1]:
        ranking["unknown_pairs"] = lists.unknown_pairs
    return Scores.of({"ranking": ranking}, warning)
