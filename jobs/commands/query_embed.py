"""``graphquilt query embed``: the row of a node of the table, or of one that is new."""

from __future__ import annotations

import argparse
from typing import Any

from jobs.answers import Answer
from jobs.arguments import CommandParser
from jobs.commands.query_words import type_asked, unknown_node
from pipeline.errors import ConfigError, InputError


def add_options(parser: CommandParser) -> None:
    """Add the options of the question."""
    parser.add_argument("id", metavar="ID", nargs="?", help="the node's id, as in the input")
    parser.add_argument("--type", metavar="TYPE", help="its type (default: the table's, if it has one only)")
    parser.add_argument(
        "--neighbors",
        type=parse_neighbors,
        metavar="ID[:WEIGHT],...",
        help="neighbours of a new node; an id that ends in a colon and a number needs its weight",
    )
    parser.add_argument(
        "--attributes",
        metavar="FILE",
        help="new nodes, with the id and the columns of the table's own [attributes.TYPE]",
    )
    parser.add_argument(
        "--alone", action="store_true", help="make the row again from the run's graph, without any other (hashed ppr)"
    )


def parse_neighbors(text: str) -> dict[str, float]:
    """Return "17:2.5,42" as {"17": 2.5, "42": 1.0}; an id that comes twice has the sum of its weights."""
    found: dict[str, float] = {}
    for one in text.split(","):
        node_id, colon, weight = one.rpartition(":")
        try:
            value = float(weight) if colon else 1.0
        except ValueError:  # the colon is the id's own
            colon, value = "", 1.0
        node_id = node_id if colon else one
        if not node_id:
            raise argparse.ArgumentTypeError(f"{text!r} has an empty id; it must read ID[:WEIGHT],ID[:WEIGHT],...")
        found[node_id] = found.get(node_id, 0.0) + value
    return found


def answer(options: argparse.Namespace) -> Answer:
    """Answer the question.

    Raises
    ------
    ConfigError : no such type of nodes, or options that don't go together. InputError : no table, or no such node in
    it, or none of the neighbours, or no usable row of attributes.
    """
    from graphquilt.errors import TableError
    from graphquilt.table import EmbeddingTable

    choices = {"an id": options.id, "--neighbors": options.neighbors, "--attributes": options.attributes}
    given = [name for name, value in choices.items() if value is not None]
    if len(given) != 1:
        nothing = "neither an id nor --neighbors is given, nor --attributes"
        said = f"both {given[0]} and {given[1]} are given" if given else nothing
        raise ConfigError(f"{said}; 'embed' takes one of them")
    if options.alone and options.id is None:
        raise ConfigError(f"--alone makes the row of a node of the table: give its id in the place of {given[0]}")
    ask = _embed if options.attributes is None else _attributes
    try:
        with EmbeddingTable.open(options.workspace, name=options.name) as table:
            facts = {"release": table.release, "data_date": table.data_date.isoformat()}
            return ask(table, facts, options)
    except TableError as error:
        raise InputError(str(error)) from error


def _embed(table: Any, facts: dict[str, Any], options: argparse.Namespace) -> Answer:
    node_type = type_asked(options.type, table.node_types, "--type")
    if options.alone:
        from pipeline.queries.one_row import row_alone

        row = row_alone(table.path, node_type, options.id)
        facts |= {"id": options.id, "node_type": node_type, "row": row.tolist(), "is_alone": True}
        return Answer(facts, _one_line(row))
    if options.id is not None:
        (row,), (is_known,) = table.lookup([options.id], node_type)
        if not is_known:
            raise unknown_node(table.release, table.data_date, node_type, options.id)
        facts |= {"id": options.id, "node_type": node_type, "row": row.tolist()}
        return Answer(facts, _one_line(row))
    row = _folded(table, node_type, options.neighbors)
    given, recipe = list(options.neighbors), table.metadata["fold_in"][node_type]
    _, is_known = table.lookup(given, recipe["neighbors"])
    unknown = [node_id for node_id, known in zip(given, is_known, strict=True) if not known]
    facts |= {"node_type": node_type, "neighbors": options.neighbors, "unknown": unknown, "row": row.tolist()}
    facts["is_exact"] = recipe["is_exact"]
    said = [] if recipe["is_exact"] else ["# an approximation: one step from the neighbours' rows"]
    said += [f"# left out, unknown: {', '.join(unknown)}"] if unknown else []
    return Answer(facts, "\n".join([*said, _one_line(row)]))


def _folded(table: Any, node_type: str, neighbors: dict[str, float]) -> Any:
    from graphquilt.errors import UnknownNodeError

    try:
        return table.fold_in(neighbors, node_type)
    except UnknownNodeError as error:
        raise InputError(f"release {table.release}: {error}; given: {', '.join(neighbors)}") from error
    except ValueError as error:
        raise ConfigError(f"--neighbors: {error}") from error


def _attributes(table: Any, facts: dict[str, Any], options: argparse.Namespace) -> Answer:
    from pipeline.queries.new_nodes import rejection, rows_of_new_nodes

    node_type = type_asked(options.type, table.node_types, "--type")
    made = rows_of_new_nodes(table.path, node_type, options.attributes)
    _, is_known = table.lookup(made.node_id, node_type)
    known = [node_id for node_id, held in zip(made.node_id, is_known, strict=True) if held]
    facts |= {
        "node_type": node_type,
        "rows": [{"id": node_id, "row": row.tolist()} for node_id, row in zip(made.node_id, made.rows, strict=True)],
        "rejected": made.rejected,
        "known": known,
    }
    said = [f"# left out: {rejection(row)}" for row in made.rejected]
    said += [f"# in the table already, with rows that know their edges too: {', '.join(known)}"] if known else []
    said += [f"{node_id}\t{_one_line(row)}" for node_id, row in zip(made.node_id, made.rows, strict=True)]
    return Answer(facts, "\n".join(said))


def _one_line(row: Any) -> str:
    """Return the entries in the fewest digits that read back as the same float32."""
    return " ".join(str(value) for value in row)
