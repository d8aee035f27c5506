"""Writes a release's rows in the format of an index, of a vector database or of a store of features.
A manifest beside them says release, space_id, metric, counts and sha256, and how to ask. An index gets
rows of equal norms, so that it finds the largest dot products; its recall is measured and stated. Done
again, it replaces what the place held, which readers see before or after, never half. A Delta table is
the release for SQL engines, at a path that stays; its commits say of which release they are.

examples
  graphquilt export --workspace work --format npy --out exports/vectors
  graphquilt export --workspace work --format faiss --type item --out exports/items
  graphquilt export --workspace work --format feast --out exports/features
  graphquilt export --workspace work --format delta --out exports/latest
"""

import argparse
from collections.abc import Mapping
from typing import Any

from graphquilt.output import amount
from jobs.answers import Answer, list_of
from jobs.arguments import CommandParser, add_workspace, parse_amount
from jobs.commands.existing import folder_of, require_type
from pipeline.errors import InputError


def add_options(parser: CommandParser) -> None:
    """Add the options of the command."""
    add_workspace(parser, with_name=True)
    parser.add_argument(
        "--format", required=True, choices=("faiss", "usearch", "lance", "feast", "npy", "delta"), help="what to write"
    )
    parser.add_argument("--out", required=True, metavar="PLACE", help="a folder, or an address on s3://, gs://, az://")
    parser.add_argument(
        "--type",
        action="append",
        default=[],
        metavar="T",
        dest="types",
        help="nodes of this type; may come again (default: all; faiss and usearch: the type that edges point to)",
    )
    parser.add_argument(
        "--metric",
        choices=("dot", "cosine"),
        help="what ranks (default: the table's for retrieval; cosine finds what is alike within a type)",
    )
    parser.add_argument(
        "--wait", type=parse_amount, default=60.0, metavar="SECONDS", dest="wait_s", help="for another export there"
    )


def answer(options: argparse.Namespace) -> Answer:
    """Write the export.

    Raises
    ------
    ConfigError : no such type of nodes, a library is not installed, or the place holds something else.
    InputError : no table.
    """
    from graphquilt.errors import TableError
    from graphquilt.table import EmbeddingTable
    from pipeline.queries.exports.delta import export_delta
    from pipeline.queries.exports.writing import export_table

    place = folder_of(options.out)
    try:
        table = EmbeddingTable.open(options.workspace, name=options.name)
    except TableError as error:
        raise InputError(str(error)) from error
    with table:
        types = [require_type(node_type, table.node_types, "--type") for node_type in options.types]
        if options.format == "delta":
            facts = export_delta(table, place, types)
            return Answer(facts, "\n".join(list_of(facts)))
        manifest = export_table(
            table, options.format, place, node_types=types, product=options.metric, wait_s=options.wait_s
        )
    return Answer({**manifest, "path": str(place / manifest["folder"])}, _text(str(place), manifest))


def _text(place: str, manifest: Mapping[str, Any]) -> str:
    lines = [
        f"release  {manifest['release']}",
        f"files    {place}/{manifest['folder']}: {amount(sum(entry['bytes'] for entry in manifest['files']))}",
        f"metric   {manifest['metric']['product']}",
    ]
    for node_type, about in manifest["types"].items():
        facts = f"{about['rows']:,} rows of {about['dim']} columns"
        if (recall := about.get("measured", {}).get("recall@10")) is not None:
            facts += f", recall@10 {recall:.4f} of {about['measured']['queries']} queries"
        lines.append(f"{node_type:<8} {facts}")
    return "\n".join([*lines, f"query    {manifest['query']}"])
