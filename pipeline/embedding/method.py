"""The rounds of an embedding method: what all methods have, with what most of them need."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block
from pipeline.embedding.fact_files import Facts
from pipeline.embedding.products import Multiplier, PowerSum, scale_both
from pipeline.embedding.rows import ColumnSums, KnownNorms, Operand, RowNodes, Rows
from pipeline.embedding.settings import Settings
from pipeline.embedding.sinks import Sink
from pipeline.kernels.narrow_rows import round_rows


class Method(ABC):
    """Vectors in rounds: each a product with the graph, then work on complete rows.

    A method sees the arrays of one block and no file, part or worker. ``number`` counts rounds from 0. A task computes
    ``settings.width`` columns, maybe none. Two things need all columns: the norms of rows, which are an argument, and
    facts: small arrays about the whole graph, which each round adds up over the blocks.

    What is not abstract is of a method whose rows all have the embedding's columns, that carries nothing from round to
    round and computes no facts.
    """

    keeps_total: bool = False  # whether the result is a sum over the rounds, which homes carry beside the rows

    @abstractmethod
    def rounds(self, settings: Settings) -> int:
        """Return the number of products with the graph."""

    def needs_noise_scales(self, number: int, settings: Settings) -> bool:
        """Whether a later step reads the noise scales of this round's rows."""
        return False

    def exchanged_range(self, block: Block, settings: Settings) -> tuple[int, int]:
        """Return the range of local rows that the next round multiplies, by default all; parts exchange them."""
        return 0, block.node_ix.size

    def prelude(self, settings: Settings) -> Settings | None:
        """Return the settings of a method whose facts this one needs before its first round; None: of none."""
        return None

    def width(self, number: int, settings: Settings) -> int:
        """Return the columns of the rows that a round multiplies."""
        return settings.width

    def is_one_way(self, number: int, settings: Settings) -> bool:
        """Whether a round's partial products are not summed: the round emits rows and reports facts only."""
        return False

    @abstractmethod
    def start(self, block: Block, settings: Settings) -> Operand:
        """Return the exchanged rows of the first product: any part can compute any row."""

    @abstractmethod
    def multiply(self, multiplier: Multiplier, x: Any, number: int, settings: Settings, sink: Sink) -> Rows:
        """Return the share of the multiplier's block in the product, for all exchanged rows; ``x`` may be overwritten.

        Rows that are complete have been scaled by the multiplier's ``row_scales``. Those that are final go to ``sink``,
        which may keep them. A round that is one way returns no rows.
        """

    def row_scales(self, strength: NDArray[np.float64], settings: Settings) -> NDArray[np.float64] | None:
        """Return the factors of complete rows, by which a product becomes what the round is after; None: 1."""
        return None

    def scale_complete(self, rows: Rows, strength: NDArray[np.float64], settings: Settings) -> None:
        """Scale rows in place that have just become complete."""
        scales = self.row_scales(strength, settings)
        if scales is not None:
            scale_both(rows, scales)

    def weigh(
        self, rows: Rows, number: int, settings: Settings, norms: KnownNorms
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the factors of this round's rows in the sum, and by how much the sum's noise scale grows."""
        return np.zeros(len(rows.values)), np.zeros(len(rows.values))

    def carry_width(self, settings: Settings) -> int:
        """Return the columns that homes carry from round to round beside each row; 0: none."""
        return 0

    def initial_total(self, block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
        """Return the initial sum over the rounds, of some local rows; any part can compute any row."""
        return Rows.zeros(local.size, settings.width)

    def initial_carry(self, block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
        """Return what homes carry before the first round, for some local rows."""
        return Rows.zeros(local.size, self.carry_width(settings))

    def power_sum(self, carried_rows: Rows, number: int, settings: Settings) -> PowerSum | None:
        """Return the sum that a block's rows, all of them complete, are added to as they are made; None: by `carry`."""
        return None

    def carry(self, carried_rows: Rows, rows: Rows, number: int, settings: Settings) -> Rows:
        """Update the carried rows from complete rows, in place; return the next round's rows, or the result.

        The next round's rows are rounded here to the type in which they are exchanged.
        """
        self.round_entries(rows, number, settings)
        return rows

    def round_entries(self, rows: Rows, number: int, settings: Settings) -> None:
        """Round rows to the type in which they are exchanged, in place; the rows of the last round stay as they are.

        All readers see the rounded rows, the row's own part too: so the result does not depend on the cut.
        """
        if number < self.rounds(settings) - 1:
            round_rows(rows.values, dtype=settings.embedding.boundary_dtype)

    def rows_of_attributes(self, rows: Rows, settings: Settings) -> Rows:
        """Return the rows of nodes without edges before ``finish``, from their start rows, which may be overwritten."""
        return rows

    def local_facts(self, rows: Rows, carried_rows: Rows, number: int, settings: Settings) -> Facts:
        """Return what complete rows contribute to the facts, after :meth:`carry`."""
        return {}

    def reduce_facts(self, number: int, local: Sequence[Facts], settings: Settings) -> Facts:
        """Return the facts after a round, from the local facts of all blocks in part order; called on the driver."""
        return settings.facts

    def reduced_width(self, settings: Settings) -> int:
        """Return the columns of rows once they are reduced; 0 where rows are final as the rounds leave them."""
        return 0

    def reduce(self, rows: Rows, node_ix: NDArray[np.int64], settings: Settings, role: str = "rows") -> Rows:
        """Return the embedding's columns of rows that the rounds emitted, by the last facts."""
        return rows

    def report(self, settings: Settings) -> dict[str, Any]:
        """Return figures of the last facts for reports, as JSON values."""
        return {}

    @abstractmethod
    def finish(self, rows: Rows, nodes: RowNodes, sums: ColumnSums | None, settings: Settings) -> None:
        """Turn rows of the last round into published rows, in place."""
