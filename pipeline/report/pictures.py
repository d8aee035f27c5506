"""A picture of the report: a title, a drawing or a table, and what it says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup


@dataclass(frozen=True)
class Picture:
    """One card of the page, and which share of its width it takes. ``legend`` : (CSS class, words)."""

    title: str
    caption: str
    body: Markup
    share: Literal["whole", "half", "third"] = "half"
    legend: Sequence[tuple[str, str]] = ()
