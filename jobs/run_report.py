"""The report that a run leaves behind. It tells of a night, and is no part of it: none fails for want of one."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from graphquilt.pointers import RELEASES
from pipeline import storage
from pipeline.config.model import PipelineConfig
from pipeline.locations import Location
from pipeline.publishing.release import REPORT
from pipeline.workspace import Manifest, Workspace, published_folder

log = logging.getLogger(__name__)


def leave_report(
    config: PipelineConfig, workspace: Workspace, tables: Mapping[str, Manifest], verdict: Mapping[str, Any]
) -> Location | None:
    """Write the report on a run that has ended beside its release, of a refused one beside its verdict.

    A release that has one keeps it, unless it is this run's own.

    Parameters
    ----------
    tables : manifests of the run's tables, by name.
    verdict : the record of the date's ``gate.json``.

    Returns
    -------
    Where the report is; None where there is none, which a line of the log explains.
    """
    if not config.publish.report:
        return None
    name_folder = published_folder(config.publish.root(workspace.root), config.publish.name)
    release = name_folder / RELEASES / verdict["release"] if verdict["release"] else None
    place = (release or workspace.run_folder) / REPORT
    try:
        if verdict["verdict"] == "unchanged" and storage.size(place) is not None:
            return place
        from pipeline.queries.night_report import render_night
        from pipeline.queries.night_run import NightRun

        # As files have both: with secrets masked that an address or a message may hold.
        facts, settings = (json.loads(storage.json_bytes(data)) for data in (verdict, config.model_dump(mode="json")))
        night = NightRun(workspace, name_folder, facts, tables, release, settings)
        page = render_night(night).encode()
        storage.write(place, page)
        log.info("stage=publish report=%s bytes=%d", place, len(page))
    except ModuleNotFoundError as error:
        log.info("stage=publish report=none reason='%s is not installed: the extra local has it'", error.name)
        return None
    except Exception as error:  # of whatever kind: the night is over, and stands as it is
        log.warning("stage=publish report=none warning: it could not be written: %s: %s", type(error).__name__, error)
        return None
    return place
