"""``graphquilt query``: ask a published table."""

from __future__ import annotations

import argparse

from jobs.answers import Answer, columns
from jobs.arguments import CommandParser, add_workspace, command_parser, parse_count
from pipeline.errors import ConfigError, InputError


def parser() -> CommandParser:
    """Return the parser of the command."""
    made = command_parser(
        "query",
        "Prints the nodes that are nearest to one, best first. Between types the score is the table's\n"
        "similarity for retrieval (recommendations); within a type it is the cosine.",
        "  graphquilt query neighbors 4711 --workspace work --type user --target item -k 20\n"
        "  graphquilt query neighbors vim --workspace build/demo --name debian",
    )
    made.add_argument("question", choices=("neighbors",), help="what to ask")
    made.add_argument("id", metavar="ID", help="the node's id, as in the input")
    add_workspace(made, with_name=True)
    made.add_argument("--type", metavar="TYPE", help="its type (default: the table's, if it has one only)")
    made.add_argument("--target", metavar="TYPE", help="type of the neighbours (default: the node's own)")
    made.add_argument("-k", type=parse_count, default=10, metavar="N", help="how many (default: %(default)s)")
    return made


def answer(options: argparse.Namespace) -> Answer:
    """Find the neighbours.

    Raises
    ------
    ConfigError : no such type of nodes. InputError : no table, or no such node in it.
    """
    from graphquilt.errors import TableError, UnknownNodeError
    from graphquilt.table import EmbeddingTable

    try:
        with EmbeddingTable.open(options.workspace, name=options.name) as table:
            release, day = table.release, table.data_date
            node_type = _type(options.type, table.node_types, "--type")
            target = _type(options.target or node_type, table.node_types, "--target")
            try:
                found = table.neighbors(options.id, node_type, options.k, target)
            except UnknownNodeError as error:
                raise InputError(
                    f"release {release} has no {node_type} with this id; it may be new since {day}, left out by "
                    "publish.exclude_ids, or spelt in another way upstream"
                ) from error
    except TableError as error:
        raise InputError(str(error)) from error
    facts = {
        "release": release,
        "data_date": day.isoformat(),
        "id": options.id,
        "node_type": node_type,
        "target_type": target,
        "neighbors": [{"id": node_id, "score": score} for node_id, score in found],
    }
    if not found:
        return Answer(facts, f"this {node_type} has a zero row: nothing is near it")
    return Answer(facts, "\n".join(columns([(f"{score:.4f}", str(node_id)) for node_id, score in found], "")))


def _type(asked: str | None, known: tuple[str, ...], option: str) -> str:
    if asked is None and len(known) == 1:
        return known[0]
    if asked not in known:
        said = f"{option} is missing" if asked is None else f"{option} is '{asked}'"
        raise ConfigError(f"{said}; the table has nodes of type {', '.join(known)}")
    return str(asked)
