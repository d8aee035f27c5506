"""Which files the input is made of. What is listed here is only read."""

import datetime as dt
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import pyarrow.fs as pafs

from graphquilt.rights import describe_denial, is_denied
from pipeline.errors import ConfigError, InputError, first_line
from pipeline.ingest.addresses import address_on, filesystem_of, naming, path_in
from pipeline.ingest.file_formats import FORMAT_NAMES, KNOWN_ENDINGS, Format, format_of
from pipeline.ingest.lake import tables
from pipeline.ingest.lake.folders import LakeFolder, hudi_error, metadata_file, named_table
from pipeline.ingest.lake.snapshot import Snapshot
from pipeline.ingest.listing import ListedFile, Listing, describe_files, list_files

#: State of a file when it was hashed (``SourceFile.looks``), and the sha256 of its bytes.
FileState = tuple[Sequence[int | None], str]

_DIGEST_CHUNK = 4 * 2**20
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
        """Size, times and inode: any change of the file's bytes changes one of them."""
        return [self.bytes, self.mtime_ns, self.ctime_ns, self.inode]

    def is_settled(self, now_ns: int) -> bool:
        """Whether a later change would show: a file system's clock ticks every few ms to 2 s."""
        return now_ns - max(self.mtime_ns, self.ctime_ns or 0) > SETTLING_NS


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
        table = named_table(filesystem, root)
        if table is None:
            listing = list_files(filesystem, root)
            table = _the_table(path, listing)
        if table is not None:
            return _files_of_table(filesystem, path, table, snapshots), ()
        data = [file for file in listing.files if file.bytes or format_of(file.path)]
        sources = [_describe(filesystem, path, listing.base, file) for file in data]
    except OSError as error:
        if is_denied(error):
            raise InputError(f"input {path} can't be listed: {describe_denial(error, path)}") from error
        raise InputError(f"input {path} can't be listed: {first_line(error)}; check the path") from error
    skip = len(listing.base.rstrip("/")) + 1
    ignored_paths = (*listing.ignored_paths, *(file.path[skip:] for file in listing.files if file not in data))
    if not sources:
        beside = f" What is there is ignored: {join_names(ignored_paths)}." if ignored_paths else ""
        if braces := re.search(r"\{[^/]*\}", path):
            beside += f" '{braces[0]}' is taken as it stands: {{date}} alone is filled in, as 2024-01-31."
        raise InputError(
            f"input {path} has no files (looked for {KNOWN_ENDINGS}, at {root}; "
            f"names that start with '_' or '.' are left out).{beside} Check {key}"
        )
    _refuse_mixture(path, sources)
    return sources, ignored_paths


def join_names(names: Sequence[str], most: int = 5) -> str:
    """Return some names as a list for people."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _the_table(path: str, listing: Listing) -> LakeFolder | None:
    """Return the lake table that a glob names; None if the files belong to no table."""
    tables = listing.tables
    if not tables:
        return None
    if tables == listing.glob_tables and len(tables) == 1 and all(tables[0].holds(file.path) for file in listing.files):
        return tables[0]
    names = ", ".join(f"{table.root} ({table.kind})" for table in tables[:5]) + (", ..." if len(tables) > 5 else "")
    raise InputError(
        f"input {path} names files of the lake table{'s' * (len(tables) > 1)} {names}, and which of them are deleted "
        "only the table knows; name the folder of one table"
    )


def _files_of_table(
    filesystem: pafs.FileSystem, path: str, table: LakeFolder, snapshots: Mapping[str, Snapshot]
) -> list[SourceFile]:
    """Return the data files of a lake table's snapshot."""
    address = address_on(filesystem, path, table.root)
    if table.kind == "Hudi":
        raise hudi_error(address)
    snapshot = snapshots.get(address)
    if snapshot is None:
        metadata = None
        if table.kind == "Iceberg":
            metadata = address_on(filesystem, path, table.metadata or metadata_file(filesystem, table.root))
        snapshot = tables.newest_snapshot(table.kind, address, metadata)
    files = tables.open_snapshot(snapshot).files
    where = f"the {table.kind} table {address}, version {snapshot.version},"
    if not files:
        raise InputError(f"{where} has no rows; check the path, or write to the table first")
    paths = [f"{table.root}/{file.name}" if file.address is None else path_in(file.address) for file in files]
    sources = []
    for file, file_path, info in zip(files, paths, describe_files(filesystem, paths), strict=True):
        if info is None:
            raise InputError(
                f"{where} names {file_path}, which isn't there: it was removed, or the table moved without it. "
                "Restore the file, or the table (Delta: FSCK REPAIR TABLE), or name another table"
            )
        source = _describe(filesystem, path, "", info, "parquet")
        if source.bytes != file.size:  # another file under its name, perhaps of other rows
            raise InputError(
                f"{where} names {file_path} with {file.size:,} bytes, and it has {source.bytes:,}: it was cut off or "
                "written over since. Restore the file, or the table (Delta: RESTORE TABLE), or name another table"
            )
        sources.append(replace(source, relative=file.name, snapshot=snapshot))
    return sources


def _describe(
    filesystem: pafs.FileSystem, path: str, base: str, info: ListedFile, file_format: Format | None = None
) -> SourceFile:
    address = address_on(filesystem, path, info.path)
    file_format = file_format or format_of(info.path)
    if file_format is None:
        with filesystem.open_input_stream(info.path) as stream:  # Hive writes Parquet without an ending
            if stream.read(4) != b"PAR1":
                raise InputError(
                    f"{address} is of no known format (known endings: {KNOWN_ENDINGS}); "
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
    odd_source = next((source for source in sources if source.format != first.format), None)
    if odd_source is not None:
        raise InputError(
            f"input {path} mixes formats: {first.relative} is {FORMAT_NAMES[first.format]}, {odd_source.relative} "
            f"is {FORMAT_NAMES[odd_source.format]}; name the files of one format"
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


def select_unchanged(sources: Iterable[SourceFile], states: Mapping[str, FileState]) -> list[SourceFile]:
    """Return the files that have a state, by address: files that came later belong to the next run.

    No states at all stand for all files.

    Raises
    ------
    InputError : a file has other bytes than when it was hashed. Who reads a file says that it is gone.
    """
    if not states:
        return list(sources)
    same = [source for source in sources if source.address in states]
    for source in same:
        looks, sha256 = states[source.address]
        if source.looks != list(looks) and digest(source) != sha256:  # a new link or owner changes no byte
            raise InputError(
                f"{source.address} was written to while it was read: part of the rows would be old, part new, and "
                "nothing was made of it. Run again when it is whole; better, let its writer move it in with a rename"
            )
    return same


def snapshots_of(sources: Iterable[SourceFile]) -> dict[str, Snapshot]:
    """Return the snapshots of lake tables that files are of, by the address of the table."""
    return {source.snapshot.table: source.snapshot for source in sources if source.snapshot is not None}
