"""The graphs by name: Gowalla's training pairs, and planted ones by millions of edges (``10m``)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.planted_bipartite import planted_pairs
from tests.benchmarks.speed.contender import Pairs

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


def read_graph(path: Path) -> Pairs:
    """Read what `write_graph` wrote."""
    table = pq.read_table(path)
    user, item = (table[name].to_numpy() for name in ("user_id", "item_id"))
    return Pairs(user, item, path)
