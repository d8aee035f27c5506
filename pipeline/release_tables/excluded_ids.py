"""Whether publish.exclude_ids are written as the ids of the graph are: one that isn't would be published."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.ingest.id_match import other_spellings
from pipeline.release_tables.finished_rows import NodeIds, PublishedNodes, row_groups
from pipeline.release_tables.published_table import TableRun
from pipeline.tasks import Attempt, TaskRecord


def judge_excluded_ids(run: TableRun) -> list[TaskRecord[Mapping[str, str]]]:
    """Refuse an id that is no node's, where another spelling of it is; one that just isn't there tonight is fine.

    Raises
    ------
    ConfigError : naming both spellings.
    """
    nodes = PublishedNodes.of(run.config, run.workspace)
    types = [name for name, ids in sorted(nodes.exclude_ids.items()) if ids and name in nodes.types]
    records = run.run_tasks(find_other_spellings, "excluded", [SpellingPayload(nodes, name) for name in types])
    for node_type, record in zip(types, records, strict=True):
        for text, spelling in sorted(record.result.items()):
            raise ConfigError(
                f"publish.exclude_ids.{node_type} has {text!r}, and no node is called so; {spelling!r} is "
                "there, and would be published. Write it as it stands in the input"
            )
    return records


@dataclass(frozen=True)
class SpellingPayload:
    """Input of the task that looks for other spellings of a type's excluded ids."""

    nodes: PublishedNodes
    node_type: str


def find_other_spellings(payload: SpellingPayload, attempt: Attempt) -> Mapping[str, str]:  # noqa: ARG001
    """Task: excluded ids of a type that are no node's, each with another spelling that is one's."""
    nodes, node_type = payload.nodes, payload.node_type
    texts = nodes.exclude_ids[node_type]
    originals = {spelling: text for text in texts for spelling in other_spellings(text)}
    candidates = pa.array([*texts, *originals], pa.string())
    ids, present = NodeIds(nodes.node_index), set[str]()
    bounds = nodes.types[node_type]
    for _, first, stop in row_groups(bounds, {node_type: bounds}):
        node_id = ids.between(first, stop).cast(pa.string())
        present.update(node_id.filter(pc.is_in(node_id, value_set=candidates)).to_pylist())
    return {text: spelling for spelling, text in originals.items() if spelling in present and text not in present}
