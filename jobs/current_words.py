"""What a run says of CURRENT: where readers are, and why they stay there if they do."""

import contextlib
from collections.abc import Mapping
from typing import Any

from pipeline.errors import GateError, GraphquiltError
from pipeline.locations import Location
from pipeline.publishing.listing import read_current
from pipeline.workspace import UNDATED


def current_facts(root: Location, name: str, publication: Mapping[str, Any], error: Exception | None) -> dict[str, Any]:
    """Return where CURRENT is after a run, whether the run moved it, and if not, why.

    Parameters
    ----------
    publication : empty if it did not come to an end.
    error : what ended the run, if it failed.
    """
    swap = None
    with contextlib.suppress(GraphquiltError, OSError):  # the run has said it, or a reader will
        swap = read_current(root, name)
    has_moved = bool(publication.get("current_moved"))
    return {
        "current": swap and {key: swap.get(key) for key in ("release", "data_date", "at")},
        "current_moved": has_moved,
        "current_reason": None if has_moved else _reason(swap, publication, error),
    }


def _reason(swap: Mapping[str, Any] | None, publication: Mapping[str, Any], error: Exception | None) -> str:
    if isinstance(error, GateError):
        return "a gate refused this run's table"
    if error is not None:
        return "this run failed"
    if not publication:
        return "publish was not among the stages"
    if swap is not None and swap["release"] != publication["release"]:
        return f"the data of {publication['release']} are older; --force-current moves it all the same"
    return "readers have this release already"


def last_line(facts: Mapping[str, Any]) -> str | None:
    """Return the last line of a run that was to publish and left CURRENT where it is."""
    if facts["current_moved"]:
        return None
    if facts["current"] is None:
        return f"CURRENT points nowhere yet: {facts['current_reason']}"
    day = facts["current"]["data_date"]
    data = "undated data" if day == UNDATED.isoformat() else f"data of {day}"
    return f"CURRENT stays at {facts['current']['release']} ({data}): {facts['current_reason']}"
