"""A feature repository of Feast: an entity and a view a type, over Parquet files with an event timestamp."""

import re
from collections.abc import Sequence

import pyarrow as pa

from graphquilt.contracts import EVENT_TIMESTAMP
from pipeline.ingest.run_date import end_of
from pipeline.locations import Location
from pipeline.queries.exports.rows import TypeRows

STORE = """\
# A local store to try the features with. With a store of your own, take features.py into its repository.
project: graphquilt
provider: local
registry: registry.db
online_store:
  type: sqlite
  path: online_store.db
offline_store:
  type: file
entity_key_serialization_version: 3
"""

_HEAD = '''\
"""Features of release {release}. Rows of two releases may be mixed if and only if their space_id is equal."""

from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Array, Float32, Int64, String
'''

_VIEW = """
{name} = Entity(name={text!r}, join_keys=["{name}_id"], value_type=ValueType.{id_type})

{name}_embeddings = FeatureView(
    name="{name}_embeddings",
    entities=[{name}],
    ttl=timedelta(0),
    schema=[
        Field(name="embedding", dtype=Array(Float32)),
        Field(name="norm", dtype=Float32),
        Field(name="degree", dtype=Int64),
        Field(name="weight", dtype=Float32),
        Field(name="cluster_path", dtype=String),
    ],
    source=FileSource(name="{name}_embeddings", path={path!r}, timestamp_field="event_timestamp"),
    tags={{"release": "{release}", "space_id": "{space_id}"}},
)
"""


def to_features(rows: TypeRows, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows under the name of their entity's key, with lists of any length, which Feast reads, and a time."""
    names = [name for name in batch.schema.names if name not in ("node_type", "node_id", EVENT_TIMESTAMP)]
    columns = {f"{_name(rows)}_id": batch["node_id"], **{name: batch[name] for name in names}}
    columns["embedding"] = batch["embedding"].cast(pa.list_(pa.float32()))
    time = pa.scalar(end_of(rows.table.data_date), pa.timestamp("us", "UTC"))
    return pa.record_batch({**columns, EVENT_TIMESTAMP: pa.repeat(time, batch.num_rows)})


def definitions(types: Sequence[TypeRows], place: Location) -> str:
    """Return the Python file that ``feast apply`` registers, for files that are at ``place``."""
    table = types[0].table
    parts = [_HEAD.format(release=table.release)]
    for rows in types:
        is_int = pa.types.is_integer(next(rows.batches("node_id")).schema.field("node_id").type)
        parts.append(
            _VIEW.format(
                name=_name(rows),
                text=rows.node_type,
                id_type="INT64" if is_int else "STRING",
                path=str(place / f"{rows.file_name}.parquet"),
                release=table.release,
                space_id=table.space_id,
            )
        )
    return "\n".join(parts)


def _name(rows: TypeRows) -> str:
    """Return a type as a name of Python."""
    name = re.sub(r"\W", "_", rows.node_type)
    return name if name.isidentifier() else f"type_{name}"
