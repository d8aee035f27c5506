"""``graphquilt query``: ask a published table."""

from __future__ import annotations

import argparse
from typing import Any

from jobs.answers import Answer, columns
from jobs.arguments import CommandParser, add_workspace, command_parser, parse_count
from pipeline.errors import ConfigError, InputError


def parser() -> CommandParser:
    """Return the parser of the command."""
    made = command_parser(
        "query",
        "neighbors: prints the nodes that are nearest to one, best first. Between types the score is the\n"
        "table's similarity for retrieval (recommendations); within a type it is the cosine.\n"
        "embed: prints the row of a node, or the row that a new node with these neighbours would have; with\n"
        '--attributes, a line "id<TAB>entries" for each node of a file.',
        "  graphquilt query neighbors 4711 --workspace work --type user --target item -k 20\n"
        "  graphquilt query neighbors vim --workspace build/demo --name debian\n"
        "  graphquilt query embed 4711 --workspace work --type user\n"
        "  graphquilt query embed --workspace work --type user --neighbors 17:2.5,42\n"
        "  graphquilt query embed --workspace work --type item --attributes new_items.parquet",
    )
    made.add_argument("question", choices=("neighbors", "embed"), help="what to ask")
    made.add_argument("id", metavar="ID", nargs="?", help="the node's id, as in the input")
    add_workspace(made, with_name=True)
    made.add_argument("--type", metavar="TYPE", help="its type (default: the table's, if it has one only)")
    made.add_argument("--target", metavar="TYPE", help="neighbors: type of these (default: the node's own)")
    made.add_argument(
        "-k", type=parse_count, default=10, metavar="N", help="neighbors: how many (default: %(default)s)"
    )
    made.add_argument(
        "--neighbors",
        type=parse_neighbors,
        metavar="ID[:WEIGHT],...",
        help="embed: neighbours of a new node; an id that ends in a colon and a number needs its weight",
    )
    made.add_argument(
        "--attributes",
        metavar="FILE",
        help="embed: new nodes, with the id and the columns of the table's own [attributes.TYPE]",
    )
    return made


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
        raise ConfigError(f"{said}; 'embed' takes one of them, 'neighbors' an id")
    if options.id is None and options.question != "embed":
        raise ConfigError(f"{given[0]} is for 'query embed', rows of new nodes; 'query neighbors' takes an id")
    embed = _embed if options.attributes is None else _attributes
    ask = {"neighbors": _neighbors, "embed": embed}[options.question]
    try:
        with EmbeddingTable.open(options.workspace, name=options.name) as table:
            facts = {"release": table.release, "data_date": table.data_date.isoformat()}
            return ask(table, facts, options)
    except TableError as error:
        raise InputError(str(error)) from error


def _neighbors(table: Any, facts: dict[str, Any], options: argparse.Namespace) -> Answer:
    from graphquilt.errors import UnknownNodeError

    node_type = _type(options.type, table.node_types, "--type")
    target = _type(options.target or node_type, table.node_types, "--target")
    try:
        found = table.neighbors(options.id, node_type, options.k, target)
    except UnknownNodeError as error:
        raise _unknown(table, node_type) from error
    facts |= {
        "id": options.id,
        "node_type": node_type,
        "target_type": target,
        "neighbors": [{"id": node_id, "score": score} for node_id, score in found],
    }
    if not found:
        return Answer(facts, f"this {node_type} has a zero row: nothing is near it")
    return Answer(facts, "\n".join(columns([(f"{score:.4f}", str(node_id)) for node_id, score in found], "")))


def _embed(table: Any, facts: dict[str, Any], options: argparse.Namespace) -> Answer:
    node_type = _type(options.type, table.node_types, "--type")
    if options.id is not None:
        (row,), (is_known,) = table.lookup([options.id], node_type)
        if not is_known:
            raise _unknown(table, node_type)
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
    from pipeline.stages.new_nodes import rejection, rows_of_new_nodes

    node_type = _type(options.type, table.node_types, "--type")
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


def _unknown(table: Any, node_type: str) -> InputError:
    return InputError(
        f"release {table.release} has no {node_type} with this id; it may be new since {table.data_date}, left out by "
        "publish.exclude_ids, or spelt in another way upstream"
    )


def _type(asked: str | None, known: tuple[str, ...], option: str) -> str:
    if asked is None and len(known) == 1:
        return known[0]
    if asked not in known:
        said = f"{option} is missing" if asked is None else f"{option} is '{asked}'"
        raise ConfigError(f"{said}; the table has nodes of type {', '.join(known)}")
    return str(asked)
