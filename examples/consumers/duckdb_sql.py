"""Print what a user is recommended, in DuckDB's SQL; the release is looked up in CURRENT.json, so no path changes.

python examples/consumers/duckdb_sql.py WORKSPACE/published/NAME USER
"""

import sys

import duckdb

#: A column of fixed-size lists is read as a list: the cast to FLOAT[dim] makes it the array that these functions take.
QUERY = """
WITH rows AS (SELECT node_type, node_id, embedding::FLOAT[{dim}] AS embedding FROM read_parquet(getvariable('release')))
SELECT item.node_id, array_inner_product(item.embedding, person.embedding) AS score
FROM rows AS item, rows AS person
WHERE item.node_type = 'item' AND person.node_type = 'user' AND person.node_id::VARCHAR = $user
ORDER BY score DESC LIMIT 5
"""


def recommend(published: str, user: str) -> list[tuple]:
    """Return the five best items and their scores."""
    db = duckdb.connect()
    db.execute(
        f"SET VARIABLE release = (SELECT '{published}/' || path || '/node_embeddings/*.parquet' "
        f"FROM read_json('{published}/CURRENT.json'))"
    )
    (dim,) = db.execute("SELECT len(embedding) FROM read_parquet(getvariable('release')) LIMIT 1").fetchone()
    return db.execute(QUERY.format(dim=dim), {"user": user}).fetchall()


if __name__ == "__main__":
    for item, score in recommend(*sys.argv[1:]):
        print(f"{item}  {score:.4f}")
