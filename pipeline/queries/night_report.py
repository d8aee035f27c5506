"""The report on a night, from what it left behind."""

import datetime as dt

from threadpoolctl import threadpool_limits

from pipeline.queries.night_facts import read_facts
from pipeline.queries.night_pictures import draw_pictures
from pipeline.queries.night_run import NightRun
from pipeline.report.page import render


def render_night(night: NightRun, *, shows_persons: bool = False) -> str:
    """Return the page on a night; ``shows_persons``: nodes of the types that are persons are named, too."""
    with threadpool_limits(1):  # small products: several threads take three times the CPU, and no less time
        pictures = draw_pictures(night, shows_persons=shows_persons)
    return render(read_facts(night), pictures, dt.datetime.now(dt.UTC))
