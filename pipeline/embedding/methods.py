"""The embedding methods a run can name. To add one: write it beside fastrp.py, list it here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks import Block
from pipeline.embedding.fastrp import Classic, TwoTower
from pipeline.embedding.rows import ColumnSums, KnownNorms, Norms, Rows, Settings


class Method(Protocol):
    """Vectors in rounds: each a product with the graph, then work on complete rows.

    A method sees the arrays of one block and no file, part or worker. ``number`` counts rounds from 0. It computes
    ``settings.width`` columns, maybe none; what joins columns are the norms of rows, which it is given.
    """

    @property
    def keeps_total(self) -> bool:
        """Whether a sum over the rounds is carried beside the rows, and is the result."""
        ...

    def rounds(self, settings: Settings) -> int:
        """Return how many products with the graph the method takes."""
        ...

    def is_measured(self, number: int, settings: Settings) -> bool:
        """Whether anybody asks for the magnitudes of a round's rows."""
        ...

    def travelling(self, block: Block, settings: Settings) -> tuple[int, int]:
        """Return the range of local rows that go from round to round, and across parts where needed."""
        ...

    def start(self, block: Block, settings: Settings) -> NDArray[np.float32]:
        """Return the travelling rows of the first product: any part can make any row."""
        ...

    def multiply(
        self,
        block: Block,
        x: NDArray[np.float32],
        number: int,
        settings: Settings,
        norms: Norms,
        emit: Callable[[int, Rows], None],
    ) -> Rows:
        """Return this block's share of the product, for all travelling rows; ``x`` may be overwritten.

        ``norms`` is asked once for each matrix that is multiplied; without them magnitudes are 0. Rows outside
        the travelling range that are final go to ``emit``, with their first local row.
        """
        ...

    def settle(self, rows: Rows, strength: NDArray[np.float64], settings: Settings) -> None:
        """Finish complete rows in place, entry by entry."""
        ...

    def weigh(
        self, rows: Rows, number: int, settings: Settings, norms: KnownNorms
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the factors by which a measured round's rows join the sum, and by how much its magnitude grows."""
        ...

    def finish(
        self,
        rows: Rows,
        node_ix: NDArray[np.int64],
        strength: NDArray[np.float64],
        sums: ColumnSums | None,
        settings: Settings,
    ) -> None:
        """Turn rows of the last round into published rows, in place."""
        ...


#: By (embedding.method, form).
METHODS: Mapping[tuple[str, str], Method] = MappingProxyType(
    {("fastrp", "two_tower"): TwoTower(), ("fastrp", "classic"): Classic()}
)


def method_for(settings: Settings) -> Method:
    """Return the method that the settings name; the config has refused all others."""
    return METHODS[settings.embedding.method, settings.form]
