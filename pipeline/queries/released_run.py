"""The run that made a release, as the release's manifest keeps it: config, fingerprints and figures of every stage."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from graphquilt.pointers import RELEASES
from pipeline import storage
from pipeline.config.model import PipelineConfig
from pipeline.embedding.methods import CONFIG
from pipeline.errors import ConfigError, InputError, StorageError
from pipeline.locations import Location
from pipeline.publishing.listing import manifest_of
from pipeline.stages.chain import MAKER
from pipeline.workspace import Manifest, Workspace


@dataclass(frozen=True)
class ReleasedRun(Workspace):
    """A run whose figures come from its release's manifest, since its tables may be gone."""

    stages: Mapping[str, Any] = field(default_factory=dict)

    def find_manifest(self, table: str) -> Manifest | None:
        """Return what the release keeps of a table's manifest."""
        stage = self.tables[table]
        return Manifest(table, 0, stage, self.fingerprints[stage], (), self.stages[stage]["figures"])

    def working(self, table: str) -> Manifest | None:
        """Return the manifest of the working table itself, None if it is gone."""
        return super().find_manifest(table)

    def with_tables(self) -> Workspace:
        """Return the run's workspace, whose tables may be gone."""
        return Workspace(self.root, self.date, self.fingerprints, self.tables, self.run_id)


def read_release(folder: Location) -> Mapping[str, Any]:
    """Return the manifest of a release.

    Raises
    ------
    InputError : it is gone or damaged.
    """
    try:
        return manifest_of(folder)
    except StorageError as error:
        removal = f"release {folder.name} was removed while it was read; ask again"
        raise InputError(str(error) if storage.names_in(folder) else removal) from error


def run_of(folder: Location, release: Mapping[str, Any]) -> ReleasedRun:
    """Return the run of the release in a folder, whose manifest has been read."""
    return ReleasedRun(
        root=workspace_of(folder),
        date=dt.date.fromisoformat(release["data_date"]),
        fingerprints=release["fingerprints"],
        tables=MAKER,
        run_id=release["run_id"],
        stages=release["stages"],
    )


def workspace_of(folder: Location) -> Location:
    """Return the workspace of a release, which is at published/<name>/releases/<release>; of a copy, where it lies."""
    return folder.parents[3] if folder.parent.name == RELEASES else folder.parent


def graph_is_gone(release: Mapping[str, Any], run: Workspace, option: str) -> StorageError:
    """Return the error that says that the graph of a release's run isn't kept, which an option of the command needs."""
    return StorageError(
        f"the graph that release {release['release']} was made from is gone (looked in {run.run_folder}): it stays as "
        f"long as its date is among the last publish.keep_runs. Run that date again, or leave {option} out"
    )


def config_of(release: Mapping[str, Any]) -> PipelineConfig:
    """Return the config of a release.

    Raises
    ------
    ConfigError : this version can't read it.
    """
    try:
        return CONFIG.model_validate(release["config"])
    except ValidationError as error:
        raise other_version(release) from error


def other_version(release: Mapping[str, Any]) -> ConfigError:
    """Return the error that says that rows made here would not be those of the release."""
    return ConfigError(
        f"release {release['release']} was made by graphquilt {release['packages'].get('graphquilt', '(unknown)')}, "
        "and rows that are made here would lie in another space; ask with that version, or publish with this one first"
    )
