"""Which files the input is made of, and how they are dealt out to tasks.

Any address that ``pyarrow.fs`` understands will do: a file, a folder, a glob, local or remote. What is listed
here is only read.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from graphquilt.rights import describe_denial, is_denied
from pipeline.errors import ConfigError, InputError
from pipeline.ingest import lake
from pipeline.ingest.lake import LakeFolder, Snapshot
from pipeline.ingest.listing import WILDCARD, FoundFile, Listing, list_files, look_at

#: How a file looked when it was hashed (``SourceFile.looks``), and the sha256 of its bytes.
SeenFile = tuple[Sequence[int | None], str]

Format = Literal["parquet", "csv", "json"]

FORMAT_NAMES: Mapping[str, str] = {"parquet": "Parquet", "csv": "CSV", "json": "JSON"}
COMPRESSIONS: Mapping[str, str] = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
_ENDINGS: Mapping[Format, tuple[str, ...]] = {
    "parquet": (".parquet", ".parq", ".pq"),
    "csv": (".csv", ".tsv", ".tab", ".dat", ".data", ".inter", ".txt"),
    "json": (".json", ".jsonl", ".ndjson"),
}
_KNOWN = f"{', '.join(end for ends in _ENDINGS.values() for end in ends)}; text also with {', '.join(COMPRESSIONS)}"
_URI_SIGNS = "/:@%+=,;~&!$'()"  # "%" too: an address may be quoted already
_WITH_HOST = {"hdfs", "viewfs"}
_NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"  # what Hive and Spark call the folder of null
_DIGEST_CHUNK = 4 * 2**20
_SIGNATURE_BYTES = 28  # of a Parquet footer that anybody may read and that tells of encrypted columns

ROWS_PER_TASK = 2_000_000
BYTES_PER_TASK = 64 * 2**20
SETTLING_NS = 2_000_000_000


@dataclass(frozen=True)
class SourceFile:
    """One file of the input. ``relative`` is its path below the folder or the fixed part of the glob."""

    relative: str
    address: str
    format: Format
    bytes: int
    mtime_ns: int
    inode: int | None  # local files only, as ctime_ns
    ctime_ns: int | None = None
    snapshot: Snapshot | None = None  # of the lake table that it is a file of

    @property
    def looks(self) -> list[int | None]:
        """What a change of the file's bytes shows in."""
        return [self.bytes, self.mtime_ns, self.ctime_ns, self.inode]

    def is_settled(self, now_ns: int) -> bool:
        """Whether a later change would show: a file system's clock ticks every few ms to 2 s."""
        return now_ns - max(self.mtime_ns, self.ctime_ns or 0) > SETTLING_NS


@dataclass(frozen=True)
class Piece:
    """What a task reads of one file: all of it, or, in Parquet, a range of row groups."""

    relative: str
    address: str
    format: Format
    row_groups: tuple[int, int] | None = None  # first, one past the last
    first_row: int = 0  # number of the first row read, counted in the file
    snapshot: Snapshot | None = None  # of the lake table that it is a file of

    @property
    def compression(self) -> str | None:
        """How the file has to be unpacked while it is read."""
        return compression_of(self.relative)

    @property
    def folder_values(self) -> dict[str, str | None]:
        """Columns told by the path: ``event=click/part-0.parquet`` has event = "click"."""
        values: dict[str, str | None] = {}
        if self.snapshot is not None:  # whose log knows better: folders may be named after anything
            return values
        for folder in self.relative.split("/")[:-1]:
            name, equals, value = folder.partition("=")
            if equals:
                values[unquote(name)] = None if value == _NULL_FOLDER else unquote(value)
        return values


@dataclass(frozen=True)
class ParseTask:
    """The pieces one task reads, in order."""

    pieces: tuple[Piece, ...]

    def to_payload(self) -> dict[str, Any]:
        """Return the task as JSON values."""
        return asdict(self)

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> ParseTask:
        """Read what :meth:`to_payload` returned, before or after a trip through JSON."""
        pieces = []
        for raw in payload["pieces"]:
            groups, snapshot = raw["row_groups"], raw["snapshot"]
            groups = None if groups is None else (groups[0], groups[1])
            snapshot = None if snapshot is None else Snapshot(**snapshot)
            pieces.append(Piece(**{**raw, "row_groups": groups, "snapshot": snapshot}))
        return cls(tuple(pieces))


def compression_of(name: str) -> str | None:
    """Return the name of a file's compression, told by its ending; None for Parquet, which has its own."""
    return next((known for ending, known in COMPRESSIONS.items() if name.lower().endswith(ending)), None)


def filesystem_of(address: str) -> tuple[pafs.FileSystem, str]:
    """Return the filesystem of an address and the path on it; without a scheme it is a local path.

    Raises
    ------
    InputError : unknown scheme, or a filesystem that can't be reached from here.
    """
    scheme, separator, rest = address.partition("://")
    if hint := _hint_for(address):
        raise InputError(f"input {address} can't be opened: {hint}")
    if not separator:
        return pafs.LocalFileSystem(), str(Path(os.path.expanduser(address)).absolute())
    if scheme == "file":
        return pafs.LocalFileSystem(), unquote(rest)
    place, query = _split_query(rest)
    # A wildcard is no part of a URI ("?" would begin its query): the folder before it is.
    wild = WILDCARD.search(place)
    folder = place if wild is None else place[: wild.start()].rpartition("/")[0]
    try:
        filesystem, path = pafs.FileSystem.from_uri(f"{scheme}://{quote(folder, safe=_URI_SIGNS)}{query}")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise InputError(
            f"input {address} can't be opened: {_first_line(error)}. pyarrow.fs reads local paths, file://, "
            "s3://, gs://, abfs:// and hdfs://; check the address, its credentials and the network."
        ) from error
    path += place[len(folder) :]
    return filesystem, path


def _hint_for(address: str) -> str | None:
    """Return what to write instead of an address as Hadoop, Spark or Databricks spell it."""
    found = re.match(r"([A-Za-z][A-Za-z0-9]*):/", address)
    scheme = found[1].lower() if found else ""
    if wanted := _OTHER_NAMES.get(scheme):
        return f"{scheme}:// is Hadoop's name for it; write {wanted}"
    if scheme == "dbfs":
        return "dbfs:/ is known to Databricks alone; there the same files are under /dbfs/, mounted on every node"
    if scheme in _SCHEMES and "://" not in address:
        slashes = "///" if scheme in ("file", "hdfs") else "//"
        return f"an address has two slashes behind its scheme; write {scheme}:{slashes}{address[found.end() :]}"  # type: ignore[union-attr]
    return None


_SCHEMES = ("file", "s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
_OTHER_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("s3a", "s3n"), "s3://BUCKET/PATH (keys by AWS_ACCESS_KEY_ID or AWS_PROFILE, not by fs.s3a.*)"),
    **dict.fromkeys(("wasb", "wasbs"), "abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH"),
    **dict.fromkeys(("az", "azure", "adl"), "abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH"),
}


def _split_query(address: str) -> tuple[str, str]:
    """Part an address from options such as ``?endpoint_override=...``; a lone "?" is a wildcard."""
    found = re.search(r"\?\w+=", address)
    return (address[: found.start()], address[found.start() :]) if found else (address, "")


@contextmanager
def naming(address: str, file_format: Format) -> Iterator[None]:
    """Turn what pyarrow says about unreadable data into an InputError that names the file."""
    try:
        yield
    except (
        pa.ArrowInvalid,
        pa.ArrowTypeError,
        pa.ArrowNotImplementedError,
        pa.ArrowCapacityError,
        OSError,
    ) as error:
        if is_denied(error):
            raise InputError(f"{address} can't be read: {describe_denial(error, address)}") from error
        if isinstance(error, FileNotFoundError):
            raise InputError(f"{address} was there when the input was listed, and is gone; run again") from error
        advice = {
            "parquet": "It was cut off or damaged: write or copy it again",
            "csv": "It was cut off or damaged, or keys such as input.delimiter don't fit it: repair it",
            "json": "It must hold one object a line, or one array of objects: repair it",
        }[file_format]
        if "encrypted" in str(error):
            advice = "No key can be given here: write it again without encryption"
        raise InputError(
            f"{address} can't be read as {FORMAT_NAMES[file_format]}: {_first_line(error)}. "
            f"{advice}, or leave it out by naming the others with a glob."
        ) from error


def list_sources(
    path: str,
    date: dt.date | None = None,
    key: str = "input.path",
    snapshots: Mapping[str, Snapshot] = MappingProxyType({}),
) -> list[SourceFile]:
    """Return the files at ``path``, which the config's ``key`` names, ordered by relative path.

    See :func:`pipeline.ingest.listing.list_files` for what is ignored; empty files without a known ending are too.
    A lake table is listed as of the snapshot that ``snapshots`` has for its address, else as of its newest one.

    Raises
    ------
    ConfigError : ``{date}`` without a date.
    InputError : nothing there, formats mixed, a file of no known format, no right to look; a lake table that can't
        be read, or a path to a part of one, or to several.
    """
    return survey_sources(path, date, key, snapshots)[0]


def survey_sources(
    path: str,
    date: dt.date | None = None,
    key: str = "input.path",
    snapshots: Mapping[str, Snapshot] = MappingProxyType({}),
) -> tuple[list[SourceFile], tuple[str, ...]]:
    """Return what :func:`list_sources` does, and the relative paths of what was ignored."""
    if "{date}" in path:
        if date is None:
            raise ConfigError(
                f"{key} is {path}: it needs a date; give --date YYYY-MM-DD, or name a folder or glob instead"
            )
        path = path.replace("{date}", date.isoformat())
    filesystem, root = filesystem_of(path)
    try:
        table = lake.named_table(filesystem, root)
        if table is None:
            listing = list_files(filesystem, root)
            table = _the_table(path, listing)
        if table is not None:
            return _files_of_table(filesystem, path, table, snapshots), ()
        data = [file for file in listing.files if file.bytes or _format_by_name(file.path)]
        sources = [_describe(filesystem, path, listing.base, file) for file in data]
    except OSError as error:
        if is_denied(error):
            raise InputError(f"input {path} can't be listed: {describe_denial(error, path)}") from error
        raise InputError(f"input {path} can't be listed: {_first_line(error)}; check the path") from error
    skip = len(listing.base.rstrip("/")) + 1
    ignored = (*listing.ignored, *(file.path[skip:] for file in listing.files if file not in data))
    if not sources:
        beside = f" What is there is ignored: {shown(ignored)}." if ignored else ""
        if braces := re.search(r"\{[^/]*\}", path):
            beside += f" '{braces[0]}' is taken as it stands: {{date}} alone is filled in, as 2024-01-31."
        raise InputError(
            f"input {path} has no files (looked for {_KNOWN}, at {root}; "
            f"names that start with '_' or '.' are left out).{beside} Check {key}"
        )
    _refuse_mixture(path, sources)
    return sources, ignored


def shown(names: Sequence[str], most: int = 5) -> str:
    """Return some names as a list for people."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _the_table(path: str, listing: Listing) -> LakeFolder | None:
    """Return the one lake table that a glob comes to, None for files that are none's.

    Raises
    ------
    InputError : the path names a part of a table, several tables, or a table among other files.
    """
    tables = listing.tables
    if not tables:
        return None
    if tables == listing.named and len(tables) == 1 and all(tables[0].holds(file.path) for file in listing.files):
        return tables[0]
    names = ", ".join(f"{table.root} ({table.kind})" for table in tables[:5]) + (", ..." if len(tables) > 5 else "")
    raise InputError(
        f"input {path} names files of the lake table{'s' * (len(tables) > 1)} {names}, and which of them are deleted "
        "only the table knows; name the folder of one table"
    )


def _files_of_table(
    filesystem: pafs.FileSystem, path: str, table: LakeFolder, snapshots: Mapping[str, Snapshot]
) -> list[SourceFile]:
    """Return the data files of a lake table's snapshot.

    Raises
    ------
    InputError : a table that can't be read, is empty, or whose files are gone.
    """
    address = _address(filesystem, path, table.root)
    if table.kind == "Hudi":
        raise lake.refuse_hudi(address)
    snapshot = snapshots.get(address)
    if snapshot is None:
        metadata = None
        if table.kind == "Iceberg":
            metadata = _address(filesystem, path, table.metadata or lake.metadata_file(filesystem, table.root))
        snapshot = lake.newest(table.kind, address, metadata)
    files = lake.files_of(snapshot)
    where = f"the {table.kind} table {address}, version {snapshot.version},"
    if not files:
        raise InputError(f"{where} has no rows; check the path, or write to the table first")
    places = [f"{table.root}/{file.name}" if file.address is None else _path_in(file.address) for file in files]
    sources = []
    for file, place, found in zip(files, places, look_at(filesystem, places), strict=True):
        if found is None:
            raise InputError(
                f"{where} names {place}, which isn't there: it was removed, or the table moved without it. "
                "Restore the file, or the table (Delta: FSCK REPAIR TABLE), or name another table"
            )
        described = _describe(filesystem, path, "", found, "parquet")
        if described.bytes != file.size:  # another file under its name, perhaps of other rows
            raise InputError(
                f"{where} names {place} with {file.size:,} bytes, and it has {described.bytes:,}: it was cut off or "
                "written over since. Restore the file, or the table (Delta: RESTORE TABLE), or name another table"
            )
        sources.append(replace(described, relative=file.name, snapshot=snapshot))
    return sources


def _path_in(address: str) -> str:
    """Return the path of a file's address on its filesystem, nothing unquoted: as logs of lake tables have it."""
    scheme, separator, rest = address.partition("://")
    return rest.partition("/")[1] + rest.partition("/")[2] if scheme in _WITH_HOST else rest if separator else address


def _format_by_name(path: str) -> Format | None:
    name = path.rpartition("/")[2].lower()
    packed = next((ending for ending in COMPRESSIONS if name.endswith(ending)), "")
    plain = name.removesuffix(packed)
    known = next((known for known, endings in _ENDINGS.items() if plain.endswith(endings)), None)
    return None if packed and known == "parquet" else known


def _address(filesystem: pafs.FileSystem, given: str, path: str) -> str:
    """Return the address of a path on the filesystem of a given address."""
    if isinstance(filesystem, pafs.LocalFileSystem):
        return path
    scheme, _, rest = given.partition("://")
    # The path on HDFS does not repeat the host, that on an object store begins with the bucket.
    host = f"{rest.partition('/')[0]}/" if scheme in _WITH_HOST else ""
    return f"{scheme}://{host}{quote(path.lstrip('/'))}{_split_query(rest)[1]}"


def _describe(
    filesystem: pafs.FileSystem, path: str, base: str, info: FoundFile, file_format: Format | None = None
) -> SourceFile:
    address = _address(filesystem, path, info.path)
    file_format = file_format or _format_by_name(info.path)
    if file_format is None:
        with filesystem.open_input_stream(info.path) as stream:  # Hive writes Parquet without an ending
            if stream.read(4) != b"PAR1":
                raise InputError(
                    f"{address} is of no known format (known endings: {_KNOWN}); "
                    "rename it, move it away, or name the others with a glob"
                )
        file_format = "parquet"
    return SourceFile(
        relative=info.path[len(base.rstrip("/")) + 1 :],
        address=address,
        format=file_format,
        bytes=info.bytes,
        mtime_ns=info.mtime_ns,
        inode=info.inode,
        ctime_ns=info.ctime_ns,
    )


def _refuse_mixture(path: str, sources: Sequence[SourceFile]) -> None:
    first = sources[0]
    other = next((source for source in sources if source.format != first.format), None)
    if other is not None:
        raise InputError(
            f"input {path} mixes formats: {first.relative} is {FORMAT_NAMES[first.format]}, {other.relative} "
            f"is {FORMAT_NAMES[other.format]}; name the files of one format"
            f" with a glob, such as '*.{first.format}'"
        )


def digest(source: SourceFile) -> str:
    """Return the sha256 of a file's bytes as hex, read in chunks."""
    filesystem, path = filesystem_of(source.address)
    total = hashlib.sha256()
    with (
        naming(source.address, source.format),
        filesystem.open_input_stream(path, compression=None) as stream,
    ):
        while chunk := stream.read(_DIGEST_CHUNK):
            total.update(chunk)
    return total.hexdigest()


def as_they_were(sources: Iterable[SourceFile], seen: Mapping[str, SeenFile]) -> list[SourceFile]:
    """Return those of the files that were ``seen``, by address; the others came since, and are the next run's.

    All of them where nothing was seen.

    Raises
    ------
    InputError : a file that was seen has other bytes now. One that is gone is told by who reads it.
    """
    if not seen:
        return list(sources)
    known = [source for source in sources if source.address in seen]
    for source in known:
        looks, sha256 = seen[source.address]
        if source.looks != list(looks) and digest(source) != sha256:  # a new link or owner changes no byte
            raise InputError(
                f"{source.address} was written to while it was read: part of the rows would be old, part new, and "
                "nothing was made of it. Run again when it is whole; better, let its writer move it in with a rename"
            )
    return known


def split_tasks(
    sources: Sequence[SourceFile], rows_per_task: int = ROWS_PER_TASK, bytes_per_task: int = BYTES_PER_TASK
) -> list[ParseTask]:
    """Deal the files out to tasks, in order; the cut depends on the files and the two bounds only.

    Parquet is cut between row groups, at about ``rows_per_task`` rows: a row group is never split, since all
    of it would be decoded twice. A text file is always read by one task, since where a row starts can't be
    told from the middle; small ones share a task of up to ``bytes_per_task`` bytes on disk.

    Raises
    ------
    InputError : a Parquet file whose footer can't be read.
    """
    if sources and sources[0].format == "parquet":
        with ThreadPoolExecutor(16) as pool:  # footers of a remote folder: latency, not work
            return _packed(_row_groups(sources, list(pool.map(_rows_of_groups, sources))), rows_per_task)
    return _packed(((Piece(s.relative, s.address, s.format), s.bytes) for s in sources), bytes_per_task)


def _rows_of_groups(source: SourceFile) -> list[int]:
    filesystem, path = filesystem_of(source.address)
    with naming(source.address, "parquet"), pq.ParquetFile(path, filesystem=filesystem) as file:
        with filesystem.open_input_file(path) as tail:
            footer_bytes = int.from_bytes(tail.read_at(4, tail.size() - 8), "little")
        if footer_bytes == file.metadata.serialized_size + _SIGNATURE_BYTES:
            # pyarrow ends the process where it is asked what lies in an encrypted column.
            raise OSError("it has encrypted columns")
        return [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]


def _row_groups(sources: Sequence[SourceFile], rows: Sequence[Sequence[int]]) -> Iterator[tuple[Piece, int]]:
    for source, rows_of_groups in zip(sources, rows, strict=True):
        whole = Piece(source.relative, source.address, "parquet", snapshot=source.snapshot)
        if source.snapshot is not None and source.snapshot.kind == "Iceberg":  # whose library reads whole files
            yield whole, sum(rows_of_groups)
            continue
        first_row = 0
        for group, count in enumerate(rows_of_groups):
            yield replace(whole, row_groups=(group, group + 1), first_row=first_row), count
            first_row += count
        if not rows_of_groups:  # still read, so that its columns are checked
            yield replace(whole, row_groups=(0, 0)), 0


def _packed(pieces: Iterable[tuple[Piece, int]], most: int) -> list[ParseTask]:
    tasks: list[list[Piece]] = []
    size = 0
    for piece, cost in pieces:
        if not tasks or (size and size + cost > most):
            tasks.append([])
            size = 0
        size += cost
        last = tasks[-1][-1] if tasks[-1] else None
        if last and last.address == piece.address and last.row_groups and piece.row_groups:
            groups = (last.row_groups[0], piece.row_groups[1])
            tasks[-1][-1] = replace(last, row_groups=groups)
        else:
            tasks[-1].append(piece)
    return [ParseTask(tuple(pieces)) for pieces in tasks]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
