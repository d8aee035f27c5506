"""A disk without room, in every stage: bytes are named, the verdict is written, and freed room lets the run go on."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import pipeline.planning.disk_needs as disk_needs
from pipeline import storage
from pipeline.errors import DiskFullError, StorageError
from pipeline.stages.chain import STAGE_NAMES
from pipeline.storage.disk_space import free_reserve, full, is_full, keep_reserve
from tests.stages.chains import Chain, config_for, users_and_items, write_rows

DAY = "1970-01-01"


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    """A workspace on a disk of 24 MiB of its own."""
    made = Chain(tmp_path)
    made.root.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(made.root)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk can't be mounted here: {mounted.stderr.strip()}")
    try:
        yield made
    finally:
        subprocess.run(["umount", "-l", str(made.root)], check=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    chain = Chain(tmp_path_factory.mktemp("undisturbed"))
    return chain.publish(config_of(chain), date=DAY).data


def config_of(chain: Chain, **sections: Any) -> dict[str, Any]:
    path = write_rows(chain.folder / "in.parquet", users_and_items(rows=4_000, users=1_500, items=500))
    return config_for(path, parts=2, dim=32, **sections)


def fill(chain: Chain, left: int) -> Path:
    """Leave so many bytes on the disk."""
    filler = chain.root / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, storage_free(chain) - left))
    return filler


def storage_free(chain: Chain) -> int:
    about = os.statvfs(chain.root)
    return about.f_bavail * about.f_frsize


@pytest.mark.parametrize("is_checked_first", [True, False])
@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_a_stage_without_room_says_so_and_goes_on_later(
    chain: Chain, undisturbed: dict[str, bytes], stage: str, is_checked_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(chain)
    if not is_checked_first:
        monkeypatch.setattr(disk_needs, "_CERTAIN", 0.0)
        monkeypatch.setattr(storage, "require_free_space", lambda *_: None)
    place = STAGE_NAMES.index(stage)
    if place:
        assert chain.run(config, STAGE_NAMES[:place], date=DAY).code == 0
    failed = 0
    for left in (0, 30_000):
        keep_reserve(chain.root)
        filler = fill(chain, left)
        ended = chain.run(config, [stage], date=DAY)
        if ended.code:
            failed += 1
            assert ended.code == 1
            assert re.search(r"needs about [\d.]+ ([KMG]i)?B .*[\d.]+ ([KMG]i)?B are free", ended.error), ended.error
            assert "Free some space" in ended.error or "free some space" in ended.error
            gate = chain.gate(DAY)
            assert gate is not None
            assert (gate["verdict"], gate["exit_code"]) == ("failed", 1)
            assert gate["reasons"] == [ended.error]
            assert "Traceback" not in ended.error
        filler.unlink()
    assert failed
    assert chain.publish(config, date=DAY).data == undisturbed


def test_a_disk_that_fills_before_the_first_table_has_a_verdict_too(chain: Chain) -> None:
    config = config_of(chain)
    keep_reserve(chain.root)
    filler = fill(chain, 0)
    ended = chain.run(config, date="2024-01-01")
    assert ended.code == 1
    assert "free" in ended.error
    assert chain.gate("2024-01-01") == {
        "date": "2024-01-01", "verdict": "failed", "exit_code": 1, "reasons": [ended.error], "release": None,
        "run_id": ended.answer["run_id"],
    }  # fmt: skip
    filler.unlink()
    assert chain.run(config, date="2024-01-01").code == 0


def test_tasks_on_workers_have_no_room_either(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_needs, "_CERTAIN", 0.0)
    config = config_of(chain)
    assert chain.run(config, STAGE_NAMES[:4], workers=2).code == 0
    filler = fill(chain, 20_000)
    ended = chain.run(config, ["embed"], workers=2)
    assert ended.code == 1
    assert "stage embed of undated data found no room under " in ended.error
    assert re.search(r"needs about [\d.]+ ([KMG]i)?B .*are free", ended.error)
    assert chain.gate(DAY)["verdict"] == "failed"  # type: ignore[index]
    filler.unlink()
    assert chain.run(config, workers=2).code == 0


@pytest.mark.spark
@pytest.mark.parametrize("stage", ["index", "embed", "publish"])
def test_on_spark_too(chain: Chain, stage: str, spark_session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.engines.spark import SparkEngine

    monkeypatch.setattr(disk_needs, "_CERTAIN", 0.0)
    config = config_of(chain)
    chain.engine = SparkEngine(spark_session)
    assert chain.run(config, STAGE_NAMES[: STAGE_NAMES.index(stage)], date=DAY).code == 0
    filler = fill(chain, 30_000)
    ended = chain.run(config, [stage], date=DAY)
    assert ended.code == 1
    assert re.search(r"needs about [\d.]+ ([KMG]i)?B .*[\d.]+ ([KMG]i)?B are free", ended.error), ended.error
    assert chain.gate(DAY)["verdict"] == "failed"  # type: ignore[index]
    filler.unlink()
    assert chain.run(config, date=DAY).code == 0


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EFBIG, "File too large"),
        OSError("41 requested and 0 written"),  # numpy
        pa.ArrowException("IOError: Error writing bytes to file. Detail: [errno 28] No space left on device"),
        RuntimeError("java.io.IOException: No space left on device"),
    ],
)
def test_a_full_disk_is_known_in_every_library_s_words(error: Exception, tmp_path: Path) -> None:
    assert is_full(error)
    caused = StorageError("what a caller says")
    caused.__cause__ = error
    assert is_full(caused)
    told = full("stage embed", tmp_path, 1_234_567, error)
    assert isinstance(told, DiskFullError)
    assert "1.2 MiB" in str(told)


def test_other_errors_are_not_a_full_disk() -> None:
    assert not is_full(PermissionError(errno.EACCES, "Permission denied"))
    assert not is_full(ValueError("2 columns wanted and 3 written"))
    another = ValueError("another matter")
    another.__context__, another.__suppress_context__ = OSError(errno.ENOSPC, "No space left on device"), True
    assert not is_full(another)


def test_the_reserve_is_real_room(chain: Chain) -> None:
    before = storage_free(chain)
    keep_reserve(chain.root)
    assert before - storage_free(chain) >= 256 * 1024
    free_reserve(chain.root)
    assert storage_free(chain) == before
