"""Rounds over parts: which tasks there are, what each is handed, what an earlier run has finished. For all methods.

A round is one product with the graph, in two waves of tasks. *Products*: the task of a part reads its block, its
rows and the slices addressed to it, multiplies, finishes the rows whose edges are all here, and writes partial
rows of split nodes, sorted by home. *Homes*: the home of split nodes adds the partial rows in part order and
finishes them. Finished rows go to the parts that read them next. A tree with a single part needs none of that:
its one task keeps all rounds in memory. With shards, each of these tasks is there once for each share of the
columns, and last waves make what takes whole rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from pipeline import storage
from pipeline.embedding.fact_files import read_facts, write_facts
from pipeline.embedding.methods import method_for
from pipeline.embedding.noise_scale_waves import add_up, measure
from pipeline.embedding.round_tasks import embed_block, multiply_part, reduce_rows, settle_homes
from pipeline.embedding.rows import FOLD_IN, ColumnSums, Settings
from pipeline.embedding.waves import BlockFiles, Round, addressed_to, by_shard, homes_of, partials_for, task_for
from pipeline.tasks import Task, TaskRecord, TaskRunner, run_missing

__all__ = ["BlockFiles", "Embedded", "embed_parts"]


@dataclass(frozen=True)
class Embedded:
    """Files of finished rows, and the sums that the last step needs.

    Each file holds some nodes, and of them all columns and noise scales or only some.
    """

    files: Sequence[tuple[Path, int, str]]  # path, rows, checksum
    sums: ColumnSums | None
    records: Sequence[TaskRecord[Any]]
    fold_in_files: Sequence[tuple[Path, int, str]] = ()  # of rows that users' rows are sums of, if they are kept
    report: Mapping[str, Any] = field(default_factory=dict)  # what the rounds found out, for people

    @property
    def rows_moved(self) -> dict[str, int]:
        """Rows that went to another part: partial rows to homes, totals from homes."""
        return {name: self._moved(name)[0] for name in ("partials", "totals")}

    @property
    def floats_moved(self) -> float:
        """The same in float32s: entries, scales and noise scales, in bytes over 4."""
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
    method = method_for(settings)
    records: list[TaskRecord[Any]] = []
    small = method.prelude(settings) if exchange else None
    if small is not None:
        settings = _facts_of(runner, blocks, small, place, records).passed_to(settings)
    shards = settings.shards() if exchange else [settings]
    if len(blocks) == 1 or not exchange:
        rounds = [_in_one_task(runner, blocks, shards, place)]
        report = rounds[0].products[0][0].result["report"] if blocks else {}
    else:
        rounds, known = _rounds(runner, blocks, shards, place)
        if method.reduced_width(settings):
            rounds.append(_reduce(runner, rounds[-1], known, place))
        report = method.report(known)
    records += [record for done_round in rounds for record in done_round.records]
    if len(shards) == 1:
        return _embedded(rounds[-1].side_by_side(), records, report)
    measures = measure(runner, blocks, settings, place, rounds)
    records += measures.records
    done_columns = rounds[-1]
    if method.keeps_total:
        done_columns = add_up(runner, blocks, settings, place, rounds, measures)
        records += done_columns.records
    return _embedded([*done_columns.side_by_side(), *measures.side_by_side()], records, report)


def _facts_of(
    runner: TaskRunner, blocks: Sequence[BlockFiles], settings: Settings, place: Path, records: list[TaskRecord[Any]]
) -> Settings:
    """Run a method for its facts alone; return the settings that know them, and add to the records."""
    place = place / settings.form
    small = method_for(settings).prelude(settings)
    if small is not None:
        settings = _facts_of(runner, blocks, small, place, records).passed_to(settings)
    if len(blocks) == 1:
        done = _in_one_task(runner, blocks, [settings], place, wants_rows=False)
        (record,) = done.records
        records.append(record)
        file = record.file("facts")
        return settings.knowing(read_facts(file), file)
    rounds, settings = _rounds(runner, blocks, [settings], place, wants_rows=False)
    records += [record for done in rounds for record in done.records]
    return settings


def _in_one_task(
    runner: TaskRunner,
    blocks: Sequence[BlockFiles],
    shards: Sequence[Settings],
    place: Path,
    *,
    wants_rows: bool = True,
) -> Round:
    """All rounds of each block by one task, or by one a shard."""
    tasks = [
        task_for(f"rounds-{block.part_id:05d}", place, {"block": block.to_json(), "wants_rows": wants_rows}, shard)
        for shard in shards
        for block in blocks
    ]
    return Round(by_shard(run_missing(runner, embed_block, tasks), len(shards)), [[] for _ in shards])


def _rounds(
    runner: TaskRunner,
    blocks: Sequence[BlockFiles],
    shards: Sequence[Settings],
    place: Path,
    *,
    wants_rows: bool = True,
) -> tuple[list[Round], Settings]:
    """All rounds over the parts, and what the first shard's settings know after them."""
    rounds: list[Round] = []
    for number in range(method_for(shards[0]).rounds(shards[0])):
        rounds.append(_round(runner, number, blocks, shards, place, rounds[-1] if rounds else None, wants_rows))
        shards = [_concluded(number, rounds[-1], shards[0], place)] if len(shards) == 1 else shards
    return rounds, shards[0]


def _concluded(number: int, done: Round, settings: Settings, place: Path) -> Settings:
    """Draw the facts of a round from what its tasks told, in part order, and leave them where tasks find them."""
    told = [read_facts(path) for record in done.records for path in record.paths("facts")]
    if not told:
        return settings
    with threadpool_limits(1):  # a decomposition differs in its last bits with the number of threads
        facts = method_for(settings).reduce_facts(number, told, settings)
    unsealed = place / f"facts-{number:02d}.arrow"
    write_facts(unsealed, facts)
    return settings.knowing(facts, storage.seal(unsealed, unsealed.stem))


def _reduce(runner: TaskRunner, last: Round, settings: Settings, place: Path) -> Round:
    """Reduce the rows of the last round, file by file."""
    tasks = [
        task_for(
            f"reduced-{record.result['part']:05d}",
            place,
            {
                "part": record.result["part"],
                "files": [[role, str(path)] for role in ("rows", FOLD_IN) for path in record.paths(role)],
            },
            settings,
        )
        for record in last.records
    ]
    return Round([run_missing(runner, reduce_rows, tasks)], [[]])


def _embedded(
    groups: Sequence[Sequence[TaskRecord[Any]]], records: Sequence[TaskRecord[Any]], report: Mapping[str, Any]
) -> Embedded:
    """Collect the files of finished rows, and add column sums in the order of the groups."""
    sums = None
    for group in groups:
        pieces = [ColumnSums.from_json(record.result["sums"]) for record in group if record.result.get("sums")]
        if pieces:
            part = ColumnSums.side_by_side(pieces)
            sums = part if sums is None else sums + part
    return Embedded(_files(groups, "rows"), sums, records, _files(groups, FOLD_IN), report)


def _files(groups: Sequence[Sequence[TaskRecord[Any]]], role: str) -> list[tuple[Path, int, str]]:
    return [
        (Path(record.folder) / file.name, int(rows), file.checksum)
        for group in groups
        for record in group
        for file, rows in zip((f for f in record.files if f.role == role), record.result.get(role, []), strict=True)
    ]


def _round(
    runner: TaskRunner,
    number: int,
    blocks: Sequence[BlockFiles],
    shards: Sequence[Settings],
    place: Path,
    before: Round | None,
    wants_rows: bool,
) -> Round:
    tasks = [
        task
        for position, shard in enumerate(shards)
        for task in _product_tasks(number, blocks, shard, place, position, before, wants_rows=wants_rows)
    ]
    products = by_shard(run_missing(runner, multiply_part, tasks), len(shards))
    if method_for(shards[0]).is_one_way(number, shards[0]):
        return Round(products, [[] for _ in shards])
    tasks = [
        task
        for position, shard in enumerate(shards)
        for task in _home_tasks(
            number, blocks, shard, place, products[position], position, before, wants_rows=wants_rows
        )
    ]
    return Round(products, by_shard(run_missing(runner, settle_homes, tasks), len(shards)))


def _product_tasks(
    number: int,
    blocks: Sequence[BlockFiles],
    settings: Settings,
    place: Path,
    shard: int,
    before: Round | None,
    *,
    wants_rows: bool,
) -> list[Task[Any]]:
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
            "carried": [str(path) for record in own[:1] for path in record.paths("carried")],
            "wants_rows": wants_rows,
            "inbox": addressed_to(block.part_id, [*products, *homes], "outbox"),
        }
        tasks.append(task_for(f"round-{number:02d}-products-{block.part_id:05d}", place, payload, settings))
    return tasks


def _home_tasks(
    number: int,
    blocks: Sequence[BlockFiles],
    settings: Settings,
    place: Path,
    products: Sequence[TaskRecord[Any]],
    shard: int,
    before: Round | None,
    *,
    wants_rows: bool,
) -> list[Task[Any]]:
    earlier = {record.result["part"]: record for record in before.homes[shard]} if before else {}
    tasks = []
    for block in homes_of(blocks):
        known = earlier.get(block.part_id)
        payload = {
            "block": block.to_json(),
            "number": number,
            "carried": [str(path) for path in known.paths("carried")] if known else [],
            "wants_rows": wants_rows,
            "inbox": partials_for(block.part_id, products),
        }
        tasks.append(task_for(f"round-{number:02d}-homes-{block.part_id:05d}", place, payload, settings))
    return tasks
