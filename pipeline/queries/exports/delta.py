"""All rows of a release as a Delta table at a path that stays: what SQL engines read as the latest night.

Delta's log makes each export one commit, so a query sees one release whole, in a folder as in an object store. The
commit says which.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from graphquilt.store_clients import endpoint_of
from graphquilt.store_errors import store_error
from graphquilt.table import EmbeddingTable
from pipeline.errors import ConfigError
from pipeline.locations import Location
from pipeline.queries.exports.formats import import_library

#: Files of earlier releases stay as long as a query may run, and a reader may look back.
_KEEP_HOURS = 7 * 24


def export_delta(table: EmbeddingTable, place: Location, node_types: Sequence[str] = ()) -> Mapping[str, Any]:
    """Commit a release to the Delta table at a place, unless it is there; return what the commit says.

    Raises
    ------
    ConfigError : the place holds something else, or deltalake is not installed.
    """
    deltalake = import_library("deltalake", "deltalake")
    types = list(node_types or table.node_types)
    commit = {
        "release": table.release,
        "data_date": table.data_date.isoformat(),
        "space_id": table.space_id,
        "node_types": ",".join(types),
    }
    facts = {"format": "delta", "path": str(place), **commit}
    address, access = str(place), _access_to(place)
    try:
        if deltalake.DeltaTable.is_deltatable(address, access):
            (last,) = deltalake.DeltaTable(address, storage_options=access).history(1)
            if "space_id" not in last:
                raise ConfigError(f"the Delta table at {place} is not one of ours; give --out a place of its own")
            if commit.items() <= last.items():
                return facts
        about = deltalake.CommitProperties(custom_metadata=commit)
        keys = {"mode": "overwrite", "schema_mode": "overwrite", "commit_properties": about}
        rows = pa.RecordBatchReader.from_batches(*_rows(table, types))
        deltalake.write_deltalake(address, rows, storage_options=access, **keys)
        exported_table = deltalake.DeltaTable(address, storage_options=access)
        exported_table.vacuum(_KEEP_HOURS, dry_run=False, commit_properties=about)
    except (OSError, deltalake.exceptions.DeltaError) as error:
        if isinstance(place, Path):
            raise
        raise store_error(error, address, endpoint_of(place.bucket)) from None  # its text may quote a signature
    return facts


def _access_to(place: Location) -> dict[str, str] | None:
    """Return what deltalake does not take from the environment by itself: where the store is."""
    if isinstance(place, Path) or (endpoint := endpoint_of(place.bucket)) is None:
        return None
    return {"endpoint": endpoint, "allow_http": str(endpoint.startswith("http://")).lower()}


def _rows(table: EmbeddingTable, types: Sequence[str]) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Return the columns, vectors as lists of any length, which is all that Delta knows, and the rows."""
    own = next(table.to_batches(types[0])).schema
    position = own.get_field_index("embedding")
    schema = own.remove_metadata().set(position, own.field(position).with_type(pa.list_(pa.float32())))
    return schema, (batch.cast(schema) for name in types for batch in table.to_batches(name))
