"""Nights of eigenvectors that start from the night before, beside nights that start from random rows: the drift.

    python -m tests.benchmarks.warm_starts FOLDER --pairs 500000 --nodes 30000 --nights 30 --compare 5

Runs the nights of :mod:`nightly_stream` one after the other, with ``embedding.warm_start``. Every ``--compare``-th is
made from random rows as well, once as it is by default and once with so many products that it is the decomposition
itself. Prints, of each: products before Rayleigh-Ritz, the residual of what the last of them started from, the rank,
CPU seconds of embed, the principal angles between its users' columns and those of the decomposition, and Recall@20 of
the next days' new pairs.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from graphquilt import EmbeddingTable
from tests.benchmarks.nightly_stream import FIRST_DAY, NIGHT_SHARE, NightlyStream, write_days
from tests.benchmarks.nights import CONFIG, run_night

SPECTRAL = """
[embedding]
method = "spectral"
dim = {dim}
warm_start = true
[evaluate]
source = "none"
"""
#: Products before Rayleigh-Ritz of runs from random rows: by default, and so many that it is the decomposition.
FROM_RANDOM_ROWS = (3, 40)
DAYS_AHEAD = 5
USERS = 4_000


def angles(rows: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Principal angles between the columns of two tables that are not zero, in degrees."""
    bases = [np.linalg.qr(table[:, table.any(axis=0)].astype(np.float64))[0] for table in (rows, other)]
    return np.degrees(np.arccos(np.clip(np.linalg.svd(bases[0].T @ bases[1], compute_uv=False), -1, 1)))


def pairs_in(folder: Path, first: dt.date, days: int) -> set[tuple[int, int]]:
    """Return the distinct pairs of some days in a row."""
    files = [folder / f"dt={first + dt.timedelta(days=day)}" / "part-00000.parquet" for day in range(days)]
    table = pa.concat_tables([pq.read_table(file, columns=["user_id", "item_id"], partitioning=None) for file in files])
    return set(zip(table["user_id"].to_pylist(), table["item_id"].to_pylist(), strict=True))


def recall(table: EmbeddingTable, past: set[tuple[int, int]], ahead: set[tuple[int, int]], k: int = 20) -> float:
    """Recall@k among all items but those that a user has, of users with new pairs."""
    (users, user_rows), (items, item_rows) = (table.to_numpy(node_type) for node_type in ("user", "item"))
    row_of, place_of = ({node: at for at, node in enumerate(nodes.tolist())} for nodes in (users, items))
    seen, wanted = defaultdict(list), defaultdict(list)
    for user, item in sorted(past):
        seen[user].append(place_of[item])
    for user, item in sorted(ahead - past):
        if user in row_of and item in place_of:
            wanted[user].append(place_of[item])
    shares = []
    for user in sorted(wanted)[:USERS]:
        scores = item_rows @ user_rows[row_of[user]]
        scores[seen[user]] = -np.inf
        shares.append(np.isin(wanted[user], np.argpartition(-scores, k)[:k]).mean())
    return float(np.mean(shares))


def main() -> None:
    """Read the command line, run the nights, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=500_000)
    parser.add_argument("--nodes", type=int, default=30_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--nights", type=int, default=30)
    parser.add_argument(
        "--compare", type=int, default=5, metavar="N", help="make every N-th night from random rows too"
    )
    options = parser.parse_args()
    stream, history = NightlyStream(options.pairs, options.nodes), round(1 / NIGHT_SHARE)
    options.folder.mkdir(parents=True)
    config, days = options.folder / "config.toml", options.folder / "input"
    config.write_text(CONFIG.format(path=days) + SPECTRAL.format(dim=options.dim))
    write_days(days, stream, FIRST_DAY, history + options.nights + DAYS_AHEAD)
    print("| night | run of | products | residual | rank | embed, CPU s | angles: median, largest | Recall@20 |")
    print("|---|---|---|---|---|---|---|---|")
    for number in range(options.nights + 1):
        date = FIRST_DAY + dt.timedelta(days=history - 1 + number)
        night = run_night(config, options.folder / "nights", date, "--accept-drift")
        if number == 0 or number % options.compare:
            continue
        costs = {"the lineage": night}
        for products in FROM_RANDOM_ROWS:  # in a workspace of its own there is no night before
            override = f"embedding.iterations={products}"
            alone = options.folder / f"alone-{products}-{number}"
            costs[f"random rows, {products}"] = run_night(config, alone, date, "--set", override)
        tables = {name: EmbeddingTable.open(Path(cost.answer["path"])) for name, cost in costs.items()}
        *_, converged = (table.to_numpy("user")[1] for table in tables.values())
        past, ahead = pairs_in(days, FIRST_DAY, history + number), pairs_in(days, date + dt.timedelta(1), DAYS_AHEAD)
        for name, cost in costs.items():
            embed = next(stage for stage in cost.answer["stages"] if stage["stage"] == "embed")
            found, off = embed["figures"]["found"], angles(tables[name].to_numpy("user")[1], converged)
            print(
                f"| {number} | {name} | {found['products']} | {found['residual']:.4f} | {found['rank']} "
                f"| {embed['cpu_seconds']:.1f} "
                f"| {np.median(off):.1f}°, {off.max():.0f}° | {recall(tables[name], past, ahead):.4f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
