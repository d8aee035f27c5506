"""What a release is on disk: the pointer, the manifest and the files, as writer and readers agree on them.

    published/<name>/CURRENT.json           {release, path, data_date, contract_version, manifest_sha256}
    published/<name>/releases/<release>/    manifest.json, metrics.json, gate.json, one folder a table

``path`` is relative to the pointer's folder, so that a workspace can be moved or mounted elsewhere. The
manifest lists every other file of its release with bytes and sha256. Standard library only: a reader starts
fast.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CURRENT = "CURRENT.json"
MANIFEST = "manifest.json"
RELEASES = "releases"

_CHUNK = 4 * 2**20


def problems_of(folder: Path, manifest_sha256: str | None = None, *, deep: bool) -> list[str]:
    """Compare a release with its manifest; return a sentence for each file that is not what it was.

    Reads names and sizes; with ``deep`` also every byte. An empty list means that nothing is wrong.
    """
    try:
        data = (folder / MANIFEST).read_bytes()
        manifest = json.loads(data)
        entries = [(str(entry["name"]), int(entry["bytes"]), str(entry["sha256"])) for entry in manifest["files"]]
    except FileNotFoundError:
        return [f"{folder / MANIFEST} is missing"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{folder / MANIFEST} is not a release's manifest ({type(error).__name__}: {error})"]
    problems = []
    if manifest_sha256 is not None and hashlib.sha256(data).hexdigest() != manifest_sha256:
        problems.append(f"{folder / MANIFEST} is not the one that {CURRENT} was pointed at: it was changed since")
    problems += [found for entry in entries if (found := _problem_of_file(folder / entry[0], *entry[1:], deep))]
    return problems


def read_object(path: Path) -> Mapping[str, Any]:
    """Return the JSON object in a file.

    Raises
    ------
    OSError : it can't be read. ValueError : it holds no JSON object.
    """
    value = json.loads(path.read_bytes())
    if not isinstance(value, dict):
        raise ValueError(f"it holds {type(value).__name__}, not an object")
    return value


def _problem_of_file(path: Path, size: int, sha256: str, deep: bool) -> str | None:
    try:
        found = path.stat().st_size
        if found != size:
            return f"{path} has {found:,} bytes, the manifest says {size:,}"
        if deep and _sha256_of(path) != sha256:
            return f"{path} has other bytes than the manifest says: its sha256 differs"
    except FileNotFoundError:
        return f"{path} is missing"
    except OSError as error:
        return f"{path} can't be read: {error.strerror}"
    return None


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
