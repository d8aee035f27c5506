"""The embedding methods a run can name.

To add one: write it beside fastrp.py, from what whole_rounds.py and products.py have, and list it here. Elsewhere it
has a line each: the keys that set its vectors (release_tables/vector_space.py), what its products mean
(release_tables/metadata.py), and the rows that a task of it holds (planning/embedding_work.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block
from pipeline.embedding.fastrp import Classic, TwoTower
from pipeline.embedding.low_pass import LowPass, PlainLowPass
from pipeline.embedding.ppr.factorised import Factorised, PlainFactorised
from pipeline.embedding.ppr.hashed import Hashed, PlainHashed
from pipeline.embedding.rows import ColumnSums, Facts, KnownNorms, Narrow, Norms, Outlet, Rows, Settings
from pipeline.embedding.spectral import Bipartite, Plain
from pipeline.embedding.spectrum import Largest, PlainSpectrum, Spectrum


class Method(Protocol):
    """Vectors in rounds: each a product with the graph, then work on complete rows.

    A method sees the arrays of one block and no file, part or worker. ``number`` counts rounds from 0. It computes
    ``settings.width`` columns, maybe none; what joins columns are the norms of rows, which it is given, and the
    facts that a round finds out about the whole graph.
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

    def prelude(self, settings: Settings) -> Settings | None:
        """Return the settings of a method whose facts this one needs before its first round; None: of none."""
        ...

    def width(self, number: int, settings: Settings) -> int:
        """Return the columns of the rows that a round multiplies."""
        ...

    def is_one_way(self, number: int, settings: Settings) -> bool:
        """Whether a round's product is not brought together again: it emits and tells, and returns no rows."""
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
        outlet: Outlet,
    ) -> Rows:
        """Return this block's share of the product, for all travelling rows; ``x`` may be overwritten.

        ``norms`` is asked once for each matrix that is multiplied; without them magnitudes are 0. Rows that are
        final go to ``outlet``. A round that is one way returns no rows.
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

    def kept_width(self, settings: Settings) -> int:
        """Return the columns that a row's home carries from round to round beside the row; 0: none."""
        ...

    def first_total(self, block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
        """Return what a sum over the rounds begins with, for some local rows; any part can make any row."""
        ...

    def first_kept(self, block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
        """Return what homes carry before the first round, for some local rows."""
        ...

    def keep(self, kept: Rows, rows: Rows, number: int, settings: Settings, norms: KnownNorms, narrow: Narrow) -> Rows:
        """Add complete rows to what their home carries, in place; return the rows that go on, or the result.

        Rows that go on are narrowed here, where the method has them as they travel.
        """
        ...

    def gather(self, rows: Rows, kept: Rows, number: int, settings: Settings) -> Facts:
        """Return what complete rows, at home, contribute to the facts, after they were kept."""
        ...

    def conclude(self, number: int, found: Sequence[Facts], settings: Settings) -> Facts:
        """Return the facts after a round, from what every block told, in part order; the driver asks this."""
        ...

    def reduced_width(self, settings: Settings) -> int:
        """Return the columns of rows once they are reduced; 0 where rows are final as the rounds leave them."""
        ...

    def reduce(self, rows: Rows, node_ix: NDArray[np.int64], settings: Settings, role: str = "rows") -> Rows:
        """Return rows with the embedding's columns, of those that the rounds emitted, by the last facts."""
        ...

    def report(self, settings: Settings) -> dict[str, Any]:
        """Return what the last facts say to people, as JSON values."""
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
    {
        ("fastrp", "two_tower"): TwoTower(),
        ("fastrp", "classic"): Classic(),
        ("fastrp", "low_pass"): LowPass(),
        ("fastrp", "plain_low_pass"): PlainLowPass(),
        ("fastrp", "largest"): Largest(),
        ("fastrp", "spectrum"): Spectrum(),
        ("fastrp", "plain_spectrum"): PlainSpectrum(),
        ("spectral", "bipartite"): Bipartite(),
        ("spectral", "plain"): Plain(),
        ("ppr", "hashed"): Hashed(),
        ("ppr", "plain_hashed"): PlainHashed(),
        ("ppr", "factorised"): Factorised(),
        ("ppr", "plain_factorised"): PlainFactorised(),
    }
)


def method_for(settings: Settings) -> Method:
    """Return the method that the settings name; the config has refused all others."""
    return METHODS[settings.embedding.method, settings.form]
