"""Which date a run is of: that of --date, or the day of the newest time in the input that is not in the future.

The clock is read for one thing only: which day is today, as a run begins. That day is recorded beside the input's
digests, so that a run that is resumed tomorrow, or stage by stage, is the same run.
"""

import datetime as dt
import json
import logging
from collections.abc import Sequence
from dataclasses import replace

from pipeline import storage
from pipeline.config.sections import InputConfig
from pipeline.engine import Engine, Frame
from pipeline.errors import ConfigError, InputError
from pipeline.ingest.counts import Counts, total
from pipeline.ingest.key_names import key_names_of
from pipeline.ingest.parse import ParsePayload, ParseRules, newest_timestamp
from pipeline.ingest.pieces import split_tasks
from pipeline.ingest.sources import SourceFile
from pipeline.ingest.text.formats import TextFormat
from pipeline.ingest.timestamps import DAY_US
from pipeline.locations import Location
from pipeline.storage import fingerprint_of
from pipeline.tasks import Attempt, TaskFolder
from pipeline.workspace import UNDATED

log = logging.getLogger(__name__)

_MEANT = "; if the data are meant to be of a future day, give --date and --allow-future"


def utc_today() -> dt.date:
    """Return the day it is, UTC: the one place where the clock is read for what a run computes."""
    return dt.datetime.now(dt.UTC).date()


def refuse_future(date: dt.date | None, clock: dt.date, *, is_allowed: bool) -> None:
    """Refuse a date after today: readers would stay at a mistyped date until that day comes.

    Raises
    ------
    ConfigError : it is in the future, and ``is_allowed`` is False.
    """
    if date is not None and date > clock and not is_allowed:
        raise ConfigError(
            f"--date {date} is after today, {clock} (UTC): readers would stay at it until then. Give the day of the "
            "data, leave --date out to take the newest that is not in the future, or add --allow-future"
        )


class AllLateError(InputError):
    """No row has a time up to today, and some have one after it."""


def record_today(
    root: Location, read: object, date: dt.date | None, clock: dt.date, *, is_dry: bool, anew: bool = False
) -> dt.date:
    """Return the day on which a run first began; without a sound record it is this one.

    A record of a later day was written by a wrong clock. One day ahead is fine: two machines may differ at midnight.

    Parameters
    ----------
    read : JSON value, what the run reads: the input's digest, and how times are written.
    date : the run's date, if --date names one.
    clock : the day it is. is_dry : leave no record. anew : replace the record by this day.
    """
    key = fingerprint_of([read, None if date is None else date.isoformat()])
    path = root / "inputs" / "days" / f"{key}.json"
    today = None if anew else _day_in(path, key)
    if today is not None and today > clock + dt.timedelta(days=1):
        log.warning("record=%s warning: of %s, and today is %s; it counts as not there", path, today, clock)
        today = None
    if today is None and not is_dry:
        storage.remove(path)
        storage.put_json_if_absent(path, {"today": clock.isoformat(), "checksum": fingerprint_of([key, str(clock)])})
        today = _day_in(path, key)  # another process may have been first
    return today or clock


def _day_in(path: Location, key: str) -> dt.date | None:
    data = storage.read(path)
    if data is None:
        return None
    try:
        record = json.loads(data)
        if record["checksum"] == fingerprint_of([key, record["today"]]):
            return dt.date.fromisoformat(record["today"])
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    log.warning("record=%s warning: damaged, so it counts as not there", path)
    return None


def time_rules(section: InputConfig) -> ParseRules:
    """Return the keys of a relation by which times are read: with the files, they set the newest time."""
    return ParseRules(
        timestamp=section.timestamp,
        timestamp_unit=section.timestamp_unit,
        timestamp_format=section.timestamp_format,
        text=TextFormat.from_keys(section.model_dump()),
    )


def end_of(date: dt.date) -> int:
    """Return the end of a day, exclusive, in microseconds UTC."""
    return (date - UNDATED).days * DAY_US + DAY_US


def newest_date(
    engine: Engine[Frame],
    relation: InputConfig,
    root: Location,
    sources: Sequence[SourceFile],
    interactions: str,
    today: dt.date,
) -> dt.date:
    """Return the day of a relation's newest time that is not after ``today``.

    Raises
    ------
    InputError : there is none, saying of each kind of row how many there are, with an example; AllLateError :
        because some are after today.
    """
    rules = replace(time_rules(relation), end_us=end_of(today))
    payloads = [ParsePayload(task, rules) for task in split_tasks(sources)]
    with key_names_of(relation.section):
        records = TaskFolder(engine, root / "inputs").run_each(find_newest, f"newest-{interactions}", payloads)
    counts = total(record.result for record in records)
    if counts.newest_us is not None:
        return UNDATED + dt.timedelta(days=counts.newest_us // DAY_US)
    if counts.read == 0:
        raise InputError(f"the input {relation.path} has no rows; check {relation.section}.path and the files it names")
    late = f"{counts.late:,} are after today, {today} (UTC), such as {counts.examples['late']}" if counts.late else ""
    rejections = counts.describe_rejections()
    key = relation.section
    raise (AllLateError if counts.late else InputError)(
        f"no row of {relation.path} has a time that the date could be: of {counts.read:,} rows, "
        f"{'; '.join(filter(None, (late, rejections)))}. Check {key}.timestamp ('{relation.timestamp}'), "
        f"{key}.timestamp_unit and {key}.timestamp_format{_MEANT if counts.late else ''}"
    )


def find_newest(payload: ParsePayload, attempt: Attempt) -> Counts:  # noqa: ARG001
    """Task: the newest timestamp of some files, and what became of their rows."""
    return newest_timestamp(payload.task, payload.rules)
