"""A seeded power-law bipartite graph with planted communities, of any size, as a Parquet file of interactions.

    python tests/benchmarks/planted_bipartite.py OUT.parquet --edges 10000000 --nodes 1000000

Users and items have power-law degrees. Every user and item belongs to one of the communities; 80 % of a user's
pairs fall inside its own. Pairs are distinct, in random order; ids are int64 (or strings, with ``--string-ids``).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

INSIDE = 0.8
USER_SHARE = 0.7
EXPONENT = 2.2  # of the degree distribution's density


def planted_pairs(edges: int, nodes: int, communities: int = 1_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Distinct (user, item) pairs; (edges,) int64 each, users and items numbered from 0."""
    rng = np.random.default_rng(seed)
    users = max(1, int(nodes * USER_SHARE))
    items = max(1, nodes - users)
    communities = max(1, min(communities, users, items))
    user_pull, item_pull = (_power_law(rng, count) for count in (users, items))
    item_home = rng.integers(0, communities, items)
    user_home = rng.integers(0, communities, users)
    # Items by community, so that a draw inside one is a draw from a range of the cumulative pull.
    by_home = np.argsort(item_home, kind="stable")
    inside = np.concatenate([[0.0], np.cumsum(item_pull[by_home])])
    bounds = np.searchsorted(item_home[by_home], np.arange(communities + 1))
    anywhere, anyone = np.cumsum(item_pull), np.cumsum(user_pull)

    found = np.empty(0, np.int64)
    while found.size < edges:
        more = int((edges - found.size) * 1.3) + 1_000
        user = np.searchsorted(anyone, rng.random(more) * anyone[-1])
        home = user_home[user]
        low, high = inside[bounds[home]], inside[bounds[home + 1]]
        stays = (rng.random(more) < INSIDE) & (high > low)
        at = rng.random(more)
        local = by_home[np.minimum(np.searchsorted(inside[1:], low + at * (high - low)), items - 1)]
        item = np.where(stays, local, np.searchsorted(anywhere, at * anywhere[-1]))
        # Every node is met once at least before luck decides: the graph has the nodes it was asked for.
        if found.size == 0:
            user[:users], item[users : users + items] = np.arange(users), np.arange(items)
        found = np.unique(np.concatenate([found, user * items + item]))
    if found.size > edges:
        found = rng.permutation(found)[:edges]
    return np.divmod(rng.permutation(found), items)


def _power_law(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return expected degrees with density ~ degree**-EXPONENT, cut so that nobody has a tenth of all pairs."""
    return np.minimum((1.0 - rng.random(count)) ** (-1.0 / (EXPONENT - 1.0)), count / 10.0)


def write(path: Path, edges: int, nodes: int, communities: int, seed: int, *, string_ids: bool) -> None:
    """Write the pairs as ``user_id``, ``item_id``."""
    user, item = planted_pairs(edges, nodes, communities, seed)
    columns = [pa.array(user), pa.array(item)]
    if string_ids:
        columns = [
            pa.array([f"{kind}-{value:x}" for value in column.to_pylist()])
            for kind, column in zip("ui", columns, strict=True)
        ]
    pq.write_table(pa.table(columns, names=["user_id", "item_id"]), path)


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--edges", type=int, default=10_000_000)
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--communities", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--string-ids", action="store_true")
    asked = parser.parse_args()
    write(asked.out, asked.edges, asked.nodes, asked.communities, asked.seed, string_ids=asked.string_ids)


if __name__ == "__main__":
    main()
