"""One night as it was left behind: its verdict, its release where it has one, its tables as far as they are kept."""

import contextlib
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from graphquilt.ancestry import trace
from graphquilt.pointers import MANIFEST, RELEASES, PointerError, Pointers, Swap, read_pointers
from pipeline import storage
from pipeline.errors import ConfigError, StorageError
from pipeline.locations import Location
from pipeline.publishing.listing import manifest_of, note_of
from pipeline.stages.chain import MAKER, STAGES
from pipeline.workspace import UNDATED, Manifest, Workspace, manifests_below, published_folder, run_folder
from schemas.published_tables import NODE_EMBEDDINGS


@dataclass(frozen=True)
class NightRun:
    """A night that has ended.

    workspace : its tables may be gone.
    table_folder : folder of the published name, releases and CURRENT in it.
    verdict : the record of ``runs/<date>/gate.json``; empty where it is that of another run, or gone.
    release : folder of its release; None of a refused night.
    config : as in a manifest; None of a night whose config was not kept.
    compared_with : the release it is held against; None: its baseline's.
    tables : manifests of the working tables that are still there, by name.
    """

    workspace: Workspace
    table_folder: Location
    verdict: Mapping[str, Any]
    tables: Mapping[str, Manifest]
    release: Location | None = None
    config: Mapping[str, Any] | None = None
    compared_with: str | None = None

    @property
    def date(self) -> str | None:
        """ISO date; None of undated data."""
        return None if self.workspace.date == UNDATED else self.workspace.date.isoformat()

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """The release's manifest; empty of a refused night."""
        return manifest_of(self.release) if self.release else {}

    @cached_property
    def stages(self) -> Mapping[str, Mapping[str, Any]]:
        """By stage, ``made_by`` and ``figures``: the release's, else those of the tables that are there."""
        stages: dict[str, dict[str, Any]] = {}
        for stage in STAGES:
            for contract in stage.writes:
                if manifest := self.tables.get(contract.name):
                    of_stage = stages.setdefault(stage.name, {"made_by": dict(manifest.made_by), "figures": {}})
                    of_stage["figures"] |= manifest.figures
        return stages | self.manifest.get("stages", {})

    @cached_property
    def metrics(self) -> Mapping[str, Any]:
        """What evaluate measured; empty where it didn't come to that."""
        if "metrics" in self.tables:
            return dict(self.tables["metrics"].figures["metrics"])
        return note_of(self.release, "metrics.json") if self.release else {}

    @cached_property
    def gates(self) -> Sequence[Mapping[str, Any]]:
        """The gates as they were judged: tonight's verdict, else the release's."""
        if "gates" in self.verdict:
            return list(self.verdict["gates"])
        return list(note_of(self.release, "gate.json").get("gates", ())) if self.release else []

    @cached_property
    def other_release(self) -> str | None:
        """Name of the release it is compared with; None where there is none."""
        drift = self.metrics.get("drift", {})
        release = self.compared_with or self.manifest.get("baseline") or drift.get("release")
        return release or next(iter(self.workspace.inputs.baselines), None)

    @cached_property
    def other_manifest(self) -> Mapping[str, Any]:
        """Manifest of the release it is compared with; empty where there is none, or it is gone."""
        has_one = self.other_release and storage.size(self.other_folder / MANIFEST)
        return manifest_of(self.other_folder) if has_one else {}

    @cached_property
    def _pointers(self) -> Pointers | None:
        with contextlib.suppress(PointerError):
            return read_pointers(self.table_folder)
        return None

    @property
    def current(self) -> Swap | None:
        """What readers have; None where they have nothing, or nothing says for sure what."""
        return self._pointers.at if self._pointers else None

    @cached_property
    def withdrawn(self) -> Mapping[str, Swap]:
        """By release, the rollback that took readers back from it."""
        return trace(self._pointers).withdrawn if self._pointers else {}

    @property
    def other_folder(self) -> Location:
        """Folder of the release it is compared with."""
        return self.table_folder / RELEASES / (self.other_release or "")

    @property
    def metadata(self) -> Mapping[str, Any] | None:
        """What the table of vectors states of itself; None of a night without vectors."""
        if self.manifest:
            return self.manifest.get("metadata")
        table = self.tables.get(NODE_EMBEDDINGS)
        return table.figures.get("metadata") if table else None

    @cached_property
    def vector_files(self) -> list[Location]:
        """Files of tonight's vectors: the working table's, which a run has just read, or the release's copies."""
        if not self.release:
            return self.files_of_run(NODE_EMBEDDINGS)
        table, folder = self.tables.get(NODE_EMBEDDINGS), self.workspace.folder(NODE_EMBEDDINGS)
        files = [(folder / file.name, file.bytes) for file in table.files] if table else []
        if files and all(storage.size(path) == size for path, size in files):
            return [path for path, _ in files]
        return files_of_release(self.release, NODE_EMBEDDINGS)

    def files_of_run(self, table: str) -> list[Location]:
        """Return the files of a working table; none where they are gone or differ from their manifest."""
        folder = self.workspace.folder(table)
        files = self.tables[table].files if table in self.tables else ()
        return [] if self.workspace.checks.problem_of(folder, files) else [folder / file.name for file in files]


def finished_tables(workspace: Workspace) -> dict[str, Manifest]:
    """Return the manifests of a run's working tables that are there, by name."""
    return {name: manifest for name in MAKER if (manifest := workspace.find_manifest(name))}


def files_of_release(folder: Location, table: str) -> list[Location]:
    """Return the Parquet files of a table of a release."""
    return [folder / table / name for name in storage.names_in(folder / table) if name.endswith(".parquet")]


def night_of_release(root: Location, publish_root: Location, name: str, release: str) -> NightRun:
    """Return the night of a release.

    Raises
    ------
    ConfigError : there is no such release. StorageError : its manifest is damaged.
    """
    table_folder = published_folder(publish_root, name)
    folder = table_folder / RELEASES / release
    if storage.size(folder / MANIFEST) is None:
        releases = storage.names_in(table_folder / RELEASES)
        raise ConfigError(f"'{name}' has no release '{release}'; it has {releases}")
    manifest = manifest_of(folder)
    date = dt.date.fromisoformat(manifest["data_date"])
    workspace = Workspace(root, date, manifest["fingerprints"], MAKER, manifest["run_id"])
    verdict = read_verdict(root, date)
    if verdict.get("release") != release:
        verdict = {}
    return NightRun(workspace, table_folder, verdict, finished_tables(workspace), folder, manifest["config"])


def night_of_date(root: Location, publish_root: Location, name: str, date: dt.date) -> NightRun:
    """Return the last night of a date, published or not.

    Raises
    ------
    ConfigError : nothing ran for the date.
    """
    verdict = read_verdict(root, date)
    if not verdict:
        raise ConfigError(
            f"workspace {root} has no verdict of {date}; 'graphquilt inspect' lists its dates, and --release takes "
            "one of its releases"
        )
    folder = published_folder(publish_root, name) / RELEASES / str(verdict.get("release"))
    if verdict.get("release") and storage.size(folder / MANIFEST) is not None:
        return night_of_release(root, publish_root, name, str(verdict["release"]))
    manifests, _ = manifests_below(run_folder(root, date), "*/*")
    manifests.sort(key=lambda manifest: str(manifest.made_by.get("started")))
    newest = {manifest.stage: manifest.fingerprint for manifest in manifests}
    every = {stage: newest.get(stage, "none") for stage in MAKER.values()}
    workspace = Workspace(root, date, every, MAKER, str(verdict.get("run_id")))
    return NightRun(workspace, published_folder(publish_root, name), verdict, finished_tables(workspace))


def compare_with(night: NightRun, release: str) -> NightRun:
    """Return the night, held against a release of the same name.

    Raises
    ------
    ConfigError : there is no such release.
    """
    if storage.size(night.table_folder / RELEASES / release / MANIFEST) is None:
        releases = storage.names_in(night.table_folder / RELEASES)
        raise ConfigError(f"'{night.table_folder.name}' has no release '{release}'; --compare takes one of {releases}")
    return replace(night, compared_with=release)


def read_verdict(root: Location, date: dt.date) -> dict[str, Any]:
    """Return the record of a date's ``gate.json``; nothing where it is missing or damaged."""
    try:
        return storage.read_json(run_folder(root, date) / "gate.json") or {}
    except StorageError:
        return {}
