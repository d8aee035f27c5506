"""The figures of published lists against pairs: what evaluate measures of ppr_neighbors, as one task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow.parquet as pq

from pipeline.ingest.parse import ParseRules
from pipeline.ingest.sources import ParseTask
from pipeline.metrics.scored_lists import Ends, list_figures, read_scored_lists
from pipeline.metrics.scored_tables import judge_pair_ids, read_edges, read_held_out, read_pairs
from pipeline.tasks import Attempt


def has_pairs(payload: Mapping[str, Any]) -> bool:
    """Whether a task has pairs to score."""
    return any(payload.get(name) is not None for name in ("rules", "holdout", "pairs"))


def read_test_pairs(payload: Mapping[str, Any], train: Ends) -> tuple[Ends, str | None]:
    """Read the pairs to score: those that are new, held out, or in a file; of these, what to warn of.

    Raises
    ------
    InputError : a file with too many rows that can't be used, or whose ids almost all are in no pair of ``train``.
    """
    if payload.get("pairs") is not None:
        return read_edges(payload["pairs"]), None
    if "holdout" in payload:
        return read_held_out(payload["holdout"], payload["index"]), None
    tasks = [ParseTask.from_payload(part) for part in payload["parse"]]
    pairs, left_out = read_pairs(tasks, ParseRules(**payload["rules"]), payload["most_rejected"])
    types = payload["source_type"], payload["target_type"]
    warnings = [left_out and f"of evaluate.path, {left_out}", judge_pair_ids(pairs, train, types, "evaluate.path")]
    return pairs, "; ".join(filter(None, warnings)) or None


def why_no_ranking(payload: Mapping[str, Any], metrics: Mapping[str, Any]) -> str | None:
    """Return why lists can't be ranked by pairs; None if they can."""
    if not has_pairs(payload):
        return str(metrics["note"])
    if not payload["lists"]:
        return f"no verdict: release {metrics.get('previous')} has no lists" if "previous" in metrics else "no lists"
    said = json.loads((pq.read_schema(payload["lists"][0]).metadata or {}).get(b"graphquilt", b"{}"))
    wanted = payload["source_type"], payload["target_type"]
    listed = said.get("source_type") or wanted[0], said.get("target_type") or wanted[1]
    if listed != wanted:
        return (
            f"no verdict: lists of {listed[0]} nodes hold {listed[1]} nodes, and pairs lead from {wanted[0]} to "
            f"{wanted[1]}"
        )
    return None


def measure_lists(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:  # noqa: ARG001
    """Task: recall, NDCG and their like of lists."""
    train = read_edges(payload["train"])
    test, warning = read_test_pairs(payload, train)
    scored = read_scored_lists(
        payload["lists"],
        (payload["source_type"], payload["target_type"]),
        train,
        test,
        payload["sample"],
        payload["seed"],
        held_out=test if "holdout" in payload else None,
    )
    figures = list_figures(scored.measure(tuple(payload["ks"])))
    is_plain = payload["source_type"] == payload["target_type"]
    ranking = {**figures, **({"unknown_pairs": scored.unknown_pairs} if is_plain else {})}
    return {"metrics": {"ranking": ranking, **({"warning": warning} if warning else {})}}
