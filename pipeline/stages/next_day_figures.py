"""How well the last release foretold tonight's new pairs -> figures for gates: against nights before, and chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from pipeline.config import PipelineConfig
from pipeline.config_sections import OFF
from pipeline.publishing.gate import Figure
from pipeline.publishing.listing import manifest_of, note_of
from pipeline.stages.baseline import Baseline, why_no_baseline
from pipeline.workspace import Workspace, published_folder
from schemas.pointers import RELEASES
from schemas.tables import PPR_NEIGHBORS

_ERRORS = 4  # standard errors that the bound is away from what is usual: else a night is too small to judge by
#: New pairs between known nodes are judged by themselves where they are this many, and this share of all before.
FEWEST_PAIRS, LARGE_SHARE = 1_000, 0.1


def next_day_figures(
    config: PipelineConfig, workspace: Workspace, metrics: Mapping[str, Any], baseline: Baseline | None
) -> dict[str, list[Figure]]:
    """How well the last release foretold tonight's new pairs: against the nights before, and against chance."""
    names = {"min_next_day_ratio": "next_day", "min_next_day_auc": "next_day auc"}
    why = why_no_baseline(workspace) if baseline is None else None
    if baseline is not None and metrics["scored"] != "previous release":
        is_next_day = config.evaluate.source == "next_day"
        why = str(metrics["note"]) if is_next_day else f"evaluate.source is '{config.evaluate.source}', not 'next_day'"
    if baseline is None or why:
        return {key: [Figure(name, None, why_not=why)] for key, name in names.items()}
    k = config.evaluate.k[0]
    tonight = _foretold(metrics, k)
    before = [_foretold(one, k) for one in _earlier(workspace, config, baseline)]
    bound = config.publish.gates.min_next_day_ratio
    share = 0.0 if bound == OFF else float(bound)
    against_nights = [
        _of_nights(name, one, [two[name] for two in before if name in two], share) for name, one in tonight.items()
    ]
    return {
        "min_next_day_ratio": against_nights
        or [Figure("next_day", None, why_not="no node of the last release has new pairs")],
        "min_next_day_auc": [_against_chance(metrics, baseline)],
    }


def _of_nights(name: str, tonight: _Foretold, before: Sequence[_Foretold], share: float) -> Figure:
    name, nothing = f"next_day {name}", tonight.nothing
    if not before:
        return Figure(name, None, why_not="no night before has new pairs, and tables of the same settings")
    usual = median(one.value for one in before)
    # Of values between 0 and 1 the variance is u (1 - u) at most; a median of means has pi / 2 that of their mean.
    known = 2 / math.pi * sum(one.sources for one in before)
    error = math.sqrt(max(0.0, usual * (1 - usual)) * (1 / tonight.sources + 1 / known))
    if (1 - share) * (usual - nothing) < _ERRORS * error:
        why = f"{tonight.sources:,} nodes with new pairs, and those of the nights before, are too few to tell"
        return Figure(name, None, usual, nothing, why)
    return Figure(name, tonight.value, usual, nothing, detail=f"{tonight.sources:,} nodes with new pairs")


def _against_chance(metrics: Mapping[str, Any], baseline: Baseline) -> Figure:
    """AUC of pairs between nodes that were there before, where there are so many of them that they set the table."""
    links = metrics.get("link_prediction") or {}
    pairs, auc = links.get("positives", 0), links.get("auc_degree_matched")
    fewest = max(FEWEST_PAIRS, round(LARGE_SHARE * baseline.manifest["stages"]["ingest"]["figures"]["pairs"]))
    if auc is None or pairs < fewest:
        why = f"{pairs:,} pairs are new between nodes of the last release; it takes {fewest:,}"
        return Figure("next_day auc", None, why_not=why)
    return Figure("next_day auc", auc, detail=f"{pairs:,} new pairs between nodes of the last release; chance is .5")


@dataclass(frozen=True)
class _Foretold:
    """A figure of the last release on new pairs, over ``sources`` nodes that it knew; ``nothing``: that of chance."""

    value: float
    sources: int
    nothing: float = 0.0


def _foretold(metrics: Mapping[str, Any], k: int) -> dict[str, _Foretold]:
    found: dict[str, _Foretold] = {}
    of_lists = metrics.get(PPR_NEIGHBORS) or {}
    for prefix, ranking, strangers in (
        ("", metrics.get("ranking") or {}, "unknown_users"),
        ("of lists ", of_lists.get("ranking") or {}, "without_list"),
    ):
        # Of nodes that the release did not have it could foretell nothing, and how many come is no fault of it.
        known = ranking.get("users", 0) - ranking.get(strangers, 0)
        if known:
            whole = ranking["users"] / known
            for name in ("recall", "ndcg"):
                found[f"{prefix}{name}"] = _Foretold(min(1.0, ranking[f"{name}@{k}"] * whole), known)
            if not prefix and (auc := metrics["link_prediction"]["auc_degree_matched"]) is not None:
                found["auc"] = _Foretold(auc, known, 0.5)
    return found


def _earlier(workspace: Workspace, config: PipelineConfig, baseline: Baseline) -> list[Mapping[str, Any]]:
    """Return what the nights before measured of the releases before them, made with the settings of the baseline."""
    folder = published_folder(workspace.root, config.publish.name) / RELEASES
    way = [(name, manifest_of(folder / name)) for name in workspace.baselines]
    found: list[Mapping[str, Any]] = []
    for (name, _), (_, scored) in pairwise(way):
        metrics = note_of(folder / name, "metrics.json")
        is_alike = (scored.get("config") or {}).get("embedding") == baseline.manifest["config"]["embedding"]
        if metrics.get("scored") == "previous release" and is_alike:
            found.append(metrics)
    return found
