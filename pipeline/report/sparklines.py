"""Small lines: how a figure went over the last nights, in the space of a word."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from pipeline.report.night import PastValue
from pipeline.report.svg import drawing, element, path_of

WIDTH, HEIGHT, MARGIN = 132.0, 30.0, 4.0


def sparkline(history: Sequence[PastValue], now: PastValue | None, bound: float | None, format_: str) -> Markup:
    """Return a line through the nights before and a dot for tonight; empty where there is nothing before.

    bound : drawn as a dashed line where it is near enough to tell something.
    format_ : what a screen reader says of the whole.
    """
    nights = [*history, *([now] if now else [])]
    if len(nights) < 2:
        return Markup("")
    values = [night.value for night in nights]
    low, high = min(values), max(values)
    # A bound far away would press the line flat.
    reach = max(high - low, 0.02 * max(abs(low), abs(high)), 1e-12)
    has_bound = bound is not None and math.isfinite(bound) and low - 3 * reach <= bound <= high + 3 * reach
    if has_bound and bound is not None:
        low, high = min(low, bound), max(high, bound)
    span = max(high - low, reach)
    middle = (low + high) / 2

    def y_of(value: float) -> float:
        return HEIGHT / 2 - (value - middle) / span * (HEIGHT - 2 * MARGIN)

    step = (WIDTH - 2 * MARGIN) / (len(nights) - 1)
    points = [(MARGIN + number * step, y_of(value)) for number, value in enumerate(values)]
    shapes = [element("path", d=path_of(points), class_="spark-line")]
    if has_bound and bound is not None:
        y = y_of(bound)
        shapes.insert(0, element("line", x1=0.0, x2=WIDTH, y1=y, y2=y, class_="spark-bound"))
    for night, (x, y) in zip(nights, points, strict=True):
        is_last = night is nights[-1]
        if is_last or night.passed is False:
            kind = "spark-bad" if night.passed is False else "spark-now"
            shapes.append(element("circle", cx=x, cy=y, r=3.2 if is_last else 2.4, class_=kind))
    return drawing(WIDTH, HEIGHT, shapes, format_, "spark")
