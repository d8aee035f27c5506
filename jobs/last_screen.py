"""The last screen of a run: what readers got, what it is worth beside the night before, and the next command."""

import contextlib
import datetime as dt
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from graphquilt.locations import parse_location
from graphquilt.output import amount
from jobs.arguments import STAGE_NAMES
from pipeline.config.model import PipelineConfig
from pipeline.config.publish import PublishConfig
from pipeline.errors import StorageError
from pipeline.metrics.baseline import Baseline
from pipeline.publishing.listing import note_of
from pipeline.workspace import Workspace, describe_date
from schemas.published_tables import LIST_TABLES, NODE_EMBEDDINGS


def read_baseline(workspace: Workspace, publish: PublishConfig) -> tuple[str, Mapping[str, Any]] | None:
    """Return the date of the run's baseline and what was measured then; None on a first night, or if it is damaged."""
    with contextlib.suppress(StorageError):
        if baseline := Baseline.of(workspace, publish):
            return baseline.data_date, note_of(baseline.folder, "metrics.json")
    return None


def describe_run(answer: Mapping[str, Any], baseline: tuple[str, Mapping[str, Any]] | None) -> str:
    """Return a run that came to its end as lines: its verdict, release, gates and quality.

    Parameters
    ----------
    answer : what ``--json`` prints. baseline : see :func:`read_baseline`.
    """
    day = describe_date(dt.date.fromisoformat(answer["date"]), "undated data")
    peak = max((stage["peak_bytes"] for stage in answer["stages"]), default=0)
    memory = f", at most {amount(peak)} a task" if peak else ""
    lines = [f"{answer['verdict']}: {day} in {answer['seconds']:.1f} s{memory}, run_id={answer['run_id']}"]
    if answer["release"]:
        lines.append(f"release  {answer['release']}")
        lines += [f"table    {parse_location(answer['path']) / table}" for table in answer["tables"]]
    if answer["report"]:
        lines.append(f"report   {answer['report']}")
    if answer["gate"]:
        lines.append(_gates(answer["gate"]))
    metrics = answer["metrics"] or {}
    date, before = baseline or ("", {})
    lines += _figures_line("quality", _quality(metrics), _quality(before), date)
    has_none = metrics.get("ranking", {}).get("users") == 0
    if note := metrics.get("note") or (has_none and "no verdict: there is no pair to score"):
        lines.append(f"quality  {note}")
    lists = _lists_of(metrics)
    lines += _figures_line("lists", _quality_of_lists(lists), _quality_of_lists(_lists_of(before)), date)
    exact = lists.get("exact", {})
    notes = [note for note in (lists.get("note"), exact.get("note")) if note and note != metrics.get("note")]
    return "\n".join([*lines, *(f"lists    {note}" for note in (*notes, *exact.get("errors", ())))])


def next_command(names: Sequence[str], workspace: str, config: PipelineConfig, answer: Mapping[str, Any]) -> str | None:
    """Return the command that who has run these stages wants next; None where an error names it."""
    place = f"--workspace {shlex.quote(workspace)}"
    if answer["verdict"] == "failed":
        return f"graphquilt inspect {place} --date {answer['date']}" if "gate" in answer else None
    if names[-1] != STAGE_NAMES[-1]:
        return f"graphquilt {STAGE_NAMES[STAGE_NAMES.index(names[-1]) + 1]}, with the same options"
    if not answer["tables"]:
        return None
    name = "" if config.publish.name == "default" else f" --name {config.publish.name}"
    if config.publish.to:
        place = f"--workspace {shlex.quote(config.publish.to)}"
    if answer["verdict"] == "added" or NODE_EMBEDDINGS not in answer["tables"]:
        table = "" if NODE_EMBEDDINGS in answer["tables"] else f" --table {answer['tables'][0]}"
        command = "inspect" if answer["verdict"] == "added" else "current"
        return f"graphquilt {command} {place}{name}{table if command == 'current' else ''}"
    return f"graphquilt query neighbors ID --type {config.input.source_type} {place}{name}"


def _lists_of(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what was measured of lists, of whatever table they are in."""
    lists: Mapping[str, Any] = next((metrics[table] for table in LIST_TABLES if metrics.get(table)), {})
    return lists


def _figures_line(label: str, figures: Mapping[str, float], before: Mapping[str, float], date: str) -> list[str]:
    """Return figures as a line, each with that of the baseline in brackets where it has one; none, no line."""
    if not figures:
        return []
    earlier = {name: f" ({before[name]:.4f})" for name in figures if name in before}
    words = [f"{name} {value:.4f}{earlier.get(name, '')}" for name, value in figures.items()]
    comparison = f" (in brackets: {date})" if earlier else ""
    return [f"{label:<9}{', '.join(words)}{comparison}"]


def _quality(metrics: Mapping[str, Any]) -> dict[str, float]:
    ranking = metrics.get("ranking", {})
    has_none = ranking.get("users") == 0  # figures of no pairs are no zeros
    figures = {} if has_none else {name: value for name, value in ranking.items() if "@" in name}
    if auc := metrics.get("link_prediction", {}).get("auc_degree_matched"):
        figures["auc (degree-matched negatives)"] = auc
    return figures | {f"RankMe of {name}": spectrum["rankme"] for name, spectrum in metrics.get("rankme", {}).items()}


def _quality_of_lists(lists: Mapping[str, Any]) -> dict[str, float]:
    figures = {name: value for name, value in lists.get("ranking", {}).items() if "@" in name}
    exact = lists.get("exact", {}).items()
    return figures | {f"{name} of exact": value for name, value in exact if name.startswith("precision@")}


def _gates(gate: Mapping[str, Any]) -> str:
    verdicts = Counter(gate["verdict"] for gate in gate["gates"])
    text = "gates    " + ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    if drift := gate["accepted_drift"]:
        text += f"; published all the same (--accept-drift): {', '.join(dict.fromkeys(drift))}"
    # One reason for all that have nothing to be compared with.
    alone = [gate["note"] for gate in gate["gates"] if gate["gate"] == "max_edge_ratio" and gate["bound"] is None]
    return f"{text}; {alone[0]}" if alone else text
