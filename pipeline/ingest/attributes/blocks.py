"""The features of the local rows of every block."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.blocks.arrays import FeatureTable
from pipeline.tasks import Attempt, Task, TaskRecord, TaskRunner, run_missing
from schemas.tables import NODE_FEATURES


@dataclass(frozen=True)
class TakePayload:
    """Input of the task that takes a block's features: the file of its nodes, and the features of all nodes."""

    nodes: Path
    features: tuple[Path, ...]


def hand_to_blocks(
    runner: TaskRunner, blocks: Iterable[tuple[str, int, Path]], features: Sequence[Path], folder: Path
) -> list[TaskRecord[None]]:
    """Write the features of every block, in order; none of the graph of parts, and nothing without attributes.

    Parameters
    ----------
    blocks : (name of its set, part, file of its nodes) of each.
    """
    if not features:
        return []
    tasks = [
        Task(f"features-{name}-{part:05d}", folder, TakePayload(nodes, tuple(features) if name != "quotient" else ()))
        for name, part, nodes in blocks
    ]
    return run_missing(runner, take_features, tasks)


def take_features(payload: TakePayload, attempt: Attempt) -> None:
    """Task: the features of a block's local rows."""
    node_ix = storage.column(storage.map_arrow(payload.nodes), "node_ix")
    features = FeatureTable(payload.features).take(node_ix)
    columns = [np.repeat(node_ix, features.counts), features.key.view(np.int64), features.value]
    table = pa.Table.from_arrays([pa.array(column) for column in columns], schema=NODE_FEATURES.schema)
    storage.write_arrow(attempt.path("features", "arrow"), table)
