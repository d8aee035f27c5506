"""How many of the best rows an index finds, against every row compared."""

import numpy as np
import pyarrow.compute as pc

from graphquilt.inner_products import unit_rows, with_zero
from graphquilt.row_lookup import as_matrix
from graphquilt.table import EmbeddingTable
from pipeline.queries.exports.formats import Search
from pipeline.queries.exports.rows import Matrix, TypeRows

QUERIES, BEST = 500, 10


def query_rows(table: EmbeddingTable, node_type: str) -> Matrix:
    """Return rows that a type's index is asked with: of the other type where there are two, evenly spread.

    Returns
    -------
    (at most 500, dim) float32, none of them zero.
    """
    asking = next((other_type for other_type in table.node_types if other_type != node_type), node_type)
    norms = np.concatenate([batch["norm"].to_numpy() for batch in table.to_batches(asking, ["norm"])])
    places = np.flatnonzero(norms > 0)
    places = places[np.linspace(0, places.size - 1, min(QUERIES, places.size)).astype(np.int64)]
    rows, first = np.empty((places.size, table.dim), np.float32), 0
    for batch in table.to_batches(asking, ["embedding"]):
        inside = (places >= first) & (places < first + batch.num_rows)
        rows[inside] = as_matrix(batch["embedding"])[places[inside] - first]
        first += batch.num_rows
    return rows


def recall_of(search: Search, rows: TypeRows, queries: Matrix) -> float | None:
    """Return which share of the ten best rows of each query the index finds; None where there is nothing to find.

    Cost
    ----
    Reads the type once, and multiplies it with all queries.
    """
    scores = np.empty((len(queries), 0), np.float32)
    places = np.empty((len(queries), 0), np.int64)
    first = 0
    for batch in rows.batches("embedding", "norm"):
        batch = batch.filter(pc.greater(batch["norm"], 0))
        block = as_matrix(batch["embedding"])
        score = queries @ (block if rows.product == "dot" else unit_rows(block)).T
        place = np.broadcast_to(np.arange(first, first + len(block)), score.shape)
        scores, places = np.hstack((scores, score)), np.hstack((places, place))
        best = np.argsort(-scores, axis=1, kind="stable")[:, :BEST]
        scores, places = np.take_along_axis(scores, best, 1), np.take_along_axis(places, best, 1)
        first += len(block)
    if not scores.size:
        return None
    answers = search(with_zero(queries) if rows.product == "dot" else unit_rows(queries), scores.shape[1])
    hits = sum(np.isin(best, answer).sum() for best, answer in zip(places, answers, strict=True))
    return float(hits) / places.size
