"""The report on a night, from what it left behind."""

from __future__ import annotations

import datetime as dt

from pipeline.queries.night_facts import read_facts
from pipeline.queries.night_run import NightRun
from pipeline.report.page import render


def render_night(night: NightRun) -> str:
    """Return the page on a night."""
    return render(read_facts(night), [], dt.datetime.now(dt.UTC))
