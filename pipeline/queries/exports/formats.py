"""The formats of an export. A new one is a function that writes rows into a folder, and a line in the table below."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from graphquilt.row_lookup import as_matrix
from pipeline.errors import ConfigError
from pipeline.locations import Location
from pipeline.queries.exports import feast_files
from pipeline.queries.exports.rows import Matrix, TypeRows

#: Of a graph of nearest neighbours. Gowalla's 40,981 items at d = 128: recall@10 of exact dot products .982; with
#: 128 in the place of 256 .962, over rows as published .920 [2 cores, 2.1 s to build, .1 ms a query].
CONNECTIVITY, EXPANSION_ADD, EXPANSION_SEARCH = 32, 200, 256
_HNSW = {"kind": "HNSW", "connectivity": CONNECTIVITY, "expansion_add": EXPANSION_ADD}

#: Positions of the best rows for (q, index_dim) queries: (q, k) int64.
Search = Callable[[Matrix, int], NDArray[np.int64]]


@dataclass(frozen=True)
class WrittenType:
    """What a format wrote of one type: names below the folder, what the manifest says, and the index, to be tried."""

    file: str
    rows: int
    ids: str | None = None
    index: Mapping[str, Any] | None = None
    search: Search | None = None


@dataclass(frozen=True)
class ExportFormat:
    """A format: what it is for, who reads it, and the function that writes it.

    write : rows of types, a folder of this machine, the folder where the files will be -> by type, what was written.
    is_index : rows get equal norms, and it holds one type, the one that is retrieved, unless more are named.
    """

    about: str
    write: Callable[[Sequence[TypeRows], Path, Location], dict[str, WrittenType]]
    query: str
    is_index: bool = False


def import_library(module: str, package: str) -> ModuleType:
    """Import the library of a format.

    Raises
    ------
    ConfigError : it is not installed, naming the package to install.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(f"this format needs {error.name}, which is not installed: pip install {package}") from error


def write_faiss(types: Sequence[TypeRows], folder: Path, _: Location) -> dict[str, WrittenType]:
    """Write a FAISS index a type."""
    faiss = import_library("faiss", "faiss-cpu")

    def write(rows: TypeRows) -> WrittenType:
        index = faiss.IndexHNSWFlat(rows.index_dim, CONNECTIVITY, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = EXPANSION_ADD, EXPANSION_SEARCH
        ids = _write_ids(rows, folder, lambda _, batch: index.add(batch))
        faiss.write_index(index, str(folder / f"{rows.file_name}.faiss"))
        about = {"library": f"faiss {faiss.__version__}", **_HNSW, "expansion_search": EXPANSION_SEARCH}
        return WrittenType(
            f"{rows.file_name}.faiss", index.ntotal, ids, about, lambda queries, k: index.search(queries, k)[1]
        )

    return {rows.node_type: write(rows) for rows in types}


def write_usearch(types: Sequence[TypeRows], folder: Path, _: Location) -> dict[str, WrittenType]:
    """Write a USearch index a type; keys are positions of rows."""
    usearch = import_library("usearch.index", "usearch")
    settings = {"connectivity": CONNECTIVITY, "expansion_add": EXPANSION_ADD, "expansion_search": EXPANSION_SEARCH}

    def write(rows: TypeRows) -> WrittenType:
        index = usearch.Index(ndim=rows.index_dim, metric="ip", dtype="f32", **settings)
        ids = _write_ids(rows, folder, lambda first, batch: index.add(np.arange(first, first + len(batch)), batch))
        index.save(str(folder / f"{rows.file_name}.usearch"))
        version = importlib.import_module("usearch").__version__
        about = {"library": f"usearch {version}", **_HNSW, "expansion_search": EXPANSION_SEARCH}
        return WrittenType(
            f"{rows.file_name}.usearch",
            len(index),
            ids,
            about,
            lambda queries, k: index.search(queries, k).keys.astype(np.int64).reshape(len(queries), -1),
        )

    return {rows.node_type: write(rows) for rows in types}


def write_npy(types: Sequence[TypeRows], folder: Path, _: Location) -> dict[str, WrittenType]:
    """Write the rows of a type as they are published, zero rows among them."""

    def write(rows: TypeRows) -> WrittenType:
        name, count, first = f"{rows.file_name}.npy", rows.count(), 0
        array = open_memmap(folder / name, mode="w+", dtype=np.float32, shape=(count, rows.table.dim))
        for batch in rows.batches("embedding"):
            array[first : first + batch.num_rows] = as_matrix(batch["embedding"])
            first += batch.num_rows
        array.flush()
        ids = f"{rows.file_name}.ids.parquet"
        _write_parquet(folder / ids, rows.batches("node_id"))
        return WrittenType(name, count, ids)

    return {rows.node_type: write(rows) for rows in types}


def write_lance(types: Sequence[TypeRows], folder: Path, _: Location) -> dict[str, WrittenType]:
    """Write one Lance table with all columns of the types."""
    lancedb = import_library("lancedb", "lancedb")
    schema = next(types[0].batches()).schema.remove_metadata()
    batches = (batch.replace_schema_metadata(None) for rows in types for batch in rows.batches())
    data = pa.RecordBatchReader.from_batches(schema, batches)
    lancedb.connect(str(folder)).create_table("node_embeddings", data)
    about = {"library": f"lancedb {lancedb.__version__}", "kind": "none: every row is compared"}
    return {rows.node_type: WrittenType("node_embeddings.lance", rows.count(), index=about) for rows in types}


def write_feast(types: Sequence[TypeRows], folder: Path, place: Location) -> dict[str, WrittenType]:
    """Write a Parquet file a type with an event timestamp, and the definitions that ``feast apply`` registers."""
    by_type = {}
    for rows in types:
        name = f"{rows.file_name}.parquet"
        _write_parquet(folder / name, (feast_files.to_features(rows, batch) for batch in rows.batches()))
        by_type[rows.node_type] = WrittenType(name, rows.count())
    (folder / "features.py").write_text(feast_files.definitions(types, place), encoding="utf-8")
    (folder / "feature_store.yaml").write_text(feast_files.STORE, encoding="utf-8")
    return by_type


def _write_ids(rows: TypeRows, folder: Path, add: Callable[[int, Matrix], Any]) -> str:
    """Add rows to an index, and write their ids in the same order; return the name of the file of ids."""
    name, first = f"{rows.file_name}.ids.parquet", 0

    def ids() -> Any:
        nonlocal first
        for node_id, batch in rows.index_batches():
            add(first, batch)
            first += len(batch)
            yield pa.record_batch({"node_id": node_id})

    _write_parquet(folder / name, ids())
    return name


def _write_parquet(path: Path, batches: Any) -> None:
    writer = None
    for batch in batches:
        if writer is None:
            writer = pq.ParquetWriter(path, batch.schema.remove_metadata(), compression="zstd")
        writer.write_batch(batch.replace_schema_metadata(None))
    if writer:
        writer.close()


FORMATS: Mapping[str, ExportFormat] = MappingProxyType(
    {
        "faiss": ExportFormat(
            "an HNSW index a type, for faiss.read_index",
            write_faiss,
            "index.search(ExportedVectors.queries(vectors), k) answers (scores, rows); ids(type)[rows] are the nodes",
            is_index=True,
        ),
        "usearch": ExportFormat(
            "an HNSW index a type, for usearch.index.Index.restore",
            write_usearch,
            "set index.expansion_search as index says; index.search(ExportedVectors.queries(vectors), k) has keys, the "
            "rows, and distances, 1 minus the product",
            is_index=True,
        ),
        "lance": ExportFormat(
            "a table of LanceDB",
            write_lance,
            "lancedb.connect(folder).open_table('node_embeddings').search(vector).distance_type(product)"
            ".where(\"node_type = 'TYPE'\")",
        ),
        "feast": ExportFormat(
            "a feature repository: run 'feast apply' in its folder", write_feast, "features TYPE_embeddings:embedding"
        ),
        "npy": ExportFormat(
            "an array a type, for numpy.load", write_npy, "rows @ vector for dot; for cosine divide by both norms"
        ),
    }
)
