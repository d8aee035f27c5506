from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import storage
from pipeline.errors import DamagedFileError, StorageError, TaskError
from pipeline.tasks import (
    RECORDS,
    Attempt,
    Task,
    TaskFunction,
    TaskRecord,
    read_records,
    require_shared,
    run_missing,
    run_task,
)


def write_number(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    attempt.path("rows", "txt").write_text(str(payload["number"]))
    return {"number": payload["number"]}


def write_three(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    for text in ("a", "b"):
        attempt.path("rows", "txt").write_text(text)
    attempt.path("outbox", "txt").write_text("c")
    return {}


def fail(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    attempt.path("rows", "txt").write_text("half of it")
    raise KeyError("no")


def touch_memory(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    np.ones(payload["bytes"] // 8).sum()
    return {}


class Runner:
    def __init__(self) -> None:
        self.sent: list[str] = []

    def map_tasks(self, function: TaskFunction[Any, Any], tasks: Sequence[Task[Any]]) -> list[TaskRecord[Any]]:
        self.sent += [task.name for task in tasks]
        return [run_task(function, task) for task in tasks]


def task(folder: Path, number: int = 1, name: str = "t") -> Task:
    return Task(name, folder, {"number": number})


def write_next_number(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    attempt.path("rows", "txt").write_text(str(payload["number"] + 1))
    return {"number": payload["number"]}


def test_a_record_names_the_files_and_what_they_cost(tmp_path: Path) -> None:
    record = run_task(write_three, task(tmp_path))
    assert [path.read_text() for path in record.paths("rows")] == ["a", "b"]
    assert record.file("outbox").read_text() == "c"
    assert record.process.endswith(f":{os.getpid()}")
    assert record.peak_bytes > record.growth_bytes >= 0
    assert read_records(tmp_path) == {record.digest: record}
    assert TaskRecord.from_json(record.to_json()) == record


def test_files_are_durable_before_the_record_that_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    durable: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: durable.append(os.fstat(file).st_ino))
    record = run_task(write_three, task(tmp_path))
    (written,) = (tmp_path / RECORDS).iterdir()
    names = [tmp_path / file.name for file in record.files]
    assert durable == [path.stat().st_ino for path in (*names, tmp_path, written, written.parent)]


def test_growth_is_what_the_task_added(tmp_path: Path) -> None:
    record = run_task(touch_memory, Task("t", tmp_path, {"bytes": 2**28}))
    assert 2**28 * 0.9 <= record.growth_bytes <= 2**28 * 1.5
    again = run_task(touch_memory, Task("u", tmp_path, {"bytes": 2**20}))
    assert again.growth_bytes < 2**26  # the peak of the task before is not this one's


def test_what_has_no_record_does_not_count(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        run_task(fail, task(tmp_path))
    assert read_records(tmp_path) == {}
    assert read_records(tmp_path / "nowhere") == {}


def test_only_missing_tasks_are_sent(tmp_path: Path) -> None:
    tasks = [task(tmp_path, number, f"t{number}") for number in range(5)]
    first, second = Runner(), Runner()
    run_missing(first, write_number, tasks[1:3])
    records = run_missing(second, write_number, tasks)
    assert (first.sent, second.sent) == (["t1", "t2"], ["t0", "t3", "t4"])
    assert [record.result["number"] for record in records] == [0, 1, 2, 3, 4]
    assert run_missing(second, write_number, []) == []


def test_a_record_answers_for_its_payload_only(tmp_path: Path) -> None:
    runner = Runner()
    run_missing(runner, write_number, [task(tmp_path, 1)])
    (record,) = run_missing(runner, write_number, [task(tmp_path, 2)])
    assert (runner.sent, record.result["number"]) == (["t", "t"], 2)


def test_a_workspace_may_move(tmp_path: Path) -> None:
    run_missing(Runner(), write_number, [task(tmp_path / "old")])
    (tmp_path / "old").rename(tmp_path / "new")
    runner = Runner()
    (record,) = run_missing(runner, write_number, [task(tmp_path / "new")])
    assert runner.sent == []
    assert record.file("rows").read_text() == "1"


def test_two_attempts_with_equal_bytes_are_harmless(tmp_path: Path) -> None:
    one, other = (run_task(write_number, task(tmp_path)) for _ in range(2))
    assert one.attempt != other.attempt
    assert one.files == other.files
    assert len(read_records(tmp_path)) == 1


def test_two_attempts_with_other_bytes_name_both(tmp_path: Path) -> None:
    records = [run_task(function, task(tmp_path)) for function in (write_number, write_next_number)]
    with pytest.raises(TaskError) as caught:
        run_missing(Runner(), write_number, [task(tmp_path)])
    for word in (*(record.attempt for record in records), records[0].process, str(tmp_path)):
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["", "../t", "a b", "-t", "t/u"])
def test_names_that_are_no_file_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="task name"):
        Task(name, tmp_path, {})


def test_tasks_travel_as_json(tmp_path: Path) -> None:
    given = Task("t", tmp_path, {"ß": [1, 2.5, None], "nested": {"a": True}})
    assert Task.from_json(given.to_json()) == given
    assert Task("t", Path("elsewhere"), given.payload).digest == given.digest  # the folder is no part of what to do


def test_a_task_looks_at_the_tables_it_is_handed_unless_they_are_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for number, data in enumerate((b"rows", b"more rows")):
        (tmp_path / "rows").write_bytes(data)
        files.append(storage.table_file(tmp_path, number, storage.checksum_of(tmp_path / "rows"), "arrow"))
        (tmp_path / "rows").rename(files[-1])
    task = Task("read", tmp_path / "work", {"sets": [{"rows": [str(file) for file in files]}]})
    run_task(lambda *_: {}, task)
    files[1].write_bytes(b"more rowz")
    with pytest.raises(DamagedFileError, match=f"{files[1]} has other bytes"):
        run_task(lambda *_: {}, task)
    # of 13: each of many tasks would read all of them
    monkeypatch.setattr("pipeline.tasks.attempt._CHECKED_TABLES", 12)
    run_task(lambda *_: {}, task)


class _TasksHere:
    """Runs tasks in this process."""

    def map_tasks(self, function: TaskFunction[Any, Any], tasks: Sequence[Task[Any]]) -> list[TaskRecord[Any]]:
        return [run_task(function, task) for task in tasks]


class _TasksElsewhere(_TasksHere):
    """Runs tasks as on a machine where another folder lies at the workspace's path."""

    def __init__(self, root: Path, other: Path) -> None:
        self.root, self.other = root, other

    def map_tasks(self, function: TaskFunction[Any, Any], tasks: Sequence[Task[Any]]) -> list[TaskRecord[Any]]:
        self.root.rename(self.other)
        self.root.mkdir()
        try:
            return super().map_tasks(function, tasks)
        finally:
            self.root.rename(self.root.with_name("of-the-worker"))
            self.other.rename(self.root)


def test_workers_that_share_a_workspace_leave_nothing_in_it(tmp_path: Path) -> None:
    require_shared(_TasksHere(), tmp_path, slots=3)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_with_another_folder_at_the_path_is_named(tmp_path: Path) -> None:
    root = tmp_path / "work"
    root.mkdir()
    refusal = rf"worker {socket.gethostname()} does not share the workspace {root}: .* not to be seen"
    with pytest.raises(StorageError, match=refusal):
        require_shared(_TasksElsewhere(root, tmp_path / "other"), root, slots=1)
    assert list(root.iterdir()) == []
