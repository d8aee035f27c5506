"""What ingest reads on a night, what it takes over from an earlier one, and what it leaves for later ones."""

from __future__ import annotations

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
from pipeline.ingest.parse import ParsePayload, ParseRules
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
    reads_all: bool = False,
) -> NightInput:
    """Return what is to be read of a relation: what is new since the nearest earlier night of the lineage.

    Raises
    ------
    InputError : a file changed that an earlier night has read long ago, and ``input.late_change`` is "refuse".
    """
    lineage, is_undirected = workspace.inputs.lineage, config.input.is_plain and relation.is_plain
    rules = parse_rules(
        *(relation, workspace.date, workspace.inputs.today, lineage),
        is_undirected=is_undirected,
        numbered_types=config.numbered_types,
    )
    if lineage is None:
        return NightInput(_payloads(sources, rules, None), sum(source.bytes for source in sources))
    before, chunk_files, reading = None, dict[str, OutputFile](), Reading((), tuple(one.relative for one in sources))
    if not reads_all and not workspace.inputs.recomputes:
        for night in earlier_nights(workspace.root, NIGHT_SUMS, lineage.key, lineage.start, workspace.date):
            if (opened := _open_night(workspace, night)) is not None:
                before, chunk_files = opened
                reading = _plan(config, workspace, sources, rules, before)
                break
    days = own_days(_day_of(workspace.date), config.input.late_days, _leaving_days(config, lineage), reading.chunks)
    by_name = {source.relative: source for source in sources}
    whole, again = ([by_name[name] for name in names] for names in (reading.whole, reading.again))
    payloads = _payloads(whole, rules, days)
    if again:
        until = (int(reading.counted_until or 0) + 1) * DAY_US
        partly = replace(rules, counted_until_us=until, days_again=reading.days_again)
        payloads += _payloads(again, partly, days)
    bytes_read = sum(source.bytes for source in (*whole, *again))
    log.info(
        "stage=ingest lineage=%s night_before=%s files=%d files_read=%d bytes_read=%d days_again=%d%s",
        *(lineage.start, _date_of(before), len(sources), len(whole) + len(again), bytes_read, len(reading.days_again)),
        f' reason="{reading.reason}"' if reading.reason else "",
    )
    return NightInput(payloads, bytes_read, None if reading.reason else before, reading, chunk_files, days)


def night_sums(
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
        lineage=lineage.key,
        day=_day_of(workspace.date),
        id_type=id_type,
        weight_total=weight_total,
        base_first_day=min((day for day in base_days if day is not None), default=None),
        chunks=tuple(chunks),
        files=tuple(files),
    )


def write_sums(sums: NightSums, workspace: Workspace) -> OutputFile:
    """Write what later nights build on as a file of the table."""
    path = workspace.scratch("ingest", NIGHT_SUMS) / "night.json"
    text = storage.json_bytes(codec.to_values(sums))
    storage.write(path, text)
    return OutputFile(path, len(sums.files), storage.checksum_of_bytes(text))


def _add_days(file: InputFile, days: FileDays) -> InputFile:
    of_file = FileDays(file.first_day, file.last_day, 0, file.is_in_base) + days
    return replace(file, first_day=of_file.first, last_day=of_file.last, late=days.late, is_in_base=of_file.is_in_base)


def _plan(
    config: PipelineConfig,
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
        what = "is gone" if name not in files else "was changed"
        if config.input.late_change == "refuse":
            raise InputError(
                f"{name} of {config.input.path} {what} since the night of {_date_of(before)}, and holds rows of more "
                f"than input.late_days = {config.input.late_days} days before it; put the file back, or set "
                "input.late_change = 'reread', which reads all days again"
            ) from None
        reason = f"{name} {what}, and holds rows of more than {config.input.late_days} days before {_date_of(before)}"
        return Reading((), tuple(files), reason=reason)


def _open_night(workspace: Workspace, night: EarlierNight) -> tuple[NightSums, dict[str, OutputFile]] | None:
    """Return the sums of an earlier night and the files of its chunks, once they are seen to be whole."""
    run = replace(workspace, date=night.date, fingerprints={"ingest": night.manifest.fingerprint})
    if problem := run.problem(NIGHT_SUMS) or run.problem("day_sums"):
        log.warning("date=%s warning: %s; this night is not built on", night.date, problem)
        return None
    chunks, folder = run.finished("day_sums"), run.folder("day_sums")
    (file,) = run.files(NIGHT_SUMS)
    text = storage.read(file)
    if chunks is None or text is None:
        return None
    sums = codec.from_values(NightSums, json.loads(text))
    return sums, {one.checksum: OutputFile(folder / one.name, one.rows, one.checksum) for one in chunks.files}


def _payloads(sources: Sequence[SourceFile], rules: ParseRules, days: tuple[int, ...] | None) -> list[ParsePayload]:
    return [ParsePayload(task, rules, days) for task in split_tasks(sources)]


def _leaving_days(config: PipelineConfig, lineage: Lineage) -> range:
    """Return the days that the window leaves behind while the lineage lasts."""
    if config.input.window_days is None:
        return range(0)
    first = _day_of(lineage.start) + 1 - config.input.window_days
    return range(first, first + config.lineage.full_every)


def _day_of(date: dt.date) -> int:
    return (date - UNDATED).days


def _date_of(sums: NightSums | None) -> str:
    return "none" if sums is None else str(UNDATED + dt.timedelta(days=sums.day))
