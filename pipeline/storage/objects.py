"""Files in an object store. They are read through a cache of this machine, and written by whole objects.

Requests that repeat without harm are repeated by the client. A conditional put is not: after a lost answer a second
one would be refused by what the first one wrote. So each leaves a token at the object, by which its writer reads back
whether it was the one; see :func:`swap`.
"""

import contextlib
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

from graphquilt import objects as store
from graphquilt.errors import StoreError
from graphquilt.locations import ObjectPath
from graphquilt.store_clients import client_of, explain_errors, obstore, repeat_request
from graphquilt.store_errors import status_of
from pipeline.errors import StorageError
from pipeline.storage.backend import StoredFile
from pipeline.storage.cache import open_cache
from pipeline.storage.write_tokens import WriteTokens

#: S3 copies no more at once.
_MOST_COPIED = 5 << 30
_MOST_DELETED = 1000  # keys in a request of S3
_PART_BYTES = 16 << 20
_MOST_PARTS = 9_000  # of an upload; S3 takes 10,000
_UPLOADS_AT_ONCE = 4
_TRIES = 10
_FENCE = re.compile(r"\.fence-(\d+)\.")


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise StorageError(str(error)) from None


def read(path: ObjectPath) -> bytes | None:
    with _storage_errors():
        return store.read(path)


def read_version(path: ObjectPath) -> tuple[bytes, str] | None:
    with _storage_errors():
        return store.read_version(path)


def size(path: ObjectPath) -> int | None:
    with _storage_errors():
        return store.size(path)


def write(path: ObjectPath, data: bytes) -> None:
    with _storage_errors():
        client, attributes = client_of(path), store.digest_attributes(data)
        repeat_request(
            path,
            lambda: obstore().put(client, str(path.key), data, attributes=attributes, use_multipart=False),
        )


def write_if_absent(path: ObjectPath, data: bytes) -> bool:
    return swap(path, data, None)


def swap(path: ObjectPath, data: bytes, version: str | None, before_try: Callable[[], object] = lambda: None) -> bool:
    """Replace an object if it still has a version, or make it if it has none; return whether it was done.

    ``before_try`` is called before each request that writes, and may raise.

    After a lost answer, the object says who wrote it: its last writers' tokens stand in its attributes, numbered.
    Bytes must not come back to what they were (a counter in them will do): on S3 equal bytes have equal versions.

    Raises
    ------
    StorageError : the store can't be reached; or nobody can say any more whether it was done.
    """
    with _storage_errors():
        base = store.find_version(path) if version is not None else None
        if version is not None and (base is None or base.version != version):
            return False
        tokens = WriteTokens.of(base.attributes if base else {}).with_next(uuid4().hex[:12])
        mode = "create" if version is None else {"e_tag": version, "version": version}
        is_first = True
        for wait in _waits():
            before_try()
            answer = _put_once(path, data, mode, tokens)
            if answer or (answer is False and is_first):
                return bool(answer)
            is_first = False
            now = store.find_version(path)
            if now is not None and now.version != version:
                return tokens.are_in(now.attributes, str(path))
            time.sleep(wait)
    raise StorageError(f"{path} could not be written: the store refused or did not answer {_TRIES} times; run again")


def require_reachable(folder: ObjectPath) -> None:
    """Refuse a store within seconds that can't be reached or lacks the bucket.

    Raises
    ------
    StorageError : saying so.
    """
    with _storage_errors():
        store.require_reachable(folder)


def require_conditional_puts(folder: ObjectPath) -> None:
    """Refuse a store that overlooks conditions: there, every writer is the first one. An object is put and removed.

    Raises
    ------
    StorageError : it does, or can't be reached, or this process may not write there.
    """
    require_reachable(folder)
    path = folder / f".conditions-{uuid4().hex[:12]}"
    tokens = WriteTokens.of({})
    try:
        write(path, b"1")
        with _storage_errors():
            stale = store.version(path)
            write(path, b"2")
            for mode in ("create", {"e_tag": stale, "version": stale}):
                if _put_once(path, b"3", mode, tokens):
                    raise StorageError(
                        f"the store of {folder.bucket} overlooks the conditions of puts (If-Match, If-None-Match), so "
                        "two runs could overwrite each other's tables; take a newer version of it, or another store"
                    )
    finally:
        remove(path)


def _put_once(path: ObjectPath, data: bytes, mode: Any, tokens: WriteTokens) -> bool | None:
    """Return whether a conditional put was done; None if its answer does not tell."""
    exceptions = obstore().exceptions
    try:
        obstore().put(
            client_of(path, repeats=False),
            str(path.key),
            data,
            mode=mode,
            attributes=tokens.attributes | store.digest_attributes(data),
            use_multipart=False,
        )
        return True
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
        return None if status_of(error) == 409 else False  # 409: another put was under way, and may have failed
    except (exceptions.BaseError, FileNotFoundError) as error:
        status = status_of(error)
        if status is None or status in (408, 429) or status >= 500:
            return None
        with explain_errors(path):
            raise


def move_in(file: Path, target: ObjectPath) -> None:
    """Upload a file of this machine, and keep it in the cache."""
    version = _upload(file, target)
    open_cache().adopt(file, target, version)


def _upload(file: Path, target: ObjectPath) -> str:
    """Upload a file, a large one in parts, and return the object's version."""
    file_bytes, token = file.stat().st_size, uuid4().hex
    with _storage_errors():
        for wait in _waits():
            failure: StoreError | None = None
            try:
                with explain_errors(target):
                    result = obstore().put(
                        client_of(target),
                        str(target.key),
                        file,
                        attributes={"upload": token},
                        use_multipart=file_bytes > _PART_BYTES,
                        chunk_size=max(_PART_BYTES, -(-file_bytes // _MOST_PARTS)),
                        max_concurrency=_UPLOADS_AT_ONCE,
                    )
                return store.version_of(target, result)
            except FileNotFoundError:
                pass  # the upload, not the object: its last request was repeated after a lost answer
            except StoreError as error:
                failure = error
            now = store.find_version(target)
            if now is not None and now.attributes.get("upload") == token and now.size == file_bytes:
                return now.version
            if failure is not None and not failure.is_repeatable:
                raise failure
            time.sleep(wait)
    raise StorageError(f"{target} could not be written: the store lost {_TRIES} uploads of it; run again")


def staging_folder(folder: ObjectPath) -> Path:
    """Return a folder on the cache's disk; it goes with this process."""
    return open_cache().staging_folder(folder)


def copy(source: ObjectPath | Path, target: ObjectPath) -> None:
    """Copy an object inside of its store; a very large one, or one of another place, through this machine."""
    if isinstance(source, ObjectPath) and source.bucket == target.bucket:
        with _storage_errors():
            client = client_of(source)
            try:
                repeat_request(source, lambda: obstore().copy(client, str(source.key), str(target.key)))
                return
            except StoreError:
                if (store.size(source) or 0) <= _MOST_COPIED:
                    raise
    _upload(source if isinstance(source, Path) else local_file(source), target)


def names_in(folder: ObjectPath) -> list[str]:
    with _storage_errors():
        return store.names_in(folder)


def files_below(folder: ObjectPath) -> list[StoredFile]:
    with _storage_errors():
        return [StoredFile(name, size) for name, size in store.files_below(folder)]


def remove(path: ObjectPath) -> None:
    _delete(path, [str(path.key)])


def remove_tree(folder: ObjectPath, before_batch: Callable[[], object] = lambda: None, highest_fence: int = 0) -> None:
    """Remove the objects below a prefix, in batches. ``before_batch`` is called before each, and may raise.

    Objects of a fence above ``highest_fence``, if that is not 0, are a successor's, and stay.
    """
    names = [file.name for file in files_below(folder)]
    keys = [str((folder / name).key) for name in names if not highest_fence or fence_in(name) <= highest_fence]
    for first in range(0, len(keys), _MOST_DELETED):
        before_batch()
        _delete(folder, keys[first : first + _MOST_DELETED])


def fence_in(name: str) -> int:
    """Return the fence in the name of a task's file or record, 0 if there is none."""
    fence = _FENCE.search(name)
    return int(fence[1]) if fence else 0


def _delete(path: ObjectPath, keys: list[str]) -> None:
    with _storage_errors(), contextlib.suppress(FileNotFoundError):
        repeat_request(path, lambda: obstore().delete(client_of(path), keys))


def open_ranges(path: ObjectPath) -> pa.NativeFile:
    """Open an object for reading a little of it, from the cache if it is there."""
    if file := open_cache().find(path, None):
        with contextlib.suppress(FileNotFoundError):
            return pa.OSFile(str(file))
    with _storage_errors():
        return store.open_ranges(path)


def local_file(path: ObjectPath) -> Path:
    """Return the object's file in the cache, downloaded and verified if it is not there yet."""
    with _storage_errors():
        return open_cache().fetch(path)


def _waits() -> Iterator[float]:
    """Yield seconds to wait, twice as many after each try, drawn apart so that writers don't meet again."""
    for number in range(_TRIES):
        yield min(5.0, 0.05 * 2**number) * random.uniform(0.5, 1.0)
