"""A release before it is one: its files, its manifest last, from working files or from what is left of one."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphquilt import files
from graphquilt.column_checksums import checksum_columns
from graphquilt.json_checksum import add_checksum
from graphquilt.own_files import describe_foreign
from graphquilt.pointers import MANIFEST
from graphquilt.releases import footer_sha256
from pipeline import storage
from pipeline.errors import StorageError
from pipeline.locations import Location
from pipeline.publishing.copies import WorkingFile, copy_file, copy_working_file, digests_of
from pipeline.publishing.pointer import replace_unchanged

Notes = Mapping[str, Mapping[str, Any]]  # the small JSON files beside the tables, by name


def stage_release(
    staging: Location, working: Sequence[WorkingFile], about: Mapping[str, Any], notes: Notes
) -> Location:
    """Write a whole release at ``staging``, durable down to the last name in it.

    Raises
    ------
    StorageError : no space; a working file has other bytes than its run's manifest says. Nothing is left behind.
    """
    with _whole_or_absent(staging):
        entries = []
        for number, file in enumerate(working):
            room_bytes = sum(rest.bytes for rest in working[number:])
            entries.append(_stage_file(file, staging, room_bytes))
        for name, value in notes.items():
            data = storage.json_bytes(value)
            storage.write(staging / name, data)
            entries.append({"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
        _fsync_tables(staging, entries)
        # The checksum is that of what is written: secrets are masked first.
        manifest = json.loads(storage.json_bytes({**about, "files": entries}))
        _, version = storage.read_version(staging / MANIFEST) or (b"", None)  # one is there if it is damaged
        replace_unchanged(staging / MANIFEST, storage.json_bytes(add_checksum(manifest)), version)
    return staging


def _stage_file(file: WorkingFile, staging: Location, room_bytes: int) -> dict[str, Any]:
    """Copy a working file into a release, and return its entry in the manifest."""
    path, root = staging / file.name, staging.parents[3]
    storage.make_folder(path.parent)
    digests = copy_working_file(file, path, room_bytes)
    entry: dict[str, Any] = {
        "name": file.name,
        "bytes": digests.bytes,
        "sha256": digests.sha256,
        "xxh3": digests.checksum,
    }
    if str(file.path).startswith(f"{root}/"):  # a release elsewhere than its workspace can't tell where that is
        entry["source"] = str(file.path).removeprefix(f"{root}/")
    if path.suffix == ".parquet":
        entry |= _describe_parquet(storage.local_file(file.path))  # the same bytes, and in the system's cache
    return entry


@contextlib.contextmanager
def _whole_or_absent(staging: Location) -> Iterator[None]:
    """Make the folder, and remove it where what it is to hold can't be written.

    Objects without a manifest are no release. They stay, for who next holds the lock to remove.
    """
    try:
        if isinstance(staging, Path):
            staging.mkdir(parents=True)
        yield
    except BaseException:
        if isinstance(staging, Path):
            storage.remove_tree(staging)  # at once: on a full disk, the verdict needs the room
        raise


def restage_release(
    staging: Location,
    damaged_folder: Location,
    manifest: Mapping[str, Any],
    working: Sequence[WorkingFile],
    notes: Notes,
) -> Location:
    """Write a damaged release once more, with the bytes that its manifest says; see :func:`stage_release`.

    A file comes from the release itself if it is whole there, else from the working file that it was a copy of.

    Raises
    ------
    StorageError : no space, or a file has those bytes nowhere. Nothing is left behind.
    """
    root = staging.parents[3]
    by_name = {file.name: file.path for file in working}
    entries = manifest["files"]
    with _whole_or_absent(staging):
        for number, entry in enumerate(entries):
            made_of = [root / entry["source"]] if "source" in entry else []
            tonight = [path] if (path := by_name.get(entry["name"])) and path not in made_of else []
            sources = [damaged_folder / entry["name"], *made_of, *tonight]
            room_bytes = sum(int(rest["bytes"]) for rest in entries[number:])
            _recover(staging / entry["name"], entry, sources, notes, room_bytes)
        _fsync_tables(staging, entries)
        if staging != damaged_folder:
            storage.write(staging / MANIFEST, files.read(damaged_folder / MANIFEST))
    return staging


def _recover(
    path: Location, entry: Mapping[str, Any], sources: Sequence[Location], notes: Notes, room_bytes: int
) -> None:
    """Write the first of the sources that has the sha256 of the entry; an object is replaced by such a one only."""
    storage.make_folder(path.parent)
    for source in sources:
        if not files.has_file(source) or describe_foreign(source, "file"):
            continue
        if not isinstance(path, Path) and digests_of(source).sha256 != entry["sha256"]:
            continue
        if source == path or copy_file(source, path, room_bytes).sha256 == entry["sha256"]:
            return
        storage.remove(path)
    if (note := notes.get(entry["name"])) is not None:
        data = storage.json_bytes(note)
        if hashlib.sha256(data).hexdigest() == entry["sha256"]:
            storage.write(path, data)
            return
    places = " nor ".join(str(source) for source in sources)
    raise StorageError(f"neither {places} has the bytes that its manifest says")


def _describe_parquet(path: Path) -> dict[str, Any]:
    return {
        "rows": storage.rows_in([path]),
        "footer_sha256": footer_sha256(path),
        "columns_crc32": checksum_columns(path),
    }


def _fsync_tables(staging: Location, entries: Sequence[Mapping[str, Any]]) -> None:
    for folder in {(staging / entry["name"]).parent for entry in entries}:
        storage.fsync_folder(folder)
