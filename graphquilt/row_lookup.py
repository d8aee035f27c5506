"""Where the rows of some ids are: their row groups, and their places in these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graphquilt.ids import Ids, as_stored, find, route, sort_order
from graphquilt.row_groups import RowGroup, RowGroups


@dataclass(frozen=True)
class Found:
    """By row group, positions among the ids and rows in the group; and which ids are there at all."""

    hits: Mapping[RowGroup, tuple[NDArray[np.int64], NDArray[np.int64]]]
    is_known: NDArray[np.bool_]


def find_rows(groups: RowGroups, ids: Ids, node_type: str) -> Found:
    """Find ids of a type.

    Raises
    ------
    TypeError : ids are neither integers nor strings. ValueError : no such type of nodes.
    """
    stored, possible = as_stored(ids, groups.schema.field("node_id").type)
    candidates = groups.of(node_type)
    order = sort_order(stored)
    wanted = stored.take(pa.array(order))
    group_of = route(wanted, groups.first_ids(node_type))
    starts = np.searchsorted(group_of, np.arange(len(candidates) + 1))

    is_known = np.zeros(order.size, np.bool_)
    hits: dict[RowGroup, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
    asked = [place for place in range(len(candidates)) if starts[place] < starts[place + 1]]
    read = groups.columns([candidates[place] for place in asked], ["node_id"])
    for place, (group, columns) in zip(asked, read, strict=True):
        section = slice(starts[place], starts[place + 1])
        row = find(wanted[section.start : section.stop], columns["node_id"])
        position = order[section]
        hit = (row >= 0) & possible[position]
        if hit.any():
            hits[group] = position[hit], row[hit]
            is_known[position[hit]] = True
    return Found(hits, is_known)


def matrix_of(vectors: pa.Array) -> NDArray[np.float32]:
    """Return a column of vectors as an (n, dim) view."""
    return vectors.flatten().to_numpy(zero_copy_only=True).reshape(-1, vectors.type.list_size)
