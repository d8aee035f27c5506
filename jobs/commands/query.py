"""``graphquilt query``: ask the published tables, or a graph. Each kind of query has its own module and options."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from jobs.answers import Answer
from jobs.arguments import CommandParser, add_workspace, command_parser


@dataclass(frozen=True)
class QueryKind:
    """``module`` has ``add_options(parser)``, beside those of all queries, and ``answer(options)``."""

    module: str
    about: str
    examples: str
    #: Whether a published name says which release is read.
    of_release: bool = True


QUERIES: Mapping[str, QueryKind] = MappingProxyType(
    {
        "neighbors": QueryKind(
            "jobs.commands.query_neighbors",
            "neighbors: prints the nodes that are nearest to one, best first, by a release's vectors or by its lists.\n"
            "By vectors, between types the score is the table's similarity for retrieval (recommendations) and within\n"
            "a type the cosine. By the lists of ppr_neighbors it is the personalised PageRank, with its error bound.",
            "  graphquilt query neighbors 4711 --workspace work --type user --target item -k 20\n"
            "  graphquilt query neighbors vim --workspace build/demo --name debian\n"
            "  graphquilt query neighbors 4711 --workspace work --type user --by ppr",
        ),
        "ppr": QueryKind(
            "jobs.commands.query_ppr",
            "ppr: computes what nodes, or sets of nodes with weights, are nearest to by personalised PageRank, many\n"
            "at once, from the walk index of a date ('graphquilt ppr-index' makes it), or exactly.",
            "  graphquilt query ppr 4711 17:2.5,42 --config config.toml --workspace work --type user -k 20\n"
            "  graphquilt query ppr --batch queries.csv --out answers.parquet --config config.toml --workspace work",
            of_release=False,
        ),
        "embed": QueryKind(
            "jobs.commands.query_embed",
            "embed: prints the row of a node, or the row that a new node with these neighbours would have; with\n"
            '--attributes, a line "id<TAB>entries" for each node of a file.',
            "  graphquilt query embed 4711 --workspace work --type user\n"
            "  graphquilt query embed --workspace work --type user --neighbors 17:2.5,42\n"
            "  graphquilt query embed --workspace work --type item --attributes new_items.parquet",
        ),
    }
)
#: Options before the kind that take no value.
_FLAGS = ("--json", "--exact", "--alone")


class QueryParser(CommandParser):
    """A parser that hands over to the parser of the kind of query."""

    def parse_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        """Parse by the parser of the kind; without a kind, say which there are."""
        arguments = list(sys.argv[1:] if args is None else args)
        position = _find_kind(arguments)
        if position is None:
            return super().parse_args(arguments, namespace)
        return parser_of(arguments.pop(position)).parse_args(arguments, namespace)


def parser() -> CommandParser:
    """Return the parser of the command."""
    command = QueryParser(
        prog="graphquilt query",
        description="\n".join(query.about for query in QUERIES.values()),
        epilog="graphquilt query QUESTION --help has its options.\n\nexamples\n"
        + "\n".join(query.examples for query in QUERIES.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument("question", choices=tuple(QUERIES), help="what to ask")
    add_workspace(command)
    return command


def parser_of(name: str) -> CommandParser:
    """Return the parser of one kind of query."""
    query = QUERIES[name]
    command = command_parser(f"query {name}", query.about, query.examples)
    command.set_defaults(question=name)
    add_workspace(command, with_name=query.of_release)
    importlib.import_module(query.module).add_options(command)
    return command


def answer(options: argparse.Namespace) -> Answer:
    """Answer the query.

    Raises
    ------
    ConfigError : no such type of nodes, or options that don't go together. InputError : nothing to ask, or no such
    node in it, or nothing usable among what was given.
    """
    result: Answer = importlib.import_module(QUERIES[options.question].module).answer(options)
    return result


def _find_kind(arguments: Sequence[str]) -> int | None:
    """Return the position of the kind: the first of their names that is no option's value."""
    for position, (before, word) in enumerate(pairwise(["", *arguments])):
        is_value = before.startswith("-") and "=" not in before and before not in _FLAGS
        if word in QUERIES and not is_value:
            return position
    return None
