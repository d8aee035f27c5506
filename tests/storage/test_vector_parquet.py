"""Files with vectors have, byte for byte, what pyarrow writes."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.storage.vector_parquet import VectorTableWriter

OPTIONS = {
    "compression": {"kind": "zstd", "id": "zstd", "vector.list.element": "none", "norm": "zstd"},
    "use_dictionary": ["kind"],
    "write_statistics": ["kind", "id", "norm"],
}


def _schema(dim: int) -> pa.Schema:
    vector = pa.list_(pa.field("item", pa.float32(), nullable=False), dim)
    fields = [("kind", pa.string()), ("id", pa.int64()), ("vector", vector), ("norm", pa.float32())]
    return pa.schema([pa.field(name, dtype, nullable=False) for name, dtype in fields])


def _table(schema: pa.Schema, vectors: np.ndarray, seed: int) -> pa.Table:
    rows = len(vectors)
    of_vectors = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), type=schema.field("vector").type)
    ids = pa.array(np.random.default_rng(seed).integers(0, 2**40, rows))
    columns = [pa.repeat(f"kind {seed}", rows), ids, of_vectors, pa.array(np.linalg.norm(vectors, axis=1))]
    return pa.Table.from_arrays(columns, schema=schema)


def _agree(schema: pa.Schema, groups: list[np.ndarray], path: Path) -> None:
    tables = [_table(schema, vectors, seed) for seed, vectors in enumerate(groups)]
    metadata = {b"ours": b"stated at the end"}

    with VectorTableWriter(path, schema, "vector", **OPTIONS) as writer:
        for table, vectors in zip(tables, groups, strict=True):
            writer.write_group(table.drop_columns("vector"), vectors)
        writer.add_key_value_metadata(metadata)

    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, **OPTIONS) as expected:
        for table in tables:
            expected.write_table(table, row_group_size=table.num_rows)
        expected.add_key_value_metadata(metadata)
    assert path.read_bytes() == sink.getvalue()


@given(dim=st.integers(1, 40), rows=st.lists(st.integers(1, 300), max_size=20), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_is_that_of_pyarrow(dim: int, rows: list[int], seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    groups = [rng.standard_normal((count, dim), np.float32) for count in rows]
    _agree(_schema(dim), groups, tmp_path / "file.parquet")


@pytest.mark.parametrize("dim", [128, 100])
def test_vectors_may_fill_many_pages(dim: int, tmp_path: Path) -> None:
    """Pages end after so many bytes or rows, maybe inside of a vector."""
    rng = np.random.default_rng(dim)
    groups = [rng.standard_normal((rows, dim), np.float32) for rows in (20_480, 9_001, 20_480, 1)]
    _agree(_schema(dim), groups, tmp_path / "file.parquet")


def test_a_file_that_fails_half_way_has_no_footer(tmp_path: Path) -> None:
    path, schema = tmp_path / "file.parquet", _schema(4)
    vectors = np.ones((3, 4), np.float32)
    writer = VectorTableWriter(path, schema, "vector", **OPTIONS)
    writer.write_group(_table(schema, vectors, 0).drop_columns("vector"), vectors)
    writer.__exit__(KeyError)
    with pytest.raises(pa.ArrowInvalid):
        pq.read_metadata(path)
