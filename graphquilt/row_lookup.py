"""Find the rows of ids: their row groups, and their positions in these."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graphquilt.ids import Ids, assign_groups, convert_ids, find_positions, sort_order
from graphquilt.row_groups import NodeRowGroup, RowGroups


@dataclass(frozen=True)
class RowMatches:
    """By row group, positions of ids in the question and of their rows in the group; ``is_known``: ids with a row."""

    hits: Mapping[NodeRowGroup, tuple[NDArray[np.int64], NDArray[np.int64]]]
    is_known: NDArray[np.bool_]


def find_rows(groups: RowGroups, ids: Ids, node_type: str) -> RowMatches:
    """Find the rows of ids of a type.

    Raises
    ------
    TypeError : ids are neither integers nor strings. ValueError : no such type of nodes.
    """
    values, fits = convert_ids(ids, groups.schema.field("node_id").type)
    candidates = groups.of(node_type)
    order = sort_order(values)
    in_order = values.take(pa.array(order))
    group_of = assign_groups(in_order, groups.first_ids(node_type))
    starts = np.searchsorted(group_of, np.arange(len(candidates) + 1))

    is_known = np.zeros(order.size, np.bool_)
    hits: dict[NodeRowGroup, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
    numbers = [number for number in range(len(candidates)) if starts[number] < starts[number + 1]]
    columns_of = groups.columns([candidates[number] for number in numbers], ["node_id"])
    for number, (group, columns) in zip(numbers, columns_of, strict=True):
        section = slice(starts[number], starts[number + 1])
        row = find_positions(in_order[section.start : section.stop], columns["node_id"])
        position = order[section]
        hit = (row >= 0) & fits[position]
        if hit.any():
            hits[group] = position[hit], row[hit]
            is_known[position[hit]] = True
    return RowMatches(hits, is_known)


def as_matrix(vectors: pa.Array) -> NDArray[Any]:
    """Return a column of vectors as an (n, dim) view; float32, or int8 of compact rows."""
    return vectors.flatten().to_numpy(zero_copy_only=True).reshape(-1, vectors.type.list_size)
