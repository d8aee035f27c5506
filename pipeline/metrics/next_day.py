"""Quality of the last release on tonight's new pairs -> figures for gates: against nights before, and chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from graphquilt.pointers import RELEASES
from pipeline.config.model import PipelineConfig
from pipeline.config.publish import OFF
from pipeline.metrics.baseline import Baseline, why_no_baseline
from pipeline.publishing.gate import Figure
from pipeline.publishing.listing import manifest_of, note_of
from pipeline.workspace import Workspace, published_folder
from schemas.published_tables import LIST_TABLES

_ERRORS = 4  # standard errors that the bound is away from what is usual: else a night is too small to judge by
#: New pairs between known nodes are judged by themselves where they are this many, and this share of all before.
FEWEST_PAIRS, LARGE_SHARE = 1_000, 0.1
#: New sources that must agree on what goes together: a few may have a taste of their own.
FEWEST_SOURCES = 30


def next_day_figures(
    config: PipelineConfig, workspace: Workspace, metrics: Mapping[str, Any], baseline: Baseline | None
) -> dict[str, list[Figure]]:
    """Return quality of the last release on tonight's new pairs: against the nights before, and against chance."""
    names = {"min_next_day_ratio": "next_day", "min_next_day_auc": "next_day auc"}
    why = why_no_baseline(workspace) if baseline is None else None
    if baseline is not None and metrics["scored"] != "previous release":
        is_next_day = config.evaluate.source == "next_day"
        why = str(metrics["note"]) if is_next_day else f"evaluate.source is '{config.evaluate.source}', not 'next_day'"
    if baseline is None or why:
        return {key: [Figure(name, None, why_not=why)] for key, name in names.items()}
    k = config.evaluate.k[0]
    tonight = _values_of(metrics, k)
    before = [_values_of(values, k) for values in _earlier(workspace, config, baseline)]
    bound = config.publish.gates.min_next_day_ratio
    share = 0.0 if bound == OFF else float(bound)
    against_nights = [
        _of_nights(name, figure, [two[name] for two in before if name in two], share)
        for name, figure in tonight.items()
    ]
    return {
        "min_next_day_ratio": against_nights
        or [Figure("next_day", None, why_not="no node of the last release has new pairs")],
        "min_next_day_auc": _against_chance(metrics, baseline),
    }


def _of_nights(name: str, tonight: _NextDayValue, before: Sequence[_NextDayValue], share: float) -> Figure:
    name, nothing = f"next_day {name}", tonight.nothing
    if not before:
        why = "no night before has new pairs, and tables of the same settings"
        return Figure(name, None, why_not=why, is_early=True)
    usual = median(figure.value for figure in before)
    # Of values between 0 and 1 the variance is u (1 - u) at most; a median of means has pi / 2 that of their mean.
    usual_sources = 2 / math.pi * sum(figure.sources for figure in before)
    error = math.sqrt(max(0.0, usual * (1 - usual)) * (1 / tonight.sources + 1 / usual_sources))
    if (1 - share) * (usual - nothing) < _ERRORS * error:
        why = f"{tonight.sources:,} nodes with new pairs, and those of the nights before, are too few to tell"
        return Figure(name, None, usual, nothing, why)
    return Figure(name, tonight.value, usual, nothing, detail=f"{tonight.sources:,} nodes with new pairs")


def _against_chance(metrics: Mapping[str, Any], baseline: Baseline) -> list[Figure]:
    """AUC of what is new among nodes that were there before, where there is so much of it that it sets the table.

    New pairs of such nodes are one figure; nodes that the same new source chose, two by two, are the other.
    """
    links = metrics.get("link_prediction") or {}
    of_new = links.get("new_sources") or {}
    fewest = max(FEWEST_PAIRS, round(LARGE_SHARE * baseline.manifest["stages"]["ingest"]["figures"]["pairs"]))
    pairs, auc = links.get("positives", 0), links.get("auc_degree_matched")
    counts = f"{pairs:,} pairs are new between nodes of the last release"
    known_nodes = _auc("next_day auc", auc, counts, None if pairs >= fewest else f"it takes {fewest:,}")
    pairs, auc = of_new.get("test_pairs", 0), of_new.get("auc_degree_matched")
    sources, couples = of_new.get("sources", 0), of_new.get("positives", 0)
    counts = f"{pairs:,} pairs are of {sources:,} new sources with two and more: {couples:,} couples of targets"
    is_enough = pairs >= fewest and sources >= FEWEST_SOURCES and couples >= FEWEST_PAIRS
    too_few = None if is_enough else f"it takes {fewest:,}, {FEWEST_SOURCES} and {FEWEST_PAIRS:,}"
    return [known_nodes, _auc("next_day auc of new sources", auc, counts, too_few)]


def _auc(name: str, auc: float | None, counts: str, too_few: str | None) -> Figure:
    if why := too_few or (None if auc is not None else "all other pairs of the same degrees are known too"):
        return Figure(name, None, why_not=f"{counts}; {why}")
    return Figure(name, auc, detail=f"{counts}; chance is .5")


@dataclass(frozen=True)
class _NextDayValue:
    """A figure of the last release on new pairs, over ``sources`` nodes that it has; ``nothing``: that of chance."""

    value: float
    sources: int
    nothing: float = 0.0


def _values_of(metrics: Mapping[str, Any], k: int) -> dict[str, _NextDayValue]:
    values: dict[str, _NextDayValue] = {}
    of_lists: Mapping[str, Any] = next((metrics[table] for table in LIST_TABLES if metrics.get(table)), {})
    for prefix, scores in (("", metrics), ("of lists ", of_lists)):
        # A release can't rank for nodes that it does not have, however many come.
        of_known = (scores.get("ranking") or {}).get("of_known") or {}
        if of_known.get("users"):
            for name in ("recall", "ndcg"):
                values[f"{prefix}{name}"] = _NextDayValue(of_known[f"{name}@{k}"], of_known["users"])
            if not prefix and (auc := metrics["link_prediction"]["auc_degree_matched"]) is not None:
                values["auc"] = _NextDayValue(auc, of_known["users"], 0.5)
    return values


def _earlier(workspace: Workspace, config: PipelineConfig, baseline: Baseline) -> list[Mapping[str, Any]]:
    """Return what the nights before measured of the releases before them, made with the settings of the baseline."""
    folder = published_folder(config.publish.root(workspace.root), config.publish.name) / RELEASES
    releases = [(name, manifest_of(folder / name)) for name in workspace.inputs.baselines]
    earlier: list[Mapping[str, Any]] = []
    for (name, _), (_, metrics_before) in pairwise(releases):
        metrics = note_of(folder / name, "metrics.json")
        is_alike = (metrics_before.get("config") or {}).get("embedding") == baseline.manifest["config"]["embedding"]
        if metrics.get("scored") == "previous release" and is_alike:
            earlier.append(metrics)
    return earlier
