"""Rounds over parts: which tasks there are, what each is handed, what an earlier run has finished. For all methods.

A round is one product with the graph, in two waves of tasks. *Products*: the task of a part reads its block, its
rows and the slices addressed to it, multiplies, finishes the rows whose edges are all here, and writes partial
rows of split nodes, sorted by home. *Homes*: the home of split nodes adds the partial rows in part order and
finishes them. Finished rows go to the parts that read them next. A tree with a single part needs none of that:
its one task keeps all rounds in memory. With shards, each of these tasks is there once for each share of the
columns, and last waves make what takes whole rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.embedding.methods import method_for
from pipeline.embedding.round_tasks import embed_block, multiply_part, settle_homes
from pipeline.embedding.rows import ColumnSums, Settings
from pipeline.embedding.waves import BlockFiles, Round, addressed_to, by_shard, homes_of, partials_for, task_for
from pipeline.embedding.yardstick_waves import add_up, measure
from pipeline.tasks import Task, TaskRecord, TaskRunner, run_missing

__all__ = ["BlockFiles", "Embedded", "embed_parts"]


@dataclass(frozen=True)
class Embedded:
    """Files of finished rows, and the sums that the last step needs.

    Each file holds some nodes, and of them all columns and magnitudes or only some.
    """

    files: Sequence[tuple[Path, int, str]]  # path, rows, checksum
    sums: ColumnSums | None
    records: Sequence[TaskRecord]

    @property
    def rows_moved(self) -> dict[str, int]:
        """Rows that went to another part: partial rows to homes, totals from homes."""
        return {name: self._moved(name)[0] for name in ("partials", "totals")}

    @property
    def floats_moved(self) -> float:
        """The same in float32s: entries, scales and magnitudes, in bytes over 4."""
        return (self._moved("partials")[1] + self._moved("totals")[1]) / 4

    def _moved(self, name: str) -> tuple[int, int]:
        found = [record.result[f"{name}_moved"] for record in self.records if f"{name}_moved" in record.result]
        return sum(rows for rows, _ in found), sum(size for _, size in found)


def embed_parts(
    runner: TaskRunner, blocks: Sequence[BlockFiles], settings: Settings, place: Path, *, exchange: bool = True
) -> Embedded:
    """Embed all parts; what an earlier run finished at ``place`` is kept.

    Without ``exchange`` no block needs rows of another, and each is embedded as if it were the only one, by one
    task: its columns are not shared out.

    Raises
    ------
    TaskError : a task failed on a worker.
    """
    shards = settings.shards() if exchange else [settings]
    rounds: list[Round] = []
    if len(blocks) == 1 or not exchange:
        tasks = [
            task_for(f"rounds-{block.part_id:05d}", place, {"block": block.to_json()}, shard)
            for shard in shards
            for block in blocks
        ]
        done = by_shard(run_missing(runner, embed_block, tasks), len(shards))
        rounds.append(Round(done, [[] for _ in shards]))
    else:
        for number in range(method_for(settings).rounds(settings)):
            rounds.append(_round(runner, number, blocks, shards, place, rounds[-1] if rounds else None))
    records = [record for done_round in rounds for record in done_round.records]
    if len(shards) == 1:
        return _embedded(rounds[-1].side_by_side(), records)
    measures = measure(runner, blocks, settings, place, rounds)
    records += measures.records
    done_columns = rounds[-1]
    if method_for(settings).keeps_total:
        done_columns = add_up(runner, blocks, settings, place, rounds, measures)
        records += done_columns.records
    return _embedded([*done_columns.side_by_side(), *measures.side_by_side()], records)


def _embedded(groups: Sequence[Sequence[TaskRecord]], records: Sequence[TaskRecord]) -> Embedded:
    """Collect the files of finished rows, and add column sums in the order of the groups."""
    files = [
        (Path(record.place) / file.name, int(rows), file.checksum)
        for group in groups
        for record in group
        for file, rows in zip((f for f in record.files if f.role == "rows"), record.result["rows"], strict=True)
    ]
    sums = None
    for group in groups:
        pieces = [ColumnSums.from_json(record.result["sums"]) for record in group if record.result.get("sums")]
        if pieces:
            part = ColumnSums.side_by_side(pieces)
            sums = part if sums is None else sums + part
    return Embedded(files, sums, records)


def _round(
    runner: TaskRunner,
    number: int,
    blocks: Sequence[BlockFiles],
    shards: Sequence[Settings],
    place: Path,
    before: Round | None,
) -> Round:
    tasks = [
        task
        for position, shard in enumerate(shards)
        for task in _product_tasks(number, blocks, shard, place, position, before)
    ]
    products = by_shard(run_missing(runner, multiply_part, tasks), len(shards))
    tasks = [
        task
        for position, shard in enumerate(shards)
        for task in _home_tasks(number, blocks, shard, place, products[position], position, before)
    ]
    return Round(products, by_shard(run_missing(runner, settle_homes, tasks), len(shards)))


def _product_tasks(
    number: int, blocks: Sequence[BlockFiles], settings: Settings, place: Path, shard: int, before: Round | None
) -> list[Task]:
    products = before.products[shard] if before else []
    homes = before.homes[shard] if before else []
    home_of = {record.result["part"]: record for record in homes}
    tasks = []
    for position, block in enumerate(blocks):
        own = [record for record in (products[position], home_of.get(block.part_id)) if record] if products else []
        payload = {
            "block": block.to_json(),
            "number": number,
            "state": [str(record.file("state")) for record in own],
            "total": [str(path) for record in own[:1] for path in record.paths("total")],
            "inbox": addressed_to(block.part_id, [*products, *homes], "outbox"),
        }
        tasks.append(task_for(f"round-{number:02d}-products-{block.part_id:05d}", place, payload, settings))
    return tasks


def _home_tasks(
    number: int,
    blocks: Sequence[BlockFiles],
    settings: Settings,
    place: Path,
    products: Sequence[TaskRecord],
    shard: int,
    before: Round | None,
) -> list[Task]:
    earlier = {record.result["part"]: record for record in before.homes[shard]} if before else {}
    tasks = []
    for block in homes_of(blocks):
        known = earlier.get(block.part_id)
        payload = {
            "block": block.to_json(),
            "number": number,
            "total": [str(path) for path in known.paths("total")] if known else [],
            "inbox": partials_for(block.part_id, products),
        }
        tasks.append(task_for(f"round-{number:02d}-homes-{block.part_id:05d}", place, payload, settings))
    return tasks
