"""Recommend to a user by its interests: a query for each cluster of its items, and a list shared out over them.

python examples/consumers/user_interests.py WORKSPACE/published/NAME ID [ID ...] [--type T] [-k N]
"""

import argparse
from collections.abc import Sequence

import numpy as np

from graphquilt import EmbeddingTable, InterestTable


def take_in_turn(queries: np.ndarray, counts: np.ndarray, vectors: np.ndarray, is_free: np.ndarray) -> list[np.ndarray]:
    """Return the positions that each query gets, of those that are free: the nearest that no query before it has."""
    taken = []
    for query, count in zip(queries, counts, strict=True):
        score = np.where(is_free, vectors @ query, -np.inf)
        taken.append(np.argsort(-score, kind="stable")[:count])
        is_free[taken[-1]] = False
    return taken


def main(argv: Sequence[str] | None = None) -> None:
    """Open what CURRENT points to, and print the list of each user by interest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", help="WORKSPACE/published/NAME, or one of its releases")
    parser.add_argument("ids", nargs="+", metavar="ID")
    parser.add_argument("--type", default="user", help="type of the nodes asked about")
    parser.add_argument("-k", type=int, default=12, help="items in a list")
    options = parser.parse_args(argv)

    with InterestTable.open(options.table) as interests, EmbeddingTable.open(options.table) as table:
        ids, vectors = table.to_numpy(interests.target_type)
        mine = interests.lookup(options.ids, options.type)
    counts = mine.share_out(options.k)
    for number, node_id in enumerate(options.ids):
        here = slice(mine.indptr[number], mine.indptr[number + 1])
        print(f"{node_id}" if mine.found[number] else f"{node_id}  no interests")
        is_other = (ids.astype(str) != node_id) | (interests.target_type != options.type)
        lists = take_in_turn(mine.query[here], counts[here], vectors, is_other)
        for cluster, weight, positions in zip(mine.cluster[here], mine.weight[here], lists, strict=True):
            print(f"  cluster {cluster}, weight {weight:.2f}: {' '.join(map(str, ids[positions]))}")


if __name__ == "__main__":
    main()
