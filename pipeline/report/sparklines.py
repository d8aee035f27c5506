"""Small lines: how a figure went over the last nights, in the space of a word."""

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from pipeline.report.night import PastValue
from pipeline.report.svg import drawing, element, path_of

WIDTH, HEIGHT, MARGIN = 132.0, 30.0, 4.0


def sparkline(nights: Sequence[PastValue], label: str, describe: Callable[[PastValue], str]) -> Markup:
    """Return a line through the nights, oldest first, with a dot for the last; empty where there is but one.

    The dashed line is each night's own bound, where it is near enough to tell something.

    Parameters
    ----------
    label : what a screen reader says of the whole.
    describe : what is read of a night by pointing at it.
    """
    if len(nights) < 2:
        return Markup("")
    values = [night.value for night in nights]
    low, high = min(values), max(values)
    # A bound far away would press the line flat.
    reach = max(high - low, 0.02 * max(abs(low), abs(high)), 1e-12)
    lowest, highest = low - 3 * reach, high + 3 * reach
    bounds = {
        number: night.bound
        for number, night in enumerate(nights)
        if night.bound is not None and math.isfinite(night.bound) and lowest <= night.bound <= highest
    }
    low, high = min([low, *bounds.values()]), max([high, *bounds.values()])
    span = max(high - low, reach)
    middle = (low + high) / 2
    step = (WIDTH - 2 * MARGIN) / (len(nights) - 1)

    def place(number: int, value: float) -> tuple[float, float]:
        return MARGIN + number * step, HEIGHT / 2 - (value - middle) / span * (HEIGHT - 2 * MARGIN)

    shapes = []
    if bounds:
        steps = [place(number, bound) for number, bound in bounds.items()]
        ends = [(x + side * step / 2, y) for x, y in steps for side in (-1, 1)]
        shapes.append(element("path", d=path_of(ends), class_="spark-bound"))
    points = [place(number, value) for number, value in enumerate(values)]
    shapes.append(element("path", d=path_of(points), class_="spark-line"))
    for night, (x, y) in zip(nights, points, strict=True):
        is_last = night is nights[-1]
        if is_last or night.has_passed is False:
            kind = "spark-bad" if night.has_passed is False else "spark-now"
            shapes.append(element("circle", cx=x, cy=y, r=3.2 if is_last else 2.4, class_=kind))
    for night, (x, _) in zip(nights, points, strict=True):
        title = element("title", describe(night))
        area = {"x": x - step / 2, "y": 0.0, "width": step, "height": HEIGHT}
        shapes.append(element("rect", title, **area, class_="spark-night"))
    return drawing(WIDTH, HEIGHT, shapes, label, "spark")
