"""The text of 'plan': one line a subject, a table of alternatives, warnings."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphquilt.output import amount
from jobs.answers import columns, table_of

if TYPE_CHECKING:
    from pipeline.config.model import PipelineConfig


_TIMES = {"CPU": "cpu", "wall": "wall"}


def text_of(facts: Mapping[str, Any], warnings: Sequence[str]) -> str:
    """Return the plan as lines."""
    graph, memory, disk = (facts[name] for name in ("graph", "memory", "disk"))
    most = "" if graph["are_exact"] else "at most "
    of_machine = "" if memory["machine_bytes"] is None else f" of {amount(memory['machine_bytes'])}"
    free = "" if disk["free_bytes"] is None else f", {amount(disk['free_bytes'])} free"
    rows = [
        ("input", _input_text(facts["input"])),
        *(("assumed", sentence) for sentence in facts.get("assumptions", ())),
        *(("attributes", _attributes_text(*about)) for about in facts.get("attributes", {}).items()),
        ("date", f"{_date_text(facts['date']['date'])} ({facts['date']['why']})"),
        ("stages", ", ".join(f"{stage}: {state}" for stage, state in facts["stages"].items())),
        ("graph", f"{most}{graph['nodes']:,} nodes, {most}{graph['edges']:,} edges"),
        ("parts", f"{facts['parts']}" if facts["parts"] > 1 else "1: the graph is one block"),
        ("memory", f"block {most}{amount(memory['block_bytes'])}; largest task {most}{amount(memory['task_bytes'])} "
         f"beside {amount(memory['process_bytes'])} of Python; {memory['tasks_at_once']} at once: "
         f"{most}{amount(memory['needed_bytes'])}{of_machine}"),
        *([("embed", _embed_text(facts["embed"]))] if facts["embed"]["rounds"] else []),
        *([("lists", _lists_text(facts["lists"]))] if "lists" in facts else []),
        *((name, _clusters_text(facts[name], most)) for name in ("codes", "interests") if name in facts),
        ("disk", f"{most}{amount(disk['needed_bytes'])} more{free}"),
    ]  # fmt: skip
    alternatives = []
    if facts["embed"]["rounds"]:
        alternatives = ["alternatives for embed, * is what a run does:", *_alternatives_table(facts["alternatives"])]
    return "\n".join(
        [
            *columns(rows, ""),
            f"what stages take, {most}estimates:",
            *_costs_table(facts["costs"]),
            *alternatives,
            *(f"warning: {warning}" for warning in warnings),
        ]
    )


def warnings_of(facts: Mapping[str, Any], config: PipelineConfig) -> list[str]:
    """Return what a run is likely to regret: lists cut short, too little memory or disk."""
    from pipeline.partitioning.layouts.block_sets import loss_note

    note = loss_note(config.embedding.boundary)
    warnings = [note] if note and facts["parts"] > 1 else []
    top_k = config.list_keys.top_k
    longest = facts["lists"]["longest"] if "lists" in facts else top_k
    if longest < top_k:
        warnings.append(
            f"lists: {config.list_section}.top_k is {top_k}, and the graph has {longest:,} nodes of type "
            f"'{config.listed_type}' to list: lists hold no more"
        )
    warnings += [
        f"{name}: their task holds {amount(facts[name]['task_bytes'])}, and partition.worker_bytes is "
        f"{amount(config.partition.worker_bytes)}: a run is refused, unless the graph is smaller"
        for name in ("codes", "interests")
        if name in facts
        and facts[name]["source"] == "graph"
        and facts[name]["task_bytes"] > config.partition.worker_bytes
    ]
    memory, disk = facts["memory"], facts["disk"]
    at_most = "" if facts["graph"]["are_exact"] else ", at most"
    machine_bytes = memory["machine_bytes"] or math.inf
    if facts["engine"] == "local" and memory["needed_bytes"] > machine_bytes:
        warnings.append(
            f"memory: {amount(memory['needed_bytes'])}{at_most} for {memory['tasks_at_once']} tasks at once, and this "
            f"machine has {amount(memory['machine_bytes'])}: lower --workers, partition.max_bytes "
            f"(now {amount(config.partition.max_bytes)}) or embedding.dim"
        )
    costs = [cost for cost in facts["costs"] if facts["stages"][cost["stage"]] == "to do"]
    largest = max(costs, key=lambda cost: cost["driver_bytes"], default=None)
    if largest and (driver_bytes := largest["driver_bytes"]) > machine_bytes:
        warnings.append(
            f"memory: {largest['stage']} holds {amount(driver_bytes)}{at_most} in one process, and this machine has "
            f"{amount(machine_bytes)}: --engine spark shares it out"
        )
    if disk["free_bytes"] is not None and disk["needed_bytes"] > disk["free_bytes"]:
        warnings.append(
            f"disk: {amount(disk['needed_bytes'])}{at_most}, and {amount(disk['free_bytes'])} are free: "
            "'graphquilt clean --dry-run' lists what can go"
        )
    return warnings


def _date_text(date: str | None) -> str:
    from pipeline.workspace import describe_date

    return describe_date(dt.date.fromisoformat(date)) if date else "not known"


def _input_text(facts: Mapping[str, Any]) -> str:
    if facts["path"] is None:
        return f"none: about {facts['rows']:,} rows, {amount(facts['bytes'])}, tasks: {facts['tasks']}"
    from pipeline.ingest.file_formats import FORMAT_NAMES

    about = "" if facts["rows_are_exact"] else "about "
    text_note = "" if facts["format"] == "parquet" else " (a text file is one task, however large)"
    return (
        f"files: {facts['files']} of {FORMAT_NAMES[facts['format']]}, {amount(facts['bytes'])}, "
        f"{about}{facts['rows']:,} rows, tasks: {facts['tasks']}{text_note}"
    )


def _costs_table(costs: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        {
            "stage": cost["stage"],
            "CPU s": f"{cost['cpu_seconds']:,.1f}",
            "wall s": f"{cost['wall_seconds']:,.1f}",
            "tasks": cost["tasks"],
            "memory of a task": amount(cost["task_bytes"]),
            "of the run's process": amount(cost["driver_bytes"]),
            "disk": amount(cost["disk_bytes"]),
        }
        for cost in costs
    ]
    totals = {f"{name} s": f"{sum(cost[f'{key}_seconds'] for cost in costs):,.1f}" for name, key in _TIMES.items()}
    return table_of([*rows, {**dict.fromkeys(rows[0], ""), "stage": "all", **totals}])


def _embed_text(facts: Mapping[str, Any]) -> str:
    before = facts["rounds_before"]
    narrow = f" after {before} of few columns" if before else ""
    return (
        f"about {facts['cpu_seconds']:,.1f} CPU seconds, {facts['wall_seconds']:,.1f} s on {facts['slots']} at once; "
        f"rounds: {facts['rounds']}{narrow}, tasks: {facts['tasks']}; seconds are estimates"
    )


def _lists_text(facts: Mapping[str, Any]) -> str:
    text = f"at most {facts['most']:,}; tasks share the {facts['across']}: {facts['because']}; {facts['reason']}"
    if "bytes_by_way" not in facts:
        return text
    ways = facts["bytes_by_way"]
    return (
        f"{text}; bytes: {amount(ways['sources']['read'])} are mapped by tasks that share the sources, "
        f"{amount(ways['parts']['moved'])} would move between {ways['parts']['parts']} parts (an estimate)"
    )


def _clusters_text(facts: Mapping[str, Any], most: str) -> str:
    holds = "one task holds the whole graph" if facts["source"] == "graph" else "a task holds a cell of the rows"
    return f"{holds}: {most}{amount(facts['task_bytes'])}, about {facts['cpu_seconds']:,.1f} CPU seconds"


def _attributes_text(node_type: str, facts: Mapping[str, Any]) -> str:
    text = f"of {node_type}: files: {facts['files']}, {amount(facts['bytes'])}"
    if "read" not in facts:
        return text
    return f"{text}, {facts['read']:,} rows, {sum(facts['rejected'].values()):,} rejected"


def _alternatives_table(alternatives: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = []
    for plan in alternatives:
        most = "" if plan["is_exact"] else "<= "
        rows.append(
            {
                "": "*" if plan["is_chosen"] else "",
                "parts": plan["parts"],
                "shards": plan["shards"],
                "memory of a task": most + amount(plan["task_bytes"]),
                "floats moved a node": f"{most}{plan['floats_moved_per_node']:,.0f}",
                "CPU s": f"{most}{plan['cpu_seconds']:,.1f}",
                "wall s": f"{most}{plan['wall_seconds']:,.1f}",
                "reason": f"chosen: {plan['reason']}" if plan["is_chosen"] else "",
            }
        )
    return table_of(rows)
