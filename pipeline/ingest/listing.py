"""Which files lie at a path: data, and files that people and programs leave beside data."""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow.fs as pafs

from pipeline.errors import InputError
from pipeline.ingest.addresses import WILDCARD
from pipeline.ingest.lake.folders import LakeFolder, table_around, tables_among

#: Files that lie beside data. Other files of an unknown format are refused: they may be data.
_BESIDE = re.compile(
    r"(readme|license|licence|notice|changelog|citation)(\..*)?"
    r"|(schema|metadata|datapackage|dataset_infos?)\.json|thumbs\.db|desktop\.ini|(md5|sha\d+)sums?(\.txt)?|.*~"
    r"|.*\.(tmp|temp|partial|crdownload|inprogress|_copying_|swp|bak|crc|md5|sha1|sha256|sha512|md|rst|html?|pdf)",
    re.IGNORECASE,
)
_TRIES = 3


@dataclass(frozen=True)
class ListedFile:
    """A file as its file system describes it; ``path`` is the path there."""

    path: str
    bytes: int
    mtime_ns: int
    inode: int | None = None  # these two of local files only
    ctime_ns: int | None = None


@dataclass(frozen=True)
class Listing:
    """Files by path, bytewise; ``base`` is the folder that relative paths start from, ``ignored_paths`` are such.

    ``tables`` are the lake tables that have files among these or around them, ``glob_tables`` those whose folder a glob
    matches.
    """

    base: str
    files: tuple[ListedFile, ...]
    ignored_paths: tuple[str, ...] = ()
    tables: tuple[LakeFolder, ...] = ()
    glob_tables: tuple[LakeFolder, ...] = ()


class _VanishedError(Exception):
    """A file was listed, and gone when it was looked at."""


def list_files(filesystem: pafs.FileSystem, root: str) -> Listing:
    """List a file, a folder with all below it, or a glob.

    Below a folder names that begin with "_" or "." are ignored (``_c=1`` is a column, not hidden), and so is what
    usually lies beside data. Symbolic links are followed; a file that is reached twice counts once.

    Raises
    ------
    InputError : a link that leads nowhere, files that come and go. OSError : no right to look.
    """
    root = root.rstrip("/") or "/"
    is_local = isinstance(filesystem, pafs.LocalFileSystem)
    about = filesystem.get_file_info(root)
    if about.type == pafs.FileType.File:  # named in full: taken whatever its name
        around = table_around(filesystem, root)
        file = _of_local(root, os.stat(root)) if is_local else _of_remote(about)
        return Listing(root.rpartition("/")[0], (file,), tables=() if around is None else (around,))
    wild = None if about.type == pafs.FileType.Directory else WILDCARD.search(root)
    if about.type != pafs.FileType.Directory and wild is None:
        if is_local and os.path.islink(root):
            raise InputError(f"{root} is a symbolic link to {os.readlink(root)}, where nothing is; mend or remove it")
        return Listing(root, ())
    base = root if wild is None else root[: wild.start()].rpartition("/")[0]
    pattern = re.compile(re.escape(root) + "/.*", re.DOTALL) if wild is None else _glob_pattern(root)
    if root == "/":
        pattern = re.compile(".*", re.DOTALL)
    if not is_local:
        listing = _select_data(base, [(_of_remote(info), False) for info in _remote(filesystem, base)], pattern)
        return _with_tables(filesystem, listing, is_glob=wild is not None)
    for _ in range(_TRIES):
        try:
            listing = _select_data(base, list(_walk(base or "/", pattern, frozenset(), is_linked=False)), pattern)
            return _with_tables(filesystem, listing, is_glob=wild is not None)
        except _VanishedError as gone:
            lost_file = str(gone)
    raise InputError(
        f"files under {base} come and go while they are listed ({lost_file} is gone); wait until they are all written, "
        "then run again"
    )


def takes(root: str, path: str) -> bool:
    """Whether a listing of ``root``, a folder or a glob, takes in a file at ``path``, were there one."""
    wild = None if os.path.isdir(root) else WILDCARD.search(root)
    if wild is None:
        root = os.path.realpath(root).rstrip("/")
        base, is_in = root, path.startswith(f"{root}/")
    else:
        base, is_in = root[: wild.start()].rpartition("/")[0], _glob_pattern(root).fullmatch(path) is not None
    return is_in and not any(map(_is_hidden, path[len(base) + 1 :].split("/")))


def _select_data(base: str, files_and_links: list[tuple[ListedFile, bool]], pattern: re.Pattern[str]) -> Listing:
    """Separate data from what lies beside it; the flag of a file says whether a link leads to it."""
    skip = len(base.rstrip("/")) + 1
    files: dict[str, ListedFile] = {}
    ignored_paths = []
    has_links = any(is_linked for _, is_linked in files_and_links)
    # Of two paths to one file, the one without a link stays.
    for file, _ in sorted(files_and_links, key=lambda pair: (pair[1], os.fsencode(pair[0].path))):
        if not pattern.fullmatch(file.path):
            continue
        relative = file.path[skip:]
        if any(map(_is_hidden, relative.split("/"))) or _BESIDE.fullmatch(relative.rpartition("/")[2]):
            ignored_paths.append(relative)
        elif (first := files.setdefault(os.path.realpath(file.path) if has_links else file.path, file)) is not file:
            ignored_paths.append(f"{relative} (a link to {first.path[skip:]})")
    in_order = tuple(sorted(files.values(), key=lambda file: os.fsencode(file.path)))
    tables = tables_among(file.path for file, _ in files_and_links)
    glob_tables = tuple(table for table in tables if pattern.fullmatch(table.root))
    own_tables = [table for table in tables if table in glob_tables or any(map(table.holds, files))]
    return Listing(base, in_order, tuple(ignored_paths), tuple(own_tables), glob_tables)


def _with_tables(filesystem: pafs.FileSystem, listing: Listing, *, is_glob: bool) -> Listing:
    """Add the lake table that the folder itself lies in; only a glob names tables."""
    around = table_around(filesystem, f"{listing.base}/")
    if around is not None:
        return replace(listing, tables=(around,), glob_tables=())
    return listing if is_glob else replace(listing, glob_tables=())


def describe_files(filesystem: pafs.FileSystem, paths: Sequence[str]) -> list[ListedFile | None]:
    """Describe files; None for what is no file."""
    is_local = isinstance(filesystem, pafs.LocalFileSystem)
    return [
        None if info.type != pafs.FileType.File else _of_local(path, os.stat(path)) if is_local else _of_remote(info)
        for path, info in zip(paths, filesystem.get_file_info(list(paths)), strict=True)
    ]


def _walk(
    folder: str, pattern: re.Pattern[str], above: frozenset[tuple[int, int]], *, is_linked: bool
) -> Iterator[tuple[ListedFile, bool]]:
    """Yield the files below a folder, and hidden folders like files."""
    try:
        about = os.stat(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        if above:
            raise _VanishedError(folder) from None
        return
    if (about.st_dev, about.st_ino) in above:  # a link back to a folder that is being listed
        return
    for entry in entries:
        has_link = is_linked or entry.is_symlink()
        try:
            about_entry = entry.stat()
        except OSError as error:
            if not entry.is_symlink():
                raise _VanishedError(entry.path) if isinstance(error, FileNotFoundError) else error from None
            about_entry = None
        if about_entry is None:
            if pattern.fullmatch(entry.path) and not _is_hidden(entry.name) and not _BESIDE.fullmatch(entry.name):
                raise InputError(
                    f"{entry.path} is a symbolic link to {os.readlink(entry.path)}, where nothing is; mend or remove it"
                )
        elif stat.S_ISDIR(about_entry.st_mode) and not _is_hidden(entry.name):
            yield from _walk(entry.path, pattern, above | {(about.st_dev, about.st_ino)}, is_linked=has_link)
        elif stat.S_ISREG(about_entry.st_mode) or stat.S_ISDIR(about_entry.st_mode):
            yield _of_local(entry.path, about_entry), has_link


def _of_local(path: str, about: os.stat_result) -> ListedFile:
    return ListedFile(path, about.st_size, about.st_mtime_ns, about.st_ino, about.st_ctime_ns)


def _remote(filesystem: pafs.FileSystem, base: str) -> list[pafs.FileInfo]:
    selector = pafs.FileSelector(base or "/", recursive=True, allow_not_found=True)
    return [info for info in filesystem.get_file_info(selector) if info.type == pafs.FileType.File]


def _of_remote(info: pafs.FileInfo) -> ListedFile:
    return ListedFile(info.path, info.size, info.mtime_ns or 0)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _glob_pattern(glob: str) -> re.Pattern[str]:
    """Compile a glob; what lies below a folder that matches belongs to it too."""
    out, at = [], 0
    while at < len(glob):
        rest = glob[at:]
        group = re.match(r"\[(!?)([^\]/]+)\]", rest)
        if rest.startswith("**/"):
            out.append("(?:.*/)?")
            at += 3
        elif rest.startswith("**"):
            out.append(".*")
            at += 2
        elif group:
            inner = group[2].replace("\\", r"\\").replace("[", r"\[").replace("^", r"\^")
            out.append(f"[{'^/' if group[1] else ''}{inner}]")
            at += group.end()
        else:
            out.append({"*": "[^/]*", "?": "[^/]"}.get(rest[0], re.escape(rest[0])))
            at += 1
    return re.compile("".join(out) + "(?:/.*)?", re.DOTALL)
