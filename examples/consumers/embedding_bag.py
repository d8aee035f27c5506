"""Recommend to a history by an embedding bag over codes: rows of groups, in the place of a row for each item.

python examples/consumers/embedding_bag.py WORKSPACE/published/NAME ID [ID ...] [--type T] [-k N]

The rows of a group begin as what its items have in common in the published vectors; a model would train them on. The
same two lines of look-up feed torch: EmbeddingBag(len(bag.rows), dim, _weight=bag.rows)(bag.groups[items]).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphquilt import CodeTable, EmbeddingTable


@dataclass(frozen=True)
class EmbeddingBag:
    """Rows of the groups of all levels, and of each item the groups that it is in: (items, levels)."""

    rows: np.ndarray
    groups: np.ndarray

    @classmethod
    def of(cls, code: np.ndarray, vectors: np.ndarray) -> "EmbeddingBag":
        """Give each group the mean of what the coarser levels leave of its items' vectors."""
        rest, rows, groups, first = vectors.astype(np.float64), [], [], 0
        for level in range(1, code.shape[1] + 1):
            group = np.unique(code[:, :level], axis=0, return_inverse=True)[1].reshape(-1)
            means = np.zeros((group.max() + 1, vectors.shape[1]))
            np.add.at(means, group, rest)
            means /= np.bincount(group)[:, None]
            rest = rest - means[group]
            rows.append(means)
            groups.append(first + group)
            first += len(means)
        return cls(np.concatenate(rows).astype(np.float32), np.stack(groups, axis=1))

    def embed(self, items: np.ndarray) -> np.ndarray:
        """Sum up the rows of items' groups: (n,) positions -> (n, dim)."""
        return self.rows[self.groups[items]].sum(axis=1)


def main(argv: Sequence[str] | None = None) -> None:
    """Open what CURRENT points to, and print the items with the best scores for a history."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", help="WORKSPACE/published/NAME, or one of its releases")
    parser.add_argument("history", nargs="+", metavar="ID")
    parser.add_argument("--type", default="item", help="type of the items")
    parser.add_argument("-k", type=int, default=6)
    options = parser.parse_args(argv)

    with CodeTable.open(options.table) as codes, EmbeddingTable.open(options.table) as table:
        ids = codes.to_arrow(options.type, ["node_id"])["node_id"].combine_chunks()
        vectors, _ = table.lookup(ids, options.type)
        bag = EmbeddingBag.of(codes.lookup(ids, options.type).code, vectors)
        place = {str(node_id): position for position, node_id in enumerate(ids.to_pylist())}
    history = np.array([place[node_id] for node_id in options.history if node_id in place], np.int64)
    scores = bag.embed(np.arange(len(ids))) @ bag.embed(history).mean(axis=0)
    scores[history] = -np.inf
    print(f"# {len(bag.rows):,} rows of groups in the place of {len(ids):,}")
    for position in np.argsort(-scores, kind="stable")[: options.k]:
        print(f"{ids[int(position)].as_py()}  {scores[position]:.4f}")


if __name__ == "__main__":
    main()
