"""What the manifests of embed say of rows and of lists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.embedding.ppr.list_request import ListFigures
from pipeline.embedding.rows import ColumnSums


@dataclass(frozen=True, kw_only=True)
class EmbedFigures:
    """Figures of rows, which are empty where a run makes no vectors, and of lists, where it makes some.

    shards : tasks that share the columns of a part.
    sets : how many files of rows each set of blocks has; the files come in this order.
    sums : over the columns, if the last step standardises them; None where the rows of several sets are combined first.
    rows_moved : partial rows that went to homes, and totals that came from there.
    found : what the rounds report of the graph, for people.
    """

    shards: int | None = None
    sets: Sequence[int] = ()
    sums: ColumnSums | None = None
    rows_moved: Mapping[str, int] | None = None
    floats_moved_per_node: float | None = None
    found: Mapping[str, Any] = field(default_factory=dict)
    lists: ListFigures | None = None

    def of_lists(self) -> ListFigures:
        """Return the figures of lists, in a run that makes some."""
        if self.lists is None:
            raise ValueError("this run makes no lists")
        return self.lists
