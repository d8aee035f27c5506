"""What a night measured, as rows of the history of its name."""

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from pipeline.release_tables.node_embeddings import EmbeddingFigures
from pipeline.workspace import Workspace
from schemas.metrics_history import METRICS_HISTORY
from schemas.published_tables import NODE_EMBEDDINGS

#: What is kept of a stage: its costs, and how large the graph is.
_OF_STAGES = ("seconds", "cpu_seconds", "peak_bytes", "pairs", "nodes")


def night_figures(
    workspace: Workspace,
    release: str,
    metrics: Mapping[str, Any],
    gate: Mapping[str, Any],
    stages: Mapping[str, Mapping[str, Any]],
    now: dt.datetime,
) -> pa.Table:
    """Return a night's figures in the columns of :data:`~schemas.metrics_history.METRICS_HISTORY`.

    Parameters
    ----------
    release : what the night's release is called, whether or not it was published.
    metrics : what evaluate measured; its numbers are taken, at whatever depth, under dotted names.
    gate : see :meth:`pipeline.publishing.gate.ReleaseVerdict.to_json`.
    stages : by stage, what it took, and what it counted.
    now : time of recording.
    """
    rows = {("metric", name): {"value": value} for name, value in _numbers(metrics)}
    for verdict in gate["gates"]:
        figures = {key: verdict[key] for key in ("value", "bound", "baseline")}
        rows["gate", f"{verdict['gate']} {verdict['figure']}"] = figures
    rows |= {
        ("stage", f"{stage}.{name}"): {"value": figures[name]}
        for stage, figures in stages.items()
        for name in _OF_STAGES
        if name in figures
    }
    vectors = workspace.figures(NODE_EMBEDDINGS, EmbeddingFigures).metadata or {}
    night = {
        "data_date": workspace.date,
        "release": release,
        "recorded_at": now,
        "run_id": workspace.run_id,
        "verdict": gate["verdict"],
        "space_id": vectors.get("space_id"),
        "pair_source": metrics.get("source"),
    }
    lines = [{**night, "kind": kind, "name": name, **figures} for (kind, name), figures in sorted(rows.items())]
    return pa.Table.from_pylist(lines, schema=METRICS_HISTORY.schema)


def _numbers(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the finite numbers of nested objects with their dotted names; texts, lists and truths are left out."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield f"{prefix}{name}", float(value)
