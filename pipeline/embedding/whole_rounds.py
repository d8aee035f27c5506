"""What most methods don't need: a round that only multiplies, settles, and is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block
from pipeline.embedding.rows import Facts, KnownNorms, Narrow, Rows, Settings


class WholeRounds:
    """A method whose rows all have the embedding's columns, and that finds out nothing about the whole graph."""

    keeps_total: bool = False

    def prelude(self, settings: Settings) -> Settings | None:
        """Return None: no other method's facts are needed."""
        return None

    def width(self, number: int, settings: Settings) -> int:
        """Return the columns that are computed."""
        return settings.width

    def is_one_way(self, number: int, settings: Settings) -> bool:
        """Return False: every product is brought together."""
        return False

    def weigh(
        self,
        rows: Rows,
        number: int,
        settings: Settings,
        norms: KnownNorms,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return zeros: no sum over the rounds is kept."""
        return np.zeros(len(rows.values)), np.zeros(len(rows.values))

    def kept_width(self, settings: Settings) -> int:
        """Return 0: homes carry nothing."""
        return 0

    def first_total(self, block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
        """Return zeros: a sum over the rounds begins with nothing."""
        return Rows.zeros(local.size, settings.width)

    def first_kept(self, block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
        """Return zeros, as wide as what is kept."""
        return Rows.zeros(local.size, self.kept_width(settings))

    def keep(self, kept: Rows, rows: Rows, number: int, settings: Settings, norms: KnownNorms, narrow: Narrow) -> Rows:
        """Return the rows, narrowed: nothing is kept of them."""
        narrow(rows.values)
        return rows

    def rows_of_attributes(self, rows: Rows, settings: Settings) -> Rows:
        """Return the start rows."""
        return rows

    def gather(self, rows: Rows, kept: Rows, number: int, settings: Settings) -> Facts:
        """Return nothing."""
        return {}

    def conclude(self, number: int, found: Sequence[Facts], settings: Settings) -> Facts:
        """Return the facts as they are."""
        return settings.facts

    def reduced_width(self, settings: Settings) -> int:
        """Return 0: rows are not reduced."""
        return 0

    def reduce(self, rows: Rows, node_ix: NDArray[np.int64], settings: Settings, role: str = "rows") -> Rows:
        """Return the rows as they are."""
        return rows

    def report(self, settings: Settings) -> dict[str, Any]:
        """Return nothing."""
        return {}
