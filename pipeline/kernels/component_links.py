"""Connected components: union by least label among the edges of a block, and the resolution of all links.

Links always lead to a smaller label, so that one pass in ascending order resolves chains of any length.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, kernel

_SPARSE = 4


def least_links(
    left: NDArray[np.int32], right: NDArray[np.int32], labels: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Link every label to the least one that these edges connect it with.

    Parameters
    ----------
    left, right : (edges,) int32 labels of the ends.
    labels : they are below.

    Returns
    -------
    label, least : (links,) int32, ``label`` ascending, ``least < label``; labels that are the least are left out.

    Cost
    ----
    4 B a label if there are no more than some for each edge, else a sort of the ends.
    """
    if labels <= _SPARSE * left.size:
        parent = np.arange(labels, dtype=np.int32)
        _union(left, right, parent)
        label = np.flatnonzero(parent != np.arange(labels, dtype=np.int32)).astype(np.int32)
        return label, parent[label]
    ends = np.concatenate([left, right])
    end_labels = np.sort(ends)
    end_labels = end_labels[np.diff(end_labels, prepend=-1) > 0]
    rows = np.searchsorted(end_labels, ends).astype(np.int32)
    parent = np.arange(end_labels.size, dtype=np.int32)
    _union(rows[: left.size], rows[left.size :], parent)
    has_link = parent != np.arange(end_labels.size)
    return end_labels[has_link], end_labels[parent[has_link]]


def resolve_links(
    first: int, label: NDArray[np.int32], least: NDArray[np.int32], lower: NDArray[np.int32], rows: int
) -> NDArray[np.int32]:
    """Return the roots of the labels ``first`` to ``first + rows``.

    Parameters
    ----------
    label, least : (links,) int32 links of these labels, several of one label in any order.
    lower : (at least ``first``,) int32 roots of all smaller labels.
    """
    root = np.arange(first, first + rows, dtype=np.int32)
    _resolve(first, label, least, lower, root)
    return root


@kernel
def _union(left: In[np.int32], right: In[np.int32], parent: Out[np.int32]) -> None:
    for e in range(left.size):
        a, b = left[e], right[e]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a < b:
            parent[b] = a
        elif b < a:
            parent[a] = b
    for row in range(parent.size):  # a parent is a smaller row, and has its root by now
        parent[row] = parent[parent[row]]


@kernel
def _resolve(first: int, label: In[np.int32], least: In[np.int32], lower: In[np.int32], root: Out[np.int32]) -> None:
    for i in range(label.size):
        row = label[i] - first
        root[row] = min(root[row], least[i])
    for row in range(root.size):
        if root[row] < first:
            root[row] = lower[root[row]]
        else:
            root[row] = root[root[row] - first]


@kernel
def pack_small(
    component: In[np.int32],
    component_volume: In[np.int64],
    first: int,
    max_volume: int,
    bins: Out[np.int32],
    state: Out[np.int64],
) -> None:
    """Give each component up to ``max_volume`` a bin of at most that volume; call by call in ascending order.

    ``component`` (rows,) those of the nodes from ``first`` on; ``component_volume`` (nodes,) by component.
    ``bins`` (nodes,) gets by component the label of its bin, the number of its first component; -1 for larger
    ones. ``state`` is [label of the open bin or -1, its volume].
    """
    for row in range(component.size):
        v = first + row
        if component[row] != v:
            continue
        total = component_volume[v]
        if total > max_volume:
            bins[v] = -1
            continue
        if state[0] < 0 or state[1] + total > max_volume:
            state[0], state[1] = v, 0
        bins[v] = state[0]
        state[1] += total


@kernel
def split_large(
    label: In[np.int32],
    volume: In[np.int64],
    first: int,
    max_volume: int,
    current: Out[np.int32],
    total: Out[np.int64],
    bin_label: Out[np.int32],
) -> None:
    """Split labels above ``max_volume``, each bin named by its least node; call by call in ascending order.

    Rows with label -1 are left out: their ``bin_label`` stays as it is. ``current``, ``total`` (labels,) hold the open
    bin of each label (-1: none yet) and its volume.
    """
    for row in range(label.size):
        own = label[row]
        if own < 0:
            continue
        if current[own] < 0 or total[own] + volume[row] > max_volume:
            current[own] = first + row
            total[own] = 0
        bin_label[row] = current[own]
        total[own] += volume[row]
