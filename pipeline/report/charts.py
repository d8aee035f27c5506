"""Charts of few kinds: lines over one or two scales, steps of a distribution, bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.report.amounts import count
from pipeline.report.axes import Axis
from pipeline.report.svg import drawing, element, path_of, words

#: Of a drawing that takes half of the page's width, and of one that takes a third.
WIDTH, THIRD, HEIGHT = 560.0, 380.0, 280.0
LEFT, RIGHT, TOP, BOTTOM = 66.0, 12.0, 12.0, 42.0
#: Colours of the style sheet, which people with any colour vision tell apart.
COLOURS = 8


@dataclass(frozen=True)
class Curve:
    """A line by its points; ``has_dots`` draws each of them, with its value."""

    name: str
    points: Sequence[tuple[float, float]]
    has_dots: bool = False


def line_chart(
    curves: Sequence[Curve],
    x_title: str,
    y_title: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
    zero: bool = False,
    width: float = WIDTH,
) -> Markup:
    """Return lines over two scales; ``zero``: the vertical one begins there."""
    xs = [x for curve in curves for x, _ in curve.points]
    ys = [y for curve in curves for _, y in curve.points]
    x = Axis(min(xs), max(xs), LEFT, width - RIGHT, log_x)
    low, high = (0.0 if zero else min(ys)), max(ys)
    if not log_y:
        high += 0.08 * ((high - low) or 1.0)
    y = Axis(low, high, HEIGHT - BOTTOM, TOP, log_y)
    shapes = _frame(x, y, x_title, y_title, width)
    for number, curve in enumerate(curves):
        places = [(x.place(a), y.place(b)) for a, b in curve.points]
        shapes.append(element("path", d=path_of(places), class_=f"line s{number % COLOURS}"))
        if curve.has_dots:
            for (a, b), (at_x, at_y) in zip(curve.points, places, strict=True):
                title = element("title", f"{curve.name} at {a:g}: {b:.4f}")
                shapes.append(element("circle", title, cx=at_x, cy=at_y, r=3.5, class_=f"dot f{number % COLOURS}"))
    return drawing(width, HEIGHT, shapes, f"{y_title} by {x_title}")


def degree_curves(degrees: Mapping[str, NDArray[np.int64]]) -> Markup:
    """Return, by type, the share of nodes with at least as many neighbours, on two logarithmic scales."""
    curves = []
    for name, degree in degrees.items():
        values, counts = np.unique(degree[degree > 0], return_counts=True)
        if values.size:
            share = np.cumsum(counts[::-1])[::-1] / degree.size
            ranks = np.unique(np.geomspace(1, values.size, 160).astype(np.int64)) - 1
            curves.append(Curve(name, list(zip(values[ranks].tolist(), share[ranks].tolist(), strict=True))))
    if not curves:
        return Markup("")
    return line_chart(curves, "neighbours, at least", "share of nodes", log_x=True, log_y=True)


def histograms(values: Mapping[str, NDArray[np.float64]], x_title: str, bins: int = 48) -> Markup:
    """Return, by type, how many values fall into each of some bins of one width, as a share of the type's."""
    every = np.concatenate(list(values.values()))
    low, high = float(every.min()), float(np.quantile(every, 0.999))
    if high <= low:
        low, high = low - 0.5, low + 0.5
    edges = np.linspace(low, high, bins + 1)
    shares = {
        name: np.histogram(np.minimum(of_type, high), edges)[0] / max(of_type.size, 1)
        for name, of_type in values.items()
    }
    x = Axis(low, high, LEFT, WIDTH - RIGHT)
    y = Axis(0.0, 1.05 * max(float(share.max()) for share in shares.values()), HEIGHT - BOTTOM, TOP)
    shapes = _frame(x, y, x_title, "share of nodes")
    for number, share in enumerate(shares.values()):
        places = [(x.place(low), y.place(0.0))]
        for at, height in enumerate(share.tolist()):
            places += [(x.place(edges[at]), y.place(height)), (x.place(edges[at + 1]), y.place(height))]
        places.append((x.place(high), y.place(0.0)))
        shapes.append(element("path", d=path_of(places), class_=f"area a{number % COLOURS}"))
        shapes.append(element("path", d=path_of(places), class_=f"line s{number % COLOURS}"))
    return drawing(WIDTH, HEIGHT, shapes, f"distribution of {x_title}")


@dataclass(frozen=True)
class Column:
    """A column of a bar chart: what stands below it in one or two lines, its height, and its words."""

    label: str
    below: str
    value: float
    title: str


def bar_chart(columns: Sequence[Column], x_title: str, y_title: str, colour: int = 0, width: float = WIDTH) -> Markup:
    """Return bars side by side, each with its value above it."""
    high = max([column.value for column in columns] + [1e-9])
    x = Axis(0.0, len(columns), LEFT, width - RIGHT)
    y = Axis(0.0, 1.12 * high, HEIGHT - BOTTOM - 14, TOP)
    shapes = _frame(x, y, x_title, y_title, width, has_x_ticks=False)
    wide = (width - RIGHT - LEFT) / len(columns)
    for number, column in enumerate(columns):
        middle, top = LEFT + (number + 0.5) * wide, y.place(column.value)
        size = {"width": min(0.62 * wide, 90.0), "height": max(y.place(0.0) - top, 0.5)}
        left = middle - size["width"] / 2
        bar = element("rect", element("title", column.title), x=left, y=top, rx=3.0, **size, class_=f"f{colour}")
        shapes += [bar, words(middle, top - 6, f"{column.value:.3f}", "strong", "middle")]
        shapes.append(words(middle, HEIGHT - BOTTOM + 3, column.label, None, "middle"))
        shapes.append(words(middle, HEIGHT - BOTTOM + 18, column.below, "dim", "middle"))
    return drawing(width, HEIGHT, shapes, f"{y_title} by {x_title}")


def slice_columns(slices: Sequence[Mapping[str, Any]], figure: str, members: str) -> list[Column]:
    """Return a column for each class of nodes of :mod:`pipeline.evaluation.slices`."""
    columns = []
    for degree_class in slices:
        low, high = degree_class["degree"]
        degree = f"{count(low)}–{count(high)}" if low != high else count(low)
        value, size = float(degree_class[figure]), int(degree_class["members"])
        title = f"{degree} neighbours: {figure} {value:.4f} of {count(size)} {members}"
        columns.append(Column(degree, count(size), value, title))
    return columns


def _frame(
    x: Axis, y: Axis, x_title: str, y_title: str, width: float = WIDTH, *, has_x_ticks: bool = True
) -> list[Markup]:
    """Return grid, ticks and titles of two scales."""
    shapes = []
    for value, label in y.ticks(5):
        at = y.place(value)
        shapes.append(element("line", x1=LEFT, x2=width - RIGHT, y1=at, y2=at, class_="grid"))
        shapes.append(words(LEFT - 8, at + 4, label, "dim", "end"))
    for value, label in x.ticks(8) if has_x_ticks else ():
        shapes.append(words(x.place(value), HEIGHT - BOTTOM + 18, label, "dim", "middle"))
    shapes.append(words((LEFT + width - RIGHT) / 2, HEIGHT - 5, x_title, "dim", "middle"))
    shapes.append(element("text", y_title, class_="dim", text_anchor="middle", transform=_upright()))
    shapes.append(element("line", x1=LEFT, x2=width - RIGHT, y1=y.start, y2=y.start, class_="base"))
    return shapes


def _upright() -> str:
    return f"translate(11 {(TOP + HEIGHT - BOTTOM) / 2:g}) rotate(-90)"
