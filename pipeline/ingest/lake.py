"""Tables whose files are named by a log: which folder is one, and what a snapshot of it holds.

Files that such a table has deleted stay in its folder for days, so a listing of the folder is wrong: what is read
is a snapshot, through the table's own log (Delta) or metadata (Iceberg).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
from numpy.typing import NDArray

from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.ingest.delta import DeltaFile

Kind = Literal["Delta", "Iceberg", "Hudi"]

_MARK = re.compile(r"^(?P<root>.*?)/(?:(?P<Delta>_delta_log)|(?P<Hudi>\.hoodie)|metadata/[^/]*\.metadata\.json)(?:/|$)")
_SIGNS = ("/_delta_log", "/.hoodie", ".metadata.json")  # a listing is long, and an expression slow
_PACKAGES: Mapping[str, str] = {"Delta": "deltalake", "Iceberg": "pyiceberg"}


@dataclass(frozen=True)
class Snapshot:
    """A state of a lake table that never changes.

    ``opened`` is what the library opens: the table's address (Delta) or that of a metadata file (Iceberg).
    """

    kind: Kind
    table: str  # address of its folder
    version: str  # Delta: version; Iceberg: snapshot id
    opened: str

    def to_payload(self) -> dict[str, Any]:
        """Return the snapshot as JSON values; ``Snapshot(**payload)`` reads them."""
        return asdict(self)


@dataclass(frozen=True)
class LakeFile:
    """A data file of a snapshot: ``name`` as the table has it, relative where it lies in the table's folder."""

    name: str
    size: int  # bytes, by the log
    address: str | None = None  # where that does not follow from the name


@dataclass(frozen=True)
class LakeFolder:
    """A folder that is a lake table, on its filesystem."""

    kind: Kind
    root: str
    metadata: str | None = None  # Iceberg: the metadata file that was named

    def holds(self, path: str) -> bool:
        """Whether a path lies below the folder."""
        return path.startswith(f"{self.root}/")


def named_table(filesystem: pafs.FileSystem, path: str) -> LakeFolder | None:
    """Return the lake table whose folder, or whose metadata file (Iceberg), a path names; None if it names none."""
    folder, _, name = path.rpartition("/")
    if name.endswith(".metadata.json") and folder.endswith("/metadata"):
        return LakeFolder("Iceberg", folder.removesuffix("/metadata"), path)
    return table_at(filesystem, path)


def table_at(filesystem: pafs.FileSystem, folder: str) -> LakeFolder | None:
    """Return the lake table that a folder is, None if it is none."""
    try:
        delta, hudi, metadata = filesystem.get_file_info(
            [f"{folder.rstrip('/')}/{name}" for name in ("_delta_log", ".hoodie", "metadata")]
        )
        if delta.type == pafs.FileType.Directory:
            return LakeFolder("Delta", folder)
        if hudi.type == pafs.FileType.Directory:
            return LakeFolder("Hudi", folder)
        if metadata.type != pafs.FileType.Directory:
            return None
        inside = filesystem.get_file_info(pafs.FileSelector(metadata.path))
    except OSError:  # no right to look: what can't be seen is told when it is listed
        return None
    is_table = any(info.path.endswith(".metadata.json") for info in inside)
    return LakeFolder("Iceberg", folder) if is_table else None


def table_around(filesystem: pafs.FileSystem, path: str) -> LakeFolder | None:
    """Return the lake table that a path lies in, None if it lies in none."""
    while path := path.rpartition("/")[0]:
        if found := table_at(filesystem, path):
            return found
    return None


def tables_among(paths: Iterable[str]) -> list[LakeFolder]:
    """Return the lake tables that files and folders of a listing tell of, in order."""
    found: dict[str, LakeFolder] = {}
    for path in paths:
        if any(sign in path for sign in _SIGNS) and (mark := _MARK.match(path)):
            kind: Kind = "Delta" if mark["Delta"] else "Hudi" if mark["Hudi"] else "Iceberg"
            found.setdefault(mark["root"], LakeFolder(kind, mark["root"]))
    return [found[root] for root in sorted(found)]


def metadata_file(filesystem: pafs.FileSystem, root: str) -> str:
    """Return the path of the metadata file that an Iceberg table's folder is read by.

    That is the one which version-hint.text names, or one of the versions that follow it without a gap; without the
    hint, the one of the highest number.

    Raises
    ------
    InputError : two files of one number: which of them is the table, only its catalogue knows.
    """
    folder = f"{root.rstrip('/')}/metadata"
    found = filesystem.get_file_info(pafs.FileSelector(folder))
    names = sorted(info.base_name for info in found if info.base_name.endswith(".metadata.json"))
    if any(info.base_name == "version-hint.text" for info in found):
        with filesystem.open_input_stream(f"{folder}/version-hint.text") as stream:
            hint = stream.read().decode(errors="replace").strip()
        version = int(hint) if hint.isdecimal() else None
        while version is not None and _named(names, f"v{version + 1}"):
            version += 1
        if name := _named(names, hint if version is None else f"v{version}"):
            return f"{folder}/{name}"
    numbered = {name: int(number[1]) for name in names if (number := re.match(r"v?(\d+)[-.]", name))}
    newest = [name for name in numbered if numbered[name] == max(numbered.values())]
    if len(newest) != 1:
        raise InputError(
            f"input {root} is an Iceberg table, and which of its metadata files is the current one can't be told: "
            f"{', '.join(newest or names)}. Its catalogue knows (in Spark: the newest of SELECT file FROM "
            "TABLE.metadata_log_entries); name that file as the path"
        )
    return f"{folder}/{newest[0]}"


def _named(names: Sequence[str], stem: str) -> str | None:
    spellings = (stem, f"{stem}.metadata.json", f"{stem}.gz.metadata.json")
    return next((name for name in spellings if name in names), None)


def refuse_hudi(address: str) -> InputError:
    """What to say of a Hudi table."""
    return InputError(
        f"input {address} is a Hudi table (.hoodie), which is not read here: its folder holds rows that were "
        "updated or deleted since. Export a snapshot, in Spark: "
        f"spark.read.format('hudi').load('{address}').write.parquet(FOLDER), and name that folder"
    )


@contextmanager
def opening(kind: Kind, address: str) -> Iterator[None]:
    """Turn what a library says of a table it can't open into an InputError that names it and what to do."""
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
        what = (str(error).splitlines() or [""])[0].rstrip(". ") or type(error).__name__
        raise InputError(
            f"the {kind} table {address} can't be read by {package}: {what}. Check the table with the engine that "
            "writes it, or export a snapshot as Parquet and name that folder"
        ) from error


def newest(kind: Kind, address: str, metadata: str | None = None) -> Snapshot:
    """Return the table's current snapshot; ``metadata`` is the address of the metadata file to open (Iceberg).

    Raises
    ------
    InputError : the package is missing, the table can't be read, or asks for what isn't read here.
    """
    with opening(kind, address):
        if kind == "Delta":
            from pipeline.ingest.delta import newest_version

            return Snapshot(kind, address, str(newest_version(address)), address)
        from pipeline.ingest.iceberg import current_snapshot

        metadata = str(metadata)
        return Snapshot(kind, address, current_snapshot(metadata), metadata)


def files_of(snapshot: Snapshot) -> list[LakeFile]:
    """Return the data files of a snapshot, by name.

    Raises
    ------
    InputError : the package is missing, the table can't be read, or asks for what isn't read here.
    """
    with opening(snapshot.kind, snapshot.table):
        if snapshot.kind == "Delta":
            from pipeline.ingest.delta import opened

            return opened(snapshot).files
        from pipeline.ingest.iceberg import planned

        return planned(snapshot).files


def columns_of(snapshot: Snapshot) -> list[str]:
    """Return the names of a snapshot's columns."""
    with opening(snapshot.kind, snapshot.table):
        if snapshot.kind == "Delta":
            from pipeline.ingest.delta import opened

            return list(opened(snapshot).schema.names)
        from pipeline.ingest.iceberg import planned

        return planned(snapshot).columns


def delta_file(snapshot: Snapshot, name: str) -> DeltaFile:
    """Return how a file's columns become those of a Delta table."""
    with opening(snapshot.kind, snapshot.table):
        from pipeline.ingest.delta import opened

        return opened(snapshot).views[name]


def read(
    snapshot: Snapshot, name: str, columns: Sequence[str]
) -> Iterator[tuple[NDArray[np.int64], dict[str, pa.Array]]]:
    """Yield columns of a file of an Iceberg table; rows are numbered among those that are left."""
    row = 0
    with opening(snapshot.kind, snapshot.table):
        from pipeline.ingest.iceberg import read

        for batch in read(snapshot, name, columns):
            yield np.arange(row, row + batch.num_rows), dict(zip(batch.schema.names, batch.columns, strict=True))
            row += batch.num_rows
