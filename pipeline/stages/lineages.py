"""Lineages: nights in a row that share what must stay put between them, such as the moment that weights are as of.

A full run starts one. A later night of the same input section belongs to the lineage of the nearest earlier night,
until ``lineage.full_every`` days have passed. Which one that is, is recorded as a date's run starts, so that a run that
is resumed, or repeated after a backfill, is the same run.
"""

import datetime as dt
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline import storage
from pipeline.config.model import PipelineConfig
from pipeline.errors import DamagedFileError
from pipeline.locations import Location
from pipeline.stages.chain import stage_named
from pipeline.storage import fingerprint_of
from pipeline.workspace import Lineage, Manifest, manifests_below, run_dates, run_folder

log = logging.getLogger(__name__)

#: Weights of events this many half-lives after the epoch are 2**16 times those at it; 62 bits hold them still.
_MOST_HALF_LIVES = 16
#: The table by whose manifest a night says which lineage it is of.
NIGHT_SUMS = "night_sums"


@dataclass(frozen=True)
class EarlierNight:
    """A finished night of a lineage: its date, and the manifest of a table."""

    date: dt.date
    manifest: Manifest


def choose_lineage(
    root: Location, config: PipelineConfig, date: dt.date, *, starts_with_ingest: bool, is_dry: bool
) -> Lineage | None:
    """Return the lineage of a date's run; None where every run is a full one of its own.

    A run that ``starts_with_ingest`` records it, unless it ``is_dry``.
    """
    if config.lineage.full_every <= 1:
        return None
    of_config = _key_of_config(config)
    path = root / "inputs" / f"lineage-{date}-{of_config[:16]}.json"
    start = _start_in(path)
    if start is None:
        start = _start_of_nearest(root, config, date, of_config)
        if starts_with_ingest and not is_dry:
            storage.write_checked_json(path, {"start": start.isoformat()})
    if start != date:
        log.info("date=%s lineage=%s", date, start)
    return Lineage(start, fingerprint_of([of_config, start.isoformat()]))


def earlier_nights(root: Location, table: str, key: str, start: dt.date, date: dt.date) -> Iterator[EarlierNight]:
    """Yield the runs of dates from ``start`` to before ``date`` whose ``table`` is of a lineage, the nearest first.

    Runs of one date come by their time, the newest first.
    """
    for day in run_dates(root):
        if start <= day < date:
            manifests, problems = manifests_below(run_folder(root, day) / table, "*")
            for problem in problems:
                log.warning("date=%s warning: %s; this night is not built on", day, problem)
            of_lineage = [manifest for manifest in manifests if manifest.figures.get("lineage") == key]
            for manifest in sorted(of_lineage, key=lambda manifest: str(manifest.made_by.get("started")), reverse=True):
                yield EarlierNight(day, manifest)


def _start_of_nearest(root: Location, config: PipelineConfig, date: dt.date, of_config: str) -> dt.date:
    """Return when the lineage of the nearest earlier night began, as far as it still goes on; else the date."""
    days = config.lineage.full_every
    for relation in config.all_relations:
        if relation.half_life_days is not None:
            days = min(days, int(_MOST_HALF_LIVES * relation.half_life_days) + 1)
    for day in run_dates(root):
        if not date - dt.timedelta(days=days) < day < date:
            continue
        for manifest in manifests_below(run_folder(root, day) / NIGHT_SUMS, "*")[0]:
            start = manifest.figures.get("start")  # None: a run that is of no lineage
            if start and manifest.figures["lineage"] == fingerprint_of([of_config, start]):
                first = dt.date.fromisoformat(start)
                return first if date < first + dt.timedelta(days=days) else date
    return date


def _key_of_config(config: PipelineConfig) -> str:
    """Return what nights of one lineage have in common."""
    ingest = stage_named("ingest")
    late_days = {relation.name: relation.late_days for relation in config.all_relations}
    values: Any = [ingest.reads_config(config), late_days, config.lineage.full_every]
    return fingerprint_of([values, ingest.algorithm_version, {table.name: table.version for table in ingest.writes}])


def _start_in(path: Location) -> dt.date | None:
    try:
        record = storage.read_checked_json(path)
    except DamagedFileError as error:
        log.warning("warning: %s; the lineage is chosen anew", error)
        return None
    return None if record is None else dt.date.fromisoformat(record["start"])
