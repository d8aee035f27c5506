"""Where tables and tasks run: the only place that imports Spark, Dask or Polars."""
