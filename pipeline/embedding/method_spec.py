"""What the rest of the pipeline asks of an embedding method: its rounds, and what its vectors are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.config.embedding import EmbeddingConfig, MethodForm
from pipeline.embedding.method import Method
from pipeline.embedding.ppr.walk_graph import WalkGraph
from pipeline.embedding.settings import Settings

#: Which product of two rows means something, by use ("retrieval", "feature", "classifier"), and "why".
Products = Mapping[str, str]


@dataclass(frozen=True)
class FoldInTypes:
    """The node types of a table, and whether its release has the table ``fold_in``."""

    source: str
    target: str
    keeps_table: bool


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
    has_own_axes: bool = False  # axes are the data's own: tables are aligned to the baseline
    attributes_of: Literal["all", "targets"] | None = None  # nodes whose start rows take up attributes
    #: Recipes by type of new nodes; None: rows don't follow from their neighbours' rows.
    fold_in: Callable[[Settings, FoldInTypes], dict[str, Any]] | None = None
    zero_rows: Callable[[EmbeddingConfig], str] = random_rows_cancel  # why a node with edges has a zero row
    needs_means: bool = False  # of the graph's weights and degrees: Settings have them then
    #: Whether rows are as long in a part of the graph as in the whole, however many of a node's edges it has.
    hides_degree: Callable[[EmbeddingConfig], bool] = lambda _: False
    #: Makes the rows of a range of nodes from the whole graph, which each task has then; None: there are rounds.
    whole_graph_rows: Callable[[WalkGraph, int, int, Settings], NDArray[np.float32]] | None = None
