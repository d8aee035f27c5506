"""What a release is on disk: the manifest and the files, as writer and readers agree on them.

    published/<name>/releases/<release>/    manifest.json, metrics.json, gate.json, one folder a table

The manifest carries its own checksum and lists every other file of its release with bytes and sha256, and the footer
of each Parquet file with a sha256 of its own. An opening reader checks all but the columns' bytes; these it checks
as it reads them (:mod:`graphquilt.column_sums`). What the manifest of an older release lacks is not checked.
Standard library only: a reader starts fast.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from graphquilt.own_files import foreign
from graphquilt.pointers import CURRENT, RELEASES, PointerError, Swap, read_pointers, release_names, withdrawn_releases
from graphquilt.sealed import SEAL, is_sealed

MANIFEST = "manifest.json"

_CHUNK = 4 * 2**20
_MAGIC = b"PAR1"
_TAIL = 8  # of a Parquet file: the footer's length, and the magic


class ManifestError(ValueError):
    """A release's manifest is missing or damaged."""


def read_manifest(folder: Path, manifest_sha256: str | None = None) -> Mapping[str, Any]:
    """Return the manifest of a release.

    Parameters
    ----------
    manifest_sha256 : what CURRENT says of it, where that is known.

    Raises
    ------
    ManifestError : it is missing, damaged or another release's, or a link.
    """
    path = folder / MANIFEST
    try:
        if reason := foreign(folder, "folder") or foreign(path, "file"):
            raise ManifestError(reason)
        data = path.read_bytes()
        manifest = json.loads(data.decode())  # bytes of zeros would be taken for UTF-32
        names = [(str(entry["name"]), int(entry["bytes"]), str(entry["sha256"])) for entry in manifest["files"]]
        dt.date.fromisoformat(manifest["data_date"])
        dt.datetime.fromisoformat(manifest["published_at"])
        int(manifest["contract_version"])
    except FileNotFoundError as error:
        raise ManifestError(f"{path} is missing") from error
    except PermissionError:
        raise  # not damaged: somebody may not look
    except OSError as error:
        raise ManifestError(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, ManifestError):
            raise
        raise ManifestError(f"{path} is not a release's manifest ({type(error).__name__}: {error})") from error
    if manifest_sha256 is not None and hashlib.sha256(data).hexdigest() != manifest_sha256:
        raise ManifestError(f"{path} is not the one that {CURRENT} was pointed at: it was changed since")
    if SEAL in manifest and not (is_sealed(manifest) and data.endswith(b"}\n")):
        raise ManifestError(f"{path} has other bytes than it was written with: its own checksum differs")
    if any(Path(name).is_absolute() or ".." in Path(name).parts for name, _, _ in names):
        raise ManifestError(f"{path} names files outside of its release")
    if folder.parent.name == RELEASES and manifest.get("release", folder.name) != folder.name:
        raise ManifestError(f"{path} is that of release {manifest['release']}")
    return dict(manifest)


def problems_of(folder: Path, manifest_sha256: str | None = None, *, deep: bool) -> list[str]:
    """Compare a release with its manifest; return a sentence for each file that is not what it was.

    Reads names, sizes, footers of Parquet files and the small files; with ``deep`` every byte. An empty list means
    that nothing is wrong.
    """
    try:
        entries = read_manifest(folder, manifest_sha256)["files"]
    except ManifestError as error:
        return [str(error)]
    problems = [problem for entry in entries if (problem := problem_of_file(folder, entry, deep=deep))]
    listed = {str(entry["name"]) for entry in entries}
    for table in sorted({name.split("/")[0] for name in listed if "/" in name}):
        problems += _strangers(folder / table, listed)
    return problems


def problem_of_file(folder: Path, entry: Mapping[str, Any], *, deep: bool) -> str | None:
    """Compare one file of a release with its entry in the manifest; return a sentence if it is not what it was."""
    path, size = folder / entry["name"], int(entry["bytes"])
    try:
        if reason := (foreign(path.parent, "folder") or foreign(path, "file")):
            return reason
        with path.open("rb", buffering=0) as file:
            found = os.fstat(file.fileno()).st_size
            if found != size:
                return f"{path} has {found:,} bytes, the manifest says {size:,}"
            is_parquet = path.suffix == ".parquet"
            if is_parquet and (problem := _problem_of_footer(file, size, entry.get("footer_sha256"))):
                return f"{path} {problem}"
            if (deep or not is_parquet) and _sha256_of(file) != entry["sha256"]:
                return f"{path} has other bytes than the manifest says: its sha256 differs"
    except FileNotFoundError:
        return f"{path} is missing"
    except PermissionError:
        raise
    except OSError as error:
        return f"{path} can't be read: {error.strerror}"
    return None


def sentences(problems: Sequence[str], most: int = 5) -> str:
    """Return problems as one text, the first of them by name."""
    more = f"; and {len(problems) - most} more" if len(problems) > most else ""
    return "; ".join(problems[:most]) + more


def footer_sha256(path: Path) -> str | None:
    """Return the sha256 of a Parquet file's footer; None of a file that has none."""
    with path.open("rb", buffering=0) as file:
        footer = _footer(file, os.fstat(file.fileno()).st_size)
    return None if footer is None else hashlib.sha256(footer).hexdigest()


def nearest_whole(folder: Path, release: str, *, deep: bool) -> str | None:
    """Return the whole release that is next to another by date: the newest before it, else the oldest after it.

    Names start with the date of the data. Those that readers were rolled back from are left out. ``deep``: every byte
    is read, else names, sizes and footers.
    """
    try:
        withdrawn = withdrawn_releases(read_pointers(folder).history)
    except PointerError:
        withdrawn = set()
    names = [name for name in release_names(folder) if name != release and name not in withdrawn]
    before = [name for name in reversed(names) if name < release]
    after = [name for name in names if name > release]
    whole = (name for name in before + after if not problems_of(folder / RELEASES / name, deep=deep))
    return next(whole, None)


def remedy_for(folder: Path, release: str) -> str:
    """Return what to do about a damaged release, in the same words wherever it is noticed.

    ``folder`` is ``published/<name>``.
    """
    return (
        f"'graphquilt run' with the config and the date of {release} restores it from that date's working tables if "
        f"they are what it was made of, and refuses otherwise. {way_out(folder, release, deep=False)}"
    )


def way_out(folder: Path, release: str, *, deep: bool) -> str:
    """Return the nearest whole release to a damaged one, and the command that points readers at it."""
    nearest = nearest_whole(folder, release, deep=deep)
    if nearest is None:
        return f"No other release of '{folder.name}' is whole, beside those that readers were rolled back from"
    return f"The nearest whole release is {nearest}: {rollback_command(folder, nearest)} points readers at it"


def remedy_for_pointer(folder: Path) -> str:
    """Return what to do where nothing says which release readers get. ``folder`` is ``published/<name>``."""
    names = release_names(folder)
    whole = next((name for name in reversed(names) if not problems_of(folder / RELEASES / name, deep=False)), None)
    if whole is None:
        return f"Releases there: {', '.join(names) or 'none'}; none of them is whole"
    command = rollback_command(folder, whole)
    return f"Releases there: {', '.join(names)}. {command} points readers at the newest whole one"


def rollback_command(folder: Path, release: str) -> str:
    """Return the command line that points readers of ``published/<name>`` at a release."""
    return f"'graphquilt rollback --workspace {folder.parent.parent} --name {folder.name} --to {release}'"


def pointed_sha256(swap: Swap | None, release: str) -> str | None:
    """Return the digest of a release's manifest that CURRENT knows; None if it points at another release."""
    return swap.manifest_sha256 if swap is not None and swap.release == release else None


def _strangers(folder: Path, listed: set[str]) -> Sequence[str]:
    """Say which files in a table's folder the manifest does not list: who reads the folder would read them too."""
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith((".", "_")))
    return [
        f"{folder / name} is not in the manifest: move it away"
        for name in names
        if f"{folder.name}/{name}" not in listed
    ]


def _problem_of_footer(file: BinaryIO, size: int, sha256: str | None) -> str | None:
    footer = _footer(file, size)
    if footer is None:
        return f"is no Parquet file: it does not start and end with {_MAGIC.decode()}"
    if sha256 is not None and hashlib.sha256(footer).hexdigest() != sha256:
        return "has another footer than the manifest says: its sha256 differs"
    return None


def _footer(file: BinaryIO, size: int) -> bytes | None:
    """Return the footer of an open Parquet file with its length and magic; None where there is none."""
    if file.read(len(_MAGIC)) != _MAGIC or size < len(_MAGIC) + _TAIL:
        return None
    file.seek(size - _TAIL)
    tail = file.read(_TAIL)
    start = size - _TAIL - int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or start < len(_MAGIC):
        return None
    file.seek(start)
    return file.read(size - start)


def _sha256_of(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
