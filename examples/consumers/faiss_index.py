"""Print what a user is recommended, by the index that graphquilt export wrote.

graphquilt export --workspace WORKSPACE --format faiss --type item --out INDEX
python examples/consumers/faiss_index.py WORKSPACE/published/NAME USER INDEX
"""

import sys

import faiss

from graphquilt import EmbeddingTable, ExportedVectors


def recommend(published: str, user: str, place: str) -> list[tuple]:
    """Return the five best items and their scores."""
    table, export = EmbeddingTable.open(published), ExportedVectors.open(place)
    if table.space_id != export.manifest["space_id"]:
        raise SystemExit(f"the index is of {export.release}, in another space than {table.release}: export again")
    index = faiss.read_index(str(export.file("item")))
    vectors, _ = table.lookup([user], "user", missing="mean")
    scores, rows = index.search(export.queries(vectors), 5)
    return list(zip(export.ids("item")[rows[0]].tolist(), scores[0].tolist(), strict=True))


if __name__ == "__main__":
    for item, score in recommend(*sys.argv[1:]):
        print(f"{item}  {score:.4f}")
