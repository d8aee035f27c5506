from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import xxhash

from pipeline.errors import LockedError, MissingTableError
from pipeline.storage import lock
from pipeline.workspace import MANIFEST, DataFile, Manifest, Workspace
from tests.conftest import ROOT

DAY = dt.date(2024, 6, 1)
FILES = {"part-00000.parquet": (3, b"0123456789"), "part-00001.parquet": (4, b"01234567890123456789")}


def workspace(root: Path, fingerprint: str = "abc") -> Workspace:
    return Workspace(root, DAY, {"ingest": fingerprint}, {"edges": "ingest"}, "run")


def manifest(fingerprint: str = "abc") -> Manifest:
    files = tuple(
        DataFile(name, rows, len(data), xxhash.xxh3_128_hexdigest(data)) for name, (rows, data) in FILES.items()
    )
    return Manifest("edges", 1, "ingest", fingerprint, files, {"pairs": 7})


def made_table(root: Path) -> Workspace:
    made = workspace(root)
    made.folder("edges").mkdir(parents=True)
    for name, (_, data) in FILES.items():
        (made.folder("edges") / name).write_bytes(data)
    made.commit(manifest())
    return made


def test_a_table_is_where_its_fingerprint_says_and_nowhere_else(tmp_path: Path) -> None:
    made = workspace(tmp_path)
    place = made.folder("edges")
    assert place == tmp_path / "runs" / "2024-06-01" / "edges" / "abc"
    assert made.find_manifest("edges") is None
    place.mkdir(parents=True)
    (place / "part-00000.parquet").touch()
    assert made.find_manifest("edges") is None  # files without a manifest are no table
    made = made_table(tmp_path / "made")
    place = made.folder("edges")
    assert made.find_manifest("edges") == manifest()
    assert (made.manifest("edges").rows, made.manifest("edges").bytes) == (7, 30)
    assert made.files("edges") == [place / "part-00000.parquet", place / "part-00001.parquet"]
    assert workspace(tmp_path / "made", "other").find_manifest("edges") is None


def test_a_missing_table_names_the_stage_to_run(tmp_path: Path) -> None:
    with pytest.raises(MissingTableError, match="run 'graphquilt ingest' first"):
        workspace(tmp_path).files("edges")


def test_scratch_is_empty_each_time(tmp_path: Path) -> None:
    made = workspace(tmp_path)
    (made.scratch("ingest", "rows") / "left-over").touch()
    assert list(made.scratch("ingest", "rows").iterdir()) == []


def test_a_lock_is_free_again_afterwards_and_after_an_error(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(KeyError), lock(tmp_path / "a" / ".lock", "one"):
            raise KeyError
    with lock(tmp_path / "a" / ".lock", "two"):
        pass


def test_the_loser_waits_and_names_holder_pid_and_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append)
    monkeypatch.setattr("pipeline.storage.locks.time", clock)
    with (
        lock(tmp_path / ".lock", "stage embed"),
        pytest.raises(LockedError) as caught,
        lock(tmp_path / ".lock", "stage layout", wait_s=0.3),
    ):
        pass
    assert sum(slept) == pytest.approx(0.3, abs=0.011)  # it never sleeps less than 0.01 s
    for word in ("stage layout can't start", "stage embed", f"pid {os.getpid()}", "since 20", "Waited 0.3 s"):
        assert word in str(caught.value)


def test_the_kernel_frees_the_lock_of_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    script = (
        "import sys, time; from pathlib import Path; from pipeline.storage import lock\n"
        "with lock(Path(sys.argv[1]), 'a run that dies'):\n    print('held', flush=True); time.sleep(3600)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match="a run that dies"), lock(path, "another"):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with lock(path, "another"):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_manifest_appears_whole(tmp_path: Path) -> None:
    made = workspace(tmp_path)
    made.folder("edges").mkdir(parents=True)
    made.commit(manifest())
    made.commit(manifest())
    assert [path.name for path in made.folder("edges").iterdir()] == [MANIFEST]
