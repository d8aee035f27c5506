"""A seeded stream of interactions in folders of days, as a warehouse keeps them: a history, then nights.

    python tests/benchmarks/nightly_stream.py FOLDER --pairs 10000000 --nights 30

Every day is a folder ``dt=YYYY-MM-DD`` with one Parquet file of ``user_id``, ``item_id``, ``ts``. The history is dealt
evenly over its days; a night adds one hundredth of it. Half of a night's rows are of the same twentieth of the users,
the other half of anybody; users and items that nobody has met before come along. Pairs follow the planted
communities and power laws of :mod:`planted_bipartite`.
"""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.planted_bipartite import PlantedGraph, id_columns

FIRST_DAY = dt.date(2026, 1, 1)
NIGHT_SHARE = 0.01
ACTIVE_USERS = 0.05
_DAY_US = 86_400_000_000


class NightlyStream:
    """Draws the rows of one day after the other; days of the history are the ``nights`` of rows that it has."""

    def __init__(self, pairs: int, nodes: int, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._graph = PlantedGraph(nodes, max(1, nodes // 1_000), self._rng)
        self._is_active = self._rng.random(self._graph.users) < ACTIVE_USERS
        self.rows_a_night = int(pairs * NIGHT_SHARE)

    def draw(self, day: dt.date) -> pa.Table:
        """Return the rows of a day, in the order of their time."""
        half = self.rows_a_night // 2
        anybody = self._graph.draw(self.rows_a_night - half)
        active = self._draw_active(half)
        user, item = (np.concatenate(ends) for ends in zip(anybody, active, strict=True))
        order = self._rng.permutation(user.size)
        start = (day - dt.date(1970, 1, 1)).days * _DAY_US
        ts = start + np.sort(self._rng.integers(0, _DAY_US, user.size))
        columns = [*id_columns(user[order], item[order], string_ids=False), pa.array(ts, pa.timestamp("us", "UTC"))]
        return pa.table(columns, names=["user_id", "item_id", "ts"])

    def _draw_active(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        users, items = np.empty(0, np.int64), np.empty(0, np.int64)
        while users.size < count:
            user, item = self._graph.draw(4 * count)
            users = np.concatenate([users, user[self._is_active[user]]])
            items = np.concatenate([items, item[self._is_active[user]]])
        return users[:count], items[:count]


def write_days(folder: Path, stream: NightlyStream, first: dt.date, days: int) -> None:
    """Write the folders of some days in a row."""
    for number in range(days):
        day = first + dt.timedelta(days=number)
        target = folder / f"dt={day}"
        target.mkdir(parents=True, exist_ok=True)
        pq.write_table(stream.draw(day), target / "part-00000.parquet")


def main() -> None:
    """Read the command line and write the folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pairs", type=int, default=10_000_000)
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--nights", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    stream = NightlyStream(options.pairs, options.nodes, options.seed)
    write_days(options.out, stream, FIRST_DAY, round(1 / NIGHT_SHARE) + options.nights)


if __name__ == "__main__":
    main()
