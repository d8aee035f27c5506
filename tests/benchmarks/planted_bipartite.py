"""A seeded power-law bipartite graph with planted communities, of any size, as a Parquet file of interactions.

    python tests/benchmarks/planted_bipartite.py OUT.parquet --edges 10000000 --nodes 1000000
    python tests/benchmarks/planted_bipartite.py FOLDER --rows 200000000 --nodes 20000000

Users and items have power-law degrees. Every user and item belongs to one of the communities; 80 % of a user's
pairs fall inside its own. Pairs are distinct, in random order; ids are int64 (or strings, with ``--string-ids``).
``--rows`` writes a folder of files in little memory, where pairs may come twice.
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
ROWS_PER_FILE = 2_000_000


class PlantedGraph:
    """Users and items with their pulls and communities; rows are drawn from it."""

    def __init__(self, nodes: int, communities: int, rng: np.random.Generator) -> None:
        self.users = users = max(1, int(nodes * USER_SHARE))
        self.items = items = max(1, nodes - users)
        self._rng = rng
        communities = max(1, min(communities, users, items))
        user_pull, item_pull = (_power_law(rng, count) for count in (users, items))
        item_home = rng.integers(0, communities, items)
        self._user_home = rng.integers(0, communities, users)
        # Items by community, so that a draw inside one is a draw from a range of the cumulative pull.
        self._by_home = np.argsort(item_home, kind="stable")
        self._inside = np.concatenate([[0.0], np.cumsum(item_pull[self._by_home])])
        self._bounds = np.searchsorted(item_home[self._by_home], np.arange(communities + 1))
        self._anywhere, self._anyone = np.cumsum(item_pull), np.cumsum(user_pull)

    def draw(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(count,) int64 users and items; a pair may come twice."""
        rng = self._rng
        user = _places(self._anyone, rng.random(count) * self._anyone[-1])
        home = self._user_home[user]
        low, high = self._inside[self._bounds[home]], self._inside[self._bounds[home + 1]]
        stays = (rng.random(count) < INSIDE) & (high > low)
        at = rng.random(count)
        local = _places(self._inside[1:], low + at * (high - low))
        local = self._by_home[np.minimum(local, self.items - 1)]
        return user, np.where(stays, local, _places(self._anywhere, at * self._anywhere[-1]))


def planted_pairs(edges: int, nodes: int, communities: int = 1_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Distinct (user, item) pairs; (edges,) int64 each, users and items numbered from 0."""
    rng = np.random.default_rng(seed)
    graph = PlantedGraph(nodes, communities, rng)
    users, items = graph.users, graph.items
    found = np.empty(0, np.int64)
    while found.size < edges:
        user, item = graph.draw(int((edges - found.size) * 1.3) + 1_000)
        # Every node is met once at least before luck decides: the graph has the nodes it was asked for.
        if found.size == 0:
            user[:users], item[users : users + items] = np.arange(users), np.arange(items)
        found = np.unique(np.concatenate([found, user * items + item]))
    if found.size > edges:
        found = rng.permutation(found)[:edges]
    return np.divmod(rng.permutation(found), items)


def write_rows(folder: Path, rows: int, nodes: int, communities: int, seed: int, *, string_ids: bool) -> None:
    """Write rows into files of some millions, a file at a time: pairs may come twice, and nodes not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    graph = PlantedGraph(nodes, communities, np.random.default_rng(seed))
    for number, start in enumerate(range(0, rows, ROWS_PER_FILE)):
        columns = id_columns(*graph.draw(min(ROWS_PER_FILE, rows - start)), string_ids=string_ids)
        pq.write_table(pa.table(columns, names=["user_id", "item_id"]), folder / f"part-{number:04d}.parquet")


def id_columns(user: np.ndarray, item: np.ndarray, *, string_ids: bool) -> list[pa.Array]:
    """Return the two columns of ids."""
    columns = [pa.array(user), pa.array(item)]
    if not string_ids:
        return columns
    return [
        pa.array([f"{kind}-{value:x}" for value in column.to_pylist()])
        for kind, column in zip("ui", columns, strict=True)
    ]


def _places(ascending: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What searchsorted says, looked up in ascending order: an eighth of the time where the array is in memory."""
    order = np.argsort(values)
    places = np.empty(values.size, np.int64)
    places[order] = np.searchsorted(ascending, values[order])
    return places


def _power_law(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return expected degrees with density ~ degree**-EXPONENT, cut so that nobody has a tenth of all pairs."""
    return np.minimum((1.0 - rng.random(count)) ** (-1.0 / (EXPONENT - 1.0)), count / 10.0)


def write(path: Path, edges: int, nodes: int, communities: int, seed: int, *, string_ids: bool) -> None:
    """Write the pairs as ``user_id``, ``item_id``."""
    columns = id_columns(*planted_pairs(edges, nodes, communities, seed), string_ids=string_ids)
    pq.write_table(pa.table(columns, names=["user_id", "item_id"]), path)


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--edges", type=int, default=10_000_000)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--communities", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--string-ids", action="store_true")
    asked = parser.parse_args()
    if asked.rows:
        write_rows(asked.out, asked.rows, asked.nodes, asked.communities, asked.seed, string_ids=asked.string_ids)
        return
    write(asked.out, asked.edges, asked.nodes, asked.communities, asked.seed, string_ids=asked.string_ids)


if __name__ == "__main__":
    main()
