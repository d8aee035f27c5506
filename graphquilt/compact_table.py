"""A published table of compact rows, opened for reading as the table that it was made of."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graphquilt.contracts import TableColumns, node_embeddings_int8
from graphquilt.errors import TableError
from graphquilt.fold_in import Neighbors
from graphquilt.locate import COMPACT, FOLD_IN
from graphquilt.row_lookup import as_matrix
from graphquilt.table import EmbeddingTable


class CompactTable(EmbeddingTable):
    """One release of ``node_embeddings_int8``: the same nodes and questions at a quarter of the bytes.

    An entry is off by at most 1 / 254 of the largest one in its row. The rows lie in the space of the table that they
    were made of, whose ``space_id`` and metadata they have.

        table = CompactTable.open("workspace")
        vectors, is_known = table.lookup([17, 42], "user")
    """

    _TABLE = COMPACT
    _ROW_COLUMNS: ClassVar[tuple[str, ...]] = ("embedding", "scale")
    _NORM_COLUMNS: ClassVar[tuple[str, ...]] = ()

    def fold_in(self, neighbors: Neighbors, node_type: str | None = None) -> NDArray[np.float32]:
        """Return the row of a new node; see :meth:`EmbeddingTable.fold_in`.

        Raises
        ------
        TableError : its recipe adds up rows of node_embeddings, and not those of the table fold_in.
        """
        new_type = str(self._metadata.get("source_type", "user")) if node_type is None else node_type
        recipe: dict[str, Any] = self._metadata.get("fold_in", {}).get(new_type, {"table": FOLD_IN})
        if recipe["table"] != FOLD_IN:
            raise TableError(f"rows of new nodes of type '{new_type}' are sums of full rows; open EmbeddingTable")
        return super().fold_in(neighbors, node_type)

    def _contract(self, dim: int) -> TableColumns:
        return node_embeddings_int8(dim)

    def _rows_in(self, columns: Mapping[str, pa.Array]) -> NDArray[np.float32]:
        codes = as_matrix(columns["embedding"])
        return codes * columns["scale"].to_numpy()[:, None]

    def _norms_in(self, columns: Mapping[str, pa.Array], rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.linalg.norm(rows, axis=1)
