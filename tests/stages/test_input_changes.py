"""An input that changes is read again, however little shows of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.engines.local import LocalEngine
from pipeline.ingest.clean_rows import parse_files
from pipeline.ingest.sources import list_sources
from pipeline.stages import opening
from pipeline.tasks import Task, TaskFunction, TaskRecord
from tests.stages.chains import Chain, Ended, config_for

HOUR = 3600 * 10**9


class CountingEngine(LocalEngine):
    """Counts the tasks that it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0

    def map_tasks(self, function, tasks):  # type: ignore[no-untyped-def]
        self.sent += len(tasks)
        return super().map_tasks(function, tasks)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "a.csv"
    path.parent.mkdir()
    path.write_text("source,target\n1,2\n")
    return path


def edit_in_secret(path: Path) -> None:
    """Other bytes in the same file, of the same size, with the time of the old ones."""
    before = path.stat()
    with path.open("r+") as file:
        file.write("source,target\n1,3\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert path.stat().st_ino == before.st_ino


def digest(engine: LocalEngine, path: Path, *, rehash: bool = False) -> str:
    return opening.InputFiles(engine, path.parents[1], {}, rehash=rehash).digest(list_sources(str(path.parent)))


def test_an_edit_that_keeps_size_and_time_is_seen(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = time.time_ns() + HOUR
    monkeypatch.setattr(opening.time, "time_ns", lambda: later)
    engine = CountingEngine()
    first = digest(engine, file)
    assert digest(engine, file) == first
    assert engine.sent == 1  # settled: not read again
    while True:  # until the file system's clock has ticked
        edit_in_secret(file)
        if digest(engine, file) != first:
            break
    assert engine.sent >= 2


def test_another_file_in_its_place_is_seen(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = time.time_ns() + HOUR
    monkeypatch.setattr(opening.time, "time_ns", lambda: later)
    engine = CountingEngine()
    first, before = digest(engine, file), file.stat()
    other = file.with_name("b")
    other.write_text("source,target\n1,4\n")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)
    assert digest(engine, file) != first


def test_a_young_file_is_read_each_time(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = max(file.stat().st_mtime_ns, file.stat().st_ctime_ns)
    monkeypatch.setattr(opening.time, "time_ns", lambda: written + 2 * 10**9)
    engine = CountingEngine()
    assert digest(engine, file) == digest(engine, file)
    assert engine.sent == 2
    # What was read while it was young answers for nothing later on.
    monkeypatch.setattr(opening.time, "time_ns", lambda: written + HOUR)
    digest(engine, file)
    assert engine.sent == 3
    digest(engine, file)
    assert engine.sent == 3


def test_rehash_reads_where_nothing_shows(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = time.time_ns() + HOUR
    monkeypatch.setattr(opening.time, "time_ns", lambda: later)
    frozen = list_sources(str(file.parent))  # as of a file system that keeps neither ctime nor numbers
    engine = CountingEngine()
    root = file.parents[1]
    first = opening.InputFiles(engine, root, {}, rehash=False).digest(frozen)
    edit_in_secret(file)
    assert opening.InputFiles(engine, root, {}, rehash=False).digest(frozen) == first
    again = opening.InputFiles(engine, root, {}, rehash=True).digest(frozen)
    assert again != first
    assert opening.InputFiles(engine, root, {}, rehash=False).digest(frozen) == again  # and the old answer is forgotten


class Meddling(LocalEngine):
    """Lets something happen to the input when the tasks that read it are sent, before or after they run."""

    def __init__(self, meddle: Callable[[], None], *, is_before: bool) -> None:
        super().__init__()
        self._meddle, self._is_before = meddle, is_before

    def map_tasks(self, function: TaskFunction[Any, Any], tasks: Sequence[Task[Any]]) -> list[TaskRecord[Any]]:
        is_time = function is parse_files
        if is_time and self._is_before:
            self._meddle()
        records = super().map_tasks(function, tasks)
        if is_time and not self._is_before:
            self._meddle()
        return records


@pytest.fixture
def chain(file: Path, tmp_path: Path) -> Chain:
    file.write_text("source,target\n" + "".join(f"{n % 7},{n % 5}\n" for n in range(60)))
    return Chain(tmp_path / "chain")


def ingest(chain: Chain, file: Path, engine: LocalEngine | None = None) -> Ended:
    chain.engine = engine or LocalEngine()
    return chain.run(config_for(file.parent), ["ingest"])


@pytest.mark.parametrize("is_before", [True, False])
def test_an_input_that_is_written_to_while_it_is_read_is_refused(file: Path, chain: Chain, *, is_before: bool) -> None:
    ended = ingest(chain, file, Meddling(lambda: edit(file), is_before=is_before))
    assert ended.code == 4
    assert "a.csv was written to while it was read" in ended.error
    assert not list(chain.root.glob("runs/*/_work/ingest-*"))  # rows of no input that ever was
    assert ingest(chain, file).code == 0


def test_files_that_come_while_the_input_is_read_are_the_next_runs(file: Path, chain: Chain) -> None:
    def add() -> None:
        (file.parent / "b.csv").write_text("source,target\n100,100\n")

    assert ingest(chain, file, Meddling(add, is_before=True)).figures("ingest")["read"] == 60
    assert ingest(chain, file).figures("ingest")["read"] == 61


def test_a_file_with_another_time_and_the_same_bytes_has_not_changed(file: Path, chain: Chain) -> None:
    assert ingest(chain, file, Meddling(lambda: os.utime(file), is_before=True)).code == 0


def edit(file: Path) -> None:
    file.write_text(file.read_text().replace("\n6,", "\n8,"))
