"""A release in a format of others: written beside what was exported before, and there once its manifest is.

The manifest is replaced as a whole, last, and names the folder of its files. So whoever reads sees the export before or
this one, in a folder as in an object store. The folder before stays for those who read it; the one before that goes.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from graphquilt.errors import TableError
from graphquilt.exported import MANIFEST, ExportedVectors
from graphquilt.json_checksum import add_checksum
from graphquilt.table import EmbeddingTable
from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.locations import Location
from pipeline.queries.exports.formats import FORMATS, ExportFormat, WrittenType
from pipeline.queries.exports.recall import query_rows, recall_of
from pipeline.queries.exports.rows import Product, TypeRows

#: Of an export: its release, and what no other export has.
_FOLDER = re.compile(r"\d{4}-\d\d-\d\d-[0-9a-f]{12}-[0-9a-f]{8}")


def export_table(
    table: EmbeddingTable,
    format_name: str,
    place: Location,
    *,
    node_types: Sequence[str] = (),
    product: Product | None = None,
    wait_s: float = 60.0,
) -> Mapping[str, Any]:
    """Write rows of a table to a place, and return the manifest; the same export is not written twice.

    Parameters
    ----------
    node_types : empty: all, of an index the type that is retrieved. product : None: the table's for retrieval.

    Raises
    ------
    ConfigError : the place holds something else, or the format's library is not installed.
    LockedError : another export to the place is at work for longer than ``wait_s``.
    """
    kind = FORMATS[format_name]
    row_product: Product = product or ("cosine" if table.similarity["retrieval"] == "cosine" else "dot")
    types = [TypeRows(table, name, row_product) for name in node_types or _default_types(table, kind)]
    export = {
        "format": format_name,
        "release": table.release,
        "data_date": table.data_date.isoformat(),
        "space_id": table.space_id,
        "metric": {"product": row_product, "reduction": types[0].reduction if kind.is_index else None},
    }
    with storage.lock(place / ".lock", f"export to {place}", wait_s):
        last = _last_export(place)
        if last and export.items() <= last.manifest.items() and set(last.manifest["types"]) == {*_names(types)}:
            return last.manifest
        name = f"{table.release}-{uuid4().hex[:8]}"
        folder = place / name
        storage.new_folder(folder)
        staging = storage.staging_folder(folder)
        try:
            output = kind.write(types, staging, folder)
            about = {rows.node_type: _describe(rows, output[rows.node_type]) for rows in types}
            files = _move_in(staging, folder)
        except BaseException:
            storage.remove_tree(folder)
            raise
        manifest = add_checksum({**export, "query": kind.query, "types": about, "folder": name, "files": files})
        storage.write_json(place / MANIFEST, manifest)
        _remove_others(place, {name, last.manifest["folder"] if last else name})
    return manifest


def _default_types(table: EmbeddingTable, kind: ExportFormat) -> Sequence[str]:
    """Return all types; of an index, which is large and slow to build, the one that edges point to."""
    target = table.metadata.get("target_type")
    return [target] if kind.is_index and target in table.node_types else table.node_types


def _names(types: Sequence[TypeRows]) -> list[str]:
    return [rows.node_type for rows in types]


def _last_export(place: Location) -> ExportedVectors | None:
    """Return the export that a place holds; None if there is none, or it is damaged.

    Raises
    ------
    ConfigError : the place holds something else.
    """
    names = [name for name in storage.names_in(place) if name not in (".lock", MANIFEST)]
    if strange := [name for name in names if not _FOLDER.fullmatch(name)]:
        raise ConfigError(f"{place} holds '{strange[0]}', which is no export; give --out a place of its own")
    try:
        return ExportedVectors.open(place)
    except TableError:
        return None


def _describe(rows: TypeRows, output: WrittenType) -> dict[str, Any]:
    """Return what the manifest says of a type; its index is asked for neighbours that are known."""
    about: dict[str, Any] = {"rows": output.rows, "dim": rows.table.dim, "file": output.file, "ids": output.ids}
    if output.index is not None:
        about["index"] = dict(output.index)
    if output.search is not None:
        queries = query_rows(rows.table, rows.node_type)
        figures = {"recall@10": recall_of(output.search, rows, queries), "queries": len(queries)}
        about |= {"index_dim": rows.index_dim, "measured": figures}
    return about


def _move_in(staging: Path, folder: Location) -> list[dict[str, Any]]:
    """Bring files to their folder, durable, and return their entries in the manifest."""
    entries = []
    for path in sorted(path for path in staging.rglob("*") if path.is_file()):
        name = path.relative_to(staging)
        entries.append({"name": str(name), "bytes": path.stat().st_size, "sha256": storage.sha256_of(path)})
        storage.move_in(path, folder / str(name))
    if staging == folder:
        for inner in {path.parent for path in staging.rglob("*")}:
            storage.fsync_folder(inner)
        storage.fsync_folder(folder.parent)
    return entries


def _remove_others(place: Location, keep: set[str]) -> None:
    for name in storage.names_in(place):
        if _FOLDER.fullmatch(name) and name not in keep:
            storage.remove_tree(place / name)
