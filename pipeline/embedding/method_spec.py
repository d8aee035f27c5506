"""What the rest of the pipeline asks of an embedding method: its rounds, and what its vectors are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block
from pipeline.config.embedding import EmbeddingConfig
from pipeline.embedding.rows import ColumnSums, Facts, KnownNorms, Narrow, Norms, Outlet, Rows, Settings

#: Which product of two rows means something, by use ("retrieval", "feature", "classifier"), and "why".
Products = Mapping[str, str]


@dataclass(frozen=True)
class FoldInTypes:
    """The node types of a table, and whether its release has the table ``fold_in``."""

    source: str
    target: str
    keeps_table: bool


def has_embedding_width(embedding: EmbeddingConfig) -> float:
    """Return the embedding's width: rows have it in every round."""
    return embedding.dim


def random_rows_cancel(embedding: EmbeddingConfig) -> str:
    """Say why sums of random rows can be zero."""
    return (
        f"random rows of few entries cancel; raise embedding.dim (now {embedding.dim}), or lower "
        f"embedding.sparsity (now {embedding.sparsity})"
    )


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

    def rows_of_attributes(self, rows: Rows, settings: Settings) -> Rows:
        """Return the rows of nodes without edges before the last step, from their start rows; values may change."""
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


@dataclass(frozen=True)
class MethodSpec:
    """One form of a method: everything that depends on the form, in one object."""

    method: str  # embedding.method
    form: str  # unique
    sides: Literal[1, 2]  # 2: sources and targets have different rows; 1: all nodes are alike
    rounds: Method
    buffers: int  # copies of joined rows that a task holds at most while it multiplies
    products: Callable[[EmbeddingConfig], Products]
    space: tuple[str, ...]  # keys of [embedding] that set the vectors. Frozen: a new key goes to later_keys
    #: Keys that joined the form later, with the value at which they change no vector: there the space leaves them out.
    later_keys: Mapping[str, Any] = field(default_factory=dict)
    space_of_settings: tuple[str, ...] = ()  # fields of Settings that set the vectors too
    has_own_axes: bool = False  # axes are the data's own: tables are aligned to their parent release
    attributes_of: Literal["all", "targets"] | None = None  # nodes whose start rows take up attributes
    #: Recipes by type of new nodes; None: rows don't follow from their neighbours' rows.
    fold_in: Callable[[Settings, FoldInTypes], dict[str, Any]] | None = None
    zero_rows: Callable[[EmbeddingConfig], str] = random_rows_cancel  # why a node with edges has a zero row
    #: Columns of a row while a block is multiplied: a leaf may hold three buffers of them.
    leaf_columns: Callable[[EmbeddingConfig], float] = has_embedding_width
    needs_whole_graph: bool = False  # each task has the whole graph and makes some nodes' rows, without rounds
