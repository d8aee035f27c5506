"""The rows of one type as an export takes them: batch by batch, and in the form that an index needs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graphquilt.inner_products import unit_rows, with_equal_norms
from graphquilt.row_lookup import as_matrix
from graphquilt.table import EmbeddingTable

Product = Literal["dot", "cosine"]
Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class TypeRows:
    """Rows of one type of a table, and the product that ranks them."""

    table: EmbeddingTable
    node_type: str
    product: Product

    @property
    def file_name(self) -> str:
        """The type as a name of files."""
        return quote(self.node_type, safe=" ")

    @property
    def reduction(self) -> str:
        """How an index that knows equal norms only gets them."""
        return "equal_norms" if self.product == "dot" else "unit_rows"

    @property
    def index_dim(self) -> int:
        """Columns of the rows in an index."""
        return self.table.dim + (self.product == "dot")

    def batches(self, *columns: str) -> Iterator[pa.RecordBatch]:
        """Yield some columns, or all, of at most 65,536 rows at a time."""
        return self.table.to_batches(self.node_type, columns or None)

    def count(self) -> int:
        """Return the number of rows, zero rows among them."""
        return sum(batch.num_rows for batch in self.batches("node_id"))

    def largest_norm(self) -> float:
        """Return the largest norm; 0 where there are no rows."""
        return max((pc.max(batch["norm"]).as_py() for batch in self.batches("norm")), default=0.0)

    def index_batches(self) -> Iterator[tuple[pa.Array, Matrix]]:
        """Yield ids and rows of equal norms, without zero rows: these are near to nothing."""
        largest_norm = self.largest_norm()
        for batch in self.batches("node_id", "embedding", "norm"):
            batch = batch.filter(pc.greater(batch["norm"], 0))
            rows = as_matrix(batch["embedding"])
            yield batch["node_id"], with_equal_norms(rows, largest_norm) if self.product == "dot" else unit_rows(rows)
