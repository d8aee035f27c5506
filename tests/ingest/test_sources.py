from __future__ import annotations

import datetime as dt
import gzip
import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import codec
from pipeline.errors import ConfigError, InputError
from pipeline.ingest.addresses import filesystem_of
from pipeline.ingest.pieces import FilePiece, ParseTask, split_tasks
from pipeline.ingest.sources import SourceFile, digest, list_sources


def write_parquet(path: Path, rows: int = 4, row_group_size: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"source": np.arange(rows), "target": np.arange(rows)})
    pq.write_table(table, path, row_group_size=row_group_size)


def names(sources: list[SourceFile]) -> list[str]:
    return [source.relative for source in sources]


def test_a_folder_is_read_with_its_subfolders_and_without_markers(tmp_path: Path) -> None:
    for name in ("b.parquet", "event=click/a.parquet", "_c=1/d.parquet"):
        write_parquet(tmp_path / name)
    for hidden in ("_SUCCESS", ".b.parquet.crc", "_temporary/0/x.parquet", ".hidden/y.parquet"):
        (tmp_path / hidden).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / hidden).write_bytes(b"x")
    (tmp_path / "DONE").touch()
    assert names(list_sources(str(tmp_path))) == ["_c=1/d.parquet", "b.parquet", "event=click/a.parquet"]
    assert names(list_sources(f"file://{tmp_path}")) == names(list_sources(str(tmp_path)))


@pytest.mark.parametrize(
    ("glob", "found"),
    [
        ("*.csv", ["1.csv", "2.csv"]),
        ("[!1].csv", ["2.csv"]),
        ("?.csv", ["1.csv", "2.csv"]),
        ("**/*.csv", ["1.csv", "2.csv", "day=1/3.csv", "day=2/4.csv"]),
        ("day=*/*.csv", ["day=1/3.csv", "day=2/4.csv"]),
        ("day=*", ["day=1/3.csv", "day=2/4.csv"]),
        ("day=[12]/3.csv", ["day=1/3.csv"]),
    ],
)
def test_globs(tmp_path: Path, glob: str, found: list[str]) -> None:
    for name in ("1.csv", "2.csv", "day=1/3.csv", "day=2/4.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("source,target\n")
    assert names(list_sources(str(tmp_path / glob))) == found


def test_a_file_named_like_a_glob_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "a[1].csv").write_text("source,target\n")
    assert names(list_sources(str(tmp_path / "a[1].csv"))) == ["a[1].csv"]


def test_date_is_put_into_the_path_and_asked_for(tmp_path: Path) -> None:
    write_parquet(tmp_path / "2024-06-01" / "a.parquet")
    path = str(tmp_path / "{date}")
    assert names(list_sources(path, dt.date(2024, 6, 1))) == ["a.parquet"]
    with pytest.raises(ConfigError, match="--date"):
        list_sources(path)
    with pytest.raises(InputError, match="2024-06-02 has no files"):
        list_sources(path, dt.date(2024, 6, 2))
    for braces in ("{Date}", "{ds}", "{{ ds }}", "{date:%Y%m%d}"):
        with pytest.raises(InputError, match=f"'{braces}' is taken as it stands: {{date}} alone is filled in"):
            list_sources(str(tmp_path / braces / "a.parquet"), dt.date(2024, 6, 1))


def test_mixed_formats_are_refused_with_a_file_of_each(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"source,target\n"))
    with pytest.raises(InputError, match=r"a\.parquet is Parquet, b\.csv\.gz is CSV"):
        list_sources(str(tmp_path))


def test_a_file_of_no_known_format_is_refused_and_parquet_is_known_by_its_magic(tmp_path: Path) -> None:
    write_parquet(tmp_path / "part-00000")
    assert list_sources(str(tmp_path))[0].format == "parquet"
    (tmp_path / "notes.doc").write_text("hello")
    with pytest.raises(InputError, match=r"notes\.doc is of no known format"):
        list_sources(str(tmp_path))


@pytest.mark.parametrize("address", ["nowhere", "nowhere/*.parquet", "foo://bucket/x"])
def test_nothing_there_is_said(tmp_path: Path, address: str) -> None:
    path = address if "://" in address else str(tmp_path / address)
    with pytest.raises(InputError, match=r"no files|can't be opened"):
        list_sources(path)


def test_blanks_and_wildcards_in_file_addresses(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "x1.csv").write_text("source,target\n")
    for ending in ("a b", "a%20b", "a b/x?.csv", "a%20b/x[1].csv", "a b/*.csv", "a b/x1.csv"):
        (source,) = list_sources(f"file://{tmp_path}/{ending}")
        assert (source.relative, Path(source.address)) == ("x1.csv", tmp_path / "a b" / "x1.csv")


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("gs://anonymous@bucket/a b/x?.csv", "bucket/a b/x?.csv"),
        ("gs://anonymous@bucket/a%20b/*/[12].csv?scheme=http", "bucket/a b/*/[12].csv"),
        ("gs://anonymous@bucket/a.parquet", "bucket/a.parquet"),
    ],
)
def test_remote_addresses_may_hold_wildcards_and_options(address: str, path: str) -> None:
    assert filesystem_of(address)[1] == path


def test_a_digest_is_the_sha256_of_the_bytes_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"source,target\n1,2\n"))
    (source,) = list_sources(str(path))
    assert digest(source) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (source.bytes, source.mtime_ns, source.inode) == (
        path.stat().st_size, path.stat().st_mtime_ns, path.stat().st_ino,
    )  # fmt: skip


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:3], lambda _: b"", lambda b: b[:-1]])
def test_a_truncated_parquet_file_is_refused_by_name(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "cut.parquet"
    write_parquet(path)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(InputError, match=r"cut\.parquet can't be read as Parquet: .*write or copy it again"):
        split_tasks(list_sources(str(path)))


@pytest.mark.parametrize("per_task", [1, 3, 5, 100])
def test_parquet_tasks_cover_every_row_group_once_in_order(tmp_path: Path, per_task: int) -> None:
    sizes = {"a.parquet": 7, "b.parquet": 1, "c.parquet": 0, "d.parquet": 4}
    for name, rows in sizes.items():
        write_parquet(tmp_path / name, rows, row_group_size=2)
    tasks = split_tasks(list_sources(str(tmp_path)), rows_per_task=per_task)
    seen = []
    for task in tasks:
        rows = 0
        for piece in task.pieces:
            assert piece.row_groups is not None
            for group in range(*piece.row_groups):
                seen.append((piece.relative, group))
                rows += min(2, sizes[piece.relative] - 2 * group)
            assert piece.first_row == 2 * piece.row_groups[0]
        assert rows <= max(per_task, 2)
    wanted = [(name, group) for name in sizes for group in range(pq.read_metadata(tmp_path / name).num_row_groups)]
    assert seen == wanted
    assert {piece.relative for task in tasks for piece in task.pieces} == set(sizes)  # empty files are looked at


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(1, 60))
def test_text_files_are_never_split_and_small_ones_share_a_task(sizes: list[int], per_task: int) -> None:
    sources = [SourceFile(f"{i:02}.csv", f"/x/{i:02}.csv", "csv", size, 0, None) for i, size in enumerate(sizes)]
    tasks = split_tasks(sources, bytes_per_task=per_task)
    assert [piece.address for task in tasks for piece in task.pieces] == [source.address for source in sources]
    loads = [sum(sizes[int(piece.relative[:2])] for piece in task.pieces) for task in tasks]
    for task, load in zip(tasks, loads, strict=True):
        assert load <= per_task or sum(sizes[int(piece.relative[:2])] > 0 for piece in task.pieces) == 1
    assert all(a + b > per_task for a, b in pairwise(loads) if a) or len(tasks) < 2


def test_a_task_survives_json() -> None:
    task = ParseTask(
        (FilePiece("k=1/a.parquet", "/x/k=1/a.parquet", "parquet", (2, 5), 40), FilePiece("b.csv", "/x/b.csv", "csv"))
    )
    assert codec.from_text(ParseTask, codec.to_text(task)) == task


def test_columns_told_by_the_path_are_unquoted() -> None:
    piece = FilePiece("event=a%20b/day=__HIVE_DEFAULT_PARTITION__/x.csv", "", "csv")
    assert piece.folder_values == {"event": "a b", "day": None}
