"""Which folder is a lake table.

Files that such a table has deleted stay in its folder for days, so a listing of the folder is wrong: what is read
is a snapshot, through the table's own log (Delta) or metadata (Iceberg).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow.fs as pafs

from pipeline.errors import InputError
from pipeline.ingest.lake.snapshot import Kind

_MARK = re.compile(r"^(?P<root>.*?)/(?:(?P<Delta>_delta_log)|(?P<Hudi>\.hoodie)|metadata/[^/]*\.metadata\.json)(?:/|$)")
_SIGNS = ("/_delta_log", "/.hoodie", ".metadata.json")  # a listing is long, and an expression slow


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
    """Return the lake table in a folder; None if the folder is no table."""
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
    except OSError:  # no right to look: listing the folder says so
        return None
    is_table = any(info.path.endswith(".metadata.json") for info in inside)
    return LakeFolder("Iceberg", folder) if is_table else None


def table_around(filesystem: pafs.FileSystem, path: str) -> LakeFolder | None:
    """Return the lake table above a path; None if there is none."""
    while path := path.rpartition("/")[0]:
        if table := table_at(filesystem, path):
            return table
    return None


def tables_among(paths: Iterable[str]) -> list[LakeFolder]:
    """Return the lake tables that the paths of a listing belong to, in order."""
    tables: dict[str, LakeFolder] = {}
    for path in paths:
        if any(sign in path for sign in _SIGNS) and (mark := _MARK.match(path)):
            kind: Kind = "Delta" if mark["Delta"] else "Hudi" if mark["Hudi"] else "Iceberg"
            tables.setdefault(mark["root"], LakeFolder(kind, mark["root"]))
    return [tables[root] for root in sorted(tables)]


def metadata_file(filesystem: pafs.FileSystem, root: str) -> str:
    """Return the path of the newest metadata file in an Iceberg table's folder.

    That is the last of the versions that follow version-hint.text without a gap; without the hint, the file with
    the highest number.

    Raises
    ------
    InputError : two files of one number: which of them is the table, only its catalogue knows.
    """
    folder = f"{root.rstrip('/')}/metadata"
    files = filesystem.get_file_info(pafs.FileSelector(folder))
    names = sorted(info.base_name for info in files if info.base_name.endswith(".metadata.json"))
    if any(info.base_name == "version-hint.text" for info in files):
        with filesystem.open_input_stream(f"{folder}/version-hint.text") as stream:
            hint = stream.read().decode(errors="replace").strip()
        version = int(hint) if hint.isdecimal() else None
        while version is not None and _file_of(names, f"v{version + 1}"):
            version += 1
        if name := _file_of(names, hint if version is None else f"v{version}"):
            return f"{folder}/{name}"
    number_of = {name: int(number[1]) for name in names if (number := re.match(r"v?(\d+)[-.]", name))}
    newest = [name for name in number_of if number_of[name] == max(number_of.values())]
    if len(newest) != 1:
        raise InputError(
            f"input {root} is an Iceberg table, and which of its metadata files is the current one can't be told: "
            f"{', '.join(newest or names)}. Its catalogue knows (in Spark: the newest of SELECT file FROM "
            "TABLE.metadata_log_entries); name that file as the path"
        )
    return f"{folder}/{newest[0]}"


def _file_of(names: Sequence[str], stem: str) -> str | None:
    spellings = (stem, f"{stem}.metadata.json", f"{stem}.gz.metadata.json")
    return next((name for name in spellings if name in names), None)


def hudi_error(address: str) -> InputError:
    """Return the error about a Hudi table."""
    return InputError(
        f"input {address} is a Hudi table (.hoodie), which is not read here: its folder holds rows that were "
        "updated or deleted since. Export a snapshot, in Spark: "
        f"spark.read.format('hudi').load('{address}').write.parquet(FOLDER), and name that folder"
    )
