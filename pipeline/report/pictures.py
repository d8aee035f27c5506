"""A picture of the report: a title, a drawing or a table, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Picture:
    """One card of the page; ``is_wide`` takes the whole width. ``legend`` : (CSS class, words)."""

    title: str
    caption: str
    body: Markup
    is_wide: bool = False
    legend: Sequence[tuple[str, str]] = ()
