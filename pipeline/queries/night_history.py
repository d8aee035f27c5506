"""The nights before a night: what the small lines of its report are drawn from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graphquilt.ancestry import trace
from graphquilt.pointers import PointerError, Swap, read_pointers
from pipeline.publishing.listing import note_of, releases
from pipeline.queries.night_run import NightRun, read_verdict
from pipeline.workspace import run_dates

#: Nights whose figures the small lines show.
NIGHTS = 30


class PastNight:
    """Gates, metrics and manifest of an earlier night of the same name; a refused one has gates alone."""

    def __init__(
        self,
        date: str,
        gates: Sequence[Mapping[str, Any]],
        manifest: Mapping[str, Any],
        metrics: Mapping[str, Any],
        *,
        is_withdrawn: bool = False,
    ) -> None:
        self.date, self.manifest, self.metrics, self.is_withdrawn = date, manifest, metrics, is_withdrawn
        self.gates = {(gate["gate"], gate["figure"]): gate for gate in gates}
        self.figures = {gate["figure"]: gate["value"] for gate in gates if gate["value"] is not None}


def past_nights(night: NightRun) -> Iterator[PastNight]:
    """Yield the nights before, oldest first: releases, and refused nights as far as their folders are kept."""
    if night.date is None:
        return
    nights: dict[str, PastNight] = {}
    withdrawn = pointers_of_night(night)[1]
    root = night.published.parent.parent
    earlier = [one for one in releases(root, night.published.name) if one.data_date < night.workspace.date]
    for release in earlier[-NIGHTS:]:
        date = release.data_date.isoformat()
        gates, metrics = (note_of(release.path, file) for file in ("gate.json", "metrics.json"))
        was_bad = release.release in withdrawn
        nights[date] = PastNight(date, gates.get("gates", ()), release.manifest, metrics, is_withdrawn=was_bad)
    first = min(nights, default=night.date)
    for day in run_dates(night.workspace.root)[:NIGHTS]:
        if first < day.isoformat() < night.date and day.isoformat() not in nights:
            verdict = read_verdict(night.workspace.root, day)
            if verdict.get("verdict") == "refused":
                nights[day.isoformat()] = PastNight(day.isoformat(), verdict.get("gates", ()), {}, {})
    yield from (nights[date] for date in sorted(nights)[-NIGHTS:])


def pointers_of_night(night: NightRun) -> tuple[Swap | None, Mapping[str, Swap]]:
    """Return what readers have, and by release the rollback that took them back from it."""
    try:
        pointers = read_pointers(night.published)
    except PointerError:
        return None, {}
    return pointers.at, trace(pointers).withdrawn
