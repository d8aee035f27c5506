"""What each graph's DAG is made of: one small table a graph in graphs.toml, read when the DAG file is parsed."""

from __future__ import annotations

import os
import tomllib
from collections import Counter
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any, get_args, get_type_hints

STAGES = ("ingest", "index", "partition", "layout", "embed", "aggregate", "evaluate", "publish")
#: Files in jobs/, in order: a session for each stage, or one for the whole night. The last one publishes.
MODES = {"stages": STAGES, "night": ("run",)}
_KINDS = {str: "a text", int: "a whole number", date: "a date such as 2026-01-31", tuple: "a list of texts"}
_BOUNDS = {"retries": (0, 10), "retry_minutes": (0, 1440), "timeout_hours": (1, 168)}


@dataclass(frozen=True)
class Graph:
    """One graph that is embedded every night.

    name : of its table in the file; its assets are ``name/table``.
    config, workspace, home : addresses; ``home`` holds the folder jobs/.
    schedule : cron, UTC; "" for runs by hand only. start : the first day that a backfill may compute.
    spark_conn_id : of spark-submit. storage_conn_id : of the store that gate.json is read from, where it needs one.
    on_failure : "module.function", called with Airflow's context when a night is red.
    """

    name: str
    config: str
    workspace: str
    dag_id: str = ""
    home: str = "{{ var.value.pipeline_home }}"
    mode: str = "stages"
    schedule: str = "0 2 * * *"
    start: date = date(2024, 6, 1)
    owner: str = "airflow"
    tags: tuple[str, ...] = ("graphquilt",)
    pool: str = "default_pool"
    retries: int = 2
    retry_minutes: int = 10
    timeout_hours: int = 12
    spark_conn_id: str = "spark_default"
    storage_conn_id: str | None = None
    on_failure: str | None = None

    @property
    def jobs(self) -> tuple[str, ...]:
        """Files in jobs/ that a night submits, in order."""
        return MODES[self.mode]


def read_graphs() -> list[Graph]:
    """Return the graphs of graphs.toml, or of the file that the environment variable GRAPHQUILT_GRAPHS names.

    Raises
    ------
    ValueError : a key is unknown or missing, a value has another type or is out of bounds, or two graphs share a DAG
        or a workspace. Airflow shows it as the import error of the DAG file.
    """
    path = Path(os.environ.get("GRAPHQUILT_GRAPHS") or Path(__file__).with_name("graphs.toml"))
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path} can't be read: {error}") from error
    graphs = [_graph(f"{path} [{name}]", name, table) for name, table in tables.items()]
    for key, why in (("dag_id", "each graph has a DAG"), ("workspace", "each graph has a verdict a date there")):
        value, count = Counter(getattr(graph, key) for graph in graphs).most_common(1)[0] if graphs else ("", 0)
        if count > 1:
            raise ValueError(f"{path}: {count} graphs have the {key} '{value}', and {why}; give them different ones")
    return graphs


def _graph(where: str, name: str, table: Any) -> Graph:
    if not isinstance(table, dict):
        raise ValueError(f"{where} is no table: write [{name}], and its keys below")
    types = {key: kind for key, kind in get_type_hints(Graph).items() if key != "name"}
    required_keys = {field.name for field in fields(Graph)[1:3]}
    if strange := set(table) - set(types):
        raise ValueError(f"{where} has the key '{min(strange)}'; it may have {', '.join(types)}")
    if missing := required_keys - set(table):
        raise ValueError(f"{where} lacks the key '{min(missing)}'")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    for key, value in values.items():
        kinds = get_args(types[key]) if key != "tags" else (tuple,)
        key_type = (kinds or (types[key],))[0]
        if type(value) is not key_type:  # not isinstance: true is an int as well
            raise ValueError(f"{where} {key} is {value!r}; {_KINDS[key_type]} is wanted")
    for key, (least, most) in _BOUNDS.items():
        if not least <= (value := values.get(key, least)) <= most:
            raise ValueError(f"{where} {key} is {value}; it must be from {least} to {most}")
    if (mode := values.get("mode", "stages")) not in MODES:
        raise ValueError(f"{where} mode is '{mode}'; choose one of {sorted(MODES)}")
    return Graph(**{"name": name, "dag_id": name, **values})
