"""The cache of objects on a disk: each file comes once, whole and verified, and goes when others need the room."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash

from graphquilt.locations import ObjectPath, parse_location
from pipeline.errors import DamagedFileError, DiskFullError, StorageError
from pipeline.storage import cache, objects
from pipeline.storage.cache import CacheSettings, FileCache, use_cache_settings
from tests.object_store import FaultProxy
from tests.storage.store_checks import read_slice

MIB = 1 << 20


@pytest.fixture
def folder(bucket: str) -> ObjectPath:
    location = parse_location(f"{bucket}/w")
    assert isinstance(location, ObjectPath)
    return location


@pytest.fixture
def reopen(tmp_path: Path) -> Callable[..., FileCache]:
    """Open another cache in a folder of its own."""

    def open_another(name: str = "other", limit_bytes: int | None = None) -> FileCache:
        use_cache_settings(CacheSettings(tmp_path / name, limit_bytes))
        return cache.open_cache()

    return open_another


def put_sealed(folder: ObjectPath, seed: int, size: int) -> tuple[ObjectPath, bytes]:
    data = np.random.default_rng(seed).bytes(size)
    path = folder / f"rows-{seed}.xxh3-{xxhash.xxh3_128_hexdigest(data)}.arrow"
    objects.write(path, data)
    return path, data


def gets(proxy: FaultProxy) -> int:
    return sum(request.method == "GET" for request in proxy.requests)


_FETCH = """
import sys
from graphquilt.locations import parse_location
from pipeline.storage import objects
for address in sys.argv[1:]:
    print(objects.local_file(parse_location(address)), flush=True)
"""


def start_fetch(*paths: ObjectPath) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _FETCH, *map(str, paths)], stdout=subprocess.PIPE, text=True)


def test_processes_of_a_machine_download_a_file_once(object_store: FaultProxy, folder: ObjectPath) -> None:
    path, data = put_sealed(folder, 1, 40 * MIB)
    processes = [start_fetch(path) for _ in range(4)]
    files = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert len(files) == 1
    assert Path(files.pop()).read_bytes() == data
    assert gets(object_store) == 3  # its three pieces of 16 MiB, once
    assert objects.local_file(path).read_bytes() == data
    assert read_slice(objects, path, 5, 7) == data[5:12]
    assert len(object_store.requests) == 4  # with the put: nothing is asked of the store any more


def test_a_small_sealed_file_costs_one_request(object_store: FaultProxy, folder: ObjectPath) -> None:
    path, data = put_sealed(folder, 1, 1000)
    object_store.requests.clear()
    assert objects.local_file(path).read_bytes() == data
    assert [request.method for request in object_store.requests] == ["GET"]


def test_a_file_that_was_moved_in_is_not_downloaded(object_store: FaultProxy, folder: ObjectPath) -> None:
    for name in ("part-00000.parquet", f"a.xxh3-{xxhash.xxh3_128_hexdigest(b'rows')}.arrow"):
        file = objects.staging_folder(folder) / "a.scratch"
        file.write_bytes(b"rows")
        objects.move_in(file, folder / name)
        object_store.requests.clear()
        assert objects.local_file(folder / name).read_bytes() == b"rows"
        assert objects.local_file(folder / name).suffix == Path(name).suffix
        assert gets(object_store) == 0


def test_an_unsealed_file_is_known_by_its_version(object_store: FaultProxy, folder: ObjectPath) -> None:
    for data in (b"", b"first", b"second"):
        objects.write(folder / "t.parquet", data)
        assert objects.local_file(folder / "t.parquet").read_bytes() == data


def test_bytes_that_were_damaged_on_their_way_are_fetched_again(
    object_store: FaultProxy, folder: ObjectPath, caplog: pytest.LogCaptureFixture
) -> None:
    path, data = put_sealed(folder, 1, 20 * MIB)
    object_store.fail_first(1, "damage", "GET")
    assert objects.local_file(path).read_bytes() == data
    assert gets(object_store) == 4
    assert caplog.messages == [f"path={path} damaged=download"]


def test_damaged_objects_are_refused_every_time(object_store: FaultProxy, folder: ObjectPath) -> None:
    path, data = put_sealed(folder, 1, 1000)
    objects.write(path, data[:-1])
    for _ in range(2):
        with pytest.raises(DamagedFileError, match="has other bytes than were written"):
            objects.local_file(path)
    objects.write(path, data)
    assert objects.local_file(path).read_bytes() == data


def test_a_download_that_was_killed_leaves_nothing_that_counts(object_store: FaultProxy, folder: ObjectPath) -> None:
    path, data = put_sealed(folder, 1, 40 * MIB)

    def stop_at_last_piece(request: Any) -> float | None:
        return 30.0 if request.method == "GET" and gets(object_store) == 3 else None

    object_store.fault = stop_at_last_piece
    process = start_fetch(path)
    while gets(object_store) < 3:
        time.sleep(0.01)
    time.sleep(0.3)  # the other pieces are written
    process.send_signal(signal.SIGKILL)
    process.communicate()
    files = cache.open_cache()._files
    assert [file.name for file in files.rglob("*") if file.is_file()] == [".part"]
    object_store.fault = lambda _: None
    assert objects.local_file(path).read_bytes() == data
    assert [file.name for file in files.rglob("*") if file.is_file()] == ["file.arrow"]


def test_the_files_used_longest_ago_go_first(
    object_store: FaultProxy, folder: ObjectPath, reopen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_KEPT_S", 0.0)
    small = reopen(limit_bytes=10 * MIB)
    paths = [put_sealed(folder, seed, 2 * MIB)[0] for seed in range(8)]
    for path in paths[:5]:
        objects.local_file(path)
        time.sleep(0.01)
    first = objects.local_file(paths[0])  # used again
    with first.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    time.sleep(0.01)
    objects.local_file(paths[5])  # 12 MiB of 10: down to 9
    assert [small.find(path, None) is not None for path in paths[:6]] == [True, False, False, True, True, True]
    for path in paths[6:]:
        objects.local_file(path)
    for path in paths[1:5]:
        objects.local_file(path)
    assert small.find(paths[0], None) is None
    assert xxhash.xxh3_128_hexdigest(mapped) in paths[0].name  # who has it keeps it
    mapped.close()
    assert sum(file.stat().st_size for file in small._files.rglob("*.arrow")) <= 10 * MIB


def test_files_in_use_stay_even_beyond_the_bound(
    object_store: FaultProxy, folder: ObjectPath, reopen: Any, caplog: pytest.LogCaptureFixture
) -> None:
    small = reopen(limit_bytes=3 * MIB)
    paths = [put_sealed(folder, seed, 2 * MIB)[0] for seed in range(3)]
    files = [objects.local_file(path) for path in paths]
    assert all(file.exists() for file in files)
    (message,) = caplog.messages  # once, though two files are over it
    assert message.endswith(f"bytes={4 * MIB} bound={3 * MIB} all_in_use=true")
    for file in files:
        os.utime(file.parent, (0, 0))
    objects.local_file(put_sealed(folder, 9, MIB)[0])
    assert sum(file.stat().st_size for file in small._files.rglob("*.arrow")) <= 3 * MIB


def test_processes_keep_one_bound_together(object_store: FaultProxy, folder: ObjectPath, reopen: Any) -> None:
    """Each process counts what all have brought in."""
    paths = [put_sealed(folder, seed, MIB)[0] for seed in range(12)]
    script = (
        "from pathlib import Path\n"
        "from pipeline.storage import cache\n"
        "cache._KEPT_S = 0.0\n"
        "import sys\n"
        "cache.use_cache_settings(cache.CacheSettings(Path(sys.argv.pop(1)), 4 << 20))\n"
    )
    small = reopen(limit_bytes=4 * MIB)
    scratch = small._root.parents[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script + _FETCH, str(scratch), *map(str, paths[number::3])],
            stdout=subprocess.DEVNULL,
        )
        for number in range(3)
    ]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert MIB < sum(file.stat().st_size for file in small._files.rglob("*.arrow")) <= 4 * MIB


def test_a_full_disk_is_named(object_store: FaultProxy, folder: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = put_sealed(folder, 1, 1000)

    def refuse(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "pwrite", refuse)
    with pytest.raises(DiskFullError, match=r"has no room for s3://.*; choose another folder with --scratch"):
        objects.local_file(path)
    monkeypatch.undo()


@pytest.mark.parametrize("foreign", ["open", "link", "file", "other"])
def test_a_folder_that_others_can_write_is_not_trusted(foreign: str, tmp_path: Path) -> None:
    place = tmp_path / f"graphquilt-cache-{os.geteuid()}"
    if foreign == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "elsewhere")
    elif foreign == "file":
        place.touch()
    else:
        place.mkdir(mode=0o700)
        if foreign == "open":
            place.chmod(0o770)
        elif os.geteuid() == 0:
            os.chown(place, 12345, -1)
        else:
            pytest.skip("only root can make another user's folder")
    with pytest.raises(StorageError, match=r"choose another folder with --scratch, or GRAPHQUILT_SCRATCH"):
        FileCache(tmp_path)


def test_folders_are_this_users_alone(tmp_path: Path) -> None:
    made = FileCache(tmp_path)
    assert {folder.stat().st_mode & 0o777 for folder in (tmp_path / made._root.parent.name).rglob("*")} == {0o700}


def test_files_of_an_earlier_boot_do_not_count(tmp_path: Path) -> None:
    base = FileCache(tmp_path)._root.parent
    for name, age in (("old", 2 * 86_400), ("new", 0)):
        (base / name / "locks").mkdir(parents=True)
        (base / name / "locks" / "usage").touch()
        os.utime(base / name / "locks" / "usage", (time.time() - age,) * 2)
    FileCache(tmp_path)
    assert not (base / "old").exists()
    assert (base / "new").exists()  # of another machine, perhaps


_STAGE = """
import sys
from graphquilt.locations import parse_location
from pipeline.storage import objects
folder = objects.staging_folder(parse_location(sys.argv[1]))
(folder / "half").write_bytes(b"half")
print(folder, flush=True)
sys.stdin.readline()
"""


def test_what_a_killed_process_was_writing_goes(object_store: FaultProxy, folder: ObjectPath) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _STAGE, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    killed, alive = (Path(process.stdout.readline().strip()) for process in processes if process.stdout)
    processes[0].kill()
    processes[0].communicate()
    objects.staging_folder(folder)
    assert not killed.exists()
    assert (alive / "half").read_bytes() == b"half"
    processes[1].communicate("\n")


def test_copies_of_a_sealed_file_are_one(object_store: FaultProxy, folder: ObjectPath) -> None:
    path, data = put_sealed(folder, 1, 1000)
    copy = folder / f"part-00000.xxh3-{xxhash.xxh3_128_hexdigest(data)}.arrow"
    objects.copy(path, copy)
    assert objects.local_file(path) == objects.local_file(copy)
    assert gets(object_store) == 1
