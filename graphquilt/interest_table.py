"""A published table of the interests of sources, opened for reading."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from graphquilt.contracts import user_interests
from graphquilt.ids import Ids
from graphquilt.locate import INTERESTS
from graphquilt.open_table import OpenTable
from graphquilt.row_lookup import as_matrix

_METADATA_KEYS = {"contract_version", "data_date", "space_id", "target_type"}


@dataclass(frozen=True)
class NodeInterests:
    """The interests of some nodes, one after the other in the order of the question, each node's largest first.

    Attributes
    ----------
    found : (n,) bool. indptr : (n + 1,) int64: node i has the interests ``indptr[i]`` to ``indptr[i + 1]``.
    cluster : (interests,) int32. weight : (interests,) float32: a node's are at most 1 together.
    query : (interests, dim) float32: look for targets with the largest products with it.
    """

    found: NDArray[np.bool_]
    indptr: NDArray[np.int64]
    cluster: NDArray[np.int32]
    weight: NDArray[np.float32]
    query: NDArray[np.float32]

    def share_out(self, k: int) -> NDArray[np.int64]:
        """Return how many of each node's ``k`` candidates are for each of its interests; (interests,)."""
        return share_out(self.indptr, self.weight, k)


class InterestTable(OpenTable):
    """One release of ``user_interests``: of each source the clusters of its neighbours, and a query for each.

    A handle stays on its release, also when CURRENT moves on or, in a folder, the release is removed. Threads may
    share it.

        table = InterestTable.open("workspace")
        interests = table.lookup([17], "user")
        interests.query, interests.share_out(200)
    """

    _TABLE = INTERESTS

    @property
    def space_id(self) -> str:
        """The space of the queries: targets to look for have rows in a table of an equal one."""
        return str(self._metadata["space_id"])

    @property
    def clusters_since(self) -> str:
        """The date of the night whose numbers of clusters these are: they mean the same in releases of an equal one."""
        return str(self._metadata.get("clusters_since") or self._metadata["data_date"])

    @property
    def target_type(self) -> str:
        """The type of the nodes that queries look for."""
        return str(self._metadata["target_type"])

    def lookup(self, ids: Ids, node_type: str, missing: Literal["empty", "raise"] = "empty") -> NodeInterests:
        """Return the interests of nodes, in the order of ``ids``.

        Parameters
        ----------
        ids : (n,) integers or strings: list, array or Arrow array; repeated ids are allowed. 7 and "7" are the
            same node, whatever type the table stores.
        missing : what an id without interests gets: none, or an error.

        Raises
        ------
        TypeError : ids are neither integers nor strings. ValueError : no such type of nodes.
        UnknownNodeError : an id has no interests, and ``missing`` is "raise".
        """
        matches = self._match(ids, node_type, missing, ("empty", "raise"))
        dim = self._groups.schema.field("query").type.list_size
        counts = np.zeros(matches.is_known.size, np.int64)
        places, pieces = [np.empty(0, np.int64)], [(np.empty(0, np.int32), np.empty(0, np.float32))]
        queries = [np.empty((0, dim), np.float32)]
        for group, columns in self._groups.columns(list(matches.hits), ["node_id", "cluster", "weight", "query"]):
            position, row = matches.hits[group]
            runs = pc.run_end_encode(columns["node_id"])
            ends = runs.run_ends.to_numpy().astype(np.int64)
            run = np.searchsorted(ends, row, side="right")
            first = np.concatenate([[0], ends])[run]
            length = ends[run] - first
            counts[position] = length
            rows = np.arange(int(length.sum())) + np.repeat(first - (np.cumsum(length) - length), length)
            places.append(np.repeat(position, length))
            pieces.append((columns["cluster"].to_numpy()[rows], columns["weight"].to_numpy()[rows]))
            queries.append(as_matrix(columns["query"])[rows])
        order = np.argsort(np.concatenate(places), kind="stable")
        cluster, weight = (np.concatenate(column)[order] for column in zip(*pieces, strict=True))
        indptr = np.concatenate([[0], np.cumsum(counts)])
        return NodeInterests(matches.is_known, indptr, cluster, weight, np.concatenate(queries)[order])

    def __repr__(self) -> str:
        return self._describe(f"at most {self._metadata.get('per_source')} interests a node")

    def _check(self, cache_bytes: int) -> dict[str, Any]:
        position = self._groups.schema.get_field_index("query")
        width = getattr(self._groups.schema.field(position).type, "list_size", 1) if position >= 0 else 1
        contract = user_interests(width)
        metadata = self._read_metadata(contract, _METADATA_KEYS)
        self._require_version(contract, metadata["contract_version"])
        return metadata


def share_out(indptr: NDArray[np.int64], weight: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Share ``k`` seats out over the weights of each node by largest remainders, of equal ones to the first.

    Parameters
    ----------
    indptr : (n + 1,) int64: node i has the weights ``indptr[i]`` to ``indptr[i + 1]``, above 0.

    Returns
    -------
    (weights,) int64, of each node ``k`` together.

    Raises
    ------
    ValueError : ``k`` is below 0.
    """
    if k < 0:
        raise ValueError(f"k is {k}; it must be at least 0")
    counts = np.diff(indptr)
    node = np.repeat(np.arange(counts.size), counts)
    exact = weight.astype(np.float64)
    quota = k * exact / np.bincount(node, exact, minlength=counts.size)[node]
    seats = np.floor(quota).astype(np.int64)
    order = np.lexsort((seats - quota, node))
    rank = np.empty(node.size, np.int64)
    rank[order] = np.arange(node.size) - indptr[node]
    left = k - np.bincount(node, seats, minlength=counts.size).astype(np.int64)
    return seats + (rank < left[node])
