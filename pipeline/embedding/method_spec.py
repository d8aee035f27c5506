"""What the rest of the pipeline asks of an embedding method: its rounds, and what its vectors are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block
from pipeline.config.embedding import EmbeddingConfig, MethodForm
from pipeline.embedding.fact_files import Facts
from pipeline.embedding.ppr.walk_graph import WalkGraph
from pipeline.embedding.rows import ColumnSums, KnownNorms, Norms, Rows, RowSink
from pipeline.embedding.settings import Settings

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


def dot_products(why: str) -> Products:
    """Return the products of rows whose norms rank: a classifier leaves the norms out."""
    return {"retrieval": "dot", "feature": "cosine", "classifier": "cosine", "why": why}


def cosines(why: str) -> Products:
    """Return the products of rows whose norms don't rank: a classifier takes the rows as they are."""
    return {"retrieval": "cosine", "feature": "cosine", "classifier": "dot", "why": why}


class Method(Protocol):
    """Vectors in rounds: each a product with the graph, then work on complete rows.

    A method sees the arrays of one block and no file, part or worker. ``number`` counts rounds from 0. A task computes
    ``settings.width`` columns, maybe none. Two things need all columns: the norms of rows, which are an argument, and
    facts: small arrays about the whole graph, which each round adds up over the blocks.
    """

    @property
    def keeps_total(self) -> bool:
        """Whether the result is a sum over the rounds, which homes carry beside the rows."""
        ...

    def rounds(self, settings: Settings) -> int:
        """Return the number of products with the graph."""
        ...

    def needs_noise_scales(self, number: int, settings: Settings) -> bool:
        """Whether a later step reads the noise scales of this round's rows."""
        ...

    def exchanged_range(self, block: Block, settings: Settings) -> tuple[int, int]:
        """Return the range of local rows that the next round multiplies; parts exchange them."""
        ...

    def prelude(self, settings: Settings) -> Settings | None:
        """Return the settings of a method whose facts this one needs before its first round; None: of none."""
        ...

    def width(self, number: int, settings: Settings) -> int:
        """Return the columns of the rows that a round multiplies."""
        ...

    def is_one_way(self, number: int, settings: Settings) -> bool:
        """Whether a round's partial products are not summed: the round emits rows and reports facts only."""
        ...

    def start(self, block: Block, settings: Settings) -> NDArray[np.float32]:
        """Return the exchanged rows of the first product: any part can compute any row."""
        ...

    def multiply(
        self, block: Block, x: NDArray[np.float32], number: int, settings: Settings, norms: Norms, sink: RowSink
    ) -> Rows:
        """Return this block's share of the product, for all exchanged rows; ``x`` may be overwritten.

        ``norms`` is called once for each matrix that is multiplied; where it returns None, noise scales are 0. Rows
        that are final go to ``sink``. A round that is one way returns no rows.
        """
        ...

    def finalize_rows(self, rows: Rows, strength: NDArray[np.float64], settings: Settings) -> None:
        """Scale complete rows in place, each by itself."""
        ...

    def weigh(
        self, rows: Rows, number: int, settings: Settings, norms: KnownNorms
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the factors of this round's rows in the sum, and by how much the sum's noise scale grows."""
        ...

    def carry_width(self, settings: Settings) -> int:
        """Return the columns that homes carry from round to round beside each row; 0: none."""
        ...

    def initial_total(self, block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
        """Return the initial sum over the rounds, of some local rows; any part can compute any row."""
        ...

    def initial_carry(self, block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
        """Return what homes carry before the first round, for some local rows."""
        ...

    def carry(self, carried: Rows, rows: Rows, number: int, settings: Settings) -> Rows:
        """Update the carried rows from complete rows, in place; return the next round's rows, or the result.

        The next round's rows are rounded here to the type in which they are exchanged.
        """
        ...

    def rows_of_attributes(self, rows: Rows, settings: Settings) -> Rows:
        """Return the rows of nodes without edges before ``finish``, from their start rows, which may be overwritten."""
        ...

    def local_facts(self, rows: Rows, carried: Rows, number: int, settings: Settings) -> Facts:
        """Return what complete rows contribute to the facts, after :meth:`carry`."""
        ...

    def reduce_facts(self, number: int, local: Sequence[Facts], settings: Settings) -> Facts:
        """Return the facts after a round, from the local facts of all blocks in part order; called on the driver."""
        ...

    def reduced_width(self, settings: Settings) -> int:
        """Return the columns of rows once they are reduced; 0 where rows are final as the rounds leave them."""
        ...

    def reduce(self, rows: Rows, node_ix: NDArray[np.int64], settings: Settings, role: str = "rows") -> Rows:
        """Return the embedding's columns of rows that the rounds emitted, by the last facts."""
        ...

    def report(self, settings: Settings) -> dict[str, Any]:
        """Return figures of the last facts for reports, as JSON values."""
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


@dataclass(frozen=True, kw_only=True)
class MethodSpec(MethodForm):
    """One form of a method: everything that depends on the form, in one object."""

    rounds: Method
    buffers: int  # copies of joined rows that a task holds at most while it multiplies
    products: Callable[[EmbeddingConfig], Products]
    space: tuple[str, ...]  # keys of [embedding] that set the vectors. Frozen: a new key goes to later_keys
    #: Keys that joined the form later, with the value at which they change no vector: there the space leaves them out.
    later_keys: Mapping[str, Any] = field(default_factory=dict)
    space_of_ppr: tuple[str, ...] = ()  # keys of [ppr] that set the vectors too
    space_has_nodes: bool = False  # the number of nodes sets the vectors too
    has_own_axes: bool = False  # axes are the data's own: tables are aligned to their parent release
    attributes_of: Literal["all", "targets"] | None = None  # nodes whose start rows take up attributes
    #: Recipes by type of new nodes; None: rows don't follow from their neighbours' rows.
    fold_in: Callable[[Settings, FoldInTypes], dict[str, Any]] | None = None
    zero_rows: Callable[[EmbeddingConfig], str] = random_rows_cancel  # why a node with edges has a zero row
    #: Columns of a row while a block is multiplied: a leaf may hold three buffers of them.
    leaf_columns: Callable[[EmbeddingConfig], float] = has_embedding_width
    needs_means: bool = False  # of the graph's weights and degrees: Settings have them then
    #: Whether rows are as long in a part of the graph as in the whole, however many of a node's edges it has.
    hides_degree: Callable[[EmbeddingConfig], bool] = lambda _: False
    #: Makes the rows of a range of nodes from the whole graph, which each task has then; None: there are rounds.
    whole_graph_rows: Callable[[WalkGraph, int, int, Settings], NDArray[np.float32]] | None = None
