"""The figures of a report on one table, by metric, as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.bootstrap import RESAMPLES, bootstrap_intervals
from pipeline.evaluation.classification import classify_nodes
from pipeline.evaluation.hard_negatives import hard_negatives
from pipeline.evaluation.link_prediction import against, against_negatives, pair_codes
from pipeline.evaluation.ranking import Ranked
from pipeline.evaluation.reconstruction import Precision, reconstruct
from pipeline.evaluation.scoring import rank_pairs, ranking_figures, shared
from pipeline.evaluation.slices import Slice, by_activity, by_popularity
from pipeline.evaluation.stability import mean_cosine, neighbor_overlap
from pipeline.evaluation.table import Pairs, Table, known_codes
from pipeline.evaluation.usable_information import Bits, usable_information

#: Multiplications of a full ranking above which sources are sampled: half a minute on one core.
DEAR = 2_000_000_000_000


def report_ranking(
    table: Table, train: Pairs, test: Pairs, ks: tuple[int, ...], sample: int | None, seed: int
) -> dict[str, Any]:
    """Recall, NDCG, hit rate and coverage, their intervals, and slices; sampled if asked for or too dear."""
    first, stop = table.ranges[table.target]
    most = max(DEAR // max((stop - first) * table.rows.shape[1], 1), 1)
    ranked = rank_pairs(table, train, test, ks, most if sample is None else sample, seed)
    metrics = ranked.metrics
    return {
        **ranking_figures(metrics),
        "similarity": table.similarity,
        "items": stop - first,
        "test_pairs_in_train": shared(table, train, test),
        "intervals": _intervals(table, ranked, seed),
        **slices(ranked),
    }


def slices(ranked: Ranked) -> dict[str, Any]:
    """Return a ranking by how active sources and how popular items are."""
    ks = ranked.metrics.ks
    return {
        "by_activity": [_slice(one, ks) for one in by_activity(ranked)],
        "by_popularity": [_slice(one, ks) for one in by_popularity(ranked)],
    }


def report_links(table: Table, train: Pairs, test: Pairs, seed: int) -> dict[str, Any]:
    """AUC of the test pairs against three kinds of negatives, each beside the degree product's own."""
    pairs = test.with_rows(table)
    known = known_codes(table, train, test)
    walked = pair_codes(*_both_known(train), len(table.rows), undirected=True)
    rows, nodes = table.rows_for(table.similarity), table.nodes
    random, matched = against_negatives(rows, nodes, pairs.src, pairs.dst, known, seed)
    near = hard_negatives(pairs.src, pairs.dst, nodes, walked, known, seed)
    hard = against(near, rows, nodes, pairs.src, pairs.dst)
    return {
        "positives": pairs.src.size,
        "unknown_pairs": int(((test.src < 0) | (test.dst < 0)).sum()),
        "similarity": table.similarity,
        **{
            name: {"auc": one.auc, "auc_by_degree_alone": one.degree_auc, "without_negative": one.dropped}
            for name, one in (("random", random), ("degree_matched", matched), ("hard", hard))
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
    found = classify_nodes(rows, table.node_key[node], labels, shares, seeds, strength)
    return {
        "nodes": node.size,
        "labels": labels.shape[1],
        "node_label_pairs": int(labels.sum()),
        "similarity": table.classifier,
        "C": strength,
        "predicted": "as many labels as the node is known to have",
        "shares": [
            {
                "train_share": one.share,
                "micro_f1": one.mean("micro_f1"),
                "micro_f1_deviation": one.deviation("micro_f1"),
                "macro_f1": one.mean("macro_f1"),
                "macro_f1_deviation": one.deviation("macro_f1"),
                "shuffles": [vars(shuffle) for shuffle in one.shuffles],
            }
            for one in found
        ],
    }


def report_reconstruction(table: Table, train: Pairs, sample: int | None, seed: int) -> dict[str, Any]:
    """mAP at 1, 2 and 3 hops, in all, inside parts and between them."""
    found = reconstruct(table, train, seed) if sample is None else reconstruct(table, train, seed, sample)
    n_parts = None if table.part is None else np.unique(table.part[table.part >= 0]).size
    return {
        "nodes": found.nodes,
        "population": found.population,
        "is_sampled": found.is_sampled,
        "parts": n_parts,
        "hops": [
            {
                "hops": hop.hops,
                "all": _precision(hop.whole),
                "same_part": _precision(hop.same_part),
                "cross_part": _precision(hop.cross_part),
            }
            for hop in found.hops
        ],
    }


def report_probe(table: Table, train: Pairs, test: Pairs | None, seed: int) -> dict[str, Any] | None:
    """Bits about edges that a linear model can use: of test pairs where there are some, else of train pairs."""
    pairs = (train if test is None else test).with_rows(table)
    known = known_codes(table, train, *([] if test is None else [test]))
    rows = table.rows_for(table.similarity)
    found = usable_information(rows, table.nodes, pairs, known, seed)
    if found is None:
        return None
    return {
        "of": "train pairs" if test is None else "test pairs",
        "similarity": table.similarity,
        "pairs": found.pairs,
        "population": found.population,
        "is_sampled": found.is_sampled,
        "blocks": [_bits(one) for one in found.blocks],
        "prefixes": [_bits(one) for one in found.prefixes],
        "score_alone": _bits(found.score),
    }


def report_stability(
    old: Table,
    new: Table,
    common: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]],
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
        queries, answers = ([some[at] for some, at in zip(rows, common[kind], strict=True)] for kind in (start, end))
        found = neighbor_overlap(
            (queries[0], queries[1]),
            (answers[0], answers[1]),
            new.node_key[common[start][1]],
            ks,
            seed,
            are_same=start == end,
            **size,
        )
        overlaps = {f"overlap@{k}": value for k, value in zip(ks, found.overlap, strict=True)}
        about = {"from": start, "to": end, "similarity": getattr(new, use)}
        lists.append({**about, **overlaps, "nodes": found.nodes, "population": found.population})
    cosines = {}
    for node_type, (at_old, at_new) in common.items() if is_one_space else ():
        mean, least, nodes = mean_cosine(old.rows[at_old], new.rows[at_new])
        cosines[node_type] = {"mean": mean, "least": least, "nodes": nodes}
    return {"is_one_space": is_one_space, "lists": lists, "cosine": cosines or None}


def _intervals(table: Table, ranked: Ranked, seed: int) -> dict[str, Any]:
    per_user = ranked.metrics.per_user
    is_known = per_user.user >= 0
    # Users without a row all score 0, so that it does not matter which key is whose.
    strangers = np.arange((~is_known).sum(), dtype=np.uint64)
    return intervals(ranked, np.concatenate((table.node_key[ranked.user[per_user.user[is_known]]], strangers)), seed)


def intervals(ranked: Ranked, keys: NDArray[np.uint64], seed: int) -> dict[str, Any]:
    """Return the intervals of a ranking's figures; ``keys`` : (users,) of those counted, in their order."""
    per_user, ks = ranked.metrics.per_user, ranked.metrics.ks
    figures = np.concatenate((per_user.recall, per_user.ndcg, per_user.hit.astype(np.float64)), axis=1)
    found = bootstrap_intervals(figures, keys, seed)
    names = [f"{name}@{k}" for name in ("recall", "ndcg", "hit_rate") for k in ks]
    return {"confidence": 0.95, "resamples": RESAMPLES, **dict(zip(names, map(list, found), strict=True))}


def _slice(one: Slice, ks: Sequence[int]) -> dict[str, Any]:
    return {
        "degree": [one.low, one.high],
        "members": one.members,
        "test_pairs": one.test_pairs,
        **{f"recall@{k}": value for k, value in zip(ks, one.recall, strict=True)},
        **({f"ndcg@{k}": value for k, value in zip(ks, one.ndcg, strict=True)} if one.ndcg else {}),
    }


def _precision(one: Precision | None) -> dict[str, Any] | None:
    return None if one is None else {"map": one.map, "by_chance": one.by_chance, "nodes": one.nodes}


def _bits(one: Bits) -> dict[str, Any]:
    return {"columns": [one.first, one.stop], "bits": one.bits, "standard_error": one.error}


def _both_known(pairs: Pairs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    has_rows = (pairs.src >= 0) & (pairs.dst >= 0)
    return pairs.src[has_rows], pairs.dst[has_rows]
