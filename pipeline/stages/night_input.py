"""What ingest reads on a night, what it takes over from an earlier one, and what it leaves for later ones."""

import datetime as dt
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline import codec, storage
from pipeline.config.model import PipelineConfig
from pipeline.config.sections import InputConfig
from pipeline.errors import InputError
from pipeline.ingest.clean_rows import CleanRows, FileDays
from pipeline.ingest.day_sums import (
    ChangedBeforeError,
    Chunk,
    InputFile,
    NightSums,
    Reading,
    own_days,
    plan_reading,
)
from pipeline.ingest.held_pairs import MOST_SLOTS
from pipeline.ingest.parse import HeldColumns, ParsePayload, ParseRules
from pipeline.ingest.parse_rules import parse_rules
from pipeline.ingest.pieces import split_tasks
from pipeline.ingest.sources import SourceFile
from pipeline.ingest.timestamps import DAY_US
from pipeline.stages.lineages import NIGHT_SUMS, EarlierNight, earlier_nights
from pipeline.stages.outcome import OutputFile
from pipeline.workspace import UNDATED, Lineage, Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NightInput:
    """The tasks that read, and the chunks that stay.

    before : the night that they are of; None where all is read.
    chunk_files : of the chunks that stay, by checksum.
    own_days : days whose rows are summed apart; None where no later night builds on this one.
    """

    payloads: Sequence[ParsePayload]
    bytes_read: int
    before: NightSums | None = None
    reading: Reading = field(default_factory=lambda: Reading((), ()))
    chunk_files: Mapping[str, OutputFile] = field(default_factory=dict)
    own_days: tuple[int, ...] | None = None

    @property
    def has_int64_ids(self) -> bool:
        """Whether all ids of the chunks that stay are canonical int64."""
        return all(chunk.has_int64_ids for chunk in self.reading.chunks)


def plan_input(
    config: PipelineConfig,
    relation: InputConfig,
    workspace: Workspace,
    sources: Sequence[SourceFile],
    *,
    slots: int,
    reads_all: bool = False,
) -> NightInput:
    """Return what is to be read of a relation: what is new since the nearest earlier night of the lineage.

    Raises
    ------
    InputError : a file changed that an earlier night has read long ago, and its ``late_change`` is "refuse".
    """
    lineage, is_undirected = workspace.inputs.lineage, config.input.is_plain and relation.is_plain
    rules = parse_rules(
        *(relation, workspace.date, workspace.inputs.today, lineage),
        is_undirected=is_undirected,
        numbered_types=config.numbered_types,
    )
    if lineage is None or relation.timestamp is None:  # without times nobody knows what is new
        held_columns = _held_columns(config, relation, rules) if slots <= MOST_SLOTS else None
        return NightInput(_whole_payloads(sources, rules, held_columns), sum(source.bytes for source in sources))
    before, chunk_files, reading = (
        None,
        dict[str, OutputFile](),
        Reading((), tuple(source.relative for source in sources)),
    )
    if not reads_all and not workspace.inputs.recomputes:
        for night in earlier_nights(workspace.root, NIGHT_SUMS, lineage.key, lineage.start, workspace.date):
            if (night_files := _open_night(workspace, night, relation.name)) is not None:
                before, chunk_files = night_files
                reading = _plan(relation, workspace, sources, rules, before)
                break
    leaving = _leaving_days(relation, lineage, config.lineage.full_every)
    days = own_days(_day_of(workspace.date), relation.late_days, leaving, reading.chunks)
    by_name = {source.relative: source for source in sources}
    whole, again = ([by_name[name] for name in names] for names in (reading.whole, reading.again))
    payloads = _payloads(whole, rules, days)
    if again:
        until = (int(reading.counted_until or 0) + 1) * DAY_US
        partly = replace(rules, counted_until_us=until, days_again=reading.days_again)
        payloads += _payloads(again, partly, days)
    bytes_read = sum(source.bytes for source in (*whole, *again))
    log.info(
        "stage=ingest relation=%s lineage=%s night_before=%s files=%d files_read=%d bytes_read=%d days_again=%d%s",
        *(relation.name, lineage.start, _date_of(before), len(sources), len(whole) + len(again), bytes_read),
        len(reading.days_again),
        f' reason="{reading.reason}"' if reading.reason else "",
    )
    return NightInput(payloads, bytes_read, None if reading.reason else before, reading, chunk_files, days)


def night_sums(
    relation: InputConfig,
    night: NightInput,
    rows: CleanRows,
    chunks: Sequence[Chunk],
    workspace: Workspace,
    sources: Sequence[SourceFile],
    id_type: str,
    weight_total: int,
) -> NightSums:
    """Return what later nights build on."""
    lineage = workspace.inputs.lineage
    assert lineage is not None
    days: dict[str, FileDays] = {}
    for record in rows.records:
        for name, of_file in record.result.files.items():
            days[name] = days.get(name, FileDays()) + of_file
    files_before = {file.name: file for file in night.before.files} if night.before else {}
    base_days = [night.before.base_first_day] if night.before else []
    base_days += [of_file.first for of_file in days.values() if of_file.is_in_base]
    files = []
    for source in sources:
        sha256 = workspace.inputs.files[source.address][1]
        file = files_before.get(source.relative)
        if file is None or file.sha256 != sha256:
            file = InputFile(source.relative, sha256)
        if source.relative in days:
            file = _add_days(file, days[source.relative])
        files.append(file)
    return NightSums(
        relation=relation.name,
        lineage=lineage.key,
        day=_day_of(workspace.date),
        id_type=id_type,
        weight_total=weight_total,
        base_first_day=min((day for day in base_days if day is not None), default=None),
        chunks=tuple(chunks),
        files=tuple(files),
    )


def write_sums(sums: NightSums, workspace: Workspace, number: int) -> OutputFile:
    """Write what later nights build on of a relation, which is the ``number``-th, as a file of the table."""
    path = workspace.scratch("ingest", f"{NIGHT_SUMS}-{number}") / f"night-{number}.json"
    text = storage.json_bytes(codec.to_values(sums))
    storage.write(path, text)
    return OutputFile(path, len(sums.files), storage.checksum_of_bytes(text))


def _add_days(file: InputFile, days: FileDays) -> InputFile:
    of_file = FileDays(file.first_day, file.last_day, 0, file.is_in_base) + days
    return replace(file, first_day=of_file.first, last_day=of_file.last, late=days.late, is_in_base=of_file.is_in_base)


def _plan(
    relation: InputConfig,
    workspace: Workspace,
    sources: Sequence[SourceFile],
    rules: ParseRules,
    before: NightSums,
) -> Reading:
    files = {source.relative: workspace.inputs.files[source.address][1] for source in sources}
    window_start = None if rules.start_us is None else rules.start_us // DAY_US
    try:
        return plan_reading(files, _day_of(workspace.date), window_start, before)
    except ChangedBeforeError as error:
        name = error.args[0]
        event = "is gone" if name not in files else "was changed"
        key, late_days = relation.section, relation.late_days
        if relation.late_change == "refuse":
            raise InputError(
                f"{name} of {relation.path} {event} since the night of {_date_of(before)}, and holds rows of more "
                f"than {key}.late_days = {late_days} days before it; put the file back, or set "
                f"{key}.late_change = 'reread', which reads all days again"
            ) from None
        reason = f"{name} {event}, and holds rows of more than {late_days} days before {_date_of(before)}"
        return Reading((), tuple(files), reason=reason)


def _open_night(
    workspace: Workspace, night: EarlierNight, relation: str
) -> tuple[NightSums, dict[str, OutputFile]] | None:
    """Return an earlier night's sums of a relation and the files of its chunks, once they are seen to be whole."""
    run = replace(workspace, date=night.date, fingerprints={"ingest": night.manifest.fingerprint})
    if problem := run.problem(NIGHT_SUMS) or run.problem("day_sums"):
        log.warning("date=%s warning: %s; this night is not built on", night.date, problem)
        return None
    chunks, folder = run.find_manifest("day_sums"), run.folder("day_sums")
    texts = [storage.read(file) for file in run.files(NIGHT_SUMS)]
    if chunks is None or None in texts:
        return None
    of_night = [codec.from_values(NightSums, json.loads(text)) for text in texts if text is not None]
    (sums,) = (night_sums for night_sums in of_night if night_sums.relation == relation)
    return sums, {file.checksum: OutputFile(folder / file.name, file.rows, file.checksum) for file in chunks.files}


def _payloads(sources: Sequence[SourceFile], rules: ParseRules, days: tuple[int, ...] | None) -> list[ParsePayload]:
    return [ParsePayload(task, rules, days) for task in split_tasks(sources)]


def _held_columns(config: PipelineConfig, relation: InputConfig, rules: ParseRules) -> HeldColumns:
    return HeldColumns(
        src_type=relation.source_type,
        dst_type=relation.target_type,
        relation=config.all_relations.index(relation),
        has_weights=any(value is not None for value in (rules.weight, rules.event, rules.half_life_us)),
        has_times=rules.timestamp is not None,
        most_bytes=config.partition.worker_bytes,
    )


def _whole_payloads(
    sources: Sequence[SourceFile], rules: ParseRules, held_columns: HeldColumns | None
) -> Sequence[ParsePayload]:
    """Return one task where it can hold all rows, and few others could run beside it."""
    if held_columns is not None:
        # A row of text takes four bytes or more; one that packs better is found out as it is read.
        whole = split_tasks(sources, held_columns.most_rows, 4 * held_columns.most_rows)
        if len(whole) == 1:
            return [ParsePayload(whole[0], rules, held_columns=held_columns)]
    return _payloads(sources, rules, None)


def _leaving_days(relation: InputConfig, lineage: Lineage, full_every: int) -> range:
    """Return the days that a relation's window leaves behind while the lineage lasts."""
    if relation.window_days is None:
        return range(0)
    first = _day_of(lineage.start) + 1 - relation.window_days
    return range(first, first + full_every)


def _day_of(date: dt.date) -> int:
    return (date - UNDATED).days


def _date_of(sums: NightSums | None) -> str:
    return "none" if sums is None else str(UNDATED + dt.timedelta(days=sums.day))
