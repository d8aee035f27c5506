"""The files of a release on disk: the format that the writer and the readers agree on.

    published/<name>/releases/<release>/    manifest.json, metrics.json, gate.json, one folder a table

The manifest carries its own checksum and lists every other file of its release with bytes and sha256, and the footer
of each Parquet file with a sha256 of its own. An opening reader checks all but the columns' bytes; these it checks
as it reads them (:mod:`graphquilt.column_checksums`). What the manifest of an older release lacks is not checked.
Standard library only: a reader starts fast.
"""

import datetime as dt
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from graphquilt import files
from graphquilt.ancestry import trace
from graphquilt.json_checksum import CHECKSUM, has_valid_checksum
from graphquilt.locations import Location
from graphquilt.own_files import describe_foreign
from graphquilt.pointers import (
    CURRENT,
    MANIFEST,
    RELEASES,
    PointerError,
    Swap,
    list_releases,
    read_pointers,
)

_MAGIC = b"PAR1"
_TAIL = 8  # of a Parquet file: the footer's length, and the magic


class ManifestError(ValueError):
    """A release's manifest is missing or damaged."""


def read_manifest(folder: Location, manifest_sha256: str | None = None) -> Mapping[str, Any]:
    """Return the manifest of a release.

    Parameters
    ----------
    manifest_sha256 : its digest in CURRENT, where that is known.

    Raises
    ------
    ManifestError : it is missing, damaged, a link, or of another release.
    """
    path = folder / MANIFEST
    try:
        if reason := describe_foreign(folder, "folder") or describe_foreign(path, "file"):
            raise ManifestError(reason)
        data = files.read(path)
        manifest = json.loads(data.decode())  # bytes of zeros would be taken for UTF-32
        names = [(str(entry["name"]), int(entry["bytes"]), str(entry["sha256"])) for entry in manifest["files"]]
        dt.date.fromisoformat(manifest["data_date"])
        dt.datetime.fromisoformat(manifest["published_at"])
        int(manifest["contract_version"])
    except FileNotFoundError as error:
        raise ManifestError(f"{path} is missing") from error
    except PermissionError:
        raise  # not damaged: this user may not read it
    except OSError as error:
        raise ManifestError(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, ManifestError):
            raise
        raise ManifestError(f"{path} is not a release's manifest ({type(error).__name__}: {error})") from error
    if manifest_sha256 is not None and hashlib.sha256(data).hexdigest() != manifest_sha256:
        raise ManifestError(f"{path} is not the one that {CURRENT} was pointed at: it was changed since")
    if CHECKSUM in manifest and not (has_valid_checksum(manifest) and data.endswith(b"}\n")):
        raise ManifestError(f"{path} has other bytes than it was written with: its own checksum differs")
    if any(PurePath(name).is_absolute() or ".." in PurePath(name).parts for name, _, _ in names):
        raise ManifestError(f"{path} names files outside of its release")
    if folder.parent.name == RELEASES and manifest.get("release", folder.name) != folder.name:
        raise ManifestError(f"{path} is that of release {manifest['release']}")
    return dict(manifest)


def find_problems(folder: Location, manifest_sha256: str | None = None, *, deep: bool) -> list[str]:
    """Compare a release with its manifest; return a sentence for each file that differs.

    Reads names, sizes, footers of Parquet files and the small files; with ``deep`` every byte.
    """
    try:
        entries = read_manifest(folder, manifest_sha256)["files"]
    except ManifestError as error:
        return [str(error)]
    of_files = files.map_files(lambda entry: find_file_problem(folder, entry, deep=deep), folder, entries)
    problems = [problem for problem in of_files if problem]
    names_in_manifest = {str(entry["name"]) for entry in entries}
    for table in sorted({name.split("/")[0] for name in names_in_manifest if "/" in name}):
        problems += _find_unlisted(folder / table, names_in_manifest)
    return problems


def find_file_problem(folder: Location, entry: Mapping[str, Any], *, deep: bool) -> str | None:
    """Compare a file of a release with its entry in the manifest; return a sentence if it differs."""
    path, size = folder / entry["name"], int(entry["bytes"])
    try:
        if reason := (describe_foreign(path.parent, "folder") or describe_foreign(path, "file")):
            return reason
        with files.open_file(path) as file:
            actual_size = file.seek(0, os.SEEK_END)
            if actual_size != size:
                return f"{path} has {actual_size:,} bytes, the manifest says {size:,}"
            is_parquet = path.suffix == ".parquet"
            if is_parquet and (problem := _problem_of_footer(file, size, entry.get("footer_sha256"))):
                return f"{path} {problem}"
            if (deep or not is_parquet) and _sha256_of(path) != entry["sha256"]:
                return f"{path} has other bytes than the manifest says: its sha256 differs"
    except FileNotFoundError:
        return f"{path} is missing"
    except PermissionError:
        raise
    except OSError as error:
        return f"{path} can't be read: {error.strerror}"
    return None


def join_problems(problems: Sequence[str], most: int = 5) -> str:
    """Return problems as one text: the first ones, and the number of the others."""
    more = f"; and {len(problems) - most} more" if len(problems) > most else ""
    return "; ".join(problems[:most]) + more


def footer_sha256(path: Location) -> str | None:
    """Return the sha256 of a Parquet file's footer; None if the file has no footer."""
    with files.open_file(path) as file:
        footer = _footer(file, file.seek(0, os.SEEK_END))
    return None if footer is None else hashlib.sha256(footer).hexdigest()


def find_nearest_whole(folder: Location, release: str, *, deep: bool) -> str | None:
    """Return the undamaged release next to another: the newest before it, else the oldest after it.

    Names start with the date of the data. Withdrawn releases are left out. ``deep`` as in :func:`find_problems`.
    """
    try:
        withdrawn = trace(read_pointers(folder)).withdrawn
    except PointerError:
        withdrawn = {}
    names = [name for name in list_releases(folder) if name != release and name not in withdrawn]
    before = [name for name in reversed(names) if name < release]
    after = [name for name in names if name > release]
    whole_names = (name for name in before + after if not find_problems(folder / RELEASES / name, deep=deep))
    return next(whole_names, None)


def describe_remedy(folder: Location, release: str) -> str:
    """Return what to do about a damaged release; ``folder`` is ``published/<name>``."""
    return (
        f"'graphquilt run' with the config and the date of {release} restores it from that date's working tables if "
        f"they are what it was made of, and refuses otherwise. {describe_way_out(folder, release, deep=False)}"
    )


def describe_way_out(folder: Location, release: str, *, deep: bool) -> str:
    """Return the undamaged release nearest to a damaged one, and the command that points readers at it."""
    nearest = find_nearest_whole(folder, release, deep=deep)
    if nearest is None:
        return f"No other release of '{folder.name}' is whole, beside those that readers were rolled back from"
    return f"The nearest whole release is {nearest}: {format_rollback(folder, nearest)} points readers at it"


def describe_pointer_remedy(folder: Location) -> str:
    """Return what to do about a lost or damaged pointer; ``folder`` is ``published/<name>``."""
    names = list_releases(folder)
    newest = find_nearest_whole(folder, "~", deep=False)  # "~" is after every name: the newest one
    if newest is None:
        return f"Releases there: {', '.join(names) or 'none'}; none of them is whole"
    command = format_rollback(folder, newest)
    return f"Releases there: {', '.join(names)}. {command} points readers at the newest whole one"


def format_rollback(folder: Location, release: str) -> str:
    """Return the command line that points readers of ``published/<name>`` at a release."""
    return f"'graphquilt rollback --workspace {folder.parent.parent} --name {folder.name} --to {release}'"


def manifest_sha256_in(swap: Swap | None, release: str) -> str | None:
    """Return the digest of a release's manifest in a swap; None if the swap is to another release."""
    return swap.manifest_sha256 if swap is not None and swap.release == release else None


def _find_unlisted(folder: Location, names_in_manifest: set[str]) -> Sequence[str]:
    """Return a sentence for each file in a table's folder that the manifest lacks: other tools would read it."""
    names = [name for name in files.names_in(folder) if not name.startswith((".", "_"))]
    return [
        f"{folder / name} is not in the manifest: move it away"
        for name in names
        if f"{folder.name}/{name}" not in names_in_manifest
    ]


def _problem_of_footer(file: io.RawIOBase, size: int, sha256: str | None) -> str | None:
    footer = _footer(file, size)
    if footer is None:
        return f"is no Parquet file: it does not start and end with {_MAGIC.decode()}"
    if sha256 is not None and hashlib.sha256(footer).hexdigest() != sha256:
        return "has another footer than the manifest says: its sha256 differs"
    return None


def _sha256_of(path: Location) -> str:
    sha256 = hashlib.sha256()
    for chunk in files.read_chunks(path):
        sha256.update(chunk)
    return sha256.hexdigest()


def _footer(file: io.RawIOBase, size: int) -> bytes | None:
    """Return the footer of an open Parquet file with its length and magic; None if it has none."""
    file.seek(0)
    if file.read(len(_MAGIC)) != _MAGIC or size < len(_MAGIC) + _TAIL:
        return None
    file.seek(size - _TAIL)
    tail = file.read(_TAIL)
    start = size - _TAIL - int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or start < len(_MAGIC):
        return None
    file.seek(start)
    return file.read(size - start)
