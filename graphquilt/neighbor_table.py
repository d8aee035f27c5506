"""A published table of lists of neighbours, opened for reading."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graphquilt.contracts import NEIGHBORS, PPR_NEIGHBORS
from graphquilt.errors import TableError
from graphquilt.ids import Ids
from graphquilt.locate import LISTS, LocatedRelease
from graphquilt.open_table import OpenTable
from graphquilt.row_lookup import RowMatches

_LIST_COLUMNS = ("neighbor_ids", "scores", "error_bound")
_METADATA_KEYS = {"contract_version", "data_date", "error_kind", "target_type", "top_k"}


@dataclass(frozen=True)
class NeighborLists:
    """The lists of some nodes, concatenated in the order of the question.

    Attributes
    ----------
    found : (n,) bool: the table has a list of the node; a list may be empty.
    indptr : (n + 1,) int64: list i is ``ids[indptr[i]:indptr[i + 1]]``, and so are its scores.
    ids : Arrow array, int64 or string, as the table stores ids; each list best first.
    scores : float32, as many as ids.
    error_bound : (n,) float32, on the scores of list i, of the table's ``error_kind``; inf where not found.
    """

    found: NDArray[np.bool_]
    indptr: NDArray[np.int64]
    ids: pa.Array
    scores: NDArray[np.float32]
    error_bound: NDArray[np.float32]

    def of(self, position: int) -> list[tuple[Any, float]]:
        """Return one list as (id, score), best first."""
        position = range(len(self))[position]  # raises IndexError outside of the range
        section = slice(self.indptr[position], self.indptr[position + 1])
        return list(zip(self.ids[section].to_pylist(), self.scores[section].tolist(), strict=True))

    def __len__(self) -> int:
        return self.found.size


class NeighborTable(OpenTable):
    """The lists of one release: of each node, the nodes of one type that it is nearest to.

    The table is ``ppr_neighbors``, by PageRank, or ``neighbors``, by another filter of the graph.

    A handle stays on its release, also when CURRENT moves on or, in a folder, the release is removed. Threads may
    share it.

        table = NeighborTable.open("workspace")
        table.neighbors(17, "user", k=20)
        lists = table.lookup([17, 42], "user")
    """

    _TABLE = LISTS

    @property
    def target_type(self) -> str:
        """The type of the nodes that are listed."""
        return str(self._metadata["target_type"])

    @property
    def top_k(self) -> int:
        """Most nodes in a list."""
        return int(self._metadata["top_k"])

    @property
    def filter(self) -> str:
        """What scores are: "ppr", "plateau" or "linear"."""
        return str(self._metadata.get("filter", "ppr"))

    @property
    def restart(self) -> float | None:
        """The walk's chance of jumping back to the source at each step; None of another filter than "ppr"."""
        restart = self._metadata.get("restart")
        return None if restart is None else float(restart)

    @property
    def error_kind(self) -> str:
        """What a bound is on: "pointwise" each score, "l1" the sum of all errors, "confidence" each score, at .95."""
        return str(self._metadata["error_kind"])

    def neighbors(self, node_id: int | str, node_type: str, k: int | None = None) -> list[tuple[Any, float]]:
        """Return the nodes nearest to one and their scores, best first; ``k`` of them, or the whole list.

        The node itself is not among them. A list has at most :attr:`top_k` nodes, whatever ``k`` is.

        Raises
        ------
        UnknownNodeError : the table has no list of the node. ValueError : no such type of nodes, or ``k`` is below 1.
        """
        if k is not None and k < 1:
            raise ValueError(f"k is {k}; it must be at least 1, or None for the whole list")
        return self.lookup([node_id], node_type, missing="raise").of(0)[:k]

    def lookup(self, ids: Ids, node_type: str, missing: Literal["empty", "raise"] = "empty") -> NeighborLists:
        """Return the lists of nodes, in the order of ``ids``.

        Parameters
        ----------
        ids : (n,) integers or strings: list, array or Arrow array; repeated ids are allowed. 7 and "7" are the
            same node, whatever type the table stores.
        missing : what an unknown id gets: an empty list, or an error.

        Raises
        ------
        TypeError : ids are neither integers nor strings.
        ValueError : no such type of nodes; or the ids of the answer have 2 GiB of text or more.
        UnknownNodeError : an id is unknown and ``missing`` is "raise".
        TableError : lists are damaged.

        Cost
        ----
        Reads the row groups that hold an id (4,096 lists each); the second time from the cache.
        """
        matches = self._match(ids, node_type, missing, ("empty", "raise"))
        is_known = matches.is_known
        try:
            neighbor_ids, scores, error_bound = self._lists(matches)
        except pa.ArrowInvalid as error:  # offsets of text have 32 bits
            message = f"the lists of {is_known.size:,} ids don't fit one array; ask in portions ({error})"
            raise ValueError(message) from error
        lengths = pc.list_value_length(neighbor_ids).to_numpy(zero_copy_only=False)
        if not np.array_equal(lengths, pc.list_value_length(scores).to_numpy(zero_copy_only=False)):
            raise TableError(f"release {self.release} has lists with other numbers of ids than scores; make it again")
        indptr = np.zeros(is_known.size + 1, np.int64)
        indptr[1:][is_known] = lengths
        np.cumsum(indptr, out=indptr)
        return NeighborLists(is_known, indptr, neighbor_ids.flatten(), scores.flatten().to_numpy(), error_bound)

    def __repr__(self) -> str:
        return self._describe(f"{self.top_k} {self.target_type} each")

    def _check(self, cache_bytes: int) -> dict[str, Any]:
        contract = PPR_NEIGHBORS if self._table_in(self._location) == LISTS else NEIGHBORS
        keys = _METADATA_KEYS | {"restart" if contract is PPR_NEIGHBORS else "filter"}
        metadata = self._read_metadata(contract, keys)
        self._require_version(contract, metadata["contract_version"])
        return metadata

    def _table_in(self, location: LocatedRelease) -> str:
        return location.list_table or LISTS

    def _lists(self, matches: RowMatches) -> tuple[pa.Array, pa.Array, NDArray[np.float32]]:
        """Return the lists of ids and of scores of the known nodes, in the order of the question; and all bounds."""
        error_bound = np.full(matches.is_known.size, np.inf, np.float32)
        positions: list[NDArray[np.int64]] = []
        pieces: list[tuple[pa.Array, pa.Array]] = []
        for group, columns in self._groups.columns(list(matches.hits), _LIST_COLUMNS):
            position, row = matches.hits[group]
            error_bound[position] = columns["error_bound"].to_numpy()[row]
            positions.append(position)
            pieces.append((columns["neighbor_ids"].take(pa.array(row)), columns["scores"].take(pa.array(row))))
        if not pieces:
            fields = (self._groups.schema.field(name) for name in ("neighbor_ids", "scores"))
            ids, scores = (pa.array([], field.type) for field in fields)
            return ids, scores, error_bound
        order = pa.array(np.argsort(np.concatenate(positions)))  # from the order of rows to that of the question
        ids, scores = (pa.concat_arrays(column).take(order) for column in zip(*pieces, strict=True))
        return ids, scores, error_bound
