"""Files that people name: Parquet or CSV with ids in their columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from pipeline.errors import InputError


def read_id_file(path: Path, types: Mapping[str, pa.DataType], needed: Collection[str], key: str) -> pa.Table:
    """Return the columns of a file that ``types`` names, in its order, those that are there.

    Parameters
    ----------
    types : of the columns; those of other types are cast. Text in CSV stays text: an id such as 007 is no number.
    needed : columns that must be there. key : the option that names the file, for errors.

    Raises
    ------
    InputError : it can't be read or cast, or lacks a column.
    """
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path, partitioning=None)
        else:
            table = pacsv.read_csv(path, convert_options=pacsv.ConvertOptions(column_types=dict(types)))
        if missing := [name for name in needed if name not in table.column_names]:
            raise InputError(f"{key} {path} has no column {', '.join(missing)}; it has {table.column_names}")
        return pa.table({name: table[name].cast(kind) for name, kind in types.items() if name in table.column_names})
    except (OSError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"{key} {path} can't be read as Parquet or CSV: {error}") from error
