"""Prints the row of a node, or the row that a new node with these neighbours would have; with
--attributes, a line "id<TAB>entries" for each node of a file.

examples
  graphquilt query embed 4711 --workspace work --type user
  graphquilt query embed --workspace work --type item --neighbors 4711:2.5,4712
  graphquilt query embed --workspace work --type user --neighbors 17:2.5,42     (with publish.fold_in)
  graphquilt query embed --workspace work --type item --attributes new_items.parquet
"""

import argparse
from typing import Any

from jobs.answers import Answer
from jobs.arguments import CommandParser, add_workspace
from jobs.commands.existing import require_type, unknown_node_error
from pipeline.errors import ConfigError, InputError


def add_options(parser: CommandParser) -> None:
    """Add the options of the query."""
    add_workspace(parser, with_name=True)
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
    weights: dict[str, float] = {}
    for word in text.split(","):
        node_id, colon, weight = word.rpartition(":")
        try:
            value = float(weight) if colon else 1.0
        except ValueError:  # the colon is the id's own
            colon, value = "", 1.0
        node_id = node_id if colon else word
        if not node_id:
            raise argparse.ArgumentTypeError(f"{text!r} has an empty id; it must read ID[:WEIGHT],ID[:WEIGHT],...")
        weights[node_id] = weights.get(node_id, 0.0) + value
    return weights


def answer(options: argparse.Namespace) -> Answer:
    """Answer the query.

    Raises
    ------
    ConfigError : no such type of nodes, or options that don't go together. InputError : no table, or no such node in
    it, or none of the neighbours, or no usable row of attributes.
    """
    from graphquilt.errors import TableError
    from graphquilt.table import EmbeddingTable

    choices = {"an id": options.id, "--neighbors": options.neighbors, "--attributes": options.attributes}
    names = [name for name, value in choices.items() if value is not None]
    if len(names) != 1:
        nothing = "neither an id nor --neighbors is given, nor --attributes"
        problem = f"both {names[0]} and {names[1]} are given" if names else nothing
        raise ConfigError(f"{problem}; 'embed' takes one of them")
    if options.alone and options.id is None:
        raise ConfigError(f"--alone makes the row of a node of the table: give its id in the place of {names[0]}")
    respond = _answer_by_id if options.attributes is None else _answer_by_attributes
    try:
        with EmbeddingTable.open(options.workspace, name=options.name) as table:
            facts = {"release": table.release, "data_date": table.data_date.isoformat()}
            return respond(table, facts, options)
    except TableError as error:
        raise InputError(str(error)) from error


def _answer_by_id(table: Any, facts: dict[str, Any], options: argparse.Namespace) -> Answer:
    node_type = require_type(options.type, table.node_types, "--type")
    if options.alone:
        from pipeline.queries.one_row import row_alone

        row = row_alone(table.path, node_type, options.id)
        facts |= {"id": options.id, "node_type": node_type, "row": row.tolist(), "is_alone": True}
        return Answer(facts, _one_line(row))
    if options.id is not None:
        (row,), (is_known,) = table.lookup([options.id], node_type)
        if not is_known:
            raise unknown_node_error(table.release, table.data_date, node_type, options.id)
        facts |= {"id": options.id, "node_type": node_type, "row": row.tolist()}
        return Answer(facts, _one_line(row))
    row = _fold_in(table, node_type, options.neighbors)
    recipe = table.metadata["fold_in"][node_type]
    _, is_known = table.lookup(list(options.neighbors), recipe["neighbors"])
    unknown = [node_id for node_id, has_row in zip(options.neighbors, is_known, strict=True) if not has_row]
    facts |= {"node_type": node_type, "neighbors": options.neighbors, "unknown": unknown, "row": row.tolist()}
    facts["is_exact"] = recipe["is_exact"]
    lines = [] if recipe["is_exact"] else ["# an approximation: one step from the neighbours' rows"]
    lines += [f"# left out, unknown: {', '.join(unknown)}"] if unknown else []
    return Answer(facts, "\n".join([*lines, _one_line(row)]))


def _fold_in(table: Any, node_type: str, neighbors: dict[str, float]) -> Any:
    from graphquilt.errors import UnknownNodeError

    try:
        return table.fold_in(neighbors, node_type)
    except UnknownNodeError as error:
        raise InputError(f"release {table.release}: {error}; given: {', '.join(neighbors)}") from error
    except ValueError as error:
        raise ConfigError(f"--neighbors: {error}") from error


def _answer_by_attributes(table: Any, facts: dict[str, Any], options: argparse.Namespace) -> Answer:
    from pipeline.queries.new_nodes import rejection, rows_of_new_nodes

    node_type = require_type(options.type, table.node_types, "--type")
    new = rows_of_new_nodes(table.path, node_type, options.attributes)
    _, is_known = table.lookup(new.node_id, node_type)
    known_ids = [node_id for node_id, has_row in zip(new.node_id, is_known, strict=True) if has_row]
    facts |= {
        "node_type": node_type,
        "rows": [{"id": node_id, "row": row.tolist()} for node_id, row in zip(new.node_id, new.rows, strict=True)],
        "rejected": new.rejected_rows,
        "known": known_ids,
    }
    lines = [f"# left out: {rejection(row)}" for row in new.rejected_rows]
    if known_ids:
        lines.append(f"# in the table already, with rows that know their edges too: {', '.join(known_ids)}")
    lines += [f"{node_id}\t{_one_line(row)}" for node_id, row in zip(new.node_id, new.rows, strict=True)]
    return Answer(facts, "\n".join(lines))


def _one_line(row: Any) -> str:
    """Return the entries in the fewest digits that read back as the same float32."""
    return " ".join(str(value) for value in row)
