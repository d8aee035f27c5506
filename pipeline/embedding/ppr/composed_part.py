"""A part of a cut graph as a walk sees it: its rows, those it shares with other parts, and the sources among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import Block, RowKind
from pipeline.embedding.ppr.walk_graph import reweigh_edges
from pipeline.embedding.waves import BlockFiles
from pipeline.kernels.ppr_part_passes import PartWalk
from pipeline.locations import Location


@dataclass(frozen=True)
class PartFiles:
    """Where a part lies, and which parts there are: a *part index* is an index into ``part_ids``, which ascend."""

    block: BlockFiles
    part_ids: tuple[int, ...]
    edge_degree_power: float


@dataclass(frozen=True)
class Part:
    """A block among the others.

    index : its own part index.
    home_rows_for, away : by part index, home rows that the part needs, and rows here that are at home there.
        Both ascend, and one part's ``home_rows_for`` are the same nodes as the other's ``away``.
    """

    block: Block
    index: int
    home_rows_for: Sequence[NDArray[np.int32]]
    away: Sequence[NDArray[np.int32]]

    @classmethod
    def read(cls, files: PartFiles) -> Part:
        """Map a block."""
        ids, place = files.part_ids, files.block
        block = Block.read(place.part_id, place.nodes, place.edges, place.routes)
        block = reweigh_edges(block, files.edge_degree_power)
        away = np.flatnonzero(block.kind >= RowKind.COPY).astype(np.int32)
        home = np.searchsorted(ids, block.home[away])
        order = np.argsort(home, kind="stable")
        bounds = np.searchsorted(home[order], np.arange(1, len(ids)))
        no_rows = np.empty(0, np.int32)
        return cls(
            block,
            ids.index(place.part_id),
            [block.routes.get(part_id, no_rows) for part_id in ids],
            np.split(away[order], bounds),
        )

    @property
    def is_home(self) -> NDArray[np.bool_]:
        """Which rows are at home here."""
        return self.block.kind < RowKind.COPY

    @property
    def homes(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the part index of each away row's home, -1 for home rows, and its position among the rows shared."""
        home, position = (np.full(self.block.node_ix.size, -1, np.int32) for _ in range(2))
        for index, rows in enumerate(self.away):
            home[rows] = index
            position[rows] = np.arange(rows.size, dtype=np.int32)
        return home, position

    def walk(self, weight: NDArray[np.float64]) -> PartWalk:
        """Return what a push needs; ``weight`` (rows,) float64 is that of each home row's edges in all parts."""
        block = self.block
        row, part_index, position = self._copies()
        home, own_position = self.homes
        return PartWalk(
            block.indptr,
            block.neighbor,
            block.edge_weight,
            np.where(self.is_home, weight, np.inf),
            home,
            own_position,
            np.searchsorted(row, np.arange(block.node_ix.size + 1)),
            part_index,
            position,
        )

    def _copies(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """Return home rows that other parts store edges of, ascending; those parts, and the positions there."""
        copies = []
        for index, rows in enumerate(self.home_rows_for):
            position = np.flatnonzero(self.block.kind[rows] == RowKind.SPLIT).astype(np.int32)
            copies.append((rows[position], np.full(position.size, index, np.int32), position))
        row, part_index, position = (np.concatenate(columns) for columns in zip(*copies, strict=True))
        order = np.argsort(row, kind="stable")
        return row[order], part_index[order], position[order]

    def rows_at(self, index: int, position: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the rows that another part means by positions, as `ArrivedMass` has them; (n,) int32 -> (n,)."""
        rows = np.empty(position.size, np.int32)
        is_pushed = position < 0
        rows[~is_pushed] = self.home_rows_for[index][position[~is_pushed]]
        rows[is_pushed] = ~self.away[index][~position[is_pushed]]
        return rows


@dataclass(frozen=True)
class SourceRows:
    """The sources that a part has rows of: ``source`` (n,) int64, lines of the file, ascending; ``row`` (n,) int64."""

    source: NDArray[np.int64]
    row: NDArray[np.int64]

    @classmethod
    def find(cls, sources: Location, part: Part) -> SourceRows:
        """Look up which rows with edges stored here, home or away, are sources."""
        source_ix = storage.column(storage.map_arrow(sources), "node_ix")
        row = np.flatnonzero(part.block.kind != RowKind.GHOST)
        node_ix = part.block.node_ix[row]
        source = np.searchsorted(source_ix, node_ix)
        is_source = source < source_ix.size
        is_source[is_source] = source_ix[source[is_source]] == node_ix[is_source]
        return cls(source[is_source], row[is_source])

    def at_home(self, part: Part) -> SourceRows:
        """Return those at home in the part."""
        is_home = part.is_home[self.row]
        return SourceRows(self.source[is_home], self.row[is_home])

    def between(self, first_source: int, stop_source: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the sources of a range, counted from its first, and their rows."""
        lines = slice(*np.searchsorted(self.source, [first_source, stop_source]))
        return self.source[lines] - first_source, self.row[lines]
