"""SVG elements as text that is safe in HTML: every attribute and every word is escaped."""

from collections.abc import Iterable

from markupsafe import Markup, escape


def element(name: str, *children: str | Markup, **attributes: str | float | None) -> Markup:
    """Return an element. Underscores of attributes stand for hyphens, one at the end for a Python word's."""
    words = []
    for key, value in attributes.items():
        if value is not None:
            text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else escape(value)
            words.append(f' {key.rstrip("_").replace("_", "-")}="{text}"')
    inner = "".join(map(escape, children))
    return Markup(f"<{name}{''.join(words)}>{inner}</{name}>")


def drawing(width: float, height: float, shapes: Iterable[Markup], label: str, class_: str = "chart") -> Markup:
    """Return a drawing that fills the width it is given; ``label`` says to a screen reader what is seen."""
    return element("svg", *shapes, viewBox=f"0 0 {width:g} {height:g}", class_=class_, role="img", aria_label=label)


def words(x: float, y: float, content: str, class_: str | None = None, anchor: str | None = None) -> Markup:
    """Return words at a place."""
    return element("text", content, x=float(x), y=float(y), class_=class_, text_anchor=anchor)


def path_of(points: Iterable[tuple[float, float]]) -> str:
    """Return the ``d`` of a line through points."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
