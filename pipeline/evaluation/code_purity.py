"""How well codes agree with labels that they never saw: purity of prefixes, and of the hierarchy.

Source: Heller & Ghahramani, "Bayesian hierarchical clustering", ICML 2005, for dendrogram purity.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def code_purity(code: NDArray[np.int32], labels: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the purity of the groups of each prefix of codes, and of the tree that codes are paths in.

    Purity is the share of nodes that have the commonest label of their group; of no prefix, all nodes are one group.
    Dendrogram purity: of two nodes with one label in common, the share of that label in the smallest group that holds
    both, on average over all such pairs. Groups are of labelled nodes.

    Parameters
    ----------
    code : (nodes, levels) int32. labels : (nodes, labels) bool, at least one a node.

    Returns
    -------
    JSON values; ``dendrogram_purity`` is None where no two nodes have a label in common.
    """
    from scipy.sparse import csr_array  # a fifth of a second, which most runs have no use for

    nodes, depth = code.shape
    below = np.arange(nodes)  # the smallest groups: of one node
    pairs_below = np.zeros(labels.shape)
    pair_total, pure, levels = 0.0, 0.0, []
    for level in range(depth, -1, -1):
        first, group = np.unique(code[:, :level], axis=0, return_index=True, return_inverse=True)[1:]
        group = group.reshape(-1)
        members = csr_array((np.ones(nodes), (group, np.arange(nodes))), shape=(first.size, nodes))
        counts, size = members @ labels.astype(np.float64), np.bincount(group)
        pairs = counts * (counts - 1) / 2
        first_pairs = pairs.copy()  # pairs of nodes that no smaller group holds
        np.add.at(first_pairs, group[_first_of(below)], -pairs_below)
        pair_total += float(first_pairs.sum())
        pure += float((first_pairs * counts / size[:, None]).sum())
        levels.append({"level": level, "groups": int(first.size), "purity": float(counts.max(axis=1).sum() / nodes)})
        below, pairs_below = group, pairs
    return {"nodes": nodes, "levels": levels[::-1], "dendrogram_purity": pure / pair_total if pair_total else None}


def _first_of(group: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(group, return_index=True)[1]
