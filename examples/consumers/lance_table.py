"""Print what a user is recommended, by the LanceDB table that graphquilt export wrote.

graphquilt export --workspace WORKSPACE --format lance --out TABLE
python examples/consumers/lance_table.py WORKSPACE/published/NAME USER TABLE
"""

import sys

import lancedb

from graphquilt import EmbeddingTable, ExportedVectors


def recommend(published: str, user: str, place: str) -> list[tuple]:
    """Return the five best items and their scores."""
    vectors, _ = EmbeddingTable.open(published).lookup([user], "user", missing="mean")
    export = ExportedVectors.open(place)
    rows = lancedb.connect(str(export.folder)).open_table("node_embeddings")
    query = rows.search(vectors[0]).distance_type(export.manifest["metric"]["product"])
    best = query.where("node_type = 'item'", prefilter=True).limit(5).to_arrow()
    # LanceDB's distance of "dot" is 1 minus the product.
    return list(zip(best["node_id"].to_pylist(), [1 - x for x in best["_distance"].to_pylist()], strict=True))


if __name__ == "__main__":
    for item, score in recommend(*sys.argv[1:]):
        print(f"{item}  {score:.4f}")
