"""What a method computes with: the graph's summary, the parameters, the columns, and the facts of earlier rounds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from pipeline import codec
from pipeline.config.embedding import EmbeddingConfig
from pipeline.config.ppr import PprConfig
from pipeline.embedding.earlier_rows import EarlierSubspace
from pipeline.embedding.fact_files import Facts, read_facts
from pipeline.kernels.narrow_rows import groups_of
from pipeline.kernels.vector_tiles import GROUP
from pipeline.locations import Location
from schemas.tables import WEIGHT_UNIT


@dataclass(frozen=True)
class GraphSummary:
    """The few figures of the whole graph that methods refer to."""

    nodes: int
    source: tuple[int, int]  # range of node_ix of the nodes that edges start from
    target: tuple[int, int]
    mean_strength: float = 0.0  # of all nodes, in units of weight 1
    mean_weight: float = 1.0  # of all edges
    returns_at_once: bool = False  # every walk of two steps from a node that edges point to ends where it began

    @property
    def is_plain(self) -> bool:
        """Whether all nodes have one type."""
        return self.source == self.target

    def with_degrees(self, weight: NDArray[np.int64], degree: NDArray[np.int64]) -> GraphSummary:
        """Return a copy with what follows from the nodes' weights and degrees.

        Parameters
        ----------
        weight : (n,) fixed point, of the nodes 0 to n - 1. degree : (n,) their neighbours.
        """
        # A node's weight fits int64, that of all nodes need not: halves are added up, which do for 2**31 nodes.
        total = ((int((weight >> 32).sum()) << 32) + int((weight & (2**32 - 1)).sum())) * WEIGHT_UNIT
        return replace(
            self,
            mean_strength=total / max(self.nodes, 1),
            mean_weight=total / max(int(degree.sum()), 1),
            returns_at_once=not self.is_plain and int(degree[slice(*self.source)].max(initial=0)) < 2,
        )


@dataclass(frozen=True)
class Settings:
    """A form of a method with its parameters, the graph's summary, and which columns a task computes."""

    graph: GraphSummary
    embedding: Annotated[EmbeddingConfig, codec.SECTION]
    form: str
    ppr: PprConfig = field(default_factory=PprConfig)  # of which vectors take the walk and the hash
    columns: tuple[int, int] | None = None  # those that a task computes; None: all
    keeps_fold_in: bool = False  # whether rows of which users' rows are sums are written
    keeps_subspace: bool = False  # whether rows that a later night can start from are written
    earlier: EarlierSubspace | None = None  # what this night starts from; None: random rows
    facts_file: Location | None = None  # the facts of earlier rounds, for tasks elsewhere
    facts: Annotated[Facts, *codec.NOT_WRITTEN] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "embedding", self.embedding.values_of(self.form))

    @property
    def dim(self) -> int:
        """Columns of the embedding."""
        return self.embedding.dim

    @property
    def no_return(self) -> float:
        """γ, the share of diag(P) that is left out: 0 where P is all diagonal and nothing would be left of it."""
        share = self.embedding.no_return
        return 0.0 if self.graph.returns_at_once and share == 1.0 else share

    @property
    def reads_halves(self) -> bool:
        """Whether a product reads its rows as bfloat16."""
        return getattr(self.embedding, "compute", "float32") == "half"

    @property
    def row_norm(self) -> float:
        """Norm of the rows of eigenvectors on one type, before degrees scale them: entries are about 1 / 2."""
        return float(self.embedding.row_norm or math.sqrt(self.dim) / 2)

    @property
    def first_column(self) -> int:
        """First column that is computed."""
        return self.columns[0] if self.columns else 0

    @property
    def width(self) -> int:
        """Columns that are computed."""
        return self.columns[1] - self.columns[0] if self.columns else self.dim

    @property
    def is_shard(self) -> bool:
        """Whether some columns are computed and others aren't: then norms and noise scales aren't known."""
        return self.columns is not None and self.width > 0

    def shards(self) -> list[Settings]:
        """Return one copy for each share of the columns: fixed groups, never split, a share never empty."""
        groups = groups_of(self.dim)
        count = min(self.embedding.shards or 1, groups)
        if count == 1:
            return [self]
        bounds = [min(GROUP * (groups * number // count), self.dim) for number in range(count + 1)]
        return [replace(self, columns=pair) for pair in pairwise(bounds)]

    def without_columns(self) -> Settings:
        """Return a copy for a task that computes noise scales alone."""
        return replace(self, columns=(0, 0), keeps_fold_in=False)

    def with_facts(self, facts: Facts, file: Location | None = None) -> Settings:
        """Return a copy with facts; tasks elsewhere read them from the file."""
        return replace(self, facts=facts, facts_file=file)

    def read(self) -> Settings:
        """Return a copy with the facts of its file, as a task needs it."""
        return self if self.facts_file is None else replace(self, facts=read_facts(self.facts_file))
