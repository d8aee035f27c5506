"""Rounds over parts: which tasks there are, what each is handed, what an earlier run has finished. For all methods.

A round is one product with the graph, in two waves of tasks. *Products*: the task of a part reads its block, its
rows and the slices addressed to it, multiplies, finishes the rows whose edges are all here, and writes partial
rows of split nodes, sorted by home. *Homes*: the home of split nodes adds the partial rows in part order and
finishes them. Finished rows go to the parts that read them next. A tree with a single part needs none of that:
its one task keeps all rounds in memory. With shards, each of these tasks is there once for each share of the
columns, and last waves make what takes whole rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from threadpoolctl import threadpool_limits

from pipeline import storage
from pipeline.embedding.fact_files import read_facts, write_facts
from pipeline.embedding.methods import method_for
from pipeline.embedding.noise_scale_waves import NoiseScaleWaves
from pipeline.embedding.round_tasks import (
    BlockPayload,
    PartRoundPayload,
    ReducePayload,
    embed_block,
    multiply_part,
    reduce_part,
    sum_partials,
)
from pipeline.embedding.rows import FOLD_IN, SUBSPACE, ColumnSums
from pipeline.embedding.settings import Settings
from pipeline.embedding.waves import (
    BlockFiles,
    PartResult,
    RoundRecords,
    homes_of,
    partials_for,
    run_wave,
    slices_for,
)
from pipeline.locations import Location
from pipeline.tasks import Task, TaskRecord, TaskRunner, run_missing


@dataclass(frozen=True)
class Embedded:
    """The records of the tasks that wrote finished rows, and the sums that the last step needs.

    The rows are in files with the role "rows", those of which users' rows are sums in files with the role FOLD_IN, and
    those that a later night can start from in files with the role SUBSPACE. Each file holds some nodes, and all of
    their columns and noise scales or only some.
    """

    row_records: Sequence[TaskRecord[PartResult]]
    sums: ColumnSums | None
    records: Sequence[TaskRecord[PartResult]]  # of all tasks
    report: Mapping[str, Any]  # figures of the facts, for people

    @property
    def rows_moved(self) -> dict[str, int]:
        """Rows that went to another part: partial rows to homes, totals from homes."""
        return {
            "partials": sum(record.result.partials.rows for record in self.records),
            "totals": sum(record.result.totals.rows for record in self.records),
        }

    @property
    def floats_moved(self) -> float:
        """The same in float32s: entries, their scales and noise scales, in bytes over 4."""
        return sum(record.result.partials.bytes + record.result.totals.bytes for record in self.records) / 4


def embed_parts(
    runner: TaskRunner, blocks: Sequence[BlockFiles], settings: Settings, folder: Location, *, exchange: bool = True
) -> Embedded:
    """Embed all parts; what an earlier run finished in ``folder`` is not done again.

    Without ``exchange`` no block needs rows of another, and each is embedded as if it were the only one, by one
    task: its columns are not shared out.

    Raises
    ------
    TaskError : a task failed on a worker.
    """
    method = method_for(settings)
    records: list[TaskRecord[PartResult]] = []
    if exchange:
        settings = _with_prelude(runner, blocks, settings, folder, records)
    waves = _Waves(runner, blocks, folder)
    shards = settings.shards() if exchange else [settings]
    if len(blocks) == 1 or not exchange:
        rounds = [waves.all_rounds(shards)]
        report = rounds[0].products[0][0].result.report if blocks else {}
    else:
        rounds, after = waves.each_round(shards)
        if method.reduced_width(settings):
            rounds.append(waves.reduce(rounds[-1], after))
        report = method.report(after)
    records += [record for round_records in rounds for record in round_records.all]
    if len(shards) == 1:
        return _with_sums(rounds[-1].by_block(), records, report)
    last = NoiseScaleWaves(runner, blocks, settings, folder, rounds)
    noise_scales = last.compute()
    records += noise_scales.all
    columns = rounds[-1]
    if method.keeps_total:
        columns = last.sum_powers(noise_scales)
        records += columns.all
    return _with_sums([*columns.by_block(), *noise_scales.by_block()], records, report)


def _with_prelude(
    runner: TaskRunner,
    blocks: Sequence[BlockFiles],
    settings: Settings,
    folder: Location,
    records: list[TaskRecord[PartResult]],
) -> Settings:
    """Return the settings with the facts of the method's prelude, if it has one, and add its records."""
    small = method_for(settings).prelude(settings)
    if small is None:
        return settings
    folder = folder / small.form
    small = _with_prelude(runner, blocks, small, folder, records)
    waves = _Waves(runner, blocks, folder, wants_rows=False)
    if len(blocks) == 1:
        rounds = [waves.all_rounds([small])]
        file = rounds[0].all[0].file("facts")
        small = small.with_facts(read_facts(file), file)
    else:
        rounds, small = waves.each_round([small])
    records += [record for round_records in rounds for record in round_records.all]
    return settings.with_facts(small.facts, small.facts_file)


@dataclass(frozen=True)
class _Waves:
    """The waves of tasks of one method over some blocks, with their files in one folder."""

    runner: TaskRunner
    blocks: Sequence[BlockFiles]
    folder: Location
    wants_rows: bool = True

    def all_rounds(self, shards: Sequence[Settings]) -> RoundRecords:
        """Do all rounds of each block by one task, or by one a shard."""
        payloads = [[BlockPayload(block, shard, self.wants_rows) for block in self.blocks] for shard in shards]
        return RoundRecords(run_wave(self.runner, embed_block, "rounds", self.folder, payloads), [[] for _ in shards])

    def each_round(self, shards: Sequence[Settings]) -> tuple[list[RoundRecords], Settings]:
        """Do the rounds over the parts; return their records, and the first shard's settings with the last facts."""
        rounds: list[RoundRecords] = []
        for number in range(method_for(shards[0]).rounds(shards[0])):
            rounds.append(self._round(number, shards, rounds[-1] if rounds else None))
            shards = [self._with_facts(number, rounds[-1], shards[0])] if len(shards) == 1 else shards
        return rounds, shards[0]

    def reduce(self, last: RoundRecords, settings: Settings) -> RoundRecords:
        """Reduce the rows of the last round, file by file."""
        tasks = [
            Task(
                f"reduced-{record.result.part_id:05d}",
                self.folder,
                ReducePayload(
                    record.result.part_id,
                    settings,
                    {role: tuple(record.paths(role)) for role in ("rows", FOLD_IN, SUBSPACE)},
                ),
            )
            for record in last.all
        ]
        return RoundRecords([run_missing(self.runner, reduce_part, tasks)], [[]])

    def _round(self, number: int, shards: Sequence[Settings], before: RoundRecords | None) -> RoundRecords:
        name = f"round-{number:02d}"
        payloads = [self._products(number, settings, shard, before) for shard, settings in enumerate(shards)]
        products = run_wave(self.runner, multiply_part, f"{name}-products", self.folder, payloads)
        if method_for(shards[0]).is_one_way(number, shards[0]):
            return RoundRecords(products, [[] for _ in shards])
        payloads = [
            self._homes(number, settings, products[shard], before.homes[shard] if before else ())
            for shard, settings in enumerate(shards)
        ]
        return RoundRecords(products, run_wave(self.runner, sum_partials, f"{name}-homes", self.folder, payloads))

    def _products(
        self, number: int, settings: Settings, shard: int, before: RoundRecords | None
    ) -> list[PartRoundPayload]:
        """Return what the first wave of a round is handed: what the last round left and sent."""
        if before is None:
            return [PartRoundPayload(block, settings, number, self.wants_rows, ()) for block in self.blocks]
        products, homes = before.products[shard], before.homes[shard]
        home_of = {record.result.part_id: record for record in homes}
        return [
            PartRoundPayload(
                block,
                settings,
                number,
                self.wants_rows,
                inbox=slices_for(block.part_id, [*products, *homes], "outbox"),
                carried_rows=tuple(product.paths("carried")),
                state=tuple(record.file("state") for record in (product, home_of.get(block.part_id)) if record),
            )
            for block, product in zip(self.blocks, products, strict=True)
        ]

    def _homes(
        self,
        number: int,
        settings: Settings,
        products: Sequence[TaskRecord[PartResult]],
        before: Sequence[TaskRecord[PartResult]],
    ) -> list[PartRoundPayload]:
        """Return what the second wave of a round is handed: partial rows, and what these homes carry."""
        carried_rows = {record.result.part_id: tuple(record.paths("carried")) for record in before}
        return [
            PartRoundPayload(
                block,
                settings,
                number,
                self.wants_rows,
                inbox=partials_for(block.part_id, products),
                carried_rows=carried_rows.get(block.part_id, ()),
            )
            for block in homes_of(self.blocks)
        ]

    def _with_facts(self, number: int, records: RoundRecords, settings: Settings) -> Settings:
        """Reduce the facts that a round's tasks reported, in part order, and write them for the next tasks."""
        local = [read_facts(path) for record in records.all for path in record.paths("facts")]
        if not local:
            return settings
        with threadpool_limits(1):  # a decomposition differs in its last bits with the number of threads
            facts = method_for(settings).reduce_facts(number, local, settings)
        staging_file = storage.staging_folder(self.folder) / f"facts-{number:02d}.arrow"
        write_facts(staging_file, facts)
        return settings.with_facts(facts, storage.seal(staging_file, self.folder, staging_file.stem))


def _with_sums(
    by_block: Sequence[Sequence[TaskRecord[PartResult]]],
    records: Sequence[TaskRecord[PartResult]],
    report: Mapping[str, Any],
) -> Embedded:
    """Add the blocks' column sums, in their order."""
    sums = None
    for shards in by_block:
        pieces = [record.result.sums for record in shards if record.result.sums is not None]
        if pieces:
            of_block = ColumnSums.side_by_side(pieces)
            sums = of_block if sums is None else sums + of_block
    return Embedded([record for shards in by_block for record in shards], sums, records, report)
