"""Print what a user is recommended, by the index that graphquilt export wrote; USearch maps it, and reads little.

graphquilt export --workspace WORKSPACE --format usearch --type item --out INDEX
python examples/consumers/usearch_index.py WORKSPACE/published/NAME USER INDEX
"""

import sys

from usearch.index import Index

from graphquilt import EmbeddingTable, ExportedVectors


def recommend(published: str, user: str, place: str) -> list[tuple]:
    """Return the five best items and their scores."""
    table, export = EmbeddingTable.open(published), ExportedVectors.open(place)
    index = Index.restore(str(export.file("item")), view=True)
    index.expansion_search = export.manifest["types"]["item"]["index"]["expansion_search"]
    vectors, _ = table.lookup([user], "user", missing="mean")
    best = index.search(export.queries(vectors)[0], 5)
    ids, scores = export.ids("item")[best.keys.astype(int)], export.scores(best.distances)
    return list(zip(ids.tolist(), scores.tolist(), strict=True))


if __name__ == "__main__":
    for item, score in recommend(*sys.argv[1:]):
        print(f"{item}  {score:.4f}")
