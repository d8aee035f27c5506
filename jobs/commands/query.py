"""``graphquilt query``: asks a published table, or a graph. Each kind of query has a module."""

import argparse
from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType, ModuleType

from jobs.arguments import CommandParser, add_json, add_workspace
from jobs.commands import query_embed, query_neighbors, query_ppr

QUERIES: Mapping[str, ModuleType] = MappingProxyType(
    {"neighbors": query_neighbors, "ppr": query_ppr, "embed": query_embed}
)
#: Options before the kind that take no value.
_FLAGS = ("--json", "--exact", "--alone")


def split_kind(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return the kind of query, and the arguments without it: options may stand before the kind.

    Raises
    ------
    ConfigError : no kind is named. SystemExit : ``--help`` was printed.
    """
    for position, (before, word) in enumerate(pairwise(["", *arguments])):
        is_value = before.startswith("-") and "=" not in before and before not in _FLAGS
        if word in QUERIES and not is_value:
            return word, [*arguments[:position], *arguments[position + 1 :]]
    return str(_parser().parse_args(arguments).question), []


def _parser() -> CommandParser:
    """Return the parser of a command line without a kind."""
    parser = CommandParser(
        prog="graphquilt query",
        description="\n".join(f"{kind}: {module.__doc__}" for kind, module in QUERIES.items()),
        epilog="graphquilt query QUESTION --help has its options.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("question", choices=tuple(QUERIES), help="what to ask")
    add_workspace(parser)
    add_json(parser)
    return parser
