"""The loops over edges that cutting a graph is made of; :mod:`pipeline.partitioning` gives them meaning.

Roles of rows are those of :class:`pipeline.partitioning.pieces.Role`: 0 whole, 1 shared, 2 outside.
"""

import numpy as np
from numba import njit, types

from pipeline.kernels.array_types import reads, writes

_INT8, _INT32, _INT64 = reads(types.int8), reads(types.int32), reads(types.int64)
_UINT64, _FLAGS = reads(types.uint64), reads(types.boolean)
_TO_INT32, _TO_INT64, _TO_FLAGS = writes(types.int32), writes(types.int64), writes(types.boolean)


@njit(types.boolean(types.int64, types.int64, _INT64, _UINT64), nogil=True, cache=True)
def stores_before(a, b, degree, node_key):  # type: ignore
    """Whether, of two split nodes, ``a`` is the one whose home stores their edge."""
    if degree[a] != degree[b]:
        return degree[a] < degree[b]
    if node_key[a] != node_key[b]:
        return node_key[a] < node_key[b]
    return a < b


@njit(
    types.int64(_INT64, _INT64, _INT32, _FLAGS, _INT64, _UINT64, _TO_INT32, _TO_INT32),
    nogil=True,
    cache=True,
)
def place_edges(src_ix, dst_ix, part_id, is_split, degree, node_key, first, second):  # type: ignore
    """Fill ``first`` and ``second``; the number of an edge whose end has no home, or -1."""
    homeless = -1
    for e in range(src_ix.size):
        a, b = src_ix[e], dst_ix[e]
        home_a, home_b = part_id[a], part_id[b]
        if home_a < 0 or home_b < 0:
            homeless = e
        first[e], second[e] = home_a, -1
        if is_split[a]:
            if not is_split[b] or stores_before(b, a, degree, node_key):
                first[e] = home_b
        elif not is_split[b] and home_a != home_b:
            second[e] = home_b
    return homeless


@njit(types.void(_INT32, _INT32, _INT8, _TO_INT64), nogil=True, cache=True)
def add_shared_neighbors(left, right, role, volume):  # type: ignore
    """Add to the volume of each whole row the number of its shared neighbours."""
    for e in range(left.size):
        a, b = left[e], right[e]
        if role[a] == 0 and role[b] == 1:
            volume[a] += 1
        if role[b] == 0 and role[a] == 1:
            volume[b] += 1


@njit(types.void(_INT32, _INT32, _INT8, _INT32, _TO_INT64), nogil=True, cache=True)
def count_edges_by_child(left, right, role, labels, starts):  # type: ignore
    """Add the edges of child c to ``starts[c + 1]``."""
    for e in range(left.size):
        a, b = left[e], right[e]
        if role[a] == 0:
            starts[labels[a] + 1] += 1
        if role[b] == 0 and (role[a] != 0 or labels[a] != labels[b]):
            starts[labels[b] + 1] += 1


@njit(types.void(_INT32, _INT32, _INT8, _INT32, _INT64, _TO_INT32), nogil=True, cache=True)
def edges_by_child(left, right, role, labels, starts, edge):  # type: ignore
    """Fill ``edge`` with the edges of child c from ``starts[c]`` to ``starts[c + 1]``, in their order."""
    put = starts[:-1].copy()
    for e in range(left.size):
        a, b = left[e], right[e]
        if role[a] == 0:
            edge[put[labels[a]]] = e
            put[labels[a]] += 1
        if role[b] == 0 and (role[a] != 0 or labels[a] != labels[b]):
            edge[put[labels[b]]] = e
            put[labels[b]] += 1


@njit(_TO_INT32(_TO_INT32, _TO_INT32, _TO_INT32), nogil=True, cache=True)
def compact_rows(left, right, row_of):  # type: ignore
    """Replace rows by their rank among those in use; return these, ascending. ``row_of`` is all -1, again."""
    used = np.empty(min(row_of.size, 2 * left.size), np.int32)
    count = 0
    for ends in (left, right):
        for e in range(ends.size):
            if row_of[ends[e]] < 0:
                row_of[ends[e]] = 0
                used[count] = ends[e]
                count += 1
    rows = np.sort(used[:count])
    for rank in range(count):
        row_of[rows[rank]] = rank
    for ends in (left, right):
        for e in range(ends.size):
            ends[e] = row_of[ends[e]]
    for row in rows:
        row_of[row] = -1
    return rows


@njit(types.void(_INT32, _INT32, _INT64, _TO_INT64), nogil=True, cache=True)
def sum_over_neighbors(left, right, value, total):  # type: ignore
    """Add to each row's total the values of its neighbours; a loop adds nothing."""
    for e in range(left.size):
        a, b = left[e], right[e]
        if a != b:
            total[a] += value[b]
            total[b] += value[a]


@njit(types.void(_INT32, _INT32, _FLAGS, _TO_FLAGS), nogil=True, cache=True)
def mark_neighbors_of_others(left, right, is_hub, has_other):  # type: ignore
    """Mark the rows that have a neighbour which is no hub."""
    for e in range(left.size):
        a, b = left[e], right[e]
        if not is_hub[b]:
            has_other[a] = True
        if not is_hub[a]:
            has_other[b] = True


@njit(
    types.void(_INT64, _INT32, _INT64, _TO_INT32, _TO_FLAGS, _TO_INT64),
    nogil=True,
    cache=True,
)
def homes_by_most_edges(node_ix, stored_part, edges, part_id, is_split, incoming):  # type: ignore
    """Fill the homes of shared nodes, and the number of partial rows that each part takes in."""
    first = 0
    while first < node_ix.size:
        stop, best = first + 1, first
        while stop < node_ix.size and node_ix[stop] == node_ix[first]:
            if edges[stop] > edges[best]:
                best = stop
            stop += 1
        part_id[node_ix[first]] = stored_part[best]
        is_split[node_ix[first]] = stop - first > 1
        incoming[stored_part[best]] += stop - first - 1
        first = stop


@njit(types.void(_INT64, _INT32, _INT64, _TO_INT32, _TO_INT64), nogil=True, cache=True)
def even_out_ties(node_ix, stored_part, edges, part_id, incoming):  # type: ignore
    """Move homes between parts with equally many edges where both then take in fewer rows than one did."""
    first = 0
    while first < node_ix.size:
        stop, most = first, np.int64(0)
        while stop < node_ix.size and node_ix[stop] == node_ix[first]:
            most = max(most, edges[stop])
            stop += 1
        home = part_id[node_ix[first]]
        rows = stop - first - 1
        best = home
        for i in range(first, stop):
            part = stored_part[i]
            if edges[i] < most or incoming[part] + rows >= incoming[home]:
                continue
            if incoming[part] < incoming[best]:
                best = part
        if best != home:
            incoming[home] -= rows
            incoming[best] += rows
            part_id[node_ix[first]] = best
        first = stop


@njit(
    types.void(
        _INT32,
        _INT32,
        _INT32,
        _INT32,
        reads(types.int32, 2),
        writes(types.int64, 2),
        writes(types.int64, 2),
        _TO_INT64,
    ),
    nogil=True,
    cache=True,
)
def count_by_level(first, second, home_left, home_right, ancestors, edges, cut, level_cut):  # type: ignore
    """Add edges, each given once, to the parts that store them and to all parts above these."""
    for depth in range(ancestors.shape[0]):
        ancestor = ancestors[depth]
        for e in range(first.size):
            is_cut = ancestor[home_left[e]] != ancestor[home_right[e]]
            part = ancestor[first[e]]
            edges[depth, part] += 1
            cut[depth, part] += is_cut
            level_cut[depth] += is_cut
            if second[e] >= 0 and ancestor[second[e]] != part:
                edges[depth, ancestor[second[e]]] += 1
                cut[depth, ancestor[second[e]]] += is_cut
