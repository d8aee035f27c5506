"""From a config and a workspace folder to the fingerprints of a run: what the input holds, and which date it is."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import uuid4

import pyarrow.fs as pafs

from graphquilt.pointers import list_releases
from pipeline import codec, storage
from pipeline.config.model import PipelineConfig
from pipeline.config.publish import PublishConfig
from pipeline.config.sections import InputConfig
from pipeline.engine import Engine, Frame
from pipeline.errors import ConfigError, InputError
from pipeline.ingest.addresses import filesystem_of
from pipeline.ingest.attributes.tables import attribute_sources
from pipeline.ingest.day_folders import drop_other_days
from pipeline.ingest.file_formats import Format
from pipeline.ingest.lake.snapshot import Snapshot, read_pins, write_pins
from pipeline.ingest.listing import takes
from pipeline.ingest.run_date import (
    AllLateError,
    newest_date,
    record_today,
    refuse_future,
    time_rules,
    utc_today,
)
from pipeline.ingest.sources import (
    FileState,
    SourceFile,
    digest,
    join_names,
    list_sources,
    snapshots_of,
    survey_sources,
)
from pipeline.locations import Location
from pipeline.publishing.baseline import baselines_of_run
from pipeline.stages.chain import MAKER, fingerprints
from pipeline.stages.lineages import choose_lineage
from pipeline.stages.night_codes import INTERESTS, codes_of
from pipeline.stages.night_tree import TREE
from pipeline.stages.warm_starts import VECTORS
from pipeline.storage import fingerprint_of
from pipeline.tasks import Attempt, Task, forget, run_missing
from pipeline.workspace import (
    MANIFEST,
    UNDATED,
    PublishOptions,
    RunInputs,
    Workspace,
    describe_date,
    manifests_below,
    published_folder,
    run_dates,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenOptions:
    """How a run is opened: which date, what for, and what the caller allows.

    ``starts_with_ingest`` says that the run begins with ingest: without a date it then takes the newest one in the
    input that is not in the future. A later stage takes the newest date whose edges were made from this input and
    config. A run that ``is_dry`` leaves no record. One that makes nothing to publish does not ``fixes_baseline``: the
    date keeps the one that its last run started with.
    """

    date: dt.date | None
    run_id: str
    starts_with_ingest: bool
    rehash: bool = False
    allow_future: bool = False
    recomputes: bool = False
    is_dry: bool = False
    fixes_baseline: bool = True
    publish: PublishOptions = field(default_factory=PublishOptions)


def open_workspace(engine: Engine[Frame], config: PipelineConfig, root: Location, options: OpenOptions) -> Workspace:
    """Return the workspace of a run.

    The day of the first run is recorded beside the input's digests; later runs of the same input and config read it.

    Raises
    ------
    InputError : the input can't be found or read, or no row has a time that the date could be.
    StorageError : something foreign stands in the place of a folder or file of the workspace.
    ConfigError : a date in the future; a later stage without a date, and no date fits.
    """
    storage.require_own(root / "runs", "folder")
    storage.require_own_tree(root / "inputs")
    clock = utc_today()
    refuse_future(options.date, clock, is_allowed=options.allow_future)
    # A lake table goes on being written: a run reads what was newest as it started, in every stage.
    snapshots = {} if options.starts_with_ingest else read_pins(root, options.date)
    files = InputFiles(engine, root, snapshots, rehash=options.rehash)
    sources_of = [_list_input(config, relation, root, options.date, snapshots) for relation in config.all_relations]
    inputs = [
        RelationInput(relation, sources, files.digest(sources))
        for relation, sources in zip(config.all_relations, sources_of, strict=True)
    ]
    date, today = options.date, None
    if options.starts_with_ingest:
        # The first relation with times says which day it is.
        timed_input = next(
            (relation_input for relation_input in inputs if relation_input.relation.timestamp is not None), inputs[0]
        )
        date, today = _choose_date(engine, timed_input, root, options, clock)
    digests: dict[str, str | None] = {"ingest": _digest_of(config, date, files, inputs)}
    if date is None:
        date = _newest_date_made(config, root, digests)
    begins = {"starts_with_ingest": options.starts_with_ingest, "is_dry": options.is_dry}
    lineage = choose_lineage(root, config, date, **begins)
    if lineage is not None and lineage.start != date:  # the first night is what a run without nights is
        digests["ingest"] = fingerprint_of([digests["ingest"], "lineage", lineage.start.isoformat()])
    tree = TREE.choose(root, config, lineage, date, **begins)
    digests["partition"] = tree.fingerprints["partition"] if tree else None
    starts, is_dry = options.starts_with_ingest and options.fixes_baseline, options.is_dry or not options.fixes_baseline
    baselines = baselines_of_run(root, config.publish, date, starts=starts, is_dry=is_dry)
    if not baselines and options.starts_with_ingest:
        _warn_of_lost_releases(root, config.publish)
    digests["aggregate"] = baselines[0] if baselines else None
    if config.evaluate.source == "file":
        pairs = list_sources(str(config.evaluate.path), date, "evaluate.path", snapshots)
        digests["evaluate"] = files.digest(pairs)
    if config.makes_lists and config.list_keys.sources:
        key = f"{config.list_section}.sources"
        digests["embed"] = files.digest(list_sources(config.list_keys.sources, date, key, snapshots))
    start = VECTORS.choose(root, config, lineage, date, **begins)
    if start is not None:
        digests["embed"] = fingerprint_of([digests.get("embed"), start.fingerprints["embed"]])
    kinds = codes_of(config), INTERESTS
    codes, interests = (kind.choose(root, config, lineage, date, **begins) for kind in kinds)
    for kind, earlier in zip(kinds, (codes, interests), strict=True):
        if earlier is not None:
            of_stage = digests.get(kind.stage), kind.name, earlier.fingerprints[kind.stage]
            digests[kind.stage] = fingerprint_of([*of_stage])
    if options.starts_with_ingest and not options.is_dry:
        write_pins(root, date, snapshots)
    return Workspace(
        *(root, date, fingerprints(config, date.isoformat(), digests), MAKER, options.run_id),
        inputs=RunInputs(files.states, today, baselines, lineage, tree, start, codes, interests, options.recomputes),
        publish=options.publish,
    )


@dataclass(frozen=True)
class RelationInput:
    """The files of a relation, and the digest of all of them."""

    relation: InputConfig
    sources: Sequence[SourceFile]
    digest: str


def _list_input(
    config: PipelineConfig,
    relation: InputConfig,
    root: Location,
    date: dt.date | None,
    snapshots: Mapping[str, Snapshot],
) -> list[SourceFile]:
    """Return the files of a relation."""
    path, key = relation.path, f"{relation.section}.path"
    _refuse_own_tables(root, path, date, key)
    sources, ignored_files = survey_sources(path, date, key, snapshots)
    if date is not None and config.lineage.full_every > 1 and relation.timestamp is not None:
        sources = drop_other_days(sources, date, relation.late_days, relation.window_days)
        if not sources:
            raise InputError(
                f"input {path} has only folders of days that a run of {date} has no rows in; check --date, "
                f"{relation.section}.window_days and {relation.section}.late_days ({relation.late_days})"
            )
    if ignored_files:
        log.info("input=%s files=%d ignored=%d (%s)", path, len(sources), len(ignored_files), join_names(ignored_files))
    return sources


def _choose_date(
    engine: Engine[Frame],
    timed_input: RelationInput,
    root: Location,
    options: OpenOptions,
    clock: dt.date,
) -> tuple[dt.date, dt.date | None]:
    """Return the date of a run that begins with ingest, and the day on which it first began; None: undated input."""
    today, relation = None, timed_input.relation
    if relation.timestamp is not None:
        read = [timed_input.digest, codec.to_values(time_rules(relation))]
        record = partial(record_today, root, read, options.date, clock, is_dry=options.is_dry)
        today = record()
    if options.date is not None:
        return options.date, today
    date = UNDATED
    if today is not None:
        try:
            date = newest_date(engine, relation, root, timed_input.sources, timed_input.digest, today)
        except AllLateError:
            if today == clock:
                raise
            # A run that had no row to begin with is none to be resumed; perhaps a clock was wrong.
            today = record(anew=True)
            date = newest_date(engine, relation, root, timed_input.sources, timed_input.digest, today)
    log.info("date=%s chosen=%s", describe_date(date), "no_timestamps" if date == UNDATED else "newest_timestamp")
    return date, today


def _digest_of(config: PipelineConfig, date: dt.date | None, files: InputFiles, inputs: Sequence[RelationInput]) -> str:
    """Return the digest of all that ingest reads: of the main relation, others and attributes if there are any."""
    main, further_digests = (
        inputs[0].digest,
        {relation_input.relation.name: relation_input.digest for relation_input in inputs[1:]},
    )
    interactions = fingerprint_of([main, "relations", further_digests]) if further_digests else main
    sources = attribute_sources(config, date, files.snapshots)
    attributes = {node_type: files.digest(of_type) for node_type, of_type in sources.items()}
    return fingerprint_of([interactions, attributes]) if attributes else interactions


def _newest_date_made(config: PipelineConfig, root: Location, digests: Mapping[str, str | None]) -> dt.date:
    """Return the newest date whose edges were made from this input and config.

    Raises
    ------
    ConfigError : there is none.
    """
    dates = run_dates(root)
    for date in dates:
        run = Workspace(root, date, fingerprints(config, date.isoformat(), digests), MAKER, "")
        if storage.size(run.folder("edges") / MANIFEST) is not None:
            return date
    raise ConfigError(
        f"no date given, and none of the {len(dates)} dates under {root / 'runs'} has edges made from this "
        "input and config; run 'graphquilt ingest' first, or give --date YYYY-MM-DD"
    )


def _refuse_own_tables(root: Location, path: str, date: dt.date | None, key: str) -> None:
    """Refuse an input that takes in the workspace, whose tables the next run would read as interactions.

    Raises
    ------
    ConfigError : naming both.
    """
    filesystem, pattern = filesystem_of(path.replace("{date}", (date or UNDATED).isoformat()))
    if isinstance(root, Path):
        is_same_store, places = isinstance(filesystem, pafs.LocalFileSystem), {str(root), os.path.realpath(root)}
    else:
        scheme, _, place = str(root).partition("://")
        is_same_store, places = path.startswith(f"{scheme}://"), {place}
    for workspace in places if is_same_store else ():
        if any(takes(pattern, f"{workspace}/{name}/x.parquet") for name in ("runs", "published", "inputs")):
            raise ConfigError(
                f"{key} {path} and the workspace {root} lie in each other: the next run would read this run's "
                "tables as input. Choose a workspace outside of the input's folder, or name the input's files with a "
                "glob that leaves it out"
            )


class InputFiles:
    """Digests of the files that a run reads, the lake snapshots they belong to, and how they looked."""

    def __init__(self, engine: Engine[Frame], root: Location, snapshots: dict[str, Snapshot], *, rehash: bool) -> None:
        self._engine, self._folder, self._rehash = engine, root / "inputs", rehash
        self.snapshots = snapshots  # by table; those of files that are digested are added
        self.states: dict[str, FileState] = {}  # by address

    def digest(self, sources: Sequence[SourceFile]) -> str:
        """Return the digest of the files' names and bytes.

        A file that looks as it did when it was read is not read again. That is size, both times and inode; and nothing
        that was written in the last moment before it was read.
        """
        lakes = snapshots_of(sources)
        self.snapshots.update(lakes)
        now = time.time_ns()
        tasks = [_digest_task(source, self._folder, now) for source in sources]
        if self._rehash:
            forget(self._folder, {task.name for task in tasks})
        records = run_missing(self._engine, digest_file, tasks)
        files = []
        for source, record in zip(sources, records, strict=True):
            self.states[source.address] = (source.looks, record.result.sha256)
            files.append([source.relative, source.bytes, record.result.sha256])
        # What a lake table has deleted from a file stands in no byte of it.
        versions = [[lake.kind, lake.version, lake.opened.rpartition("/")[2]] for lake in lakes.values()]
        return fingerprint_of([files, versions] if versions else files)


@dataclass(frozen=True)
class DigestPayload:
    """Input of the task that computes the digest of a file."""

    address: str
    format: Format
    looks: tuple[int | None, ...]  # see SourceFile.looks
    once: str | None  # the record of a task with a word of its own fits no other run


@dataclass(frozen=True)
class DigestResult:
    """The digest of a file's bytes."""

    sha256: str


def _digest_task(source: SourceFile, folder: Location, now_ns: int) -> Task[DigestPayload]:
    name = "digest-" + hashlib.sha256(source.address.encode()).hexdigest()[:16]
    once = None if source.is_settled(now_ns) else uuid4().hex
    return Task(name, folder, DigestPayload(source.address, source.format, tuple(source.looks), once))


def digest_file(payload: DigestPayload, attempt: Attempt) -> DigestResult:  # noqa: ARG001
    """Task: the digest of one input file. Its record is the cache: it answers for a file that looks like this."""
    size = int(payload.looks[0] or 0)
    return DigestResult(digest(SourceFile(payload.address, payload.address, payload.format, size, 0, None)))


def _warn_of_lost_releases(root: Location, publish: PublishConfig) -> None:
    """Warn where nothing is published under a name that runs were published under: this is no first night."""
    name = publish.name
    if list_releases(published_folder(publish.root(root), name)):
        return
    runs, _ = manifests_below(root / "runs", "*/release/*")
    lost_releases = sorted(run.figures["release"] for run in runs if Path(run.figures["path"]).parts[-3] == name)
    if lost_releases:
        log.warning(
            "name=%s warning: its folder has no releases any more, the last run published %s; put the folder "
            "back from a copy, or tonight is judged as a first night is",
            *(name, lost_releases[-1]),
        )
