"""Print what some nodes are nearest to, by the published lists of personalised PageRank.

python examples/consumers/ppr_neighbors.py WORKSPACE/published/NAME ID [ID ...] [--type T] [-k N]
"""

import argparse
from collections.abc import Iterator, Sequence

from graphquilt import NeighborTable


def lines(table: NeighborTable, ids: Sequence[str], node_type: str, k: int) -> Iterator[str]:
    """One line an id: the start of its list, best first, each with its score."""
    width = max(map(len, ids))
    lists = table.lookup(ids, node_type)
    for place, node_id in enumerate(ids):
        said = "  ".join(f"{name} {score:.4f}" for name, score in lists.of(place)[:k])
        yield f"{node_id:<{width}}  {said if lists.found[place] else 'no list'}".rstrip()


def main(argv: Sequence[str] | None = None) -> None:
    """Open what CURRENT points to, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", help="WORKSPACE/published/NAME, or one of its releases")
    parser.add_argument("ids", nargs="+", metavar="ID")
    parser.add_argument("--type", default="package", help="type of the nodes asked about")
    parser.add_argument("-k", type=int, default=6)
    options = parser.parse_args(argv)

    table = NeighborTable.open(options.table)
    print(f"# {table.target_type}s by PageRank, restart {table.restart:g}, error bounds {table.error_kind}")
    print("\n".join(lines(table, options.ids, options.type, options.k)))


if __name__ == "__main__":
    main()
