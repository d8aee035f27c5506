"""neighbor_lists -> neighbors: lists by a filter of the graph, in the form of ppr_neighbors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.release_tables.ppr_neighbors import lists_metadata, write_neighbors
from pipeline.release_tables.published_table import PublishedTable, TableRun, WrittenTable
from schemas.published_tables import NEIGHBOR_LISTS_BY_FILTER, NEIGHBORS


@dataclass(frozen=True)
class FilteredListFigures:
    """Counts of the published lists, and what the table says of itself."""

    filtered_lists: int = 0
    empty_filtered_lists: int = 0
    filtered_lists_metadata: Mapping[str, Any] | None = None


def _write(run: TableRun) -> WrittenTable[FilteredListFigures]:
    keys = {"filter", "alpha", "beta"} | ({"phi", "filter_degree"} if run.config.lists.filter == "plateau" else set())
    metadata = lists_metadata(run.config, run.workspace, NEIGHBOR_LISTS_BY_FILTER, keys, ("rank",))
    return write_neighbors(run, metadata, FilteredListFigures)


TABLE = PublishedTable(
    name=NEIGHBORS,
    contract=lambda _: NEIGHBOR_LISTS_BY_FILTER,
    is_wanted=lambda config: config.lists.filter is not None,
    write=_write,
    figures=FilteredListFigures,
    metadata="filtered_lists_metadata",
    counts=("filtered_lists",),
)
