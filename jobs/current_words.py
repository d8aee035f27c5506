"""What a run says of CURRENT: where readers are, and why they stay there if they do."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import GateError, GraphquiltError
from pipeline.publishing.listing import current
from pipeline.workspace import UNDATED


def about_current(root: Path, name: str, published: Mapping[str, Any], error: Exception | None) -> dict[str, Any]:
    """Return where CURRENT is after a run, whether the run moved it, and if not, why.

    Parameters
    ----------
    published : figures of the stage publish; empty if it did not come to an end.
    error : what ended the run, if it failed.
    """
    at = None
    with contextlib.suppress(GraphquiltError, OSError):  # it has been said, or is a reader's to say
        at = current(root, name)
    moved = bool(published.get("current_moved"))
    return {
        "current": at and {key: at[key] for key in ("release", "data_date")},
        "current_moved": moved,
        "current_reason": None if moved else _reason(at, published, error),
    }


def _reason(at: Mapping[str, Any] | None, published: Mapping[str, Any], error: Exception | None) -> str:
    if isinstance(error, GateError):
        return "a gate refused this run's table"
    if error is not None:
        return "this run failed"
    if not published:
        return "publish was not among the stages"
    if at is not None and at["release"] != published["release"]:
        return f"the data of {published['release']} are older; --force-current moves it all the same"
    return "readers have this release already"


def last_line(about: Mapping[str, Any]) -> str | None:
    """Return the last line of a run that was to publish and left CURRENT where it is."""
    if about["current_moved"]:
        return None
    if about["current"] is None:
        return f"CURRENT points nowhere yet: {about['current_reason']}"
    day = about["current"]["data_date"]
    data = "undated data" if day == UNDATED.isoformat() else f"data of {day}"
    return f"CURRENT stays at {about['current']['release']} ({data}): {about['current_reason']}"
