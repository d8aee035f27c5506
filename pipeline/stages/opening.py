"""From a config and a workspace folder to the fingerprints of a run: what the input holds, and which date it is."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.fs as pafs

from graphquilt.pointers import list_releases
from pipeline import codec, storage
from pipeline.config.model import PipelineConfig
from pipeline.engine import Engine, Frame
from pipeline.errors import ConfigError, StorageError
from pipeline.ingest.addresses import filesystem_of
from pipeline.ingest.attributes.tables import attribute_sources
from pipeline.ingest.lake.pins import read_pins, write_pins
from pipeline.ingest.lake.snapshot import Snapshot
from pipeline.ingest.listing import takes
from pipeline.ingest.run_date import (
    AllLateError,
    newest_date,
    record_today,
    refuse_future,
    time_rules,
    utc_today,
)
from pipeline.ingest.sources import SeenFile, SourceFile, digest, join_names, list_sources, snapshots_of, survey_sources
from pipeline.publishing.listing import earlier_releases
from pipeline.release_tables.alignment import find_parent
from pipeline.stages.chain import MAKER, fingerprints
from pipeline.storage import fingerprint_of
from pipeline.tasks import Attempt, Task, forget, run_missing
from pipeline.workspace import MANIFEST, UNDATED, Workspace, manifests_below, published_folder

log = logging.getLogger(__name__)

#: Releases before the baseline, by whose nights tonight's is measured.
NIGHTS = 7


def open_workspace(
    engine: Engine[Frame],
    config: PipelineConfig,
    root: Path,
    date: dt.date | None,
    run_id: str,
    *,
    starts_here: bool,
    force_current: bool = False,
    rehash: bool = False,
    accept_drift: bool = False,
    allow_future: bool = False,
    is_dry: bool = False,
) -> Workspace:
    """Return the workspace of a run.

    ``starts_here`` says that the run begins with ingest: without a date it then takes the newest one in the
    input that is not in the future; a later stage takes the newest date whose edges were made from this input
    and config. Which day it is, is recorded beside the input's digests and read from there by every later run
    of the same input and config; a run that ``is_dry`` leaves no record.

    Raises
    ------
    InputError : the input can't be found or read, or no row has a time that the date could be.
    StorageError : something foreign stands in the place of a folder or file of the workspace.
    ConfigError : a date in the future; a later stage without a date, and no date fits.
    """
    storage.require_own(root / "runs", "folder")
    storage.require_own_tree(root / "inputs")
    clock = utc_today()
    refuse_future(date, clock, is_allowed=allow_future)
    # A lake table goes on being written: a run reads what was newest as it started, in every stage.
    snapshots = {} if starts_here else read_pins(root, date)
    _refuse_own_tables(root, config.input.path, date)
    sources, ignored = survey_sources(config.input.path, date, snapshots=snapshots)
    if ignored:
        names = join_names(ignored)
        log.info("input=%s files=%d ignored=%d (%s)", config.input.path, len(sources), len(ignored), names)

    seen: dict[str, SeenFile] = {}

    def digest_of(files: Sequence[SourceFile]) -> str:
        snapshots.update(snapshots_of(files))
        return _digest_of(engine, root, files, seen, rehash=rehash)

    interactions = digest_of(sources)
    today = None
    if starts_here and config.input.timestamp is not None:
        read = [interactions, codec.to_values(time_rules(config))]
        today = record_today(root, read, date, clock, is_dry=is_dry)
    if date is None and starts_here:
        try:
            date = UNDATED if today is None else newest_date(engine, config, root, sources, interactions, today)
        except AllLateError:
            if today == clock:
                raise
            # A run that had no row to begin with is none to be resumed; perhaps a clock was wrong.
            today = record_today(root, read, date, clock, is_dry=is_dry, anew=True)
            date = newest_date(engine, config, root, sources, interactions, today)
        log.info("date=%s chosen=%s", date, "undated" if date == UNDATED else "newest_timestamp")
    about_nodes = attribute_sources(config, date, snapshots)
    attributes = {node_type: digest_of(files) for node_type, files in about_nodes.items()}
    both = fingerprint_of([interactions, attributes]) if attributes else interactions
    digests: dict[str, str | None] = {"ingest": both}

    way: tuple[str, ...] = ()

    def workspace_of(day: dt.date) -> Workspace:
        prints = fingerprints(config, day.isoformat(), digests)
        return Workspace(
            *(root, day, prints, MAKER, run_id, force_current, digests.get("aggregate")),
            accept_drift=accept_drift,
            baselines=way,
            seen=dict(seen),
            today=today,
        )

    if date is None:
        known = sorted((dt.date.fromisoformat(folder.name) for folder in _run_folders(root)), reverse=True)
        fitting = [day for day in known if (workspace_of(day).folder("edges") / MANIFEST).exists()]
        if not fitting:
            raise ConfigError(
                f"no date given, and none of the {len(known)} dates under {root / 'runs'} has edges made from this "
                "input and config; run 'graphquilt ingest' first, or give --date YYYY-MM-DD"
            )
        date = fitting[0]
    way = _way_back(root, config.publish.name, date)
    if not way and starts_here:
        _say_what_is_gone(root, config.publish.name)
    digests["evaluate"] = _measured_against(digest_of, config, date, snapshots, way)
    if config.ppr.neighbors and config.ppr.sources:
        digests["embed"] = digest_of(list_sources(config.ppr.sources, date, "ppr.sources", snapshots))
    if starts_here and not is_dry:
        write_pins(root, date, snapshots)
    parent = find_parent(root, config, date)
    digests["aggregate"] = parent.release if parent else None
    return workspace_of(date)


def _refuse_own_tables(root: Path, path: str, date: dt.date | None) -> None:
    """Refuse an input that takes in the workspace, whose tables the next run would read as interactions.

    Raises
    ------
    ConfigError : naming both.
    """
    filesystem, place = filesystem_of(path.replace("{date}", (date or UNDATED).isoformat()))
    if not isinstance(filesystem, pafs.LocalFileSystem):
        return
    for seen_as in {str(root), os.path.realpath(root)}:
        if any(takes(place, f"{seen_as}/{name}/x.parquet") for name in ("runs", "published", "inputs")):
            raise ConfigError(
                f"input.path {path} and the workspace {root} lie in each other: the next run would read this run's "
                "tables as input. Choose a workspace outside of the input's folder, or name the input's files with a "
                "glob that leaves it out"
            )


def _run_folders(root: Path) -> list[Path]:
    folder = root / "runs"
    return [path for path in folder.iterdir() if _is_date(path.name)] if folder.is_dir() else []


def _is_date(name: str) -> bool:
    try:
        dt.date.fromisoformat(name)
    except ValueError:
        return False
    return True


def _digest_of(
    engine: Engine[Frame], root: Path, sources: Sequence[SourceFile], seen: dict[str, SeenFile], *, rehash: bool
) -> str:
    """Digest of the files' names and bytes. A file that looks as it did when it was read is not read again.

    That is size, both times and inode; and nothing that was written in the last moment before it was read.
    """
    now = time.time_ns()
    tasks = [
        Task(
            "digest-" + hashlib.sha256(source.address.encode()).hexdigest()[:16],
            root / "inputs",
            {
                "address": source.address,
                "format": source.format,
                "looks": source.looks,
                # The record of such a task fits no other run.
                "once": None if source.is_settled(now) else uuid4().hex,
            },
        )
        for source in sources
    ]
    if rehash:
        forget(root / "inputs", {task.name for task in tasks})
    records = run_missing(engine, digest_file, tasks)
    for source, record in zip(sources, records, strict=True):
        seen[source.address] = (source.looks, record.result["sha256"])
    files = [
        [source.relative, source.bytes, record.result["sha256"]]
        for source, record in zip(sources, records, strict=True)
    ]
    # What a lake table has deleted from a file stands in no byte of it.
    lakes = [
        [snapshot.kind, snapshot.version, snapshot.opened.rpartition("/")[2]]
        for snapshot in snapshots_of(sources).values()
    ]
    return fingerprint_of([files, lakes] if lakes else files)


def digest_file(payload: Mapping[str, Any], attempt: Attempt) -> dict[str, Any]:  # noqa: ARG001
    """Task: the digest of one input file. Its record is the cache: it answers for a file that looks like this."""
    address, size = payload["address"], payload["looks"][0]
    return {"sha256": digest(SourceFile(address, address, payload["format"], size, 0, None))}


def _way_back(root: Path, name: str, date: dt.date) -> tuple[str, ...]:
    """Return the baseline of a date and some releases before it, nearest first; none on a first night.

    Raises
    ------
    StorageError : the baseline is damaged, or nothing says which one it is. One before it ends the way.
    """
    releases = earlier_releases(root, name, date)
    way = [one.release for one in islice(releases, 1)]
    with contextlib.suppress(StorageError):
        way.extend(one.release for one in islice(releases, NIGHTS))
    return tuple(way)


def _say_what_is_gone(root: Path, name: str) -> None:
    """Warn where nothing is published under a name that runs were published under: this is no first night."""
    if list_releases(published_folder(root, name)):
        return
    runs, _ = manifests_below(root / "runs", "*/release/*")
    lost = sorted(run.figures["release"] for run in runs if Path(run.figures["path"]).parts[-3] == name)
    if lost:
        log.warning(
            "name=%s warning: its folder has no releases any more, the last run published %s; put the folder "
            "back from a copy, or tonight is judged as a first night is",
            *(name, lost[-1]),
        )


def _measured_against(
    digest_of: Callable[[Sequence[SourceFile]], str],
    config: PipelineConfig,
    date: dt.date,
    snapshots: Mapping[str, Snapshot],
    way: Sequence[str],
) -> str | None:
    """Return what, beside this run's own tables, sets the figures of evaluate: a file of pairs, the baseline."""
    pairs = None
    if config.evaluate.source == "file":
        pairs = digest_of(list_sources(str(config.evaluate.path), date, "evaluate.path", snapshots))
    return fingerprint_of([pairs, way[0]]) if way else pairs
