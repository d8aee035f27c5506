"""What must hold on every object store: checks that the tests of each one share."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from graphquilt import objects as store
from graphquilt.errors import StoreError
from graphquilt.locations import ObjectPath, parse_location
from pipeline.errors import DamagedFileError
from pipeline.storage import objects, posix
from tests.object_store import FaultProxy, Request

FOLDERS = ["a", "a/b", "ab", "a/ö 1", "a/=x+y", "2026-01-01/t%20b"]
FILES = ["x.json", "x.json.bak", "part-00000.parquet", "ä ~.arrow", "q#?&.txt", "[1]*.bin", "'\".csv", "%41.txt"]
names = st.builds(lambda folder, file: f"{folder}/{file}", st.sampled_from(FOLDERS), st.sampled_from(FILES))
contents = st.binary(max_size=40)


def object_path(address: str) -> ObjectPath:
    location = parse_location(address)
    assert isinstance(location, ObjectPath)
    return location


def read_slice(backend: Any, place: Path | ObjectPath, start: int, length: int) -> bytes:
    """Read some bytes of a file as a reader of ranges does."""
    with backend.open_ranges(place) as file:
        file.seek(start)
        return bytes(file.read(length))


class SameAsFolder(RuleBasedStateMachine):
    """Verbs on an object store beside those on a folder."""

    bucket = ""

    def __init__(self) -> None:
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self.temporary.name)
        self.prefix = object_path(f"{self.bucket}/{uuid4().hex[:8]}")
        self.files: set[str] = set()

    def teardown(self) -> None:
        self.temporary.cleanup()

    def pair(self, name: str) -> tuple[Path, ObjectPath]:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        return self.folder / name, self.prefix / name

    @rule(name=names, data=contents)
    def write(self, name: str, data: bytes) -> None:
        path, key = self.pair(name)
        posix.write(path, data)
        objects.write(key, data)
        self.files.add(name)

    @rule(name=names, data=contents)
    def write_if_absent(self, name: str, data: bytes) -> None:
        path, key = self.pair(name)
        assert objects.write_if_absent(key, data) == posix.write_if_absent(path, data)
        self.files.add(name)

    @rule(name=names, data=contents)
    def move_in(self, name: str, data: bytes) -> None:
        path, key = self.pair(name)
        for backend, target in ((posix, path), (objects, key)):
            file = backend.staging_folder(target.parent) / "moving"  # type: ignore[attr-defined]
            file.write_bytes(data)
            backend.move_in(file, target)  # type: ignore[attr-defined]
            assert not file.exists()
        self.files.add(name)

    @precondition(lambda self: self.files)
    @rule(name=names, data=st.data())
    def copy(self, name: str, data: st.DataObject) -> None:
        source = data.draw(st.sampled_from(sorted(self.files)))
        if name not in self.files:  # names are given once
            posix.copy(self.pair(source)[0], self.pair(name)[0])
            objects.copy(self.pair(source)[1], self.pair(name)[1])
            self.files.add(name)

    @rule(name=names)
    def remove(self, name: str) -> None:
        path, key = self.pair(name)
        posix.remove(path)
        objects.remove(key)
        self.files.discard(name)

    @rule(folder=st.sampled_from(FOLDERS))
    def remove_tree(self, folder: str) -> None:
        posix.remove_tree(self.folder / folder)
        objects.remove_tree(self.prefix / folder)
        self.files = {name for name in self.files if not PurePosixPath(name).is_relative_to(folder)}

    @rule(name=names, start=st.integers(0, 50), length=st.integers(0, 50))
    def reads(self, name: str, start: int, length: int) -> None:
        path, key = self.pair(name)
        assert objects.read(key) == posix.read(path)
        assert objects.size(key) == posix.size(path)
        if name in self.files:
            assert read_slice(objects, key, start, length) == read_slice(posix, path, start, length)
            assert objects.local_file(key).read_bytes() == path.read_bytes()
            assert objects.local_file(key).suffix == key.suffix
        else:
            for backend, place in ((posix, path), (objects, key)):
                with pytest.raises(FileNotFoundError):
                    read_slice(backend, place, start, length)
            with pytest.raises(DamagedFileError, match="missing"):
                objects.local_file(key)

    @rule(folder=st.sampled_from([*FOLDERS, "."]))
    def lists(self, folder: str) -> None:
        path, key = self.folder / folder, self.prefix / folder if folder != "." else self.prefix
        assert objects.files_below(key) == posix.files_below(path)
        # A store has no folders, so none that are empty.
        expected = [name for name in posix.names_in(path) if (path / name).is_file() or posix.files_below(path / name)]
        assert objects.names_in(key) == expected


def check_against_folder(bucket: str, examples: int) -> None:
    kind = type("SameAsFolderIn", (SameAsFolder,), {"bucket": bucket})
    run_state_machine_as_test(
        kind,
        settings=settings(max_examples=examples, stateful_step_count=25, suppress_health_check=list(HealthCheck)),
    )


_COUNT = """
import sys
from graphquilt.locations import parse_location
from pipeline.storage import objects
path = parse_location(sys.argv[1])
for _ in range(int(sys.argv[2])):
    while True:
        data, version = objects.read_version(path)
        if objects.swap(path, b"%d" % (int(data) + 1), version):
            break
"""


def check_that_swaps_count(proxy: FaultProxy, path: ObjectPath) -> None:
    """Four processes count in one object, while answers are lost and puts refused."""
    objects.write_if_absent(path, b"0")
    puts = iter(range(10_000))

    def lose_every_third(request: Request) -> str | None:
        if request.method != "PUT":
            return None
        number = next(puts)
        return "lose" if number % 3 == 0 else "conflict" if number % 7 == 0 else "cut" if number % 8 == 0 else None

    proxy.fault = lose_every_third
    processes = [subprocess.Popen([sys.executable, "-c", _COUNT, str(path), "15"]) for _ in range(4)]
    assert [process.wait(timeout=120) for process in processes] == [0] * 4
    assert objects.read(path) == b"60"


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    head = (
        "import json, os, sys, time\n"
        "from pathlib import Path\n"
        "from graphquilt.locations import parse_location\n"
        "from pipeline.storage import objects\n"
        "from pipeline.storage.leases import hold_lease\n"
        "path = parse_location(sys.argv[1])\n"
    )
    command = [sys.executable, "-c", head + script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    output, errors = process.communicate(timeout=120)
    return output.strip(), errors.strip()


_TAKE_TURNS = """
folder = Path(sys.argv[2])
for _ in range(5):
    with hold_lease(path, "race", 100, 20.0) as lease:  # none expires here
        mark = os.open(folder / "held", os.O_CREAT | os.O_EXCL)  # fails while another one holds it
        time.sleep(0.02)
        lease.require()
        with (folder / "fences").open("a") as file:
            file.write(f"{lease.fence}\\n")
        os.unlink(folder / "held")
        os.close(mark)
"""


def check_that_one_holds_it(path: ObjectPath, tmp_path: Path) -> None:
    processes = [start(_TAKE_TURNS, path, tmp_path) for _ in range(4)]
    assert [finish(process) for process in processes] == [("", "")] * 4
    fences = [int(line) for line in (tmp_path / "fences").read_text().split()]
    assert fences == list(range(1, 21))  # each taker's is one above the last one's


def check_that_a_reader_sees_one_version(path: ObjectPath) -> None:
    objects.write(path, bytes(200_000))
    reader = store.ObjectReader(path)
    assert reader.read(10) == bytes(10)
    objects.write(path, b"1" * 200_000)
    reader.seek(150_000)
    with pytest.raises(StoreError, match="was replaced while it was read"):
        reader.read(10)
