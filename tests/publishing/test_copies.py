"""Copies of working files, wherever these are and wherever the release is."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import xxhash

from graphquilt import files
from graphquilt.locations import Location, parse_location
from pipeline import storage
from pipeline.errors import StorageError
from pipeline.publishing.copies import Digests, WorkingFile, copy_file, copy_working_file
from tests.object_store import FaultProxy, make_bucket

DATA = bytes(range(256)) * 999
DIGESTS = Digests(len(DATA), xxhash.xxh3_128_hexdigest(DATA), hashlib.sha256(DATA).hexdigest())


@pytest.fixture(params=["folder", "store", "other bucket"])
def target(request: pytest.FixtureRequest, tmp_path: Path, store_root: Location, object_store: FaultProxy) -> Location:
    address = {"folder": tmp_path / "t", "store": store_root, "other bucket": make_bucket(object_store.upstream)}
    folder = parse_location(address[request.param])
    storage.make_folder(folder)
    return folder / "part-00000.bin"


@pytest.fixture(params=["folder", "store"])
def source(request: pytest.FixtureRequest, tmp_path: Path, store_root: Location) -> WorkingFile:
    folder = tmp_path / "w" if request.param == "folder" else store_root / "runs"
    local = storage.staging_folder(folder) / "out.bin"
    local.write_bytes(DATA)
    return WorkingFile(storage.seal(local, folder, "part-00000"), "t/part-00000.bin", DIGESTS.bytes, DIGESTS.checksum)


def test_a_copy_has_the_bytes_of_the_run_whatever_the_two_places_are(source: WorkingFile, target: Location) -> None:
    assert copy_working_file(source, target, room_bytes=len(DATA)) == DIGESTS
    assert files.read(target) == DATA == files.read(source.path)


@pytest.mark.parametrize("size", [0, 1, 2**18 - 1, 2**18, 2**20 + 5])
def test_a_copy_may_have_any_size(tmp_path: Path, size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    (tmp_path / "source").write_bytes(data)
    digests = copy_file(tmp_path / "source", tmp_path / "target", room_bytes=size)
    assert digests == Digests(size, xxhash.xxh3_128_hexdigest(data), hashlib.sha256(data).hexdigest())
    assert (tmp_path / "target").read_bytes() == data


def test_what_the_store_returns_is_what_counts(store_root: Location, tmp_path: Path, object_store: FaultProxy) -> None:
    """A byte that is another one as the new object is read back: it is no copy."""
    local = tmp_path / "out.bin"
    local.write_bytes(DATA)
    source = WorkingFile(local, "t/part-00000.bin", DIGESTS.bytes, DIGESTS.checksum)
    object_store.fail_first(1, "damage", "GET")
    with pytest.raises(StorageError, match=rf"has {len(DATA):,} bytes with checksum \w+; the run's manifest says"):
        copy_working_file(source, store_root / "part-00000.bin", room_bytes=len(DATA))


def test_a_working_file_that_is_gone_or_another_is_refused(source: WorkingFile, target: Location) -> None:
    other = WorkingFile(source.path, source.name, source.bytes, "0" * 32)
    with pytest.raises(StorageError, match=r"the run's manifest says .* Nothing was published"):
        copy_working_file(other, target, room_bytes=len(DATA))
    storage.remove(target)
    gone = WorkingFile(source.path.with_name("gone.bin"), source.name, source.bytes, source.checksum)
    with pytest.raises(StorageError, match=r"gone.bin .*is missing"):
        copy_working_file(gone, target, room_bytes=len(DATA))
