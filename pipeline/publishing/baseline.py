"""The baseline of a run: the release that its gates, its alignment and ``next_day`` start from. Decided here alone.

It is what readers have, if that is of an earlier date; else the nearest ancestor of it that is earlier and was not
withdrawn. It is fixed when the run of a date starts: a night that takes hours, stage by stage, has one measure.
"""

import contextlib
import datetime as dt
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from graphquilt.ancestry import describe_withdrawal, trace
from graphquilt.releases import describe_remedy
from pipeline import storage
from pipeline.config.publish import PublishConfig
from pipeline.errors import DamagedFileError, GateError, StorageError
from pipeline.locations import Location
from pipeline.publishing.listing import DamagedRelease, Release, all_releases
from pipeline.publishing.pointer import own_folder, pointers_of

#: Ancestors of the baseline, by whose nights tonight's is measured.
NIGHTS = 7


def find_baselines(root: Location, name: str, date: dt.date, *, after: str | None = None) -> Iterator[Release]:
    """Yield the baseline of a run of a date and then the ancestors of that one, nearest first; on a first night none.

    Releases that are gone are passed over. Where the history lacks swaps, those that it does not know count as
    ancestors of all others. With ``after``, the ancestors of that release are yielded.

    Raises
    ------
    StorageError : the manifest of the next one is damaged, naming it and what to do; nothing says what readers have.
    """
    folder = own_folder(root, name)
    pointers = pointers_of(folder)
    ancestry = trace(pointers)
    by_name = {release.release: release for release in all_releases(root, name)}
    current = pointers.at.release if pointers.at else None
    line = list(ancestry.line_of(current)) if after is None else list(ancestry.line_of(after))[1:]
    if not ancestry.is_complete:
        line += [candidate for candidate in reversed(by_name) if candidate not in ancestry.ancestors]
    for candidate in line:
        release = by_name.get(candidate)
        if release is None or release.data_date >= date or candidate in ancestry.withdrawn:
            continue
        if isinstance(release, DamagedRelease):
            raise StorageError(
                f"this run builds on release {candidate}, which is damaged: {release.problem}. "
                f"{describe_remedy(folder, candidate)}"
            )
        date = release.data_date
        yield release


def baselines_of_run(
    workspace: Location, publish: PublishConfig, date: dt.date, *, starts: bool, is_dry: bool
) -> tuple[str, ...]:
    """Return the baseline of a date's run and some of its ancestors, nearest first; none on a first night.

    Parameters
    ----------
    starts : fix the baseline anew; else it is that of the run of this date that started last.
    is_dry : leave no record.

    Raises
    ------
    StorageError : the baseline is damaged, or nothing says which one it is; the record is damaged.
    """
    root = publish.root(workspace)
    path = workspace / "inputs" / f"baseline-{date}-{publish.name}.json"
    record = None if starts else _read_record(path)
    if record is not None and record["to"] == publish.to:
        names = [record["baseline"]] if record["baseline"] else []
        ancestors = find_baselines(root, publish.name, date, after=names[0]) if names else iter(())
    else:
        ancestors = find_baselines(root, publish.name, date)
        names = [release.release for release in islice(ancestors, 1)]
        if not is_dry:
            storage.write_checked_json(path, {"to": publish.to, "baseline": names[0] if names else None})
    with contextlib.suppress(StorageError):  # a damaged one ends the sequence
        names.extend(release.release for release in islice(ancestors, NIGHTS))
    return tuple(names)


def _read_record(path: Location) -> dict[str, Any] | None:
    try:
        return storage.read_checked_json(path)
    except DamagedFileError as error:
        raise StorageError(f"{error}; 'graphquilt run' or 'graphquilt ingest' records it again") from error


def refuse_withdrawn(
    folder: Location, release: str, baseline: str | None, gate: Mapping[str, Any], *, accepts_drift: bool
) -> None:
    """Refuse to publish what readers were taken back from, and what was measured by it.

    Parameters
    ----------
    folder : ``published/<name>``. baseline : of the run. gate : the gates' verdict, as far as there is one.

    Raises
    ------
    GateError : saying when and why it was withdrawn, and what to do.
    """
    withdrawn = trace(pointers_of(folder)).withdrawn
    if (mark := withdrawn.get(release)) and not accepts_drift:
        problem = (
            f"readers were rolled back from release {release}, which this config and input make again, "
            f"{describe_withdrawal(mark.at, mark.reason)}. Mend the input or the config and run again; if that release "
            "is right after all, 'graphquilt publish --accept-drift' with the same options hands it to readers"
        )
    elif baseline and (mark := withdrawn.get(baseline)):
        problem = (
            f"readers were rolled back from release {baseline}, which this run is measured by, since it started, "
            f"{describe_withdrawal(mark.at, mark.reason)}. Run 'graphquilt run' with the same options: it starts from "
            "what readers have now, and makes only the stages from aggregate on anew"
        )
    else:
        return
    message = f"not published, the last release stays: {problem}."
    raise GateError(message, {"accepted_drift": [], "gates": [], **gate, "verdict": "refused", "reasons": [message]})
