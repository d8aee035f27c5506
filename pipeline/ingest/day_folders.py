"""Folders named after a day, such as ``dt=2026-01-31``: which of them can hold rows that a run counts."""

import datetime as dt
from collections.abc import Sequence

from pipeline.ingest.sources import SourceFile

#: What warehouses call the day that rows came in. Other columns of folders may hold days of other things.
_NAMES = ("dt", "ds", "date", "day")


def drop_other_days(
    sources: Sequence[SourceFile], date: dt.date, late_days: int, window_days: int | None
) -> list[SourceFile]:
    """Return the files without those of days that a run of ``date`` has no rows in.

    A folder has the rows that came in on its day: of that day, and of ``late_days`` days before it.
    """
    last = date + dt.timedelta(days=late_days)
    first = dt.date.min if window_days is None else date - dt.timedelta(days=window_days - 1)
    return [source for source in sources if (day := _day_of(source.relative)) is None or first <= day <= last]


def _day_of(relative: str) -> dt.date | None:
    for folder in relative.split("/")[:-1]:
        name, _, value = folder.partition("=")
        if name.lower() in _NAMES:
            try:
                return dt.date.fromisoformat(value)
            except ValueError:
                return None
    return None
