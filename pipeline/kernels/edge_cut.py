"""The loops over edges that cutting a graph is made of; :mod:`pipeline.partitioning` gives them meaning.

Roles of rows are those of :class:`pipeline.partitioning.pieces.Role`: 0 whole, 1 shared, 2 outside.
"""

import numpy as np

from pipeline.kernels.array_types import In, InMatrix, Out, OutMatrix, kernel


@kernel
def stores_before(a: int, b: int, degree: In[np.int64], node_key: In[np.uint64]) -> bool:
    """Whether, of two split nodes, ``a`` is the one whose home stores their edge."""
    if degree[a] != degree[b]:
        return degree[a] < degree[b]
    if node_key[a] != node_key[b]:
        return node_key[a] < node_key[b]
    return a < b


@kernel
def place_edges(
    src_ix: In[np.int64],
    dst_ix: In[np.int64],
    part_id: In[np.int32],
    is_split: In[np.bool_],
    degree: In[np.int64],
    node_key: In[np.uint64],
    first: Out[np.int32],
    second: Out[np.int32],
) -> int:
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


@kernel
def add_shared_neighbors(left: In[np.int32], right: In[np.int32], role: In[np.int8], volume: Out[np.int64]) -> None:
    """Add to the volume of each whole row the number of its shared neighbours."""
    for e in range(left.size):
        a, b = left[e], right[e]
        if role[a] == 0 and role[b] == 1:
            volume[a] += 1
        if role[b] == 0 and role[a] == 1:
            volume[b] += 1


@kernel
def count_edges_by_child(
    left: In[np.int32], right: In[np.int32], role: In[np.int8], labels: In[np.int32], starts: Out[np.int64]
) -> None:
    """Add the edges of child c to ``starts[c + 1]``."""
    for e in range(left.size):
        a, b = left[e], right[e]
        if role[a] == 0:
            starts[labels[a] + 1] += 1
        if role[b] == 0 and (role[a] != 0 or labels[a] != labels[b]):
            starts[labels[b] + 1] += 1


@kernel
def edges_by_child(
    left: In[np.int32],
    right: In[np.int32],
    role: In[np.int8],
    labels: In[np.int32],
    starts: In[np.int64],
    edge: Out[np.int32],
) -> None:
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


@kernel
def compact_rows(left: Out[np.int32], right: Out[np.int32], row_of: Out[np.int32]) -> Out[np.int32]:
    """Replace rows by their rank among those in use; return these, ascending. ``row_of`` is all -1, again."""
    row_ends = np.empty(min(row_of.size, 2 * left.size), np.int32)
    count = 0
    for ends in (left, right):
        for e in range(ends.size):
            if row_of[ends[e]] < 0:
                row_of[ends[e]] = 0
                row_ends[count] = ends[e]
                count += 1
    rows = np.sort(row_ends[:count])
    for rank in range(count):
        row_of[rows[rank]] = rank
    for ends in (left, right):
        for e in range(ends.size):
            ends[e] = row_of[ends[e]]
    for row in rows:
        row_of[row] = -1
    return rows


@kernel
def sum_over_neighbors(left: In[np.int32], right: In[np.int32], value: In[np.int64], total: Out[np.int64]) -> None:
    """Add to each row's total the values of its neighbours; a loop adds nothing."""
    for e in range(left.size):
        a, b = left[e], right[e]
        if a != b:
            total[a] += value[b]
            total[b] += value[a]


@kernel
def mark_neighbors_of_others(
    left: In[np.int32], right: In[np.int32], is_hub: In[np.bool_], has_other: Out[np.bool_]
) -> None:
    """Mark the rows that have a neighbour which is no hub."""
    for e in range(left.size):
        a, b = left[e], right[e]
        if not is_hub[b]:
            has_other[a] = True
        if not is_hub[a]:
            has_other[b] = True


@kernel
def homes_by_most_edges(
    node_ix: In[np.int64],
    stored_part: In[np.int32],
    edges: In[np.int64],
    part_id: Out[np.int32],
    is_split: Out[np.bool_],
    incoming: Out[np.int64],
) -> None:
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


@kernel
def even_out_ties(
    node_ix: In[np.int64],
    stored_part: In[np.int32],
    edges: In[np.int64],
    part_id: Out[np.int32],
    incoming: Out[np.int64],
) -> None:
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


@kernel
def count_stored_edges(
    src_ix: In[np.int64],
    dst_ix: In[np.int64],
    first: In[np.int32],
    second: In[np.int32],
    part_id: In[np.int32],
    is_split: In[np.bool_],
    ancestors: InMatrix[np.int32],
    counts: OutMatrix[np.int64],
) -> None:
    """Add edges, each given once, to what parts store, as :class:`pipeline.partitioning.part_counts.PartCounts` says.

    ``first`` and ``second`` are as :func:`place_edges` fills them.
    """
    depths, parts = ancestors.shape
    volume = counts[3 * depths]
    inside = np.zeros(parts, np.int64)  # edges inside of a part, most of them in a good cut, are inside at every depth
    for e in range(src_ix.size):
        a, b = src_ix[e], dst_ix[e]
        home_a, home_b = part_id[a], part_id[b]
        if home_a == home_b:
            inside[home_a] += 1
            volume[home_a] += 1 + (a != b)
            continue
        for depth in range(depths):
            ancestor = ancestors[depth]
            is_cut = ancestor[home_a] != ancestor[home_b]
            part = ancestor[first[e]]
            counts[depth, part] += 1
            counts[depths + depth, part] += is_cut
            counts[2 * depths + depth, part] += is_cut
            if second[e] >= 0 and ancestor[second[e]] != part:
                counts[depth, ancestor[second[e]]] += 1
                counts[depths + depth, ancestor[second[e]]] += is_cut
        for part in (first[e], second[e]):
            if part >= 0:
                volume[part] += home_a == part or is_split[a]
                volume[part] += home_b == part or is_split[b]
    for depth in range(depths):
        for part in range(parts):
            counts[depth, ancestors[depth, part]] += inside[part]
