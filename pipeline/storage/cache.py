"""A cache of objects on a disk of this machine, shared by its processes: for files that never change.

    SCRATCH/graphquilt-cache-<uid>/<boot>/files/<digest>/<name>    digest: of the address and the checksum or ETag
    SCRATCH/graphquilt-cache-<uid>/<boot>/locks/<three digits>     who holds one of these downloads or evicts
    SCRATCH/graphquilt-cache-<uid>/<boot>/staging/<process>/       files that are written here and then uploaded

A file comes in with one rename, after its bytes were verified. Files of an earlier boot count for nothing: a power
failure may have cut them. Who maps a file keeps it, even if it is evicted.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

from graphquilt import objects as store
from graphquilt.errors import StoreError
from graphquilt.locations import ObjectPath
from pipeline.errors import DamagedFileError, DiskFullError, StorageError
from pipeline.storage.digests import checksum_of, sealed_checksum

log = logging.getLogger(__name__)

#: Names the disk for the cache and for files on their way into a store.
SCRATCH_VARIABLE = "GRAPHQUILT_SCRATCH"
_SHARE_OF_FREE = 0.5  # of the disk, where no bound is set
_KEPT_S = 60.0  # a file that was used this moment may not be open yet
_LOW_WATER = 0.9  # of the bound, down to which files are evicted
_CHUNK_BYTES = 16 << 20
_DOWNLOADS_AT_ONCE = 4
_LOCK = ".lock"
_DIGITS = 20
_DAY_S = 86_400.0
_CHOOSE_ANOTHER = f"choose another folder with --scratch, or {SCRATCH_VARIABLE}"
_DOWNLOADS = 3  # of a file whose bytes come out wrong


@dataclass(frozen=True)
class CacheSettings:
    """Where the cache of this process is, and how large it may grow."""

    scratch: Path | None = None  # None: GRAPHQUILT_SCRATCH, else the folder for temporary files
    limit_bytes: int | None = None  # None: half of what is free on the disk


_settings = CacheSettings()
_cache: FileCache | None = None


def scratch_folder() -> Path:
    """Return the folder on this machine's own disk for what nobody else reads."""
    return _settings.scratch or Path(os.environ.get(SCRATCH_VARIABLE) or tempfile.gettempdir())


def use_cache_settings(settings: CacheSettings) -> None:
    """Let this process use another cache from now on."""
    global _settings, _cache
    _settings, _cache = settings, None


def open_cache() -> FileCache:
    """Return the cache of this process."""
    global _cache
    if _cache is None:
        _cache = FileCache(scratch_folder(), _settings.limit_bytes)
    return _cache


class FileCache:
    """The cache below a scratch folder; see the module."""

    def __init__(self, scratch: Path, limit_bytes: int | None = None) -> None:
        base = scratch / f"graphquilt-cache-{os.geteuid()}"
        _make_private(base)
        boot = _boot_id()
        self._root = base / boot
        self._files, self._locks = self._root / "files", self._root / "locks"
        for folder in (self._root, self._files, self._locks, self._root / "staging"):
            _make_private(folder)
        _remove_old_boots(base, boot)
        self._limit = limit_bytes
        self._is_over = False
        self._staging: tuple[Path, int] | None = None

    def find(self, path: ObjectPath, version: str | None) -> Path | None:
        """Return the file of an object that is in the cache; of an unsealed one by its version."""
        key = sealed_checksum(path.name) or version
        if key is None:
            return None
        file = self._place_of(path, key)
        try:
            os.utime(file.parent)  # the folder's time is when it was last used; the file's is part of how it looks
        except FileNotFoundError:
            return None
        return file if file.exists() else None

    def fetch(self, path: ObjectPath) -> Path:
        """Return the file of an object; it is downloaded once, whoever asks for it.

        Raises
        ------
        DamagedFileError : there is no such object, or its bytes are not those that its name states.
        DiskFullError : the disk has no room for it.
        StoreError : the store can't be reached.
        """
        version = None
        if sealed_checksum(path.name) is None and (version := store.version(path)) is None:
            raise DamagedFileError(f"{path} is missing")
        if file := self.find(path, version):
            return file
        place = self._place_of(path, sealed_checksum(path.name) or version or "")
        with self._lock(place.parent.name[:3]):
            if not place.exists():
                place.parent.mkdir(mode=0o700, exist_ok=True)
                self._download(path, version, place)
        return place

    def adopt(self, file: Path, path: ObjectPath, version: str) -> None:
        """Take over the file of an object that was uploaded from it."""
        place = self._place_of(path, sealed_checksum(path.name) or version)
        with self._lock(place.parent.name[:3]):
            self._make_room(file.stat().st_size)
            place.parent.mkdir(mode=0o700, exist_ok=True)
            try:
                file.rename(place)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                file.unlink()  # of another disk: it is downloaded where it is needed

    def staging_folder(self, folder: ObjectPath) -> Path:
        """Return a folder for files that will be uploaded to a folder of the store; it goes with this process."""
        if self._staging is None:
            with self._lock("staging"):
                self._staging = _new_staging(self._root / "staging")
        staging = self._staging[0] / _digest_of(str(folder))
        staging.mkdir(mode=0o700, exist_ok=True)
        return staging

    def _place_of(self, path: ObjectPath, key: str) -> Path:
        # Of a sealed file any copy in the bucket will do: what tasks wrote is copied into tables.
        address = path.bucket if sealed_checksum(path.name) == key else str(path)
        return self._files / _digest_of(f"{address}\n{key}") / f"file{path.suffix}"

    @contextlib.contextmanager
    def _lock(self, name: str) -> Iterator[int]:
        descriptor = os.open(self._locks / name, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _download(self, path: ObjectPath, version: str | None, place: Path) -> None:
        part = place.with_name(".part")  # one process writes it: the others wait for the lock
        checksum = sealed_checksum(path.name)
        for _ in range(_DOWNLOADS):
            try:
                self._fill(part, path, version)
            except OSError as error:
                part.unlink(missing_ok=True)
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise DiskFullError(f"{place.parent} has no room for {path}; {_CHOOSE_ANOTHER}") from error
            if checksum is None or checksum_of(part) == checksum:
                part.rename(place)
                return
            log.warning("path=%s damaged=download", path)
        part.unlink()
        raise DamagedFileError(f"{path} has other bytes than were written")

    def _fill(self, part: Path, path: ObjectPath, version: str | None) -> None:
        first = store.read_start(path, _CHUNK_BYTES)
        if first is None:
            raise DamagedFileError(f"{path} is missing")
        data, about = first
        if version not in (None, about.version):
            raise StoreError(f"{path} was replaced while it was read; read it again")
        self._make_room(about.size)
        with part.open("wb") as file:
            _write_at(file.fileno(), data, 0)
            fill = partial(_fill_chunk, file.fileno(), path, about)
            starts = range(_CHUNK_BYTES, about.size, _CHUNK_BYTES)
            if starts:
                with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
                    list(pool.map(fill, starts))

    def _make_room(self, size: int) -> None:
        """Count bytes that come in; where they pass the bound, those files go first that nobody used for longest."""
        with self._lock("usage") as descriptor:
            total = int(os.pread(descriptor, _DIGITS, 0) or 0)
            limit = self._limit
            if limit is None:
                limit = int(_SHARE_OF_FREE * (shutil.disk_usage(self._root).free + total))
            if total + size > limit:
                total = self._evict(int(_LOW_WATER * limit) - size)
                if total + size > limit and not self._is_over:
                    self._is_over = True  # said once
                    log.warning("cache=%s bytes=%d bound=%d all_in_use=true", self._root, total + size, limit)
            os.pwrite(descriptor, f"{total + size:0{_DIGITS}d}".encode(), 0)  # at once: a kill leaves a number

    def _evict(self, most_bytes: int) -> int:
        """Remove files until the rest has at most so many bytes, or was used just now; return the bytes of the rest."""
        entries = sorted((folder.stat().st_mtime, _bytes_in(folder), folder) for folder in self._files.iterdir())
        rest_bytes = sum(size for _, size, _ in entries)
        youngest = time.time() - _KEPT_S
        for last_use, size, folder in entries:
            if rest_bytes <= most_bytes or last_use > youngest:
                break
            with (self._locks / folder.name[:3]).open("ab") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:  # it is being downloaded
                    continue
                shutil.rmtree(folder)
                rest_bytes -= size
        return rest_bytes


def _fill_chunk(descriptor: int, path: ObjectPath, about: store.ObjectVersion, start: int) -> None:
    length = min(_CHUNK_BYTES, about.size - start)
    data = store.read_range(path, start, length, about.version)
    if len(data) != length:
        raise StoreError(f"{path} has {start + len(data):,} bytes of {about.size:,}; read it again")
    _write_at(descriptor, data, start)


def _write_at(descriptor: int, data: bytes, start: int) -> None:
    while data:  # a disk that is almost full takes a part
        count = os.pwrite(descriptor, data, start)
        data, start = data[count:], start + count


def _new_staging(folder: Path) -> tuple[Path, int]:
    """Remove the folders of processes that have ended, and make one; its lock is held for as long as this one lives."""
    for entry in folder.iterdir():
        with contextlib.suppress(FileNotFoundError, BlockingIOError), (entry / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(entry)
    own = folder / uuid4().hex
    own.mkdir(mode=0o700)
    descriptor = os.open(own / _LOCK, os.O_CREAT | os.O_WRONLY, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return own, descriptor


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except FileNotFoundError:  # not Linux
        return "unknown"


def _make_private(folder: Path) -> None:
    """Make a folder that no other user can look into.

    Raises
    ------
    StorageError : another user's folder, a link, or a file stands in its place.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.lstat()
    except OSError as error:
        raise StorageError(f"{folder} can't be made for the cache: {error.strerror}; {_CHOOSE_ANOTHER}") from error
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o077:
        raise StorageError(
            f"{folder} is not a folder that this user alone can open (mode 0700), so others could have put files "
            f"into the cache; remove it, or {_CHOOSE_ANOTHER}"
        )


def _remove_old_boots(base: Path, boot: str) -> None:
    """Remove the caches of earlier boots; a folder that another machine uses is younger than a day."""
    for entry in base.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if entry.name != boot and (entry / "locks" / "usage").stat().st_mtime < time.time() - _DAY_S:
                shutil.rmtree(entry, ignore_errors=True)


def _bytes_in(folder: Path) -> int:
    total = 0
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


def _digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
