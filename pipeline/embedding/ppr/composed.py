"""Lists when the graph does not fit one worker: each task has a part of it, and mass that leaves a part is sent on.

All sources go together. A round is one task a part: it takes in what was sent to the part, pushes until no node at home
there has more waiting than its limit, and sends what crosses the cut, added up by (node, source). Mass below a node's
limit stays where it is, so what a source's walk still has to do is known exactly. Rounds end when nothing is sent;
then ``0 <= exact - score <= threshold * strength`` at every node. State and traffic of a
source are bounded by the threshold, not by the size of the graph.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.config.ppr import PprConfig
from pipeline.embedding.ppr.composed_part import PartFiles
from pipeline.embedding.ppr.composed_tasks import (
    JoinPayload,
    JoinResult,
    PartWeight,
    RankPayload,
    RoundPayload,
    RoundResult,
    SentFile,
    join_lists,
    push_round,
    rank_part,
    weigh_part,
)
from pipeline.embedding.ppr.list_request import ListRequest
from pipeline.embedding.ppr.lists import composed_threshold, pushed_entries
from pipeline.embedding.ppr.mass_files import SourceBatches
from pipeline.embedding.waves import BlockFiles
from pipeline.locations import Location
from pipeline.tasks import TaskFolder, TaskRecord, TaskRunner

#: Bytes that a task means to hold of a batch of sources, once: it has a few copies of them.
_BATCH_BYTES = 64 << 20
_FEWEST_AT_ONCE, _MOST_AT_ONCE = 16, 4_096  # sources
_HELD_BYTES, _LISTED_BYTES = 20, 12  # of an entry
_LISTED_AT_ONCE = 2**23  # entries of lists that a task joins into one file, at most


@dataclass(frozen=True)
class ComposedLists:
    """Lists of all sources, and what they took.

    lists : of the tasks whose files are NEIGHBOR_LISTS, ascending by source. records : of all tasks.
    rounds : times that parts pushed. entries : edge ends pushed.
    """

    lists: Sequence[TaskRecord[JoinResult]]
    records: Sequence[TaskRecord[Any]]
    rounds: int
    entries: int

    @property
    def bytes_moved(self) -> int:
        """Size of the files that went to another part."""
        files = [file for record in self.records for file in record.files]
        return sum(file.bytes for file in files if file.role in ("shared", "known", "sent"))

    @property
    def largest_bound(self) -> float:
        """Largest error bound of a list."""
        return max(record.result.largest_bound for record in self.lists)

    @property
    def largest_missing(self) -> float:
        """l1 error of the worst source."""
        return max(record.result.largest_missing for record in self.lists)


def lists_across_parts(
    runner: TaskRunner,
    blocks: Sequence[BlockFiles],
    sources: Location,
    request: ListRequest,
    folder: Location,
) -> ComposedLists:
    """Push by parts, and rank. Tasks that an earlier run finished in the folder are not run again.

    Parameters
    ----------
    blocks : of the layout with boundary "exchange", ascending by part_id.
    sources : Arrow file, column node_ix int64 ascending: nodes that get a list. One without edges gets an empty one.
    request : its restart, push_threshold, top_k, exclude_known, degree_correction and edge_degree_power.
    folder : of these inputs alone; files of rounds stay there until it is removed.

    Raises
    ------
    TaskError : a task failed on a worker.
    """
    ppr, count = request.ppr, storage.map_arrow(sources).num_rows
    ids = tuple(block.part_id for block in blocks)
    parts = [PartFiles(block, ids, ppr.edge_degree_power) for block in blocks]
    tasks = TaskFolder(runner, folder)
    weight_records = tasks.run_each(weigh_part, "weigh", parts, ids)
    threshold, batch_size = _threshold_and_batch_size(ppr, [record.result for record in weight_records])
    batches = SourceBatches(sources, count, batch_size)
    starts = [
        RoundPayload(
            part=part,
            request=request,
            sources=batches,
            threshold=threshold,
            weights=weight_records[index].file("weights"),
            shared_weights=tuple(
                SentFile(n, record.file("shared")) for n, record in enumerate(weight_records) if n != index
            ),
        )
        for index, part in enumerate(parts)
    ]
    round_files = _push_rounds(tasks, starts)
    ranks = [
        RankPayload(part, request, batches, tuple(held_files), tuple(round_files.neighbors))
        for part, held_files in zip(parts, round_files.held_files, strict=True)
    ]
    rank_records = tasks.run_each(rank_part, "rank", ranks, ids)
    # Without a threshold of the config's own, the bound is on the sum of errors.
    score_bound = threshold * round_files.largest_strength if ppr.push_threshold else None
    payload = JoinPayload(batches, ppr.top_k, tuple(record.file("ranked") for record in rank_records), score_bound)
    list_records = _join(tasks, payload, max(1, len(parts), math.ceil(count * ppr.top_k / _LISTED_AT_ONCE)))
    return ComposedLists(
        list_records, tasks.records, round_files.rounds, sum(record.result.entries for record in round_files.records)
    )


def _join(tasks: TaskFolder, payload: JoinPayload, most: int) -> list[TaskRecord[JoinResult]]:
    """Join what the parts have ranked, batches dealt out to ``most`` tasks or fewer."""
    count = len(payload.sources.ranges())
    batches_per_task = max(1, math.ceil(count / most))
    payloads = [
        replace(payload, batches=(first, min(first + batches_per_task, count)))
        for first in range(0, max(1, count), batches_per_task)
    ]
    return tasks.run_named(
        join_lists,
        {f"join-{join_payload.batches[0]:06d}-{batches_per_task:06d}": join_payload for join_payload in payloads},
    )


def _threshold_and_batch_size(ppr: PprConfig, weights: Sequence[PartWeight]) -> tuple[float, int]:
    """Return what a node may hold for each unit of its strength, and how many sources go together."""
    nodes = sum(part.home_rows for part in weights)
    if not nodes:
        return 0.0, _MOST_AT_ONCE
    mean = math.fsum(part.weight for part in weights) / nodes
    threshold = composed_threshold(ppr, mean)
    held_bytes = _HELD_BYTES * pushed_entries(1, mean, threshold * mean, ppr.restart) / len(weights)
    list_bytes = _LISTED_BYTES * ppr.top_k * len(weights)
    return threshold, int(min(max(_BATCH_BYTES // max(held_bytes, list_bytes), _FEWEST_AT_ONCE), _MOST_AT_ONCE))


@dataclass(frozen=True)
class _RoundFiles:
    """What rounds left: by part the files of what it holds, oldest first, and the neighbours that sources have."""

    held_files: list[list[Location]]
    neighbors: list[SentFile]
    records: list[TaskRecord[RoundResult]]
    rounds: int

    @property
    def largest_strength(self) -> float:
        """Of all targets."""
        return max((record.result.largest_strength for record in self.records), default=0.0)


def _push_rounds(tasks: TaskFolder, payloads: Sequence[RoundPayload]) -> _RoundFiles:
    """Run rounds until nothing is sent, from the payloads of the first one. A part that is sent nothing waits."""
    held_files: list[list[Location]] = [[] for _ in payloads]
    neighbors: list[SentFile] = []
    records: list[TaskRecord[RoundResult]] = []
    active, rounds = dict(enumerate(payloads)), 0
    while active:
        ids = [payload.part.block.part_id for payload in active.values()]
        push_records = tasks.run_each(push_round, f"push-{rounds:03d}", active.values(), ids)
        inbox: dict[int, list[SentFile]] = {}
        for sender, record in zip(active, push_records, strict=True):
            held_files[sender].append(record.file("held"))
            neighbors += [SentFile(sender, file) for file in record.paths("known")]
            for receiver in np.flatnonzero(record.result.entries_sent).tolist():
                inbox.setdefault(receiver, []).append(SentFile(sender, record.file("sent")))
        records += push_records
        active = {
            index: replace(
                payloads[index], held_files=tuple(held_files[index]), inbox=tuple(inbox[index]), is_first=False
            )
            for index in sorted(inbox)
        }
        rounds += 1
    return _RoundFiles(held_files, neighbors, records, rounds)
