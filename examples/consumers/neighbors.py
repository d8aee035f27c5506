"""Print the nearest nodes of some nodes, read from a published table.

python examples/consumers/neighbors.py WORKSPACE/published/NAME ID [ID ...] [--type T] [--target T] [-k N]
"""

import argparse
from collections.abc import Iterator, Sequence

from graphquilt import EmbeddingTable


def lines(table: EmbeddingTable, ids: Sequence[str], node_type: str, target: str, k: int) -> Iterator[str]:
    """One line an id: its nearest nodes, best first, each with its score."""
    width = max(map(len, ids))
    for node_id in ids:
        nearest = table.neighbors(node_id, node_type, k=k, target_type=target)
        yield f"{node_id:<{width}}  " + "  ".join(f"{name} {score:.2f}" for name, score in nearest)


def main(argv: Sequence[str] | None = None) -> None:
    """Open what CURRENT points to, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", help="WORKSPACE/published/NAME, or one of its releases")
    parser.add_argument("ids", nargs="+", metavar="ID")
    parser.add_argument("--type", default="package", help="type of the nodes asked about")
    parser.add_argument("--target", help="type of the nodes printed (default: the same)")
    parser.add_argument("-k", type=int, default=6)
    options = parser.parse_args(argv)

    table = EmbeddingTable.open(options.table)
    target = options.target or options.type
    print("\n".join(lines(table, options.ids, options.type, target, options.k)))


if __name__ == "__main__":
    main()
