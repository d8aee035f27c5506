"""A release before it has its name: written whole beside its place, from working files or from what is left of one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphquilt.column_checksums import checksum_columns
from graphquilt.json_checksum import add_checksum
from graphquilt.own_files import describe_foreign
from graphquilt.releases import MANIFEST, footer_sha256
from pipeline import storage
from pipeline.errors import StorageError
from pipeline.publishing.copies import WorkingFile, copy_file, copy_working_file

#: Folders that are no releases: being written, or about to go. Found under the lock, they are a kill's.
STAGING = "_staging-"
REMOVED = "_removed-"

Notes = Mapping[str, Mapping[str, Any]]  # the small JSON files beside the tables, by name


def stage_release(staging: Path, files: Sequence[WorkingFile], about: Mapping[str, Any], notes: Notes) -> Path:
    """Write a whole release at ``staging``, durable down to the last name in it.

    Raises
    ------
    StorageError : no space; a working file has other bytes than its run's manifest says. Nothing is left behind.
    """
    root = staging.parents[3]
    with _whole_or_absent(staging):
        entries = []
        for number, file in enumerate(files):
            path = staging / file.name
            path.parent.mkdir(exist_ok=True)
            digests = copy_working_file(file, path, needed=sum(rest.bytes for rest in files[number:]))
            entries.append(
                {
                    "name": file.name,
                    "bytes": digests.bytes,
                    "sha256": digests.sha256,
                    "xxh3": digests.checksum,
                    **({"source": str(file.path.relative_to(root))} if file.path.is_relative_to(root) else {}),
                    **_describe_parquet(path),
                }
            )
        for name, value in notes.items():
            path = staging / name
            storage.write_json(path, value)
            entries.append({"name": name, "bytes": path.stat().st_size, "sha256": storage.sha256_of(path)})
        _fsync_tables(staging, entries)
        # The checksum is that of what is written: secrets are masked first.
        masked = json.loads(storage.json_bytes({**about, "files": entries}))
        storage.write_json(staging / MANIFEST, add_checksum(masked))
    return staging


@contextlib.contextmanager
def _whole_or_absent(staging: Path) -> Iterator[None]:
    """Make the folder, and remove it where what it is to hold can't be written."""
    try:
        staging.mkdir(parents=True)
        yield
    except BaseException:
        storage.remove_tree(staging)  # at once: on a full disk, the verdict needs the room
        raise


def restage_release(
    staging: Path, damaged: Path, manifest: Mapping[str, Any], files: Sequence[WorkingFile], notes: Notes
) -> Path:
    """Write a damaged release once more, with the bytes that its manifest says; see :func:`stage_release`.

    A file comes from the release itself if it is whole there, else from the working file that it was a copy of.

    Raises
    ------
    StorageError : no space, or a file has those bytes nowhere. Nothing is left behind.
    """
    root = staging.parents[3]
    by_name = {file.name: file.path for file in files}
    entries = manifest["files"]
    with _whole_or_absent(staging):
        for number, entry in enumerate(entries):
            working = [root / entry["source"]] if "source" in entry else []
            tonight = [path] if (path := by_name.get(entry["name"])) and path not in working else []
            sources = [damaged / entry["name"], *working, *tonight]
            needed = sum(int(rest["bytes"]) for rest in entries[number:])
            _recover(staging / entry["name"], entry, sources, notes, needed)
        _fsync_tables(staging, entries)
        storage.write_bytes(staging / MANIFEST, (damaged / MANIFEST).read_bytes())
    return staging


def _recover(path: Path, entry: Mapping[str, Any], sources: Sequence[Path], notes: Notes, needed: int) -> None:
    """Write the first of the sources that has the sha256 of the entry."""
    path.parent.mkdir(exist_ok=True)
    for source in sources:
        if not source.is_file() or describe_foreign(source, "file"):
            continue
        if copy_file(source, path, needed).sha256 == entry["sha256"]:
            return
        path.unlink()
    if (note := notes.get(entry["name"])) is not None:
        storage.write_json(path, note)
        if storage.sha256_of(path) == entry["sha256"]:
            return
    tried = " nor ".join(str(source) for source in sources)
    raise StorageError(f"neither {tried} has the bytes that its manifest says")


def _describe_parquet(path: Path) -> dict[str, Any]:
    if path.suffix != ".parquet":
        return {}
    return {
        "rows": storage.rows_in([path]),
        "footer_sha256": footer_sha256(path),
        "columns_crc32": checksum_columns(path),
    }


def _fsync_tables(staging: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    for folder in {(staging / entry["name"]).parent for entry in entries}:
        storage.fsync_folder(folder)
