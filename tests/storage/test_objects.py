"""The verbs of object stores: the same answers as those of a folder, also while the store fails."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graphquilt import objects as store
from graphquilt import store_clients
from graphquilt.store_clients import StoreSettings, use_store_settings
from pipeline import storage
from pipeline.errors import StorageError
from pipeline.storage import objects
from pipeline.storage.write_tokens import WriteTokens
from tests.object_store import FaultProxy, Request, make_bucket
from tests.storage.store_checks import (
    check_against_folder,
    check_that_a_reader_sees_one_version,
    check_that_swaps_count,
    object_path,
    read_slice,
)


def test_a_store_answers_like_a_folder(object_store: FaultProxy, bucket: str) -> None:
    check_against_folder(bucket, 8)


@pytest.mark.parametrize("content", [b"{}", b'{"sequence": 1}\n', b"\n", b"", b"1" * 1000])
def test_damaged_bytes_of_what_was_written_whole_are_asked_for_again(
    object_store: FaultProxy, bucket: str, content: bytes
) -> None:
    swapped, written = object_path(bucket) / "swapped", object_path(bucket) / "written"
    assert objects.write_if_absent(swapped, content)
    objects.write(written, content)
    for path in (swapped, written):
        object_store.fail_first(2, "damage", "GET")
        assert objects.read(path) == content
        object_store.fail_first(2, "damage", "GET")
        assert (objects.read_version(path) or (b"?", ""))[0] == content
        if content:
            object_store.fail_first(3, "damage", "GET")
            with pytest.raises(StorageError, match=f"{path} is damaged, or the way to it is: read 3 times"):
                objects.read(path)


def test_a_whole_bucket_is_a_folder(object_store: FaultProxy, bucket: str) -> None:
    root = object_path(bucket)
    for name in ("a.json", "w/b.json", "w/c/d.json"):
        objects.write(root / name, b"1")
    assert objects.names_in(root) == ["a.json", "w"]
    assert [file.name for file in objects.files_below(root)] == ["a.json", "w/b.json", "w/c/d.json"]
    objects.remove_tree(root)
    assert objects.names_in(root) == []


def test_a_store_that_overlooks_conditions_is_refused(object_store: FaultProxy, bucket: str) -> None:
    objects.require_conditional_puts(object_path(bucket))
    object_store.fault = lambda _: "ignore"
    with pytest.raises(StorageError, match=r"the store of s3://b-\w+ overlooks the conditions of puts"):
        storage.open_root(object_path(bucket) / "workspace")
    assert objects.names_in(object_path(bucket)) == []


@pytest.mark.parametrize("fault", ["throttle", "busy", "lose", "cut", "conflict"])
def test_every_verb_outlives_faults(fault: str, object_store: FaultProxy, bucket: str) -> None:
    """The first two requests of each method fail, for each verb."""
    folder = object_path(f"{bucket}/w")
    data = np.random.default_rng(0).bytes(20 << 20)

    def strike() -> None:
        object_store.fail_first(2, fault, "GET", "PUT", "POST", "DELETE", "HEAD")

    strike()
    objects.write(folder / "a.json", b"1")
    strike()
    assert objects.write_if_absent(folder / "b.json", b"2")
    assert not objects.write_if_absent(folder / "b.json", b"3")
    strike()
    assert objects.read(folder / "b.json") == b"2"
    strike()
    assert objects.read(folder / "none") is None
    strike()
    assert objects.size(folder / "b.json") == 1
    strike()
    assert read_slice(objects, folder / "b.json", 0, 10) == b"2"
    strike()
    with pytest.raises(FileNotFoundError):
        objects.open_ranges(folder / "none")
    _, version = objects.read_version(folder / "b.json") or (b"", "")
    strike()
    assert objects.swap(folder / "b.json", b"4", version)
    assert not objects.swap(folder / "b.json", b"5", version)
    assert objects.read(folder / "b.json") == b"4"
    file = objects.staging_folder(folder) / "large"
    file.write_bytes(data)
    strike()
    objects.move_in(file, folder / "large.bin")
    strike()
    objects.copy(folder / "large.bin", folder / "copy.bin")
    strike()
    assert objects.local_file(folder / "copy.bin").read_bytes() == data
    strike()
    parts = store.read_ranges(folder / "large.bin", [(0, 10), (9 << 20, 3 << 20)])
    assert [bytes(part) for part in parts] == [data[:10], data[9 << 20 : 12 << 20]]
    strike()
    assert objects.names_in(folder) == ["a.json", "b.json", "copy.bin", "large.bin"]
    strike()
    objects.remove_tree(folder)
    strike()
    assert objects.files_below(folder) == []


def test_no_swap_is_lost_or_done_twice(object_store: FaultProxy, bucket: str) -> None:
    check_that_swaps_count(object_store, object_path(f"{bucket}/counter"))


@pytest.mark.parametrize(("later", "is_known"), [(1, True), (31, True), (32, False)])
def test_a_lost_answer_is_found_behind_later_swaps(
    later: int, is_known: bool, object_store: FaultProxy, bucket: str
) -> None:
    """Others swap between a put whose answer is lost and the look at what became of it."""
    path = object_path(f"{bucket}/pointer")
    objects.write_if_absent(path, b"first")
    _, version = objects.read_version(path) or (b"", "")
    heads = 0

    def fail(request: Request) -> str | None:
        nonlocal heads
        if request.method == "PUT":
            return "lose"
        if request.method == "HEAD" and (heads := heads + 1) == 2:
            object_store.fault = lambda _: None
            for number in range(later):
                assert objects.swap(path, b"other %d" % number, (objects.read_version(path) or (b"", ""))[1])
        return None

    object_store.fault = fail
    if is_known:
        assert objects.swap(path, b"mine", version)
    else:
        with pytest.raises(StorageError, match="was replaced 32 times since"):
            objects.swap(path, b"mine", version)
    assert objects.read(path) == b"other %d" % (later - 1)


def test_a_put_that_arrives_late_is_its_writers(object_store: FaultProxy, bucket: str) -> None:
    """The first try is done only as the second one comes, which is then refused."""
    path = object_path(f"{bucket}/pointer")
    for is_new in (True, False):
        _, version = objects.read_version(path) or (b"", None)
        object_store.fail_first(1, "late", "PUT")
        assert objects.swap(path, b"new" if is_new else b"newer", version)
    assert objects.read(path) == b"newer"


def test_a_put_that_was_refused_is_not_taken_for_another_one() -> None:
    base = WriteTokens.of({})
    mine, other = base.with_next("mine"), base.with_next("other")
    assert mine.are_in(mine.attributes, "a")
    assert mine.are_in(mine.with_next("later").attributes, "a")
    assert not mine.are_in(other.attributes, "a")
    assert not mine.are_in(other.with_next("mine").attributes, "a")  # of another swap
    assert not mine.are_in({}, "a")


def test_deletes_go_in_batches_that_can_be_stopped(
    object_store: FaultProxy, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = object_path(f"{bucket}/w")
    for number in range(12):
        objects.write(folder / f"{number:02d}", b"")
    calls = []

    def stop_at_third() -> None:
        calls.append(len(objects.files_below(folder)))
        if len(calls) == 3:
            raise StorageError("stopped")

    monkeypatch.setattr(objects, "_MOST_DELETED", 5)
    with pytest.raises(StorageError, match="stopped"):
        objects.remove_tree(folder, stop_at_third)
    assert calls == [12, 7, 2]


def test_an_object_too_large_for_one_copy_goes_through_the_cache(
    object_store: FaultProxy, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_MOST_COPIED", 100)
    small, large = object_path(f"{bucket}/w/small"), object_path(f"{bucket}/w/large")
    objects.write(small, bytes(100))
    objects.write(large, bytes(101))
    object_store.fail_first(1, "too large", "PUT")
    objects.copy(large, large.with_suffix(".copy"))
    assert objects.read(large.with_suffix(".copy")) == bytes(101)
    object_store.fail_first(1, "too large", "PUT")
    with pytest.raises(StorageError, match=r"status 400 \(InvalidRequest\)"):
        objects.copy(small, small.with_suffix(".copy"))
    object_store.requests.clear()
    objects.copy(small, small.with_suffix(".copy"))
    assert [request.bytes for request in object_store.requests] == [0]


def test_an_object_is_copied_to_another_bucket(object_store: FaultProxy, bucket: str) -> None:
    source, target = object_path(f"{bucket}/a"), object_path(f"{make_bucket(object_store.upstream)}/a")
    objects.write(source, b"1")
    objects.copy(source, target)
    assert objects.read(target) == b"1"


def test_a_file_of_another_disk_is_moved_in(object_store: FaultProxy, bucket: str) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev:
        pytest.skip("no second file system")
    file = memory / f"graphquilt-{uuid4().hex}"
    file.write_bytes(b"1")
    objects.move_in(file, object_path(f"{bucket}/a.bin"))
    assert not file.exists()
    assert objects.local_file(object_path(f"{bucket}/a.bin")).read_bytes() == b"1"


def test_a_store_that_is_away_is_named_within_seconds(object_store: FaultProxy, bucket: str) -> None:
    folder = object_path(f"{bucket}/w")
    for fault in ("throttle", "busy", "lose"):
        object_store.fail_first(1, fault, "GET")
        objects.require_reachable(folder)
    started = time.monotonic()
    object_store.fault = lambda _: "lose"
    with pytest.raises(StorageError, match="can't be reached: the connection broke"):
        objects.require_reachable(folder)
    object_store.fault = lambda _: None
    with pytest.raises(StorageError, match="no-such-bucket does not exist"):
        objects.require_reachable(object_path("s3://no-such-bucket/w"))
    use_store_settings(StoreSettings(endpoint="http://127.0.0.1:9"))
    with pytest.raises(StorageError, match="the connection was refused"):
        objects.require_conditional_puts(folder)
    assert time.monotonic() - started < 10.0


def test_last_words_to_a_store_that_hangs_take_seconds(object_store: FaultProxy, bucket: str) -> None:
    before, started = storage.current_settings(), time.monotonic()
    object_store.fault = lambda _: 20.0
    with storage.brief_requests(), pytest.raises(StorageError, match="did not answer in time"):
        objects.write(object_path(f"{bucket}/gate.json"), b"{}")
    assert time.monotonic() - started < 15.0
    assert storage.current_settings() == before
    object_store.fail_first(2, "throttle", "PUT")
    with storage.brief_requests():
        objects.write(object_path(f"{bucket}/gate.json"), b"{}")


def test_parquet_is_read_by_ranges(object_store: FaultProxy, bucket: str, tmp_path: Path) -> None:
    table = pa.table({"a": np.arange(2_000_000), "b": np.random.default_rng(0).random(2_000_000)})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=100_000, use_dictionary=False)
    path = object_path(f"{bucket}/t.parquet")
    objects.write(path, (tmp_path / "t.parquet").read_bytes())
    object_store.returned = 0
    file = pq.ParquetFile(objects.open_ranges(path))
    assert file.read_row_group(7).equals(table.slice(700_000, 100_000))
    assert object_store.returned < 0.15 * (tmp_path / "t.parquet").stat().st_size
    with pytest.raises(FileNotFoundError):
        objects.open_ranges(object_path(f"{bucket}/none"))


def test_a_reader_sees_one_version(object_store: FaultProxy, bucket: str) -> None:
    check_that_a_reader_sees_one_version(object_path(f"{bucket}/a.bin"))


def test_errors_say_what_to_do_and_show_no_secret(
    object_store: FaultProxy, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match=r"s3://no-such-bucket does not exist; make this bucket"):
        objects.names_in(object_path("s3://no-such-bucket/w"))
    with pytest.raises(StorageError, match=r"s3://no-such-bucket does not exist"):
        objects.write_if_absent(object_path("s3://no-such-bucket/w"), b"")
    path = object_path(f"{bucket}/a.json")
    object_store.fault = lambda _: "deny"
    with pytest.raises(
        StorageError, match=r"may not be used with the credentials found here.*\(AccessDenied\)"
    ) as error:
        objects.read(path)
    assert "a-secret-that" not in "".join(traceback.format_exception(error.value))
    for verb in (objects.write_if_absent, objects.write):
        with pytest.raises(StorageError, match="may not be used"):
            verb(path, b"")
    object_store.fault = lambda _: "throttle"
    use_store_settings(StoreSettings(max_retries=1))
    with pytest.raises(StorageError, match=r"status 503 \(too many requests\)"):
        objects.read(path)
    use_store_settings(StoreSettings(endpoint="http://127.0.0.1:9", max_retries=1))
    with pytest.raises(StorageError, match=r"at http://127.0.0.1:9 can't be reached: the connection was refused"):
        objects.read(path)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    use_store_settings(StoreSettings(max_retries=1))
    monkeypatch.setattr(store_clients.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(StorageError, match="profiles are read by boto3: pip install boto3"):
        objects.read(path)


def test_a_forked_process_is_refused_instead_of_waiting_forever(object_store: FaultProxy, bucket: str) -> None:
    path = object_path(f"{bucket}/a")
    objects.write(path, b"1")
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: a process with threads should not fork
        child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            objects.read(path)
        except StorageError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        assert b"was forked from one that used an object store: start processes by 'spawn'" in pipe.read()
    os.waitpid(child, 0)
    assert objects.read(path) == b"1"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(StorageError, match=r"need obstore: pip install 'graphquilt\[store\]'"):
        objects.read(object_path("s3://bucket/a"))
