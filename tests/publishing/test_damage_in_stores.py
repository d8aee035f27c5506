"""A release in a store whose objects are damaged: refused by name, restored by the next publication of its tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest

from graphquilt import files
from graphquilt.__main__ import main
from graphquilt.locations import Location
from pipeline import storage
from pipeline.errors import StorageError
from pipeline.publishing.release import rollback
from tests.publishing.test_kills import make, read_day

NOW = dt.datetime(2024, 6, 3, 3, tzinfo=dt.UTC)
DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda _: None,
    "cut": lambda data: data[:-1],
    "empty": lambda _: b"",
    "other bytes": lambda data: data[:9] + bytes([data[9] ^ 1]) + data[10:],
}
FILES = ("node_embeddings/part-00001.parquet", "metrics.json", "manifest.json")


def publish(root: Location) -> Location:
    return make(root, 2, now=NOW)


def bytes_of(folder: Location) -> dict[str, bytes]:
    return {file.name: files.read(folder / file.name) for file in storage.files_below(folder)}


def damage(path: Location, how: str) -> None:
    data = DAMAGES[how](files.read(path))
    if data is None:
        storage.remove(path)
    else:
        storage.write(path, data)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_object_is_refused_by_name_and_restored(
    store_root: Location, name: str, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make(store_root, 1)
    folder = publish(store_root)
    sound = bytes_of(folder)
    damage(folder / name, how)
    assert main(["check", "--workspace", str(store_root), "--deep"]) == 4
    said = capsys.readouterr().err
    assert f"release 2024-06-02-a is damaged: {folder / name}" in said
    assert f"'graphquilt rollback --workspace {store_root} --name default --to 2024-06-01-a'" in said
    publish(store_root)
    assert bytes_of(folder) == sound
    assert main(["check", "--workspace", str(store_root), "--deep"]) == 0


def test_a_rollback_restores_from_working_files_or_changes_nothing(store_root: Location) -> None:
    folder = make(store_root, 1)
    publish(store_root)
    sound = bytes_of(folder)
    damage(folder / FILES[0], "other bytes")
    rollback(store_root, "default")
    assert read_day(store_root) == 1
    assert bytes_of(folder) == sound
    rollback(store_root, "default", "2024-06-02-a")
    damage(folder / FILES[0], "other bytes")
    storage.remove_tree(store_root / "runs")
    before = bytes_of(folder)
    with pytest.raises(StorageError, match=r"CURRENT stays at 2024-06-02-a: release 2024-06-01-a is damaged"):
        rollback(store_root, "default")
    assert bytes_of(folder) == before
    assert read_day(store_root) == 2


@pytest.mark.parametrize("name", FILES)
def test_a_stranger_in_a_damaged_release_is_named_and_nothing_is_written(store_root: Location, name: str) -> None:
    folder = publish(store_root)
    damage(folder / name, "missing")
    storage.write(folder / "node_embeddings" / "thesis.txt", b"the only copy")
    before = bytes_of(folder)
    with pytest.raises(StorageError, match=rf"{folder}/node_embeddings/thesis.txt is no file of it: move that away"):
        publish(store_root)
    assert bytes_of(folder) == before
