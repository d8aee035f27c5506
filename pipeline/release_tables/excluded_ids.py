"""Whether publish.exclude_ids are written as the ids of the graph are: one that isn't would be published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.model import PipelineConfig
from pipeline.errors import ConfigError
from pipeline.ingest.id_match import other_spellings
from pipeline.release_tables.finished_rows import NodeIds, row_groups
from pipeline.tasks import Attempt, Task, TaskRecord, TaskRunner, run_missing
from pipeline.workspace import Workspace


def judge_excluded_ids(engine: TaskRunner, config: PipelineConfig, workspace: Workspace) -> list[TaskRecord[Any]]:
    """Refuse an id that is no node's, where another spelling of it is; one that just isn't there tonight is fine.

    Raises
    ------
    ConfigError : naming both spellings.
    """
    payload = {
        "node_index": [str(file) for file in workspace.files("node_index")],
        "types": workspace.manifest("node_index").figures["types"],
    }
    tasks = [
        Task(
            f"excluded-{number:03d}",
            workspace.work("aggregate"),
            {**payload, "node_type": node_type, "ids": [str(one) for one in ids]},
        )
        for number, (node_type, ids) in enumerate(sorted(config.publish.exclude_ids.items()))
        if ids and node_type in payload["types"]
    ]
    records = run_missing(engine, find_other_spellings, tasks)
    for task, record in zip(tasks, records, strict=True):
        for text, other in sorted(record.result["meant"].items()):
            raise ConfigError(
                f"publish.exclude_ids.{task.payload['node_type']} has {text!r}, and no node is called so; {other!r} is "
                "there, and would be published. Write it as it stands in the input"
            )
    return records


def find_other_spellings(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:  # noqa: ARG001
    """Task: ids that are no node's, each with another spelling that is one's."""
    texts, types = payload["ids"], payload["types"]
    spelt = {form: text for text in texts for form in other_spellings(text)}
    wanted = pa.array([*texts, *spelt], pa.string())
    ids, there = NodeIds(payload["node_index"]), set()
    bounds = types[payload["node_type"]]
    for _, first, stop in row_groups(bounds, {payload["node_type"]: bounds}):
        known = ids.between(first, stop).cast(pa.string())
        there.update(known.filter(pc.is_in(known, value_set=wanted)).to_pylist())
    return {"meant": {text: form for form, text in spelt.items() if form in there and text not in there}}
