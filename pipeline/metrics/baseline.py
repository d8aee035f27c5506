"""The baseline of a run: the release that tonight is judged against, and its tables."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from graphquilt.pointers import RELEASES
from pipeline import storage
from pipeline.config.model import PipelineConfig
from pipeline.config.publish import PublishConfig
from pipeline.errors import StorageError
from pipeline.locations import Location
from pipeline.publishing.listing import manifest_of
from pipeline.publishing.release import require_whole
from pipeline.workspace import UNDATED, Workspace, published_folder

log = logging.getLogger(__name__)

#: Keys of ``[input]`` that set which events count and what pairs weigh.
OF_WEIGHTS = ("weight", "event", "event_weights", "half_life_days", "window_days")


class NotComparableError(Exception):
    """Why something of tonight can't be compared with the baseline."""


def why_no_baseline(workspace: Workspace) -> str:
    """Say why there is nothing to compare tonight with."""
    if workspace.date == UNDATED:
        return "the run is undated, and nights can't be told apart: give --date"
    return "there is no release of an earlier date"


@dataclass(frozen=True)
class Baseline:
    """The release that a run is judged against."""

    folder: Location
    manifest: Mapping[str, Any]
    damage: str | None = None  # why its tables can't be read

    @classmethod
    def of(cls, workspace: Workspace, publish: PublishConfig) -> Baseline | None:
        """Return the baseline of a run; None on a first night."""
        if workspace.inputs.baseline is None:
            return None
        folder = published_folder(publish.root(workspace.root), publish.name) / RELEASES / workspace.inputs.baseline
        return cls(folder, manifest_of(folder))

    def with_damage(self, workspace: Workspace, publish: PublishConfig) -> Baseline:
        """Return it with every byte compared with its manifest, restored where that can be."""
        try:
            require_whole(publish.root(workspace.root), publish.name, self.release)
        except StorageError as error:
            log.warning("stage=evaluate baseline=%s damaged=%r", self.release, str(error))
            return replace(self, damage=str(error))
        return self

    @property
    def release(self) -> str:
        """Its name."""
        return self.folder.name

    @property
    def data_date(self) -> str:
        """Its date."""
        return str(self.manifest["data_date"])

    @property
    def id_type(self) -> str:
        """Type of its ids, "int64" or "string"."""
        return str(self.manifest["stages"]["ingest"]["figures"]["id_type"])

    def files_of(self, table: str) -> list[Location]:
        """Return the files of one of its published tables; none if it has no such table."""
        folder = self.folder / table
        return [folder / name for name in storage.names_in(folder) if name.endswith(".parquet")]

    def run(self, workspace: Workspace) -> Workspace:
        """Return the workspace of its run, whose tables may be gone."""
        date = dt.date.fromisoformat(self.data_date)
        return replace(workspace, date=date, fingerprints=self.manifest["fingerprints"])

    def files_of_run(self, workspace: Workspace, table: str) -> tuple[Location, ...]:
        """Return the files of a working table of its run, checked; of ``edges``, those of the main relation.

        Raises
        ------
        NotComparableError : they are damaged or gone.
        """
        run = self.run(workspace)
        if problem := run.problem(table):
            raise NotComparableError(f"{table} of {self.data_date} is damaged ({problem})")
        if run.find_manifest(table) is None:
            raise NotComparableError(f"{table} of {self.data_date} is gone (publish.keep_runs)")
        return tuple(run.files_by_relation(table)[0])


def changed_key(section: str, config: PipelineConfig, baseline: Baseline, keys: Iterable[str]) -> str | None:
    """Return a sentence if one of the keys of a section has another value; one that is new is not compared."""
    before, now = baseline.manifest["config"][section], getattr(config, section).model_dump(mode="json")
    for key in keys:
        if key in before and before[key] != now[key]:
            return f"{section}.{key} was {before[key]!r} on {baseline.data_date} and is {now[key]!r} tonight"
    return None
