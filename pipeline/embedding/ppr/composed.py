"""Lists when the graph does not fit one worker: each task has a part of it, and mass that leaves a part is sent on.

All sources go together. A round is one wave of tasks, one a part: it takes in what was sent to the part, pushes until
no node at home there has more waiting than its limit, and sends what crosses the cut, added up by (node, source). Mass
that a node is too small to push stays where it is, so what a source's walk still has to do is known exactly: rounds
end when nothing is sent, and then ``0 <= exact - score <= threshold * strength`` at every node. State and traffic of a
source are bounded by the threshold, not by the size of the graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.embedding.ppr.asked import ListsAsked
from pipeline.embedding.ppr.composed_tasks import join_lists, push_round, rank_part, weigh_part
from pipeline.embedding.ppr.lists import composed_threshold, pushed_entries
from pipeline.embedding.ppr.mass_files import batches_of
from pipeline.embedding.waves import BlockFiles
from pipeline.tasks import Task, TaskRecord, TaskRunner, run_missing

#: Bytes that a task means to hold of a batch of sources, once: it has a few copies of them.
_BATCH_BYTES = 64 << 20
_FEWEST_AT_ONCE, _MOST_AT_ONCE = 16, 4_096  # sources
_HELD_BYTES, _LISTED_BYTES = 20, 12  # of an entry
_LISTED_AT_ONCE = 2**23  # entries of lists that a task joins into one file, at most


@dataclass(frozen=True)
class ComposedLists:
    """Lists of all sources, and what they took.

    files : path, rows and checksum of NEIGHBOR_LISTS, ascending by source over the files.
    rounds : waves in which parts pushed. bytes_moved : files that went to another part. entries : edge ends pushed.
    largest_bound : of the lists. largest_missing : l1 error of the worst source.
    """

    files: Sequence[tuple[Path, int, str]]
    records: Sequence[TaskRecord[Any]]
    rounds: int
    bytes_moved: int
    entries: int
    largest_bound: float
    largest_missing: float


def lists_across_parts(
    runner: TaskRunner,
    blocks: Sequence[BlockFiles],
    sources: Path,
    asked: ListsAsked,
    place: Path,
    joins: int | None = None,
) -> ComposedLists:
    """Push by parts, and rank; what an earlier run finished at ``place`` is kept.

    Parameters
    ----------
    blocks : of the layout with boundary "exchange", ascending by part_id.
    sources : Arrow file, column node_ix int64 ascending: nodes that get a list. One without edges gets an empty one.
    asked : its restart, push_threshold, top_k, exclude_known, degree_correction and edge_degree_power.
    place : folder of these inputs alone; files of rounds stay there until it is removed.
    joins : tasks that join what the parts have ranked; unset: one a part. Changes no list.

    Raises
    ------
    TaskError : a task failed on a worker.
    """
    count = storage.map_arrow(sources).num_rows
    wave = _Waves(runner, blocks, sources, count, asked, place)
    if blocks:
        wave.weigh()
        wave.push()
        wave.rank()
    joined = wave.join(max(1, joins or len(blocks), math.ceil(count * asked.ppr.top_k / _LISTED_AT_ONCE)))
    return ComposedLists(
        files=[(record.file("lists"), int(record.result["lists_rows"]), record.files[0].checksum) for record in joined],
        records=wave.records,
        rounds=wave.rounds,
        bytes_moved=sum(
            file.bytes for record in wave.records for file in record.files if file.role in ("shared", "known", "sent")
        ),
        entries=sum(int(record.result.get("entries", 0)) for record in wave.records),
        largest_bound=max(float(record.result["largest_bound"]) for record in joined),
        largest_missing=max(float(record.result["largest_missing"]) for record in joined),
    )


class _Waves:
    """Waves of tasks one after the other, each handed the files that those before it left."""

    def __init__(
        self,
        runner: TaskRunner,
        blocks: Sequence[BlockFiles],
        sources: Path,
        count: int,
        asked: ListsAsked,
        place: Path,
    ) -> None:
        self.records: list[TaskRecord[Any]] = []
        self.rounds = 0
        self._runner, self._blocks, self._asked, self._place = runner, blocks, asked, place
        self._common: dict[str, Any] = {
            "sources": str(sources),
            "count": count,
            "at_once": _MOST_AT_ONCE,
            "asked": asked.to_json(),
        }
        self._known: list[list[Any]] = []
        self._weighed: list[TaskRecord[Any]] = []
        self._held: list[list[str]] = [[] for _ in blocks]  # by part: its files, oldest first
        self._ranked: list[TaskRecord[Any]] = []
        self._threshold = self._largest_strength = 0.0

    def weigh(self) -> None:
        """Weigh the parts' rows: what a node may hold follows from the mean, and so does the size of batches."""
        tasks = [self._task("weigh", place, {}) for place in range(len(self._blocks))]
        self._weighed = self._run(weigh_part, tasks)
        weight = math.fsum(record.result["weight"] for record in self._weighed)
        nodes = sum(record.result["home_rows"] for record in self._weighed)
        ppr = self._asked.ppr
        mean = weight / nodes
        self._threshold = composed_threshold(ppr, mean)
        each = _HELD_BYTES * pushed_entries(1, mean, self._threshold * mean, ppr.restart) / len(self._blocks)
        listed = _LISTED_BYTES * ppr.top_k * len(self._blocks)
        self._common["at_once"] = int(min(max(_BATCH_BYTES // max(each, listed), _FEWEST_AT_ONCE), _MOST_AT_ONCE))

    def push(self) -> None:
        """Rounds, until nothing is sent. A part that is sent nothing has nothing to do."""
        places = range(len(self._blocks))
        inbox: list[list[list[Any]]] = [[] for _ in places]
        while self.rounds == 0 or any(inbox):
            tasks = [
                self._task(
                    f"push-{self.rounds:03d}",
                    place,
                    {
                        **self._walk(place),
                        "held": self._held[place].copy(),
                        "inbox": inbox[place],
                        "is_first": self.rounds == 0,
                    },
                )
                for place in places
                if self.rounds == 0 or inbox[place]
            ]
            inbox = [[] for _ in places]
            for record in self._run(push_round, tasks):
                sender = record.result["place"]
                self._held[sender].append(str(record.file("held")))
                self._known += [[sender, str(path)] for path in record.paths("known")]
                self._largest_strength = max(self._largest_strength, record.result["largest_strength"])
                for receiver in record.result["sent"]:
                    inbox[int(receiver)].append([sender, str(record.file("sent"))])
            self.rounds += 1

    def rank(self) -> None:
        """Rank the home rows of each part."""
        tasks = [
            self._task("rank", place, {"held": self._held[place], "known": self._known})
            for place in range(len(self._blocks))
        ]
        self._ranked = self._run(rank_part, tasks)

    def join(self, tasks: int) -> list[TaskRecord[Any]]:
        """Join what the parts have ranked, by so many tasks at most."""
        batches = len(batches_of(self._common["count"], self._common["at_once"]))
        each = max(1, math.ceil(batches / tasks))
        payload = {
            **self._common,
            "ranked": [str(record.file("ranked")) for record in self._ranked],
            # Without a threshold of the config's own, the bound is on the sum of errors.
            "pointwise": self._threshold * self._largest_strength if self._asked.ppr.push_threshold else None,
        }
        return self._run(
            join_lists,
            [
                Task(
                    f"join-{first:06d}-{each:06d}",
                    self._place,
                    {**payload, "batches": [first, min(first + each, batches)]},
                )
                for first in range(0, max(1, batches), each)
            ],
        )

    def _walk(self, place: int) -> dict[str, Any]:
        """What a task needs to walk on a part."""
        shared = [[sender, str(record.file("shared"))] for sender, record in enumerate(self._weighed)]
        return {
            "weights": str(self._weighed[place].file("weights")),
            "shared": [file for file in shared if file[0] != place],
            "threshold": self._threshold,
        }

    def _task(self, name: str, place: int, payload: dict[str, Any]) -> Task[Any]:
        block = self._blocks[place]
        places = [other.part_id for other in self._blocks]
        return Task(
            f"{name}-{block.part_id:05d}",
            self._place,
            {"block": block.to_json(), "places": places, **self._common, **payload},
        )

    def _run(self, function: Any, tasks: list[Task[Any]]) -> list[TaskRecord[Any]]:
        records = run_missing(self._runner, function, tasks)
        self.records += records
        return records
