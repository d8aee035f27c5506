"""Tables that a night takes over from an earlier one of its lineage; which night's, is recorded as a date's run starts.

So a run that is resumed, repeated or recomputed takes over the same ones, and their fingerprint is part of its own.
"""

import datetime as dt
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pipeline import codec, storage
from pipeline.config.model import PipelineConfig
from pipeline.errors import DamagedFileError, StorageError
from pipeline.locations import Location
from pipeline.stages.chain import MAKER, stage_named
from pipeline.stages.lineages import earlier_nights
from pipeline.storage import fingerprint_of
from pipeline.workspace import EarlierRun, Lineage, Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TakenOver:
    """What is taken over.

    Attributes
    ----------
    name : of the record, ``WORKSPACE/inputs/<name>-<date>-<key>.json``, and in messages.
    stage : that made it.
    tables : the manifest of the first says what nights share (``lineage``), and the fingerprint of its ``index``.
    reads : what nights that share it have in common of their configs; None where a config takes nothing over.
    """

    name: str
    stage: str
    tables: tuple[str, ...]
    reads: Callable[[PipelineConfig], Any]

    def key(self, config: PipelineConfig, lineage: Lineage) -> str:
        """Return what nights that take over from each other have in common."""
        return fingerprint_of([lineage.key, self.reads(config), stage_named(self.stage).algorithm_version])

    def choose(
        self,
        root: Location,
        config: PipelineConfig,
        lineage: Lineage | None,
        date: dt.date,
        *,
        starts_with_ingest: bool,
        is_dry: bool,
    ) -> EarlierRun | None:
        """Return the run of the nearest earlier night that has the same key, its tables whole; None if there is none.

        A run that ``starts_with_ingest`` records it, unless it ``is_dry``.
        """
        if lineage is None or lineage.start == date or self.reads(config) is None:
            return None
        key = self.key(config, lineage)
        path = root / "inputs" / f"{self.name}-{date}-{key[:16]}.json"
        try:
            record = storage.read_checked_json(path)
        except DamagedFileError as error:
            log.warning("warning: %s; the %s to take over is chosen anew", error, self.name)
            record = None
        if record is not None:
            return None if record["run"] is None else codec.from_values(EarlierRun, record["run"])
        run = self._nearest(root, lineage, key, date)
        if starts_with_ingest and not is_dry:
            storage.write_checked_json(path, {"run": None if run is None else codec.to_values(run)})
        return run

    def open(self, workspace: Workspace, before: EarlierRun) -> Workspace:
        """Return the workspace of the earlier run, whose tables are whole.

        Raises
        ------
        StorageError : they are not there any more.
        """
        run = replace(workspace, date=before.date, fingerprints=before.fingerprints)
        if problem := self._problem(run):
            raise StorageError(
                f"{workspace.described_date} takes over the {self.name} of {before.date}, and {problem}. Put it back; "
                f"or remove {workspace.root / 'inputs'}/{self.name}-{workspace.date}-*.json and run again, which "
                "chooses another night's"
            )
        return run

    def _nearest(self, root: Location, lineage: Lineage, key: str, date: dt.date) -> EarlierRun | None:
        for night in earlier_nights(root, self.tables[0], key, lineage.start, date):
            manifest = night.manifest
            run = EarlierRun(night.date, {"index": manifest.figures["index"], self.stage: manifest.fingerprint})
            problem = self._problem(Workspace(root, night.date, run.fingerprints, MAKER, ""))
            if not problem:
                return run
            log.warning("date=%s warning: %s; its %s is not taken over", night.date, problem, self.name)
        return None

    def _problem(self, run: Workspace) -> str:
        """Say what is wrong with the tables; "" if all are there and whole."""
        for table in self.tables:
            if problem := run.problem(table):
                return problem
            if run.find_manifest(table) is None:
                return f"{run.folder(table)} is gone"
        return ""
