"""What doctor says of one thing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``advice`` says what its lack means and how to mend it."""

    subject: str
    found: str
    is_fine: bool
    is_needed: bool = True
    advice: str = ""
