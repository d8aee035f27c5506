"""What the manifests of partition and layout say: figures that people act on and later stages read."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class LevelFigures:
    """One level of the tree."""

    depth: int
    parts: int
    cut_percent: float
    copies_per_node: float
    imbalance: float


@dataclass(frozen=True)
class PartitionFigures:
    """What people look at in a cut."""

    parts: int
    levels: tuple[LevelFigures, ...]
    copies_per_node: float
    imbalance: float
    largest_part: str
    most_edges: int
    inversions: int
    empty_parts_dropped: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BlockSetFigures:
    """Blocks that are embedded together."""

    name: str
    parts: tuple[int, ...]  # that have a block
    nodes: int  # at home in the blocks
    rows: Mapping[int, int]  # by part
    entries: Mapping[int, int]  # by part
    splits: tuple[int, ...]  # parts that split nodes are at home in
    kept_files: int  # of kept_weights


@dataclass(frozen=True)
class BorderLevel:
    """One border graph."""

    nodes: int
    edges: int
    parts: int


@dataclass(frozen=True, kw_only=True)
class ModeFigures:
    """What a boundary mode repeats or leaves out; None of modes that don't."""

    work_factor: float | None = None  # entries of all blocks over those of one block
    edges_left_out: int | None = None
    edges_left_out_percent: float | None = None
    nodes_without_edges_left: int | None = None
    border_levels: tuple[BorderLevel, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class LayoutFigures(BlockSetFigures, ModeFigures):
    """The blocks of the parts, then all sets of blocks."""

    boundary: str
    sets: tuple[BlockSetFigures, ...]
    warnings: tuple[str, ...]
