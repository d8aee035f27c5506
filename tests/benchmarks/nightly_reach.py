"""How far the change of one night reaches: rows of FastRP, and lists of personalised PageRank, that could be kept.

    python -m tests.benchmarks.nightly_reach --pairs 10000000 --nodes 500000
    python -m tests.benchmarks.nightly_reach --movielens ../shared/data/ml-100k

Of two nights in a row, with weights that halve in 30 days. Prints, for the rows of two_tower after each hop, which
share is reached at all and which moves by more than a tolerance of its norm; and for the lists of all users the bound

    ||pi' - pi||_1 <= (1 - c) / c * sum_u pi(u) * ||P'(u, :) - P(u, :)||_1,   c the restart,

beside what lists of a sample move by. (pi' = pi + (1 - c) pi (P' - P) (I - (1 - c) P')^-1, whose rows sum to 1 / c.)
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from pipeline.kernels.csr import Csr
from pipeline.kernels.elementary import power_or_zero
from pipeline.kernels.random_projection import very_sparse_projection
from pipeline.kernels.spmm import spmm
from tests.benchmarks.nightly_stream import FIRST_DAY, NightlyStream

HALF_LIFE, DIM, SAMPLE = 30.0, 64, 100
TOLERANCES = (1e-4, 1e-3, 1e-2)


def stream_days(pairs: int, nodes: int) -> Iterator[pa.Table]:
    """Yield (user, item) of a history of 100 days and of a night."""
    stream = NightlyStream(pairs, nodes)
    for day in range(101):
        yield stream.draw(FIRST_DAY + dt.timedelta(days=day)).select(["user_id", "item_id"])


def movielens_days(folder: Path) -> Iterator[pa.Table]:
    """Yield (user, item) of the days of MovieLens-100k up to the 161st."""
    table = pa.concat_tables([pq.read_table(folder / f"{name}.parquet") for name in ("train", "test")])
    day = (table["ts"].to_numpy() - table["ts"].to_numpy().min()) // 86_400
    for number in range(161):
        yield table.filter(pa.array(day == number)).select(["src", "dst"])


def incidence(ends: np.ndarray, day: np.ndarray, last: int, shape: tuple[int, int]) -> sparse.csr_array:
    """Users x items up to a day, weights as of the first: the epoch of a lineage stays where it is."""
    is_there = day <= last
    weight = 2.0 ** (day[is_there] / HALF_LIFE)
    matrix = sparse.coo_array((weight, tuple(ends[:, is_there])), shape=shape).tocsr()
    matrix.sum_duplicates()
    return matrix


def product(matrix: sparse.csr_array, x: np.ndarray) -> np.ndarray:
    """Return matrix @ x."""
    out = np.zeros((matrix.shape[0], x.shape[1]), np.float32)
    arrays = (matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data.astype(np.float32))
    spmm(Csr(*arrays), x, out, start=0, stop=len(out))
    return out


def rows_by_hop(matrix: sparse.csr_array) -> list[np.ndarray]:
    """Users, items, users and items after 1, 2, 3 and 4 hops from the items' random rows."""
    scales = [sparse.diags_array(power_or_zero(matrix.sum(axis=axis), -0.4)) for axis in (1, 0)]
    to_users = (scales[0] @ matrix @ scales[1]).tocsr()
    to_items = to_users.T.tocsr()
    rows = [very_sparse_projection(np.arange(matrix.shape[1], dtype=np.uint64), DIM, 3.0, 0)]
    for step in (to_users, to_items, to_users, to_items):
        rows.append(product(step, rows[-1]))
    return rows[1:]


def print_rows(before: sparse.csr_array, after: sparse.csr_array, is_new: list[np.ndarray]) -> None:
    """Print which rows a night reaches, and which it moves."""
    pattern = (after > 0).astype(np.float32)
    reached = list(is_new)
    print(f"| hops | rows | reached | {' | '.join(f'moved by {bound:g}' for bound in TOLERANCES)} |")
    print("|---|---|---|---|---|---|")
    for hop, (old, new) in enumerate(zip(rows_by_hop(before), rows_by_hop(after), strict=True)):
        side, step = hop % 2, pattern if hop % 2 == 0 else pattern.T
        reached[side] = is_new[side] | (step @ reached[1 - side].astype(np.float32) > 0)
        norm = np.linalg.norm(new, axis=1)
        moved = np.linalg.norm(new - old, axis=1)[norm > 0] / norm[norm > 0]
        shares = " | ".join(f"{(moved > bound).mean():.1%}" for bound in TOLERANCES)
        print(
            f"| {hop + 1} | {('users', 'items')[side]} | {reached[side][norm > 0].mean():.1%} | {shares} |", flush=True
        )


def transition(matrix: sparse.csr_array) -> sparse.csr_array:
    """P of the graph of users and items."""
    both = sparse.block_array([[None, matrix], [matrix.T, None]]).tocsr()
    return (sparse.diags_array(power_or_zero(both.sum(axis=1), -1.0)) @ both).tocsr()


def print_lists(before: sparse.csr_array, after: sparse.csr_array, restart: float) -> None:
    """Print how many lists the bound lets stay within a tolerance, and how many of a sample do."""
    old, new = transition(before), transition(after)
    users = np.flatnonzero(np.diff(before.indptr))
    x = abs(new - old).sum(axis=1) * (old.sum(axis=1) > 0)
    sample = np.random.default_rng(0).choice(users, min(SAMPLE, users.size), replace=False)
    walks = [np.zeros((old.shape[0], sample.size)) for _ in range(2)]
    for one in walks:
        one[sample, np.arange(sample.size)] = 1.0
    bound, lists, weight = np.zeros_like(x), [np.zeros_like(one) for one in walks], restart
    while weight > 1e-8:
        bound += weight * x
        x = old @ x
        for number, matrix in enumerate((old, new)):
            lists[number] += weight * walks[number]
            walks[number] = matrix.T @ walks[number]
        weight *= 1 - restart
    bound = (1 - restart) / restart * bound[users]
    moved = np.abs(lists[1] - lists[0]).sum(axis=0)
    shares = " | ".join(f"{(bound <= slack).mean():.1%}, {(moved <= slack).mean():.0%}" for slack in TOLERANCES)
    print(f"| {restart:g} | {np.median(bound):.2g}, {np.median(moved):.2g} | {shares} |", flush=True)


def main() -> None:
    """Read the command line, print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=500_000)
    parser.add_argument("--nodes", type=int, default=30_000)
    parser.add_argument("--movielens", type=Path, help="folder of MovieLens-100k, in the place of the stream")
    options = parser.parse_args()
    tables = list(movielens_days(options.movielens) if options.movielens else stream_days(options.pairs, options.nodes))
    day = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    columns = zip(*(table.itercolumns() for table in tables), strict=True)
    ends = np.stack([np.concatenate([one.to_numpy() for one in column]) for column in columns])
    ends = np.stack([np.unique(side, return_inverse=True)[1] for side in ends])
    shape, last = (int(ends[0].max()) + 1, int(ends[1].max()) + 1), len(tables) - 1
    nights = [incidence(ends, day, number, shape) for number in (last - 1, last)]
    print_rows(*nights, [np.isin(np.arange(size), side[day == last]) for size, side in zip(shape, ends, strict=True)])
    print(f"\n| restart | bound, change: median | {' | '.join(f'within {t:g}: bound, change' for t in TOLERANCES)} |")
    print("|---|---|---|---|---|")
    for restart in (0.15, 0.5):
        print_lists(*nights, restart)


if __name__ == "__main__":
    main()
