"""Print what a user is recommended, with Polars: the items' vectors become one matrix.

python examples/consumers/polars_frame.py WORKSPACE/published/NAME USER
"""

import sys

import polars as pl

from graphquilt import EmbeddingTable


def recommend(published: str, user: str) -> list[tuple]:
    """Return the five best items and their scores."""
    path = EmbeddingTable.open(published).path / "node_embeddings" / "*.parquet"
    rows = pl.scan_parquet(path).select("node_type", "node_id", "embedding")
    person = rows.filter(pl.col("node_type") == "user", pl.col("node_id").cast(pl.String) == user).collect()
    items = rows.filter(pl.col("node_type") == "item").collect()
    scores = items["embedding"].to_numpy() @ person["embedding"].to_numpy()[0]
    return items.select("node_id", pl.Series("score", scores)).top_k(5, by="score").rows()


if __name__ == "__main__":
    for item, score in recommend(*sys.argv[1:]):
        print(f"{item}  {score:.4f}")
