"""Facts and their files: what each task reports to the driver, and what the driver makes of it for the next tasks."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.locations import Location

#: Small arrays about the whole graph, by name: each round adds them up over all blocks.
Facts = Mapping[str, NDArray[np.float64]]

_SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("shape", pa.list_(pa.int64()), nullable=False),
        pa.field("values", pa.large_list(pa.float64()), nullable=False),
    ]
)


def write_facts(path: Path, facts: Facts) -> None:
    """Write arrays, by name; equal arrays make equal bytes."""
    names = sorted(facts)
    columns = [
        pa.array(names, pa.string()),
        pa.array([list(facts[name].shape) for name in names], pa.list_(pa.int64())),
        pa.LargeListArray.from_arrays(
            np.cumsum([0, *(facts[name].size for name in names)]),
            pa.array(np.concatenate([np.zeros(0), *(np.asarray(facts[name], np.float64).ravel() for name in names)])),
        ),
    ]
    storage.write_arrow(path, pa.Table.from_arrays(columns, schema=_SCHEMA))


def read_facts(path: Location) -> dict[str, NDArray[np.float64]]:
    """Read what :func:`write_facts` wrote.

    Raises
    ------
    DamagedFileError : the file is not what its name says.
    """
    storage.check_sealed(path)
    table = storage.map_arrow(path)
    if not table.num_rows:
        return {}
    shapes = table["shape"].to_pylist()
    values = table["values"].combine_chunks()
    return {
        name: values[row].values.to_numpy().reshape(shapes[row]) for row, name in enumerate(table["name"].to_pylist())
    }
