"""Some nodes with their neighbours, last night and tonight: what a person can judge at a glance."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipeline.report.svg import element


@dataclass(frozen=True)
class ComparedNeighbors:
    """A node, its nearest nodes by name with their cosine, best first; ``before`` is None where nothing is known."""

    name: str
    about: str
    now: Sequence[tuple[str, float]]
    before: Sequence[tuple[str, float]] | None


def show_neighbors(nodes: Sequence[ComparedNeighbors]) -> Markup:
    """Return a table: a line a node, those that are new tonight and those that went marked as such."""
    has_before = any(node.before is not None for node in nodes)
    heads = [element("th", title) for title in ("node", "nearest tonight", *(["no longer among them"] * has_before))]
    lines = [element("tr", *heads)]
    for node in nodes:
        earlier = {name for name, _ in node.before or ()}
        today = {name for name, _ in node.now}
        chips = [
            _chip(name, score, "new" if node.before is not None and name not in earlier else "same")
            for name, score in node.now
        ]
        cells = [
            element("td", element("b", node.name), element("span", node.about, class_="small")),
            element("td", *chips, class_="chips"),
        ]
        if has_before:
            lost_chips = [_chip(name, score, "gone") for name, score in node.before or () if name not in today]
            none = element("span", "–" if node.before is not None else "new tonight", class_="dim")
            cells.append(element("td", *(lost_chips or [none]), class_="chips"))
        lines.append(element("tr", *cells))
    return element("div", element("table", *lines, class_="plain neighbors"), class_="scroll")


def _chip(name: str, score: float, kind: str) -> Markup:
    return element("span", name, element("i", f"{score:.3f}"), class_=f"chip {kind}", title=f"cosine {score:.4f}")
