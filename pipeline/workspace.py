"""Where tables are: one folder for all dates; fingerprints name a table's folder, a manifest makes it a table.

    WORKSPACE/runs/<date>/<table>/<fingerprint>/     working tables, a manifest each
    WORKSPACE/published/<name>/                      releases and CURRENT.json

Without a manifest a table does not exist; with one it never changes again. Its files are checked against the manifest
before they are used: a table whose files differ from it counts as missing.
"""

import contextlib
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pipeline import codec, storage
from pipeline.errors import DamagedFileError, MissingTableError, StorageError
from pipeline.locations import Location
from pipeline.tasks import TaskRunner, damaged_files

MANIFEST = "manifest.json"
UNDATED = dt.date(1970, 1, 1)
_JOINED = {"node_arrays": "joined_nodes", "indexed_edges": "joined_edges"}


def describe_date(date: dt.date, name_without_date: str = "undated") -> str:
    """Return the date of a run as people read it."""
    return name_without_date if date == UNDATED else date.isoformat()


T = TypeVar("T")


@dataclass(frozen=True)
class DataFile:
    """A file of a table; ``name`` is relative to the table's folder."""

    name: str
    rows: int
    bytes: int
    checksum: str  # see storage.checksum_of


@dataclass(frozen=True)
class Manifest:
    """What a finished table is and what it came from."""

    table: str
    version: int
    stage: str
    fingerprint: str
    files: tuple[DataFile, ...]
    figures: Mapping[str, Any] = field(default_factory=dict)  # counts and measures that people act on
    made_by: Mapping[str, Any] = field(default_factory=dict)  # run, host, clock: nothing that sets the result

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)


class Checks:
    """Checks the files of tables, each table once. Every stage has an object of its own, and so checks again.

    ``runner`` runs the tasks that large tables take; their records lie in ``scratch`` meanwhile.
    """

    def __init__(self, runner: TaskRunner | None = None, scratch: Location | None = None) -> None:
        self._runner, self._scratch = runner, scratch
        self._whole: set[Location] = set()

    def problem_of(self, folder: Location, files: Sequence[DataFile]) -> str | None:
        """Say what is wrong with the files of a table; None if nothing is."""
        if folder in self._whole:
            return None
        if strays := [file.name for file in files if Path(file.name).name != file.name]:
            return f"{folder / MANIFEST} names {strays[0]}, which is not in its folder"
        sums_by_file = {folder / file.name: (file.bytes, file.checksum) for file in files}
        damage_by_file = damaged_files(sums_by_file, self._scratch or folder, self._runner if self._scratch else None)
        for path, why in damage_by_file.items():
            more = f", and {len(damage_by_file) - 1} more of its files are damaged" if len(damage_by_file) > 1 else ""
            return f"{path} {why}{more}"
        self._whole.add(folder)
        return None


@dataclass(frozen=True)
class Lineage:
    """Nights in a row that share the moment that weights are as of: the end of ``start``.

    ``key`` names it: nights of another input section, or another start, have another one.
    """

    start: dt.date
    key: str


@dataclass(frozen=True)
class EarlierRun:
    """Tables of an earlier date, by the fingerprints of the stages that made them."""

    date: dt.date
    fingerprints: Mapping[str, str]


@dataclass(frozen=True)
class RunInputs:
    """What a run takes from outside of its own tables, as it was when the run began."""

    files: Mapping[str, Any] = field(default_factory=dict)  # how each file of the input looked, by address
    today: dt.date | None = None  # UTC, when this run of this input and config first began; None: undated input
    baselines: tuple[str, ...] = ()  # the run's baseline (pipeline.publishing.baseline), and its ancestors
    lineage: Lineage | None = None  # None: a full run of its own
    tree: EarlierRun | None = None  # whose tree the partition goes on with; None: it cuts anew
    start: EarlierRun | None = None  # whose vectors embed starts from; None: it starts from random rows
    codes: EarlierRun | None = None  # whose codes embed goes on with; None: it makes them anew
    interests: EarlierRun | None = None  # whose clusters of interests embed goes on with; None: it makes them anew
    recomputes: bool = False  # all from the input, whatever earlier nights and runs have left

    @property
    def baseline(self) -> str | None:
        """The release that this run is judged against and aligned to; None on a first night."""
        return self.baselines[0] if self.baselines else None


@dataclass(frozen=True)
class PublishOptions:
    """What the user lets publish do."""

    force_current: bool = False  # move CURRENT even to an older date than it has
    accept_drift: bool = False  # publish whatever the gates say


@dataclass(frozen=True)
class Workspace:
    """The folder of one run date: knows where each table of this run belongs."""

    root: Location
    date: dt.date
    fingerprints: Mapping[str, str]  # by stage; see pipeline.stages.chain
    tables: Mapping[str, str]  # table -> stage that makes it
    run_id: str
    inputs: RunInputs = RunInputs()
    publish: PublishOptions = PublishOptions()
    checks: Checks = field(default_factory=Checks, compare=False, repr=False)

    @property
    def run_folder(self) -> Location:
        """Return the folder of this date."""
        return run_folder(self.root, self.date)

    @property
    def described_date(self) -> str:
        """Return this date as sentences have it."""
        return describe_date(self.date, "undated data")

    def folder(self, table: str) -> Location:
        """Return the folder of a table, whether or not it is made."""
        return self.run_folder / table / self.fingerprints[self.tables[table]]

    def work(self, stage: str) -> Location:
        """Return the folder where a stage's tasks write; it is removed once the stage has committed."""
        return self.run_folder / storage.WORK / f"{stage}-{self.fingerprints[stage]}"

    def scratch(self, stage: str, name: str) -> Location:
        """Return an empty folder inside :meth:`work` for what a relational verb writes; a killed run's is removed."""
        folder = self.work(stage) / name
        storage.new_folder(folder)
        return folder

    def find_manifest(self, table: str) -> Manifest | None:
        """Return the manifest of a table; None if it is missing or damaged."""
        try:
            return read_manifest(self.folder(table))
        except DamagedFileError:
            return None

    def figures(self, table: str, kind: type[T]) -> T:
        """Return what the manifest of a table says, as the dataclass of its stage.

        Raises
        ------
        StorageError : another version wrote it.
        """
        try:
            return codec.from_values(kind, dict(self.manifest(table).figures))
        except codec.CodecError as error:
            folder = self.folder(table)
            raise StorageError(f"{folder} was made by another version ({error}); remove it and run again") from error

    def manifest(self, table: str) -> Manifest:
        """Return the manifest of a table that must be there.

        Raises
        ------
        MissingTableError : naming the stage to run.
        """
        manifest = self.find_manifest(table)
        if manifest is not None:
            return manifest
        stage = self.tables[table]
        if problem := self.problem(table):
            raise self._damage_error(table, problem)
        raise MissingTableError(
            f"{table} for {self.described_date} has not been made from this input and config "
            f"(looked for {self.folder(table) / MANIFEST}); run 'graphquilt {stage}' first, with the same "
            "options. If it did run, the input or the config changed since.",
            table,
        )

    def files(self, table: str) -> list[Location]:
        """Return the files of a table that must be there, in the order of its manifest, checked against it.

        Raises
        ------
        MissingTableError : it is missing, or its files differ from its manifest; naming the stage to run.
        """
        folder = self.folder(table)
        files = self.manifest(table).files
        if problem := self.checks.problem_of(folder, files):
            raise self._damage_error(table, problem)
        return [folder / file.name for file in files]

    def graph_files(self, table: str) -> list[Location]:
        """Return the files of ``node_arrays`` or ``indexed_edges``; of several relations, those that join them all."""
        is_joined = len(self.files_by_relation("indexed_edges")) > 1
        return self.files(_JOINED[table] if is_joined else table)

    def files_by_relation(self, table: str) -> list[list[Location]]:
        """Return the files of ``edges``, ``decayed`` or ``indexed_edges`` by relation, the main one first."""
        files = self.files(table)
        counts = self.manifest(table).figures.get("relation_files", {}).get(table, [len(files)])
        rest = iter(files)
        return [list(islice(rest, count)) for count in counts]

    def problem(self, table: str) -> str | None:
        """Say what is wrong with what is left of a table; None if it is whole, or nothing is there of it."""
        folder = self.folder(table)
        try:
            manifest = read_manifest(folder)
        except DamagedFileError as error:
            return str(error)
        if manifest is not None:
            return self.checks.problem_of(folder, manifest.files)
        is_there = storage.has_folder(folder)
        return f"{folder} has no {MANIFEST}: it was deleted, or a commit was cut short" if is_there else None

    def _damage_error(self, table: str, problem: str) -> MissingTableError:
        return MissingTableError(
            f"{table} for {self.described_date} is damaged: {problem}. Nothing was made of it; run "
            f"'graphquilt {self.tables[table]}' with the same options, which makes it again, and then this again.",
            table,
        )

    def commit(self, manifest: Manifest) -> None:
        """Make an attempt *the* table.

        Its files are in their folder and durable. Exclusion is the caller's lock, not this function's.
        """
        folder = self.folder(manifest.table)
        storage.fsync_folder(folder)
        storage.write_checked_json(folder / MANIFEST, asdict(manifest), indent=2)
        storage.fsync_folder(folder.parent)


def read_manifest(folder: Location) -> Manifest | None:
    """Return the manifest in a table's folder; None if there is none.

    Raises
    ------
    DamagedFileError : it is not what was written, or that of another table, or another version wrote it.
    """
    values = storage.read_own_json(folder / MANIFEST)
    if values is None:
        return None
    try:
        manifest = Manifest(**{**values, "files": tuple(DataFile(**file) for file in values["files"])})
    except (TypeError, KeyError) as error:
        raise DamagedFileError(f"{folder / MANIFEST} was written by another version ({error})") from error
    # A folder that was copied here from another date or config is whole, and yet not the table that belongs here.
    if (manifest.table, manifest.fingerprint) != (folder.parent.name, folder.name):
        raise DamagedFileError(f"{folder / MANIFEST} is that of {manifest.table}/{manifest.fingerprint}")
    return manifest


def manifests_below(folder: Location, tables: str = "**") -> tuple[list[Manifest], list[str]]:
    """Return the manifests of the tables below a folder, and sentences about those that can't be read."""
    manifests, problems = [], []
    names = [PurePosixPath(file.name) for file in storage.files_below(folder)]
    for name in names:
        if name.name != MANIFEST or not (tables == "**" or name.parent.match(tables)):
            continue
        try:
            if manifest := read_manifest(folder / name.parent):
                manifests.append(manifest)
        except DamagedFileError as error:
            problems.append(str(error))
    return manifests, problems


def run_folder(root: Location, date: dt.date) -> Location:
    """Return the folder of a date's working tables."""
    return root / "runs" / date.isoformat()


def run_dates(root: Location) -> list[dt.date]:
    """Return the dates that have a folder of working tables, newest first."""
    dates = []
    for name in storage.names_in(root / "runs"):
        with contextlib.suppress(ValueError):  # not ours
            dates.append(dt.date.fromisoformat(name))
    return sorted(dates, reverse=True)


def published_folder(root: Location, name: str) -> Location:
    """Return the folder of a published name: its releases and CURRENT.json."""
    return root / "published" / name


@contextlib.contextmanager
def hold(workspace: Workspace, purpose: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of a workspace's date, so that no other process makes its tables meanwhile.

    Raises
    ------
    LockedError : after ``wait_s`` seconds, naming holder, pid and start.
    StorageError : a link, or something else that is not ours, stands in the place of a file or folder of the date.
    """
    with storage.lock(workspace.run_folder / ".lock", f"{purpose} for {workspace.described_date}", wait_s):
        storage.require_own_tree(workspace.run_folder)
        yield
