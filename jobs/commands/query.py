"""``graphquilt query``: ask the published tables, or a graph. Each question has a module and options of its own."""

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
class Question:
    """``module`` has ``add_options(parser)``, beside those of all questions, and ``answer(options)``."""

    module: str
    about: str
    examples: str
    #: Whether a published name says which release is asked.
    of_release: bool = True


QUESTIONS: Mapping[str, Question] = MappingProxyType(
    {
        "neighbors": Question(
            "jobs.commands.query_neighbors",
            "neighbors: prints the nodes that are nearest to one, best first, by a release's vectors or by its lists.\n"
            "By vectors, between types the score is the table's similarity for retrieval (recommendations) and within\n"
            "a type the cosine. By the lists of ppr_neighbors it is the personalised PageRank, with its error bound.",
            "  graphquilt query neighbors 4711 --workspace work --type user --target item -k 20\n"
            "  graphquilt query neighbors vim --workspace build/demo --name debian\n"
            "  graphquilt query neighbors 4711 --workspace work --type user --by ppr",
        ),
        "ppr": Question(
            "jobs.commands.query_ppr",
            "ppr: computes what nodes, or sets of nodes with weights, are nearest to by personalised PageRank, many\n"
            "at once, from the walk index of a date ('graphquilt ppr-index' makes it), or exactly.",
            "  graphquilt query ppr 4711 17:2.5,42 --config config.toml --workspace work --type user -k 20\n"
            "  graphquilt query ppr --batch queries.csv --out answers.parquet --config config.toml --workspace work",
            of_release=False,
        ),
        "embed": Question(
            "jobs.commands.query_embed",
            "embed: prints the row of a node, or the row that a new node with these neighbours would have; with\n"
            '--attributes, a line "id<TAB>entries" for each node of a file.',
            "  graphquilt query embed 4711 --workspace work --type user\n"
            "  graphquilt query embed --workspace work --type user --neighbors 17:2.5,42\n"
            "  graphquilt query embed --workspace work --type item --attributes new_items.parquet",
        ),
    }
)
#: Options before the question that take no value.
_FLAGS = ("--json", "--exact", "--alone")


class QueryParser(CommandParser):
    """A parser that hands over to the parser of the question that is asked."""

    def parse_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        """Parse by the question's own parser; without a question, say which there are."""
        given = list(sys.argv[1:] if args is None else args)
        place = _place_of_question(given)
        if place is None:
            return super().parse_args(given, namespace)
        return parser_of(given.pop(place)).parse_args(given, namespace)


def parser() -> CommandParser:
    """Return the parser of the command."""
    made = QueryParser(
        prog="graphquilt query",
        description="\n".join(question.about for question in QUESTIONS.values()),
        epilog="graphquilt query QUESTION --help has its options.\n\nexamples\n"
        + "\n".join(question.examples for question in QUESTIONS.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("question", choices=tuple(QUESTIONS), help="what to ask")
    add_workspace(made)
    return made


def parser_of(name: str) -> CommandParser:
    """Return the parser of one question."""
    question = QUESTIONS[name]
    made = command_parser(f"query {name}", question.about, question.examples)
    made.set_defaults(question=name)
    add_workspace(made, with_name=question.of_release)
    importlib.import_module(question.module).add_options(made)
    return made


def answer(options: argparse.Namespace) -> Answer:
    """Answer the question.

    Raises
    ------
    ConfigError : no such type of nodes, or options that don't go together. InputError : nothing to ask, or no such
    node in it, or nothing usable among what was given.
    """
    made: Answer = importlib.import_module(QUESTIONS[options.question].module).answer(options)
    return made


def _place_of_question(arguments: Sequence[str]) -> int | None:
    """Return where the question is: the first of their names that is no option's value."""
    for place, (before, word) in enumerate(pairwise(["", *arguments])):
        is_value = before.startswith("-") and "=" not in before and before not in _FLAGS
        if word in QUESTIONS and not is_value:
            return place
    return None
