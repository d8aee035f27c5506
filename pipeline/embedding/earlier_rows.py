"""The subspace of an earlier night of a lineage: what the first product starts from in the place of random rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import NodeArrays
from pipeline.embedding import row_files
from pipeline.kernels.rows import row_norms
from pipeline.locations import Location

#: Rows this much shorter than a row of orthonormal columns is on average have faded over the nights.
_FADED = 2.0**-40


@dataclass(frozen=True)
class EarlierSubspace:
    """Where the rows of an earlier night lie, and the keys of that night's nodes.

    rows : files of orthonormal columns, the leading eigenvectors first; rows are of that night's node numbers.
    node_arrays : say which keys these numbers have. leading : columns that count; the others are for convergence.
    """

    rows: tuple[Location, ...]
    node_arrays: tuple[Location, ...]
    leading: int

    def put_into(self, x: NDArray[np.float32], node_key: NDArray[np.uint64], nodes: int) -> None:
        """Replace random rows by those of the earlier night, found by the nodes' keys.

        The key of a node is the same every night, its number need not be; of two nodes with one key, one gets the row.
        A node that is new, or whose row has faded, keeps its random row in the columns beyond the leading ones, at
        the length of others: so the leading ones stay what they are, and a piece of the graph that nothing joins to
        the rest is found as well.

        Parameters
        ----------
        x : (n, width) float32 random rows, replaced in place. node_key : (n,) uint64. nodes : with a row, in all parts.
        """
        first_free = min(self.leading, x.shape[1] - 1)
        x *= np.float32(nodes**-0.5)
        x[:, :first_free] = 0.0
        order = np.argsort(node_key, kind="stable")
        in_order = node_key[order]
        keys = NodeArrays(self.node_arrays).all("node_key").view(np.uint64)
        for file in self.rows:
            for node_ix, rows in row_files.read_rows(file):
                place = np.searchsorted(in_order, keys[node_ix])
                is_here = np.append(in_order, 0)[place] == keys[node_ix]
                is_here &= place < in_order.size
                own = rows.values[is_here]
                lasting = row_norms(own) > _FADED * (own.shape[1] / nodes) ** 0.5
                columns = min(own.shape[1], x.shape[1])  # a graph of few nodes has as many columns as nodes
                index = order[place[is_here][lasting]]
                x[index, :columns] = own[lasting, :columns]
                x[index, columns:] = 0.0
