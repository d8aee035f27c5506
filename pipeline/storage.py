"""Files of the workspace: written beside their place, made durable, moved in with one rename, checked when read.

The workspace is a local folder, or one mounted at the same path on every node. Reading the input is a matter
of ``pyarrow.fs`` and of :mod:`pipeline.ingest`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from numpy.typing import NDArray

from graphquilt.masking import masked
from graphquilt.rights import denied, is_denied
from pipeline.errors import DamagedFileError, DiskFullError, StorageError
from schemas.own_files import foreign

_HASH_CHUNK = 2**20  # stays in the cache between the read and the hash
_SEALED = re.compile(r"\.xxh3-([0-9a-f]{32})\.[a-z]+$")  # the end of a name that says what the bytes hash to
_TABLE_FILE = re.compile(r"/part-\d{5,}\.xxh3-[0-9a-f]{32}\.[a-z]+$")
#: Folder of a date in which stages' tasks write.
WORK = "_work"
#: Suffix of files whose batches are read, and checked, alone: see :mod:`pipeline.batch_files`.
BATCHES = "batches"


def local_root(address: str | Path) -> Path:
    """Return the workspace folder for an address, made if it is missing.

    Raises
    ------
    StorageError : if the address has a scheme other than ``file``, or no folder can be made there.
    """
    text = str(address)
    scheme, separator, rest = text.partition("://")
    if separator and scheme != "file":
        raise StorageError(
            f"workspace {text} is on '{scheme}'; a workspace is a local folder or one mounted on all nodes. "
            "Object stores are read as input.path, but not yet written."
        )
    root = Path(os.path.expanduser(rest if separator else text)).absolute()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next(path for path in (root, *root.parents) if path.exists())
        raise StorageError(
            f"workspace {root} can't be made: {file} is a file, and a workspace is a folder; choose another"
        ) from error
    except OSError as error:
        if is_denied(error):
            raise StorageError(f"workspace {root} can't be made: {denied(error)}") from error
        raise StorageError(
            f"workspace {root} can't be made: {error.strerror}; choose a folder you can write"
        ) from error
    return root


def require_own(path: Path, wanted: Literal["file", "folder"]) -> None:
    """Refuse what was put in the place of a file or folder of ours; nothing there is fine.

    Raises
    ------
    StorageError : a symbolic link, or anything else that is not ``wanted``, naming it and what to do.
    """
    if reason := foreign(path, wanted):
        raise StorageError(reason)


def require_own_tree(folder: Path) -> None:
    """Refuse whatever was put in the place of a file or folder of ours, anywhere below a folder of working tables.

    There, names of files have a suffix and names of folders have none. Links are not followed.

    Raises
    ------
    StorageError : naming the first of them.
    """
    require_own(folder, "folder")
    for place, folders, files in os.walk(folder):
        for name in sorted([*folders, *files]):
            require_own(Path(place) / name, "file" if "." in name else "folder")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; one that is there is fine.

    Raises
    ------
    StorageError : something else stands in the place of one of them.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        for place in (*reversed(folder.parents), folder):
            if not place.is_dir():  # links above the workspace are the user's
                require_own(place, "folder")
        raise
    require_own(folder, "folder")


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a rename is safe only after this."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file as a whole: temporary file, fsync, rename, fsync of the folder."""
    make_folder(path.parent)
    require_own(path, "file")
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def put_json_if_absent(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file as a whole, unless there is one: of several processes, the first one's stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        write_json(temporary, value)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_folder(path.parent)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a JSON file as a whole; secrets that an error may quote are masked."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Return what :func:`write_json` writes."""
    return (masked(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)) + "\n").encode()


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file; None if there is no such file.

    Raises
    ------
    StorageError : if the file is not a JSON object. Files here are moved in whole, so it was damaged later.
        Or something else stands in its place.
    """
    require_own(path, "file")
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise StorageError(f"{path} can't be read as JSON ({error}); remove it and run the stage again") from error
    if not isinstance(value, dict):
        raise StorageError(f"{path} holds {type(value).__name__}, not an object; remove it and run the stage again")
    return value


def write_signed_json(path: Path, value: Mapping[str, Any], indent: int | None = None) -> None:
    """Replace a JSON file as a whole; it begins with the checksum of all that follows."""
    body = json.dumps(value, indent=indent, allow_nan=False)[1:].encode() + b"\n"
    write_bytes(path, _signature(body) + body)


def read_signed_json(path: Path) -> dict[str, Any] | None:
    """Return what :func:`write_signed_json` wrote; None if there is no such file.

    Raises
    ------
    DamagedFileError : the file is not what was written. StorageError : this user may not read it, or it is no file.
    """
    require_own(path, "file")
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DamagedFileError(f"{path} {_unreadable(path, error)}") from error
    head, body = data[: len(_signature(b""))], data[len(_signature(b"")) :]
    if head != _signature(body):
        what = "is empty" if not data else "was cut short, changed, or written by another version"
        raise DamagedFileError(f"{path} {what}: its bytes are not those of its checksum")
    value: dict[str, Any] = json.loads(data)
    del value["checksum"]
    return value


def _signature(body: bytes) -> bytes:
    return b'{"checksum": "%s",' % xxhash.xxh3_128_hexdigest(body).encode()


def checksum_of(path: Path) -> str:
    """Return the xxh3-128 of a file's bytes as hex: what tells two attempts of one task apart.

    Working files are checked against accidents only, at 40 times the speed of sha256, which half the CPU time
    of a night would go into; published files carry their sha256.
    """
    total, chunk = xxhash.xxh3_128(), memoryview(bytearray(_HASH_CHUNK))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(chunk):
            total.update(chunk[:count])
    return total.hexdigest()


def problem_of(path: Path, size: int, checksum: str) -> str | None:
    """Say how a file is not what it was when it was written, as the rest of a sentence; None if it is.

    Raises
    ------
    StorageError : this user may not read it, or what stands there is no file of ours.
    """
    try:
        require_own(path, "file")
        looks = _looks_of(path)
        if looks[0] != size:
            return f"has {looks[0]:,} bytes of {size:,}"
        if checksum_of(path) != checksum:
            return "has other bytes than were written"
    except OSError as error:
        return _unreadable(path, error)
    if len(_whole) >= _MOST_REMEMBERED:
        _whole.clear()
    _whole[str(path)] = checksum, looks
    return None


#: Files that this process has found whole, and what they looked like then: not hashed again until they change.
_whole: dict[str, tuple[str, tuple[int, ...]]] = {}
_MOST_REMEMBERED = 8_192


def _looks_of(path: Path | str) -> tuple[int, ...]:
    """Return what changes with a file: its size first."""
    about = os.stat(path)
    return about.st_size, about.st_ino, about.st_mtime_ns, about.st_ctime_ns


def _unreadable(path: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        raise StorageError(
            f"{path} can't be read: permission denied; let this user read the workspace, or run as its owner"
        ) from error
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "is missing"
    return f"can't be read ({error.strerror})"


def seal(path: Path, stem: str) -> Path:
    """Make a file durable and name it ``<stem>.xxh3-<checksum>.<suffix>``: its name says what its bytes are.

    Who names it in a task then also says which bytes are meant; see :func:`check_sealed`.
    """
    checksum = checksum_of(path)
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return path.rename(path.with_name(f"{stem}.xxh3-{checksum}{path.suffix}"))


def sealed_checksum(path: Path | str) -> str | None:
    """Return the checksum that a name says; None for other names."""
    found = _SEALED.search(str(path))
    return found.group(1) if found else None


def table_file(place: Path, number: int, checksum: str, suffix: str) -> Path:
    """Return where a file of a table belongs, named after its bytes as tasks' files are."""
    return place / f"part-{number:05d}.xxh3-{checksum}.{suffix}"


def is_of_table(path: Path | str) -> bool:
    """Whether a path is one of :func:`table_file`: no task's, and no input's."""
    return _TABLE_FILE.search(str(path)) is not None and f"/{WORK}/" not in str(path)


def check_sealed(path: Path | str) -> None:
    """Let a file pass whose name says nothing, or what its bytes are: looked at once a process, until it changes.

    Files of batches pass too: who reads a batch checks it.

    Raises
    ------
    DamagedFileError : it has other bytes, or is missing.
    """
    checksum = sealed_checksum(path)
    if checksum is None or str(path).endswith(f".{BATCHES}"):
        return
    try:
        looks = _looks_of(path)
    except OSError as error:
        raise DamagedFileError(f"{path} {_unreadable(Path(path), error)}") from error
    if _whole.get(str(path)) != (checksum, looks) and (problem := problem_of(Path(path), looks[0], checksum)):
        raise DamagedFileError(f"{path} {problem}")


def sha256_of(path: Path) -> str:
    """Return the hex digest of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def fingerprint_of(value: Any) -> str:
    """Return 16 hex digits for a JSON value, keys in any order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def remove_tree(folder: Path) -> None:
    """Remove a folder and all in it; one that is gone already is fine. Links in it go, what they point at stays.

    Raises
    ------
    StorageError : a link or a file stands in its place.
    """
    require_own(folder, "folder")
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def require_free_space(folder: Path, needed: int, what: str) -> None:
    """Refuse to start what can't be finished.

    Raises
    ------
    DiskFullError : naming the bytes needed and the bytes free.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        error = DiskFullError(
            f"{what} needs about {needed:,} bytes under {folder}, and {free:,} are free; free some space "
            "(graphquilt clean --dry-run lists what can go) or choose another workspace"
        )
        error.names_bytes = True
        raise error


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write an uncompressed Arrow IPC file with a single batch, so that it can be memory-mapped whole."""
    batches = table.combine_chunks().to_batches(max_chunksize=max(1, table.num_rows))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def map_arrow(path: Path) -> pa.Table:
    """Memory-map an Arrow IPC file: columns are views of the file, read when touched.

    Raises
    ------
    DamagedFileError : it is no table's, and not what its name says; see :func:`check_sealed`.
    """
    if not is_of_table(path):  # of which a task may read a little
        check_sealed(path)
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def column(table: pa.Table, name: str) -> NDArray[Any]:
    """Return a column without nulls as an array, a view where the table is in one chunk."""
    chunks = table.column(name).chunks
    if len(chunks) == 1:
        return chunks[0].to_numpy(zero_copy_only=False)
    return table.column(name).to_numpy() if chunks else np.empty(0, table.schema.field(name).type.to_pandas_dtype())


def write_parquet(path: Path, table: pa.Table, row_group_size: int = 1_048_576) -> None:
    """Write a Parquet file as all working tables here are written."""
    with parquet_writer(path, table.schema) as writer:
        writer.write_table(table, row_group_size=row_group_size)


@contextlib.contextmanager
def parquet_writer(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Open a Parquet file for a schema; its bytes depend on nothing but rows and row groups."""
    # Ids and numbers don't repeat, and a dictionary that overflows costs its build; names of types do nothing else.
    # zstd would save a fifth of the bytes for 2.5 times the CPU seconds, on tables that live for a few nights.
    repeated = [name for name in schema.names if name.endswith("_type")]
    # Without Arrow's own schema in the footer: dictionaries are a matter of this file, and are read as strings.
    with pq.ParquetWriter(
        path, schema, compression="lz4", use_dictionary=repeated or False, store_schema=False
    ) as writer:
        yield writer


def rows_in(files: Sequence[Path]) -> int:
    """Return the number of rows of Parquet files, from their footers."""
    return sum(footer_of(file).num_rows for file in files)


def footer_of(file: Path) -> pq.FileMetaData:
    """Return the footer of a Parquet file.

    Raises
    ------
    DamagedFileError : there is none.
    """
    try:
        return pq.read_metadata(file)
    except (pa.ArrowException, OSError) as error:
        raise DamagedFileError(f"{file} has no footer of Parquet ({error})") from error
