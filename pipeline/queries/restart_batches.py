"""Batches of restart sets by id, from a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.blocks.arrays import offsets_of
from pipeline.errors import InputError
from pipeline.ingest.id_files import read_id_file
from pipeline.locations import Location


@dataclass(frozen=True)
class Batch:
    """Restart sets by id: set q is rows ``indptr[q]`` to ``indptr[q + 1]``.

    names : a text for each set. node_type : None where the command line has to say it. weight : above 0.
    """

    names: Sequence[str]
    indptr: NDArray[np.int64]
    node_id: Sequence[str]
    node_type: Sequence[str] | None
    weight: NDArray[np.float64]

    def part(self, start: int, stop: int) -> Batch:
        """Return sets ``start`` to ``stop``."""
        entries = slice(*self.indptr[[start, stop]])
        return Batch(
            self.names[start:stop],
            self.indptr[start : stop + 1] - self.indptr[start],
            self.node_id[entries],
            None if self.node_type is None else self.node_type[entries],
            self.weight[entries],
        )

    def to_bytes(self) -> bytes:
        """Return the batch as an Arrow stream, a row for each set."""
        values = {"node_id": self.node_id, "node_type": self.node_type, "weight": self.weight}
        offsets = pa.array(self.indptr.astype(np.int32))
        lists = {
            name: pa.ListArray.from_arrays(offsets, pa.array(column))
            for name, column in values.items()
            if column is not None
        }
        table = pa.table({"name": pa.array(self.names, pa.string()), **lists})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return bytes(sink.getvalue())

    @classmethod
    def from_bytes(cls, data: bytes) -> Batch:
        """Return what `to_bytes` wrote."""
        table = pa.ipc.open_stream(data).read_all().combine_chunks()
        values = {name: table[name].chunk(0).flatten() for name in table.column_names if name != "name"}
        node_type = values["node_type"].to_pylist() if "node_type" in values else None
        indptr = table["node_id"].chunk(0).offsets.to_numpy().astype(np.int64)
        names, node_id = table["name"].to_pylist(), values["node_id"].to_pylist()
        return cls(names, indptr, node_id, node_type, values["weight"].to_numpy())


def read_batch(path: Location) -> Batch:
    """Read a file of restart sets: node_id and, optional, query, node_type and weight.

    Without ``query`` each row is a set of its own; with it rows of one query are a set, wherever they stand.

    Raises
    ------
    InputError : the file can't be read, has no rows or no ids, or a weight that is not above 0.
    """
    types = {"query": pa.string(), "node_id": pa.string(), "node_type": pa.string(), "weight": pa.float64()}
    table = read_id_file(path, types, ["node_id"], "--batch")
    if not table.num_rows:
        raise InputError(f"--batch {path} has no rows; give one a node, with its node_id")
    if nulls := sum(table[name].null_count for name in table.column_names):
        raise InputError(f"--batch {path} has {nulls} empty cells in the columns {table.column_names}; fill them in")
    weight = table["weight"].to_numpy() if "weight" in table.column_names else np.ones(table.num_rows)
    if wrong := int((~((weight > 0) & (weight < np.inf))).sum()):
        raise InputError(f"--batch {path} has {wrong} weights that are not above 0 and finite; leave those nodes out")
    names, order = table["node_id"].to_pylist(), np.arange(table.num_rows)
    sizes = np.ones(table.num_rows, np.int64)
    if "query" in table.column_names:
        encoding = table["query"].combine_chunks().dictionary_encode()
        code = encoding.indices.to_numpy()
        names, order, sizes = encoding.dictionary.to_pylist(), np.argsort(code, kind="stable"), np.bincount(code)
    rows = table.take(pa.array(order))
    node_type = rows["node_type"].to_pylist() if "node_type" in table.column_names else None
    indptr = offsets_of(sizes)
    return Batch(names, indptr, rows["node_id"].to_pylist(), node_type, weight[order])
