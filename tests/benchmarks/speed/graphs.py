"""The graphs by name: Gowalla's training pairs, and planted ones by millions of edges (``10m``)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.planted_bipartite import planted_pairs, write_rows

EDGES_PER_NODE = 10
GOWALLA = Path(__file__).parents[3].parent / "shared" / "data" / "gowalla" / "train.parquet"


def write_graph(name: str, folder: Path) -> Path:
    """Write a graph's pairs in ``user_id`` and ``item_id`` (int64) unless they are there; return the file."""
    path = folder / f"{name}.parquet"
    if path.exists():
        return path
    if name == "gowalla":
        table = pq.read_table(GOWALLA)
        user, item = (np.unique(table.column(column).to_numpy(), return_inverse=True)[1] for column in (0, 1))
    else:
        edges = int(float(name.removesuffix("m")) * 1e6)
        user, item = planted_pairs(edges, edges // EDGES_PER_NODE)
    folder.mkdir(parents=True, exist_ok=True)
    columns = [pa.array(ends, pa.int64()) for ends in (user, item)]
    pq.write_table(pa.table(columns, names=["user_id", "item_id"]), path)
    return path


def write_scaled_rows(name: str, folder: Path) -> Path:
    """Write a graph of a size for `run.SCALING` in files of some millions of rows, in little memory."""
    path = folder / f"{name}-rows"
    if not path.exists():
        rows = int(float(name.removesuffix("m")) * 1e6)
        write_rows(path, rows, rows // EDGES_PER_NODE, communities=1_000, seed=0, string_ids=False)
    return path
