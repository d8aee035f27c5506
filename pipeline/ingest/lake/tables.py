"""What a snapshot of a lake table holds, by the library that reads its kind of table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import InputError, first_line
from pipeline.ingest.lake.snapshot import Kind, Snapshot

if TYPE_CHECKING:
    from pipeline.ingest.lake.delta import DeltaVersion
    from pipeline.ingest.lake.iceberg import IcebergPlan

_PACKAGES: Mapping[Kind, str] = {"Delta": "deltalake", "Iceberg": "pyiceberg"}


@contextmanager
def opening(kind: Kind, address: str) -> Iterator[None]:
    """Turn a library's error about a table into an InputError that names the table and what to do."""
    package = _PACKAGES[kind]
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise InputError(
            f"input {address} is a table of {kind}, and {package} isn't installed here: pip install "
            "'graphquilt-pipeline[lake]', on the driver and on every worker"
        ) from error
    except InputError:
        raise
    except Exception as error:  # the libraries' own, which have no base of their own
        raise InputError(
            f"the {kind} table {address} can't be read by {package}: {first_line(error)}. Check the table with the "
            "engine that writes it, or export a snapshot as Parquet and name that folder"
        ) from error


def _library(kind: Kind) -> ModuleType:
    """Return the module of a kind of table: imported here, since its package is optional."""
    return import_module(f"pipeline.ingest.lake.{kind.lower()}")


def newest_snapshot(kind: Kind, address: str, metadata: str | None = None) -> Snapshot:
    """Return the table's current snapshot; ``metadata`` is the address of the metadata file to open (Iceberg).

    Raises
    ------
    InputError : the package is missing, the table can't be read, or asks for what isn't read here.
    """
    with opening(kind, address):
        snapshot: Snapshot = _library(kind).newest_snapshot(address, metadata)
        return snapshot


def open_snapshot(snapshot: Snapshot) -> DeltaVersion | IcebergPlan:
    """Return a snapshot as its library has it: its columns, its files by name, and how these are read."""
    with opening(snapshot.kind, snapshot.table):
        version: DeltaVersion | IcebergPlan = _library(snapshot.kind).open_snapshot(snapshot)
        return version


def read_iceberg(
    snapshot: Snapshot, name: str, columns: Sequence[str]
) -> Iterator[tuple[NDArray[np.int64], dict[str, pa.Array]]]:
    """Yield columns of a file of an Iceberg table; rows are numbered among those that are left."""
    row = 0
    with opening("Iceberg", snapshot.table):
        for batch in _library("Iceberg").read(snapshot, name, columns):
            yield np.arange(row, row + batch.num_rows), dict(zip(batch.schema.names, batch.columns, strict=True))
            row += batch.num_rows
