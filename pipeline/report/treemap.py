"""The parts of a cut as rectangles: as large as the part, as deep in colour as its share of cut edges."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipeline.report.amounts import count, percent
from pipeline.report.svg import drawing, element, words

WIDTH, HEIGHT = 1140.0, 250.0
#: Shades of the style sheet, from no cut edges to all of them.
SHADES = 5


@dataclass(frozen=True)
class PartSize:
    """A part of the graph, as partition_tree has it; ``copies``: of split nodes whose home is elsewhere."""

    path: str
    nodes: int
    edges: int
    cut: int
    copies: int
    ghosts: int

    @property
    def cut_share(self) -> float:
        """Share of its edges that have an end elsewhere."""
        return self.cut / self.edges if self.edges else 0.0


@dataclass(frozen=True)
class Box:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float


def draw_parts(parts: Sequence[PartSize]) -> Markup:
    """Return the tree map of some parts, by their edges."""
    largest_first = sorted(parts, key=lambda part: -part.edges)
    sizes = [float(max(part.edges, 1)) for part in largest_first]
    shapes = []
    for part, box in zip(largest_first, squarify(sizes, Box(0.0, 0.0, WIDTH, HEIGHT)), strict=True):
        shade = min(int(part.cut_share * SHADES), SHADES - 1)
        about = (
            f"part {part.path}: {count(part.nodes)} nodes, {count(part.edges)} edges, {percent(part.cut_share)} cut, "
            f"{count(part.copies)} copies, {count(part.ghosts)} ghosts"
        )
        place = {"x": box.x + 1, "y": box.y + 1, "width": max(box.width - 2, 0.5), "height": max(box.height - 2, 0.5)}
        shapes.append(element("rect", element("title", about), rx=4.0, class_=f"part shade{shade}", **place))
        lines = [
            part.path,
            f"{count(part.nodes)} nodes",
            f"{count(part.edges)} edges",
            f"{percent(part.cut_share)} cut",
        ]
        if box.width > 92:
            room = int((box.height - 12) // 17)
            for number, line in enumerate(lines[:room]):
                kind = f"on{shade} {'strong' if number == 0 else ''}".strip()
                shapes.append(words(box.x + 11, box.y + 21 + 17 * number, line, kind))
    return drawing(WIDTH, HEIGHT, shapes, f"tree map of {len(parts)} parts by edges")


def squarify(sizes: Sequence[float], room: Box) -> Iterator[Box]:
    """Yield rectangles that fill the room, each as large as its size asks, and as square as they come.

    Parameters
    ----------
    sizes : above 0, descending.

    Source
    ------
    Bruls, Huizing & van Wijk, "Squarified treemaps", 2000.
    """
    scale = room.width * room.height / sum(sizes) if sizes else 0.0
    areas = [size * scale for size in sizes]
    while areas:
        side = min(room.width, room.height)
        row = 1
        while row < len(areas) and _worst(areas[: row + 1], side) <= _worst(areas[:row], side):
            row += 1
        depth = sum(areas[:row]) / side
        at = 0.0
        for area in areas[:row]:
            if room.width >= room.height:
                yield Box(room.x, room.y + at, depth, area / depth)
            else:
                yield Box(room.x + at, room.y, area / depth, depth)
            at += area / depth
        if room.width >= room.height:
            room = Box(room.x + depth, room.y, max(room.width - depth, 1e-9), room.height)
        else:
            room = Box(room.x, room.y + depth, room.width, max(room.height - depth, 1e-9))
        areas = areas[row:]


def _worst(areas: Sequence[float], side: float) -> float:
    """Return the largest ratio of the sides of rectangles that lie in a row along a side."""
    total = sum(areas)
    return max(max(side**2 * area / total**2, total**2 / (side**2 * area)) for area in areas)
