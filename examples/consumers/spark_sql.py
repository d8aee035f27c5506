"""Print what a user is recommended, in Spark SQL: Spark reads the vectors as array<float>.

spark-submit examples/consumers/spark_sql.py WORKSPACE/published/NAME USER
"""

import sys

from pyspark.sql import SparkSession

from graphquilt import EmbeddingTable

QUERY = """
SELECT item.node_id,
       aggregate(zip_with(item.embedding, person.embedding, (a, b) -> a * b), 0D, (sum, x) -> sum + x) AS score
FROM rows AS item CROSS JOIN rows AS person
WHERE item.node_type = 'item' AND person.node_type = 'user' AND CAST(person.node_id AS STRING) = :user
ORDER BY score DESC LIMIT 5
"""


def recommend(spark: SparkSession, published: str, user: str) -> list[tuple]:
    """Return the five best items and their scores."""
    spark.read.parquet(str(EmbeddingTable.open(published).path / "node_embeddings")).createOrReplaceTempView("rows")
    return [tuple(row) for row in spark.sql(QUERY, {"user": user}).collect()]


if __name__ == "__main__":
    for item, score in recommend(SparkSession.builder.getOrCreate(), *sys.argv[1:]):
        print(f"{item}  {score:.4f}")
