"""node_embeddings -> node_embeddings_int8: the same rows in one byte an entry, file by file."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from graphquilt.row_lookup import as_matrix
from pipeline import storage
from pipeline.kernels.narrow_rows import compact_rows
from pipeline.locations import Location
from pipeline.release_tables import node_embeddings
from pipeline.release_tables.published_table import NoFigures, PublishedTable, TableRun, WrittenTable
from pipeline.tasks import Attempt
from schemas import published_tables as tables


@dataclass(frozen=True)
class CompactPayload:
    """A file of node_embeddings."""

    rows: Location


def write_compact(run: TableRun) -> WrittenTable[NoFigures]:
    """Write a file for each of node_embeddings."""
    files = run.files_of(tables.NODE_EMBEDDINGS)
    records = run.run_tasks(write_codes, "compact", [CompactPayload(file) for file in files])
    return WrittenTable(records, NoFigures(), records)


def write_codes(payload: CompactPayload, attempt: Attempt) -> None:
    """Task: one file of the table, with the row groups and the metadata of the file that it is made of."""
    source = storage.open_parquet(payload.rows)
    columns = source.schema_arrow
    contract = tables.node_embeddings_int8(columns.field("embedding").type.list_size)
    schema = contract.schema_for(columns.field("node_id").type).with_metadata(columns.metadata)
    with pq.ParquetWriter(
        attempt.path(tables.NODE_EMBEDDINGS_INT8, "parquet"),
        schema,
        compression="zstd",
        # Parquet has no integers below four bytes: an entry takes one as its place in a dictionary of 255.
        use_dictionary=["node_type", "embedding.list.element"],
        dictionary_pagesize_limit=2**20,
        write_statistics=["node_type", "node_id", "scale"],
    ) as writer:
        for group in range(source.num_row_groups):
            table = source.read_row_group(group, columns=["node_type", "node_id", "embedding"])
            codes, scale = compact_rows(as_matrix(table["embedding"].combine_chunks()))
            embedding = pa.FixedSizeListArray.from_arrays(
                pa.array(codes.reshape(-1)), type=schema.field("embedding").type
            )
            columns_out = [table["node_type"], table["node_id"], embedding, pa.array(scale)]
            writer.write_table(pa.Table.from_arrays(columns_out, schema=schema), row_group_size=len(scale))


TABLE = PublishedTable(
    name=tables.NODE_EMBEDDINGS_INT8,
    contract=tables.node_embeddings_int8,
    is_wanted=lambda config: config.publish.compact == "int8" and config.embedding.method != "none",
    write=write_compact,
    figures=NoFigures,
    expected_rows=node_embeddings.TABLE.expected_rows,
)
