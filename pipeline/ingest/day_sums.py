"""What a night reads: the files that are new or changed since an earlier night, whose sums of pairs are taken over.

A night keeps the sums of its rows by **chunks**: one for each day that may yet change or leave the window, and one,
the **base**, for all others. Chunks only come and go as a whole and are never changed, so nothing is ever
subtracted, and the pairs of a night are the sums over its chunks, whichever way they were made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: The day of the base: no day since 1970 has this number.
BASE = -(2**31)


@dataclass(frozen=True)
class Chunk:
    """Sums of pairs of the rows of one day, or of the base, in one or several files."""

    day: int  # days since 1970-01-01, UTC; or BASE
    checksums: tuple[str, ...]  # of its files
    rows: int  # of the input, that it holds
    has_int64_ids: bool  # whether every id is a canonical int64, whatever type its column has


@dataclass(frozen=True)
class InputFile:
    """A file of the input as a night has read it. Days are those of the rows that count."""

    name: str  # relative, see SourceFile
    sha256: str
    first_day: int | None = None  # None: no row counts
    last_day: int | None = None
    late: int = 0  # rows that another date may count
    is_in_base: bool = False  # some of its rows are in the base

    def touches(self, days: Sequence[int]) -> bool:
        """Whether rows of some days may be in it."""
        first, last = self.first_day, self.last_day
        return first is not None and last is not None and any(first <= day <= last for day in days)


@dataclass(frozen=True)
class NightSums:
    """What a night leaves for later ones of a relation: its chunks, and the files that they were made of."""

    relation: str  # its name
    lineage: str  # see pipeline.stages.lineages
    day: int  # the run's date
    id_type: str
    weight_total: int  # an upper bound of the sum of all weights
    base_first_day: int | None  # first day in the base
    chunks: tuple[Chunk, ...]
    files: tuple[InputFile, ...]


@dataclass(frozen=True)
class Reading:
    """What is to be read, and which chunks stay.

    Attributes
    ----------
    chunks : that stay as they are. whole : names of the files of which all rows are read.
    again : names of files of which only rows are read whose day is in ``days_again`` or after ``counted_until``.
    reason : why all is read, "" where it is not.
    """

    chunks: tuple[Chunk, ...]
    whole: tuple[str, ...]
    again: tuple[str, ...] = ()
    days_again: tuple[int, ...] = ()
    counted_until: int | None = None
    reason: str = ""


class ChangedBeforeError(Exception):
    """A file changed or went whose rows are in the base; ``args[0]`` is its name."""


def own_days(day: int, late_days: int, leaving: range, chunks: Sequence[Chunk]) -> tuple[int, ...]:
    """Return the days whose rows go to chunks of their own: all rows of a day do, or none.

    Parameters
    ----------
    day : of the run. late_days : days before it whose files may yet change.
    leaving : days that a window leaves behind while the lineage lasts. chunks : that stay.
    """
    days = {*range(day - late_days, day + 1), *leaving, *(chunk.day for chunk in chunks)}
    return tuple(sorted(days - {BASE}))


def plan_reading(files: Mapping[str, str], day: int, window_start: int | None, before: NightSums) -> Reading:
    """Return what of the input a night has to read after an earlier one.

    Parameters
    ----------
    files : sha256 of the input's files by name.
    day : of the run, not before that of ``before``.

    Raises
    ------
    ChangedBeforeError : a file that the base was made of has changed or is gone: all has to be read.
    """
    changes = [file for file in before.files if files.get(file.name) != file.sha256]
    for file in changes:
        if file.is_in_base:
            raise ChangedBeforeError(file.name)
    chunks = [chunk for chunk in before.chunks if window_start is None or not BASE < chunk.day < window_start]
    if window_start is not None and before.base_first_day is not None and before.base_first_day < window_start:
        return Reading((), tuple(files), reason="the base holds days that have left the window")
    days_again = sorted({chunk.day for chunk in chunks if any(file.touches([chunk.day]) for file in changes)})
    same_files = [file for file in before.files if files.get(file.name) == file.sha256]
    is_later = day > before.day
    again = [file.name for file in same_files if file.touches(days_again) or (is_later and file.late)]
    same = {file.name for file in same_files}
    return Reading(
        chunks=tuple(chunk for chunk in chunks if chunk.day not in days_again),
        whole=tuple(name for name in files if name not in same),
        again=tuple(again),
        days_again=tuple(days_again),
        counted_until=before.day,
    )
