"""Files of tasks carry the fence of the driver that sent them, and who removes leaves those of its successors alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graphquilt.locations import ObjectPath
from pipeline import storage
from pipeline.errors import LeaseLostError
from pipeline.storage import objects
from pipeline.storage.leases import hold_lease
from pipeline.tasks import Task, read_records, run_missing
from tests.storage.store_checks import object_path
from tests.test_tasks import Runner, task, write_number


@pytest.fixture
def folder(bucket: str) -> ObjectPath:
    return object_path(f"{bucket}/runs/2026-01-01")


def names(folder: ObjectPath) -> list[str]:
    return [file.name for file in storage.files_below(folder / "work")]


def run(folder: ObjectPath, *numbers: int) -> list[Any]:
    return run_missing(Runner(), write_number, [Task(f"t-{n}", folder / "work", {"number": n}) for n in numbers])


def test_files_and_records_carry_the_fence_of_their_driver(folder: ObjectPath) -> None:
    for fence in (1, 2):
        with hold_lease(folder / ".lock", "a run"):
            run(folder, *range(fence))
    assert len([name for name in names(folder) if ".fence-1." in name]) == 2
    assert len([name for name in names(folder) if ".fence-2." in name]) == 2  # the first task was not done again


def test_a_task_counts_whoever_holds_the_lease(folder: ObjectPath) -> None:
    with hold_lease(folder / ".lock", "a run"):
        (first,) = run(folder, 1)
    with hold_lease(folder / ".lock", "a run"):
        (again,) = run(folder, 1)
    assert again == first
    assert [*read_records(folder / "work")] == [first.digest]


def test_a_fence_changes_no_digest(tmp_path: Path) -> None:
    assert Task("t", tmp_path, {"number": 1}, fence=7).digest == task(tmp_path).digest


def test_who_removes_leaves_a_successors_files_alone(folder: ObjectPath) -> None:
    with hold_lease(folder / ".lock", "a run"):
        run(folder, 1)
    with hold_lease(folder / ".lock", "a run"):
        run(folder, 2)
        successors = [name for name in names(folder) if ".fence-2." in name]
        objects.remove_tree(folder / "work", highest_fence=1)  # what the first driver would still do
        assert names(folder) == successors
        storage.remove_tree(folder / "work")
        assert names(folder) == []


def test_nothing_is_written_or_removed_after_a_lease_is_lost(folder: ObjectPath) -> None:
    with hold_lease(folder / ".lock", "a run") as held:
        run(folder, 1)
        before = names(folder)
        objects.write(folder / ".lock", b"{}")  # another process took it
        held._loss = "another process took it"
        for change in changes(folder):
            with pytest.raises(LeaseLostError, match="stops without writing"):
                change()
        assert names(folder) == before
    for change in changes(folder):  # nor in what it does after that
        with pytest.raises(LeaseLostError, match="stops without writing"):
            change()
    assert names(folder) == before
    storage.write(folder.with_name("2026-01-02") / "gate.json", b"{}")  # no lease was lost there
    objects.remove(folder / ".lock")
    with hold_lease(folder / ".lock", "the same process again"):
        for change in changes(folder):
            change()


def changes(folder: ObjectPath) -> Iterator[Any]:
    file = folder / "work" / names(folder)[0]
    yield lambda: storage.write(folder / "gate.json", b"{}")
    yield lambda: storage.write_if_absent(folder / "gate.json", b"{}")
    yield lambda: storage.swap(folder / "gate.json", b"{}", None)
    yield lambda: storage.copy(file, folder / "work" / "copy")
    yield lambda: storage.remove(file)
    yield lambda: storage.remove_tree(folder / "work")
