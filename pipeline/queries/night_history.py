"""The nights before a night: what the small lines of its report are drawn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.publishing.gate import is_floor
from pipeline.publishing.metrics_history import read_history
from pipeline.queries.night_run import NightRun
from pipeline.report.night import PastValue
from pipeline.stages.chain import STAGE_NAMES

#: Nights whose figures the small lines show.
NIGHTS = 30
_SECONDS = frozenset(f"{stage}.seconds" for stage in STAGE_NAMES)


@dataclass(frozen=True)
class PastNight:
    """An earlier night of the same name, as the history keeps it: its release may be gone.

    pair_source : where its scored pairs came from; None: no pairs were scored.
    figures : by kind and name, value and bound.
    """

    date: str
    was_refused: bool
    is_withdrawn: bool
    pair_source: str | None
    figures: Mapping[tuple[str, str], tuple[float, float | None]]


def past_nights(night: NightRun) -> list[PastNight]:
    """Return the last nights before, oldest first: of a date what was published last, else what was refused last."""
    if night.date is None:
        return []
    table = read_history(night.table_folder)
    table = table.filter(pc.less(table["data_date"], night.workspace.date))
    keys = ["data_date", "release", "recorded_at", "verdict", "pair_source"]
    releases = table.group_by(keys).aggregate([]).to_pylist()
    releases.sort(key=lambda row: (row["data_date"], row["verdict"] != "refused", row["recorded_at"]))
    last_of_date = {row["data_date"]: row for row in releases}
    last_nights = {row["release"]: row for row in list(last_of_date.values())[-NIGHTS:]}
    figures: dict[str, dict[tuple[str, str], tuple[float, float | None]]] = {release: {} for release in last_nights}
    is_of_nights = pc.is_in(table["release"], pa.array(last_nights, pa.string()))
    for row in table.filter(pc.and_(is_of_nights, pc.is_valid(table["value"]))).to_pylist():
        figures[row["release"]][row["kind"], row["name"]] = row["value"], row["bound"]
    return [
        PastNight(
            row["data_date"].isoformat(),
            row["verdict"] == "refused",
            release in night.withdrawn,
            row["pair_source"],
            figures[release],
        )
        for release, row in last_nights.items()
    ]


def line_of(nights: Sequence[PastNight], kind: str, name: str) -> list[PastValue]:
    """Return how a figure went over the nights that have it; a gate by its own verdict, others by their night's."""
    line = []
    for night in nights:
        value, bound = night.figures.get((kind, name), (None, None))
        if value is None:
            continue
        was_good: bool | None = None
        if bound is not None:
            was_good = value >= bound if is_floor(name) else value <= bound
        if night.is_withdrawn or (bound is None and night.was_refused):
            was_good = False
        line.append(PastValue(night.date, value, was_good, bound))
    return line


def seconds_of(nights: Sequence[PastNight]) -> list[PastValue]:
    """Return what all stages of each night took together."""
    line = []
    for night in nights:
        seconds = [value for (_, name), (value, _) in night.figures.items() if name in _SECONDS]
        if seconds:
            line.append(PastValue(night.date, sum(seconds), None))
    return line
