"""The figures of a report on one table, by metric, as JSON values."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import codec
from pipeline.evaluation.bootstrap import CONFIDENCE, RESAMPLES, bootstrap_intervals
from pipeline.evaluation.classification import classify_nodes
from pipeline.evaluation.link_prediction import (
    degree_matched_negatives,
    hard_negatives,
    measure_auc,
    pair_codes,
    random_negatives,
)
from pipeline.evaluation.ranking import TableRanking, figures_at
from pipeline.evaluation.scoring import count_train_pairs, rank_pairs, ranking_figures, slices_of
from pipeline.evaluation.stability import compare_rows, neighbor_overlap
from pipeline.evaluation.table import Pairs, Table, known_codes
from pipeline.evaluation.usable_information import usable_information

#: Multiplications of a full ranking above which sources are sampled: half a minute on one core.
DEAR = 2_000_000_000_000


def report_ranking(
    table: Table, train: Pairs, test: Pairs, ks: tuple[int, ...], sample: int | None, seed: int
) -> dict[str, Any]:
    """Recall, NDCG, hit rate and coverage, their intervals, and slices; sampled if asked for or too dear."""
    first, stop = table.ranges[table.target]
    most = max(DEAR // max((stop - first) * table.rows.shape[1], 1), 1)
    ranking = rank_pairs(table, train, test, ks, most if sample is None else sample, seed)
    user = ranking.metrics.per_user.user
    is_known = user >= 0
    # Users without a row all score 0, so that it does not matter which key is whose.
    absent_keys = np.arange((~is_known).sum(), dtype=np.uint64)
    user_key = np.concatenate((table.node_key[ranking.user[user[is_known]]], absent_keys))
    return {
        **ranking_figures(ranking.metrics),
        "similarity": table.similarity,
        "items": stop - first,
        "test_pairs_in_train": count_train_pairs(table, train, test),
        **detail_ranking(ranking, user_key, seed),
    }


def detail_ranking(ranking: TableRanking, user_key: NDArray[np.uint64], seed: int) -> dict[str, Any]:
    """Return the intervals of a ranking's figures, and slices of it by how active sources and popular items are.

    user_key : (users,) of the counted users, in their order.
    """
    per_user, ks = ranking.metrics.per_user, ranking.metrics.ks
    figures = np.concatenate((per_user.recall, per_user.ndcg, per_user.hit.astype(np.float64)), axis=1)
    intervals = bootstrap_intervals(figures, user_key, seed)
    names = [f"{name}@{k}" for name in ("recall", "ndcg", "hit_rate") for k in ks]
    return {
        "intervals": {
            "confidence": CONFIDENCE,
            "resamples": RESAMPLES,
            **dict(zip(names, map(list, intervals), strict=True)),
        },
        **slices_of(ranking),
    }


def report_links(table: Table, train: Pairs, test: Pairs, seed: int) -> dict[str, Any]:
    """AUC of the test pairs against three kinds of negatives, each beside the degree product's own."""
    pairs, nodes = test.with_rows(table), table.nodes
    pairs_to_avoid = known_codes(table, train, test)
    walk_codes = pair_codes(train.src, train.dst, len(table.rows), is_undirected=True)
    negatives = {
        "random": random_negatives(pairs.src, pairs.dst, nodes, pairs_to_avoid, seed),
        "degree_matched": degree_matched_negatives(pairs.src, pairs.dst, nodes, pairs_to_avoid, seed),
        "hard": hard_negatives(pairs.src, pairs.dst, nodes, walk_codes, pairs_to_avoid, seed),
    }
    rows = table.rows_for(table.similarity)
    return {
        "positives": pairs.src.size,
        "unknown_pairs": test.src.size - test.between_rows().src.size,
        "similarity": table.similarity,
        **{
            kind: codec.to_values(measure_auc(rows, nodes, pairs.src, pairs.dst, negative))
            for kind, negative in negatives.items()
        },
    }


def report_classification(
    table: Table,
    node: NDArray[np.int64],
    labels: NDArray[np.bool_],
    shares: Sequence[float],
    seeds: Sequence[int],
    strength: float,
) -> dict[str, Any]:
    """F1 of labels by DeepWalk's protocol; ``node`` are the positions of the labelled nodes."""
    rows = table.rows_for(table.classifier)[node]
    at_shares = classify_nodes(rows, table.node_key[node], labels, shares, seeds, strength)
    return {
        "nodes": node.size,
        "labels": labels.shape[1],
        "node_label_pairs": int(labels.sum()),
        "similarity": table.classifier,
        "C": strength,
        "predicted": "as many labels as the node is known to have",
        "shares": [codec.to_values(at_share) for at_share in at_shares],
    }


def report_probe(table: Table, train: Pairs, test: Pairs | None, seed: int) -> dict[str, Any] | None:
    """Bits about edges that a linear model can use: of test pairs where there are some, else of train pairs."""
    pairs = (train if test is None else test).with_rows(table)
    pairs_to_avoid = known_codes(table, train, *([] if test is None else [test]))
    bits = usable_information(table, pairs, pairs_to_avoid, seed)
    if bits is None:
        return None
    about = {"of": "train pairs" if test is None else "test pairs", "similarity": table.similarity}
    return {**about, **codec.to_values(bits)}


def report_stability(
    old: Table,
    new: Table,
    common: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]],
    ks: tuple[int, ...],
    sample: int | None,
    seed: int,
    *,
    is_one_space: bool,
) -> dict[str, Any]:
    """Neighbour overlap between two releases, and of equal spaces the cosine of each node's two rows.

    common : by type, positions of the same nodes in ``old`` and in ``new``. Lists hold common nodes only.
    """
    size = {} if sample is None else {"sample": sample}
    directions = [(node_type, node_type, "feature") for node_type in common]
    if not new.is_plain and {new.source, new.target} <= set(common):
        directions.append((new.source, new.target, "similarity"))
    lists = []
    for start, end, use in directions:
        rows = [table.rows_for(getattr(table, use)) for table in (old, new)]
        queries, answers = (
            [values[at] for values, at in zip(rows, common[kind], strict=True)] for kind in (start, end)
        )
        overlap = neighbor_overlap(
            (queries[0], queries[1]),
            (answers[0], answers[1]),
            new.node_key[common[start][1]],
            ks,
            seed,
            are_same=start == end,
            **size,
        )
        about = {"from": start, "to": end, "similarity": getattr(new, use)}
        counts = {"nodes": overlap.nodes, "population": overlap.population}
        lists.append({**about, **figures_at(ks, overlap=overlap.overlap), **counts})
    cosines = {
        node_type: codec.to_values(compare_rows(old.rows[at_old], new.rows[at_new]))
        for node_type, (at_old, at_new) in common.items()
        if is_one_space
    }
    return {"is_one_space": is_one_space, "lists": lists, "cosine": cosines or None}
