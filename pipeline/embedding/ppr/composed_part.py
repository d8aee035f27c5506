"""A part of a cut graph as a walk sees it: its rows, those it shares with other parts, and the sources among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import Block, RowKind
from pipeline.embedding.ppr.walk_graph import weighed_anew
from pipeline.kernels.ppr_part_passes import PartWalk


@dataclass(frozen=True)
class Part:
    """A block among the others.

    places : part_ids of all blocks, ascending; a *place* is an index into them.
    needed : by place, home rows that it needs. away : by place, rows here that are at home there; both ascending, and
        one part's ``needed`` are the same nodes as the other's ``away``.
    """

    block: Block
    places: Sequence[int]
    needed: Sequence[NDArray[np.int32]]
    away: Sequence[NDArray[np.int32]]

    @classmethod
    def read(cls, raw: Mapping[str, Any], places: Sequence[int], edge_degree_power: float = 0.0) -> Part:
        """Map a block; ``raw`` is the JSON of `BlockFiles`."""
        block = Block.read(int(raw["part_id"]), Path(raw["nodes"]), Path(raw["edges"]), Path(raw["routes"]))
        block = weighed_anew(block, edge_degree_power)
        away = np.flatnonzero(block.kind >= RowKind.COPY).astype(np.int32)
        place = np.searchsorted(places, block.home[away])
        order = np.argsort(place, kind="stable")
        bounds = np.searchsorted(place[order], np.arange(1, len(places)))
        nobody = np.empty(0, np.int32)
        return cls(
            block,
            places,
            [block.routes.get(part, nobody) for part in places],
            np.split(away[order], bounds),
        )

    @property
    def place(self) -> int:
        """This part's own place."""
        return self.places.index(self.block.part_id)

    @property
    def is_home(self) -> NDArray[np.bool_]:
        """Which rows are at home here."""
        return self.block.kind < RowKind.COPY

    @property
    def homes(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the place of each away row's home, -1 for home rows, and its position among the rows shared."""
        place, position = (np.full(self.block.node_ix.size, -1, np.int32) for _ in range(2))
        for number, rows in enumerate(self.away):
            place[rows] = number
            position[rows] = np.arange(rows.size, dtype=np.int32)
        return place, position

    def walk(self, weight: NDArray[np.float64]) -> PartWalk:
        """Return what a push needs; ``weight`` (rows,) float64 is that of each home row's edges in all parts."""
        block = self.block
        row, place, position = self._copies()
        home, own_position = self.homes
        return PartWalk(
            block.indptr,
            block.neighbor,
            block.edge_weight,
            np.where(self.is_home, weight, np.inf),
            home,
            own_position,
            np.searchsorted(row, np.arange(block.node_ix.size + 1)),
            place,
            position,
        )

    def _copies(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """Rows at home here that other parts store edges of, ascending; where, and their positions there."""
        found = []
        for number, rows in enumerate(self.needed):
            position = np.flatnonzero(self.block.kind[rows] == RowKind.SPLIT).astype(np.int32)
            found.append((rows[position], np.full(position.size, number, np.int32), position))
        row, place, position = (np.concatenate(columns) for columns in zip(*found, strict=True))
        order = np.argsort(row, kind="stable")
        return row[order], place[order], position[order]

    def rows_at(self, place: int, position: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the rows that another part means by positions, as `ArrivedMass` has them; (n,) int32 -> (n,)."""
        rows = np.empty(position.size, np.int32)
        is_pushed = position < 0
        rows[~is_pushed] = self.needed[place][position[~is_pushed]]
        rows[is_pushed] = ~self.away[place][~position[is_pushed]]
        return rows


@dataclass(frozen=True)
class SourceRows:
    """The sources that a part has rows of: ``source`` (n,) int64 ascending, places in the file; ``row`` (n,) int64."""

    source: NDArray[np.int64]
    row: NDArray[np.int64]

    @classmethod
    def find(cls, sources: Path, part: Part) -> SourceRows:
        """Look a part's rows with edges stored here, its own and others', up in the file of sources."""
        wanted = storage.column(storage.map_arrow(sources), "node_ix")
        row = np.flatnonzero(part.block.kind != RowKind.GHOST)
        node_ix = part.block.node_ix[row]
        source = np.searchsorted(wanted, node_ix)
        found = source < wanted.size
        found[found] = wanted[source[found]] == node_ix[found]
        return cls(source[found], row[found])

    def at_home(self, part: Part) -> SourceRows:
        """Return those at home in the part."""
        is_home = part.is_home[self.row]
        return SourceRows(self.source[is_home], self.row[is_home])

    def between(self, first_source: int, stop_source: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the sources of a range, counted from its first, and their rows."""
        some = slice(*np.searchsorted(self.source, [first_source, stop_source]))
        return self.source[some] - first_source, self.row[some]
