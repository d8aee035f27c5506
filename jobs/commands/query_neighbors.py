"""Prints the nodes that are nearest to one, best first, by a release's vectors or by its lists.
By vectors, between types the score is the table's similarity for retrieval (recommendations) and within
a type the cosine. By lists (ppr_neighbors, neighbors) it is the personalised PageRank, or the score of
another filter, with its error bound.

examples
  graphquilt query neighbors 4711 --workspace work --type user --target item -k 20
  graphquilt query neighbors vim --workspace build/demo --name debian
  graphquilt query neighbors 4711 --workspace work --type user --by lists
"""

import argparse
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from jobs.answers import Answer, columns
from jobs.arguments import CommandParser, add_workspace, parse_count
from jobs.commands.existing import require_type, unknown_node_error
from pipeline.errors import ConfigError, InputError

Neighbors = Sequence[tuple[Any, float]]

#: What an error bound is on, by its kind.
_BOUNDS: Mapping[str, str] = MappingProxyType(
    {
        "pointwise": "no score is further off",
        "l1": "the errors of all scores add up to no more",
        "confidence": "of each score, at confidence .95",
    }
)


def add_options(parser: CommandParser) -> None:
    """Add the options of the query."""
    add_workspace(parser, with_name=True)
    parser.add_argument("id", metavar="ID", help="the node's id, as in the input")
    parser.add_argument("--type", metavar="TYPE", help="its type (default: the table's, if it has one only)")
    parser.add_argument(
        "--target", metavar="TYPE", help="type of the neighbours (default: by vectors the node's own, by lists theirs)"
    )
    parser.add_argument("-k", type=parse_count, default=10, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument(
        "--by",
        choices=("embeddings", "lists", "ppr"),
        help="embeddings: compare vectors; lists, ppr: read the lists (default: the vectors, if the release has any)",
    )


def answer(options: argparse.Namespace) -> Answer:
    """Answer the query.

    Raises
    ------
    ConfigError : no such type of nodes, or another target than the lists have.
    InputError : no table, or no such node in it.
    """
    from graphquilt.errors import TableError
    from graphquilt.locate import TABLE, locate
    from graphquilt.neighbor_table import NeighborTable
    from graphquilt.table import EmbeddingTable

    try:
        location = locate(options.workspace, options.name)
        of_lists = location.list_table
        if options.by in ("lists", "ppr") or (options.by is None and of_lists and TABLE not in location.tables):
            with NeighborTable.open(location.folder) as lists:
                return _by_lists(lists, options)
        with EmbeddingTable.open(location.folder) as table:
            return _by_vectors(table, options, of_lists)
    except TableError as error:
        raise InputError(str(error)) from error


def _by_vectors(table: Any, options: argparse.Namespace, of_lists: str | None) -> Answer:
    from graphquilt.errors import UnknownNodeError

    node_type = require_type(options.type, table.node_types, "--type")
    target = require_type(options.target or node_type, table.node_types, "--target")
    try:
        neighbors = table.neighbors(options.id, node_type, options.k, target)
    except UnknownNodeError as error:
        raise unknown_node_error(table.release, table.data_date, node_type, options.id) from error
    lines = [f"# by node_embeddings; --by lists reads {of_lists}"] if of_lists else []
    if not neighbors:
        lines.append(f"this {node_type} has a zero row: nothing is near it")
    return Answer(_facts(table, options, "embeddings", node_type, target, neighbors), _text(lines, neighbors, ".4f"))


def _by_lists(table: Any, options: argparse.Namespace) -> Answer:
    node_type = require_type(options.type, table.node_types, "--type")
    if options.target not in (None, table.target_type):
        raise ConfigError(
            f"--target is '{options.target}'; the lists of release {table.release} are of nodes of type "
            f"'{table.target_type}'. Leave --target out, or set target_type of the lists in the config and run again"
        )
    lists = table.lookup([options.id], node_type)
    is_ppr = table.filter == "ppr"
    if not lists.found[0]:
        hint = f" or by {'ppr' if is_ppr else 'lists'}.sources"
        raise unknown_node_error(table.release, table.data_date, node_type, options.id, hint)
    full_list, bound = lists.of(0), float(lists.error_bound[0])
    neighbors = full_list[: options.k]
    facts = _facts(table, options, table.filter, node_type, table.target_type, neighbors) | {
        **({"restart": table.restart} if is_ppr else {}),
        "error_bound": bound,
        "error_kind": table.error_kind,
        "top_k": table.top_k,
    }
    meaning = _BOUNDS.get(table.error_kind, "see the metadata")
    by = f"ppr_neighbors: restart {table.restart:g}" if is_ppr else f"neighbors: filter {table.filter}"
    lines = [f"# by {by}; error bound {bound:.3g} ({table.error_kind}: {meaning})"]
    if not full_list:
        lines.append(f"# its list is empty: no {table.target_type} to list was reached from this {node_type}")
    elif len(neighbors) < options.k:
        lines.append(f"# {len(neighbors)} of {options.k}: that is its whole list; top_k is {table.top_k}")
    return Answer(facts, _text(lines, neighbors, ".4g"))


def _facts(
    table: Any, options: argparse.Namespace, by: str, node_type: str, target: str, neighbors: Neighbors
) -> dict[str, Any]:
    return {
        "release": table.release,
        "data_date": table.data_date.isoformat(),
        "by": by,
        "id": options.id,
        "node_type": node_type,
        "target_type": target,
        "neighbors": [{"id": node_id, "score": score} for node_id, score in neighbors],
    }


def _text(lines: Sequence[str], neighbors: Neighbors, digits: str) -> str:
    return "\n".join([*lines, *columns([(format(score, digits), str(node_id)) for node_id, score in neighbors], "")])
