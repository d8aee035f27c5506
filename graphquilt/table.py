"""A published table of node embeddings, opened for reading."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graphquilt.contracts import TableColumns, fold_in, node_embeddings
from graphquilt.errors import TableError
from graphquilt.fold_in import Neighbors, fold_in_row
from graphquilt.ids import Ids, convert_ids, find_positions
from graphquilt.locate import FOLD_IN, TABLE
from graphquilt.open_table import OpenTable
from graphquilt.row_groups import RowGroups
from graphquilt.row_lookup import as_matrix


class EmbeddingTable(OpenTable):
    """One release of a table of node embeddings.

    A handle stays on its release, also when CURRENT moves on or, in a folder, the release is removed: all its answers
    are of one night. Threads may share it.

        table = EmbeddingTable.open("workspace")
        vectors, is_known = table.lookup([17, 42], "user")
        table.neighbors(17, "user", k=20, target_type="item")
    """

    _TABLE = TABLE
    _ROW_COLUMNS: ClassVar[tuple[str, ...]] = ("embedding",)
    _NORM_COLUMNS: ClassVar[tuple[str, ...]] = ("norm",)
    _fold_in_groups: RowGroups | None = None

    @property
    def dim(self) -> int:
        """Columns of the embedding."""
        return int(self._groups.schema.field("embedding").type.list_size)

    @property
    def space_id(self) -> str:
        """Vectors of two releases may be compared, or fed to one model, if and only if these are equal."""
        return str(self._metadata["space_id"])

    @property
    def similarity(self) -> dict[str, str]:
        """The similarity for each use (retrieval, feature, classifier): "dot" or "cosine"."""
        return dict(self._metadata["similarity"])

    def lookup(
        self, ids: Ids, node_type: str, missing: Literal["zero", "mean", "raise"] = "zero"
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the vectors of nodes, in the order of ``ids``.

        Parameters
        ----------
        ids : (n,) integers or strings: list, array or Arrow array; repeated ids are allowed. 7 and "7" are the
            same node, whatever type the table stores.
        missing : what an unknown id gets: a zero row, the mean vector of its type, or an error.

        Returns
        -------
        (n, dim) float32, and (n,) bool: which ids the table holds.

        Raises
        ------
        TypeError : ids are neither integers nor strings. ValueError : no such type of nodes.
        UnknownNodeError : an id is unknown and ``missing`` is "raise".

        Cost
        ----
        Reads the row groups that hold an id (65,536 rows each); the second time from the cache.
        """
        matches = self._match(ids, node_type, missing, ("zero", "mean", "raise"))
        is_known = matches.is_known
        vectors = np.empty((is_known.size, self.dim), np.float32)
        for group, columns in self._groups.columns(list(matches.hits), self._ROW_COLUMNS):
            position, row = matches.hits[group]
            vectors[position] = self._rows_in(columns)[row]
        if not is_known.all():
            vectors[~is_known] = self._mean_vector(node_type) if missing == "mean" else 0.0
        return vectors, is_known

    def neighbors(
        self, node_id: int | str, node_type: str, k: int = 10, target_type: str | None = None
    ) -> list[tuple[Any, float]]:
        """Return the ``k`` most similar nodes of a type and their scores, best first.

        Between two types the score is the table's similarity for retrieval: the answer is recommendations. Within a
        type it is the cosine, since a large norm does not make nodes similar. The node itself and nodes with a zero row
        are left out. Equal scores are ordered by id.

        Parameters
        ----------
        target_type : type of the neighbours; None: the node's own.

        Raises
        ------
        UnknownNodeError : the table does not hold the node.
        ValueError : no such type of nodes, or ``k`` is below 1.

        Cost
        ----
        Compares with every node of the target type: exact, and slower than an index.
        """
        if k < 1:
            raise ValueError(f"k is {k}; it must be at least 1")
        target = node_type if target_type is None else target_type
        groups = self._groups.of(target)
        vector = self.lookup([node_id], node_type, missing="raise")[0][0]
        norm = float(np.linalg.norm(vector.astype(np.float64)))
        if norm == 0.0:
            return []
        is_cosine = target == node_type or self.similarity["retrieval"] == "cosine"
        own_id = convert_ids([node_id], self._id_type)[0] if target == node_type else None
        query = (vector / norm).astype(np.float32) if is_cosine else vector
        best_ids: list[Any] = []
        best_scores = np.empty(0, np.float32)
        for _, columns in self._groups.columns(groups, ["node_id", *self._ROW_COLUMNS, *self._NORM_COLUMNS]):
            rows = self._rows_in(columns)
            norms = self._norms_in(columns, rows)
            score = _scores_of(rows, norms, columns["node_id"], query, is_cosine=is_cosine, own_id=own_id)
            top = _top(score, k)
            # Earlier row groups first, and a stable sort: equal scores stay in the order of their ids.
            scores = np.concatenate((best_scores, score[top]))
            order = np.argsort(-scores, kind="stable")[:k]
            ids = best_ids + columns["node_id"].take(pa.array(top)).to_pylist()
            best_ids, best_scores = [ids[position] for position in order], scores[order]
        return [(best, float(score)) for best, score in zip(best_ids, best_scores, strict=True) if score > -np.inf]

    def fold_in(self, neighbors: Neighbors, node_type: str | None = None) -> NDArray[np.float32]:
        """Return the row of a node from its neighbours: of a node that the table lacks, or that has new edges.

        If ``metadata["fold_in"][type]["is_exact"]`` is true, the row is the one that a run would give the node if all
        other rows stayed: for a node of the table and its own edges it is the node's own row, to rounding. On graphs of
        one type it is one step from the neighbours' directions, which ranks as well.

        Parameters
        ----------
        neighbors : by id, the weight of the edge in units of 1, as of the table's date; or ids of weight 1 each, and of
            weight 2 if repeated. Ids that the table lacks are ignored (:meth:`lookup` tells which).
        node_type : of the new node; None: the type that edges start from ("user").

        Returns
        -------
        (dim,) float32.

        Raises
        ------
        UnknownNodeError : none of the neighbours is known.
        TableError : rows of this type can't be made from the release.
        ValueError : no neighbours, or a weight that is not above zero.
        """
        new_type = str(self._metadata.get("source_type", "user")) if node_type is None else node_type
        recipes = self._metadata.get("fold_in", {})
        if new_type not in recipes:
            raise TableError(
                f"release {self.release} can't fold in new nodes of type '{new_type}'; of types {sorted(recipes)} it "
                "can. With publish.fold_in = true, releases of two_tower, low_pass, spectral and factorised ppr hold "
                "what it takes"
            )
        about = self._metadata.get("compatibility")
        return fold_in_row(recipes[new_type], self._groups, self._fold_in_groups, neighbors, about)

    def to_numpy(self, node_type: str) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Return a type's ids, (n,) int64 or object (strings), and vectors, (n, dim) float32, by id."""
        groups = self._groups.of(node_type)
        rows = self._groups.rows(node_type)
        is_int = self._id_type == pa.int64()
        ids = np.empty(rows, np.int64 if is_int else object)
        vectors = np.empty((rows, self.dim), np.float32)
        for group, columns in self._groups.columns(groups, ["node_id", *self._ROW_COLUMNS], remember=False):
            section = slice(group.first_row, group.first_row + group.rows)
            ids[section] = columns["node_id"].to_numpy(zero_copy_only=False)
            vectors[section] = self._rows_in(columns)
        return ids, vectors

    def close(self) -> None:
        """Close the files. Arrays and tables that were returned stay valid."""
        super().close()
        if self._fold_in_groups is not None:
            self._fold_in_groups.close()

    def __repr__(self) -> str:
        return self._describe(f"dim={self.dim}")

    def _check(self, cache_bytes: int) -> dict[str, Any]:
        position = self._groups.schema.get_field_index("embedding")
        embedding = self._groups.schema.field(position).type if position >= 0 else pa.null()
        dim = embedding.list_size if pa.types.is_fixed_size_list(embedding) else 1
        contract = self._contract(dim)
        self._require_version(contract, self._location.manifest.get("contract_version"))
        metadata = self._read_metadata(contract, {"data_date", "similarity", "mean_vectors", "space_id"})
        if any(recipe["table"] == FOLD_IN for recipe in metadata.get("fold_in", {}).values()):
            # Opened now, since the release may be removed before the first question.
            self._fold_in_groups = self._open_groups(FOLD_IN, cache_bytes)
            fold_in(dim).check_schema(self._fold_in_groups.schema, str(self._location.folder / FOLD_IN))
        return metadata

    def _contract(self, dim: int) -> TableColumns:
        return node_embeddings(dim)

    def _rows_in(self, columns: Mapping[str, pa.Array]) -> NDArray[np.float32]:
        """Return the rows of a row group, from its ``_ROW_COLUMNS``."""
        return as_matrix(columns["embedding"])

    def _norms_in(self, columns: Mapping[str, pa.Array], rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the norms of rows of a row group, from its ``_NORM_COLUMNS`` or from the rows."""
        return columns["norm"].to_numpy()

    @property
    def _id_type(self) -> pa.DataType:
        return self._groups.schema.field("node_id").type

    def _mean_vector(self, node_type: str) -> NDArray[np.float32]:
        means = self._metadata["mean_vectors"]
        if node_type not in means:
            raise TableError(f"release {self.release} has no mean vector of type '{node_type}'; use missing='zero'")
        return np.asarray(means[node_type], np.float32)


def _scores_of(
    rows: NDArray[np.float32],
    norm: NDArray[np.float32],
    node_id: pa.Array,
    query: NDArray[np.float32],
    *,
    is_cosine: bool,
    own_id: pa.Array | None,
) -> NDArray[np.float32]:
    """Return the score of each node of a row group; -inf for zero rows and for the node itself."""
    score = rows @ query
    is_comparable = norm > 0
    if own_id is not None and (row := int(find_positions(own_id, node_id)[0])) >= 0:
        is_comparable[row] = False
    if is_cosine:
        np.divide(score, norm, out=score, where=is_comparable)
    score[~is_comparable] = -np.inf
    return score


def _top(score: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the positions of the ``k`` largest scores, best first, equal ones by position."""
    if k < score.size:
        # All scores above the k-th, then the first of those equal to it.
        kth = np.partition(score, score.size - k)[score.size - k]
        above = np.flatnonzero(score > kth)
        equal = np.flatnonzero(score == kth)[: k - above.size]
        position = np.concatenate((above, equal))
        position.sort()
    else:
        position = np.arange(score.size)
    return position[np.argsort(-score[position], kind="stable")]
