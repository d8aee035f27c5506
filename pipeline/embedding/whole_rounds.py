"""What most methods don't need: a round that only multiplies and finalizes its rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block
from pipeline.embedding.fact_files import Facts
from pipeline.embedding.rows import KnownNorms, Rows
from pipeline.embedding.settings import Settings
from pipeline.kernels.narrow_rows import round_rows


class WholeRounds(ABC):
    """A method whose rows all have the embedding's columns, and that computes no facts of the whole graph."""

    keeps_total: bool = False

    @abstractmethod
    def rounds(self, settings: Settings) -> int:
        """Return the number of products with the graph."""

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
        """Return zeros: there is no sum over the rounds."""
        return np.zeros(len(rows.values)), np.zeros(len(rows.values))

    def carry_width(self, settings: Settings) -> int:
        """Return 0: homes carry nothing."""
        return 0

    def initial_total(self, block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
        """Return zeros: a sum over the rounds begins with nothing."""
        return Rows.zeros(local.size, settings.width)

    def initial_carry(self, block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
        """Return zeros."""
        return Rows.zeros(local.size, self.carry_width(settings))

    def carry(self, carried: Rows, rows: Rows, number: int, settings: Settings) -> Rows:
        """Return the rows, rounded: homes carry nothing."""
        self.round_entries(rows, number, settings)
        return rows

    def round_entries(self, rows: Rows, number: int, settings: Settings) -> None:
        """Round rows to the type in which they are exchanged, in place; the rows of the last round stay as they are.

        All readers see the rounded rows, the row's own part too: so the result does not depend on the cut.
        """
        if number < self.rounds(settings) - 1:
            round_rows(rows.values, dtype=settings.embedding.boundary_dtype)

    def rows_of_attributes(self, rows: Rows, settings: Settings) -> Rows:
        """Return the start rows."""
        return rows

    def local_facts(self, rows: Rows, carried: Rows, number: int, settings: Settings) -> Facts:
        """Return nothing."""
        return {}

    def reduce_facts(self, number: int, local: Sequence[Facts], settings: Settings) -> Facts:
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
