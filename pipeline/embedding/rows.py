"""Rows on their way through the rounds, and what a method may know besides them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.config.embedding import EmbeddingConfig
from pipeline.embedding.fact_files import read_facts
from pipeline.kernels.narrow_rows import groups_of
from pipeline.kernels.vector_tiles import GROUP
from schemas.tables import WEIGHT_UNIT

#: Norms of rows over all columns of the embedding, for a task that may hold only some of them; None: not known
#: here, or not asked for. What follows from norms is then made by another task.
Norms = Callable[[NDArray[np.float32]], NDArray[np.float64] | None]
KnownNorms = Callable[[NDArray[np.float32]], NDArray[np.float64]]

#: What the rounds have found out about the whole graph so far: small arrays, by name.
Facts = Mapping[str, NDArray[np.float64]]

#: The role of rows of which a user's row is the weighted sum.
FOLD_IN = "fold_in"


@dataclass(frozen=True)
class Rows:
    """Dense rows, or columns of them, and their noise scales.

    The noise scale of a row is the sum of |entry| times the norm of what it multiplied. A row whose norm is at most
    2**-18 of it is rounding noise and counts as zero. The noise scale is 0 where no step reads it.
    """

    values: NDArray[np.float32]  # (n, width)
    noise_scale: NDArray[np.float64]  # (n,)

    @classmethod
    def zeros(cls, rows: int, dim: int) -> Rows:
        """Rows of zeros."""
        return cls(np.zeros((rows, dim), np.float32), np.zeros(rows))


@dataclass(frozen=True)
class ColumnSums:
    """Sums over the complete rows of the nodes with edges: (dim,) float64 each."""

    sums: NDArray[np.float64]
    squares: NDArray[np.float64]
    count: int

    def __add__(self, other: ColumnSums) -> ColumnSums:
        return ColumnSums(self.sums + other.sums, self.squares + other.squares, self.count + other.count)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; float64 survives the way there and back."""
        return {"sums": self.sums.tolist(), "squares": self.squares.tolist(), "count": self.count}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> ColumnSums:
        """Read what :meth:`to_json` wrote."""
        return cls(np.array(raw["sums"]), np.array(raw["squares"]), int(raw["count"]))

    @classmethod
    def side_by_side(cls, pieces: Sequence[ColumnSums]) -> ColumnSums:
        """Join sums of the same rows over consecutive columns."""
        sums, squares = (np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("sums", "squares"))
        return cls(sums, squares, pieces[0].count)


class RowSink(Protocol):
    """Where a product puts what it has beside its rows."""

    def emit(self, first: int, rows: Rows, role: str = "rows") -> None:
        """Take rows that are final, with their first local row; those of other homes are left out.

        A role other than "rows" is a table of its own.
        """
        ...

    def report_facts(self, facts: Facts) -> None:
        """Take what this block contributes to the facts of the whole graph."""
        ...


@dataclass(frozen=True)
class Settings:
    """The embedding's configuration, resolved, and the few facts of the whole graph that it refers to."""

    embedding: EmbeddingConfig
    form: str
    nodes: int
    source: tuple[int, int]  # range of node_ix of the nodes that edges start from
    target: tuple[int, int]
    columns: tuple[int, int] | None = None  # those that a task computes; None: all
    mean_strength: float = 0.0  # of all nodes, in units of weight 1
    mean_weight: float = 1.0  # of all edges
    returns_at_once: bool = False  # see the function of this name
    keeps_fold_in: bool = False  # whether rows of which users' rows are sums are wanted
    restart: float = 0.15  # ppr: chance of a walk's jump back at each step
    push_threshold: float | None = None  # ppr, hashed: error of a score for each unit of its node's strength
    hash_columns: int = 2  # ppr, hashed: columns that a score is added to
    facts: Facts = field(default_factory=dict, compare=False)
    facts_file: str | None = None  # where tasks find them

    def __post_init__(self) -> None:
        object.__setattr__(self, "embedding", self.embedding.resolved(self.form))

    @property
    def dim(self) -> int:
        """Columns of the embedding."""
        return self.embedding.dim

    @property
    def item_norm_power(self) -> float:
        """q: an item's norm is its degree to this power."""
        return self.embedding.item_norm_power or 0.0

    @property
    def no_return(self) -> float:
        """γ, the share of diag(P) that is left out: 0 where P is all diagonal and nothing would be left of it."""
        asked = self.embedding.no_return
        return 0.0 if self.returns_at_once and asked == 1.0 else asked

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

    def knowing(self, facts: Facts, file: Path | None = None) -> Settings:
        """Return a copy with facts; tasks that are sent elsewhere find them in the file."""
        return replace(self, facts=facts, facts_file=None if file is None else str(file))

    def passed_to(self, other: Settings) -> Settings:
        """Return other settings with what these know."""
        return replace(other, facts=self.facts, facts_file=self.facts_file)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, for tasks; facts go by their file."""
        plain = {one.name: getattr(self, one.name) for one in fields(self)}
        return {**plain, "facts": {}, "embedding": self.embedding.model_dump(mode="json")}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Settings:
        """Read what :meth:`to_json` wrote."""
        return cls(
            embedding=EmbeddingConfig.model_validate(raw["embedding"]),
            form=raw["form"],
            nodes=raw["nodes"],
            source=tuple(raw["source"]),
            target=tuple(raw["target"]),
            columns=tuple(raw["columns"]) if raw["columns"] else None,
            mean_strength=raw["mean_strength"],
            mean_weight=raw["mean_weight"],
            returns_at_once=raw["returns_at_once"],
            keeps_fold_in=raw["keeps_fold_in"],
            restart=raw["restart"],
            push_threshold=raw["push_threshold"],
            hash_columns=raw["hash_columns"],
            facts=read_facts(Path(raw["facts_file"])) if raw["facts_file"] else {},
            facts_file=raw["facts_file"],
        )


def mean_strength_and_weight(weight: NDArray[np.int64], degree: NDArray[np.int64], nodes: int) -> tuple[float, float]:
    """Return the mean strength of ``nodes`` nodes and the mean weight of an edge, in units of weight 1.

    Parameters
    ----------
    weight : fixed point, of all nodes that have edges. degree : their neighbours.
    """
    # A node's weight fits int64, that of all nodes need not: halves are added up, which do for 2**31 nodes.
    total = ((int((weight >> 32).sum()) << 32) + int((weight & (2**32 - 1)).sum())) * WEIGHT_UNIT
    return total / max(nodes, 1), total / max(int(degree.sum()), 1)


def returns_at_once(degree: NDArray[np.int64], source: tuple[int, int], target: tuple[int, int]) -> bool:
    """Return whether every walk of two steps from a node that edges point to ends where it began.

    So it is on two types if no node that edges start from has two neighbours. degree : (n,) neighbours, of the nodes
    0 to n - 1.
    """
    return source != target and int(degree[slice(*source)].max(initial=0)) < 2
