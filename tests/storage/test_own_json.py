"""Files that only the holder of a lease writes: read once while it holds that, and never taken for what they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from graphquilt.locations import ObjectPath
from pipeline import storage
from pipeline.errors import DamagedFileError, StorageError
from pipeline.storage import objects
from pipeline.storage.leases import hold_lease
from tests.object_store import FaultProxy
from tests.storage.store_checks import object_path


@pytest.fixture
def folder(bucket: str) -> ObjectPath:
    return object_path(f"{bucket}/runs/2026-01-01")


def gets_of(proxy: FaultProxy, path: ObjectPath) -> int:
    return sum(request.method == "GET" and request.path.endswith(str(path.key)) for request in proxy.requests)


def test_a_file_is_read_once_while_its_lease_is_held(object_store: FaultProxy, folder: ObjectPath) -> None:
    there, none = folder / "t" / "manifest.json", folder / "u" / "manifest.json"
    with hold_lease(folder / ".lock", "a run"):
        storage.write_checked_json(there, {"a": 1})
        for _ in range(3):
            assert storage.read_own_json(there) == {"a": 1}
            assert storage.read_own_json(none) is None
        assert (gets_of(object_store, there), gets_of(object_store, none)) == (1, 1)
    objects.remove(there)  # another process, which holds the lease now
    assert storage.read_own_json(there) is None
    with hold_lease(folder / ".lock", "a run"):
        assert storage.read_own_json(there) is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda path: storage.write_checked_json(path, {"a": 2}), {"a": 2}),
        (lambda path: storage.remove(path), None),
        (lambda path: storage.remove_tree(path.parent), None),
        (lambda path: storage.remove_tree(path.parent.parent), None),
        (lambda path: storage.swap(path, b"{}", (storage.read_version(path) or (b"", ""))[1]), DamagedFileError),
        (lambda path: storage.remove_tree(path.with_name("manif")), {"a": 1}),
    ],
)
def test_what_this_process_changes_is_read_again(
    folder: ObjectPath, change: Callable[[ObjectPath], Any], expected: Any
) -> None:
    path = folder / "t" / "manifest.json"
    with hold_lease(folder / ".lock", "a run"):
        storage.write_checked_json(path, {"a": 1})
        assert storage.read_own_json(path) == {"a": 1}
        change(path)
        if expected is DamagedFileError:
            with pytest.raises(DamagedFileError):
                storage.read_own_json(path)
        else:
            assert storage.read_own_json(path) == expected


def test_a_reader_can_not_change_what_is_remembered(folder: ObjectPath) -> None:
    path = folder / "manifest.json"
    with hold_lease(folder / ".lock", "a run"):
        storage.write_checked_json(path, {"a": [1]})
        (storage.read_own_json(path) or {})["a"].append(2)
        assert storage.read_own_json(path) == {"a": [1]}


def test_other_folders_are_read_each_time(object_store: FaultProxy, folder: ObjectPath) -> None:
    other = folder.with_name("2026-01-02") / "manifest.json"
    storage.write_checked_json(other, {"a": 1})
    with hold_lease(folder / ".lock", "a run"):
        for value in (1, 2):
            objects.write(other, b"")  # another process
            storage.write_checked_json(other, {"a": value})
            assert storage.read_own_json(other) == {"a": value}


@pytest.mark.parametrize("read", [storage.read_own_json, storage.read_checked_json, storage.read_json])
def test_an_answer_that_was_damaged_is_asked_for_again(
    object_store: FaultProxy, folder: ObjectPath, read: Callable[[ObjectPath], Any]
) -> None:
    path = folder / "manifest.json"
    object_store.fail_first(2, "damage", "GET")
    with hold_lease(folder / ".lock", "a run"):
        for value in (1, 2):
            storage.write_checked_json(path, {"a": value})
            object_store.fail_first(2, "damage", "GET")
            assert (read(path) or {})["a"] == value
        storage.write_checked_json(path, {"a": 3})
        object_store.fail_first(3, "damage", "GET")
        with pytest.raises(StorageError, match="is damaged, or the way to it is"):
            read(path)
        assert (read(path) or {})["a"] == 3  # nothing damaged is remembered
