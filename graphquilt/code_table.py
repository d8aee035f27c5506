"""A published table of discrete codes, opened for reading."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from graphquilt.contracts import NODE_CODES
from graphquilt.errors import TableError
from graphquilt.ids import Ids
from graphquilt.locate import CODES
from graphquilt.open_table import OpenTable

_METADATA_KEYS = {"contract_version", "data_date", "codes_id", "clusters", "levels", "widest"}
NO_CODE = -1
"""In all columns of a node that the table doesn't have."""


@dataclass(frozen=True)
class NodeCodes:
    """The codes of some nodes, in the order of the question; NO_CODE where ``found`` is false.

    Attributes
    ----------
    found : (n,) bool. code : (n, levels) int32, from coarse to fine: which child of the group before it; or, of
        residuals, the number in each codebook.
    cluster : (n,) int32. leaf_token : (n,) int32, which of its type's nodes in the cluster.
    """

    found: NDArray[np.bool_]
    code: NDArray[np.int32]
    cluster: NDArray[np.int32]
    leaf_token: NDArray[np.int32]


class CodeTable(OpenTable):
    """One release of ``node_codes``: of each node with edges, its cluster and the way to it from coarse to fine.

    A handle stays on its release, also when CURRENT moves on or, in a folder, the release is removed. Threads may
    share it.

        table = CodeTable.open("workspace")
        rows = table.lookup([17, 42], "item").cluster
    """

    _TABLE = CODES

    @property
    def codes_id(self) -> str:
        """Codes of two releases mean the same, and may be fed to one trained model, if and only if this is equal."""
        return str(self._metadata["codes_id"])

    @property
    def levels(self) -> int:
        """The length of a code."""
        return int(self._metadata["levels"])

    @property
    def clusters(self) -> int:
        """Above the number of every cluster: the rows that a table with a row for each takes."""
        return int(self._metadata["clusters"])

    @property
    def widths(self) -> tuple[int, ...]:
        """By level, above every number that codes have there."""
        return tuple(self._metadata["widest"])

    def lookup(self, ids: Ids, node_type: str, missing: Literal["none", "raise"] = "none") -> NodeCodes:
        """Return the codes of nodes, in the order of ``ids``.

        Parameters
        ----------
        ids : (n,) integers or strings: list, array or Arrow array; repeated ids are allowed. 7 and "7" are the
            same node, whatever type the table stores.
        missing : what an id without a code gets: NO_CODE, or an error.

        Raises
        ------
        TypeError : ids are neither integers nor strings. ValueError : no such type of nodes.
        UnknownNodeError : an id is unknown, or its node has no edges, and ``missing`` is "raise".
        TableError : codes are damaged.
        """
        matches = self._match(ids, node_type, missing, ("none", "raise"))
        code = np.full((matches.is_known.size, self.levels), NO_CODE, np.int32)
        cluster, leaf_token = (np.full(matches.is_known.size, NO_CODE, np.int32) for _ in range(2))
        for group, columns in self._groups.columns(list(matches.hits), ["code", "cluster", "leaf_token"]):
            position, row = matches.hits[group]
            numbers = columns["code"].flatten().to_numpy()
            if numbers.size != len(columns["code"]) * self.levels:
                raise TableError(f"release {self.release} has codes of other lengths than {self.levels}; make it again")
            code[position] = numbers.reshape(-1, self.levels)[row]
            cluster[position] = columns["cluster"].to_numpy()[row]
            leaf_token[position] = columns["leaf_token"].to_numpy()[row]
        return NodeCodes(matches.is_known, code, cluster, leaf_token)

    def __repr__(self) -> str:
        return self._describe(f"{self.clusters:,} clusters, {self.levels} levels")

    def _check(self, cache_bytes: int) -> dict[str, Any]:
        metadata = self._read_metadata(NODE_CODES, _METADATA_KEYS)
        self._require_version(NODE_CODES, metadata["contract_version"])
        return metadata
