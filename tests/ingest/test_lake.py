"""Lake tables are read by their log: what was deleted is not there, what their folders do not say is."""

from __future__ import annotations

import datetime as dt
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import DoubleType, LongType, StringType

from pipeline.errors import InputError
from pipeline.ingest.pieces import split_tasks
from pipeline.ingest.readers import read
from pipeline.ingest.sources import list_sources
from pipeline.ingest.text.formats import TextFormat
from tests.ingest.lake_tables import (
    Rows,
    add_delete_file,
    add_deletion_vectors,
    iceberg_table,
    multiset,
    rows_of,
)

DAYS = [dt.date(2024, 6, 1), dt.date(2024, 6, 2), None]
KINDS = ["view", "a b=c%/é", None]


def some_rows(rng: random.Random, n: int) -> Rows:
    return [
        {"user": rng.randrange(5), "item": f"i{rng.randrange(5)}", "day": rng.choice(DAYS), "kind": rng.choice(KINDS)}
        for _ in range(n)
    ]


def arrow(rows: Rows, extra: bool = False) -> pa.Table:
    fields = [("user", pa.int64()), ("item", pa.string()), ("day", pa.date32()), ("kind", pa.string())]
    return pa.Table.from_pylist(rows, schema=pa.schema([*fields, ("extra", pa.float64())] if extra else fields))


class DeltaPast:
    """A Delta table, and its rows by a plain reading of what was done to it."""

    def __init__(self, folder: Path, rng: random.Random, partitions: list[str]) -> None:
        self.folder, self.rng, self.partitions = folder, rng, partitions
        self.rows: Rows = []
        self.has_extra = False
        self.append()

    def append(self, mode: str = "append", **options: Any) -> None:
        new = some_rows(self.rng, self.rng.randrange(1, 8))
        if self.has_extra:
            new = [{**row, "extra": float(self.rng.randrange(3))} for row in new]
        write_deltalake(
            self.folder, arrow(new, self.has_extra), mode=mode, partition_by=self.partitions or None, **options
        )
        self.rows = new if mode == "overwrite" else [*self.rows, *new]

    def overwrite(self) -> None:
        self.append("overwrite")

    def evolve(self) -> None:
        if not self.has_extra:
            self.has_extra = True
            self.rows = [{**row, "extra": None} for row in self.rows]
            self.append(schema_mode="merge")

    def delete(self) -> None:
        user = self.rng.randrange(5)
        DeltaTable(self.folder).delete(f"user = {user}")
        self.rows = [row for row in self.rows if row["user"] != user]

    def update(self) -> None:
        DeltaTable(self.folder).update(predicate="user = 1", updates={"item": "'new'"})
        self.rows = [{**row, "item": "new"} if row["user"] == 1 else row for row in self.rows]

    def merge(self) -> None:
        source = arrow([{"user": 2, "item": "merged", "day": None, "kind": None}])
        merger = DeltaTable(self.folder).merge(source, "t.user = s.user", source_alias="s", target_alias="t")
        merger.when_matched_update({"item": "s.item"}).execute()
        self.rows = [{**row, "item": "merged"} if row["user"] == 2 else row for row in self.rows]

    def compact(self) -> None:
        DeltaTable(self.folder).optimize.compact()

    def checkpoint(self) -> None:
        table = DeltaTable(self.folder)
        table.create_checkpoint()
        table.cleanup_metadata()

    def vacuum(self) -> None:
        DeltaTable(self.folder).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)


DELTA_STEPS = ("append", "overwrite", "evolve", "delete", "update", "merge", "compact", "checkpoint", "vacuum")


@settings(max_examples=15)
@given(
    st.lists(st.sampled_from(DELTA_STEPS), max_size=8), st.sampled_from([[], ["day"], ["day", "kind"]]), st.integers()
)
def test_a_delta_table_is_what_its_past_says(steps: list[str], partitions: list[str], seed: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "t"
        past = DeltaPast(folder, random.Random(seed), partitions)
        for step in steps:
            getattr(past, step)()
        names = ["user", "item", "day", "kind", *(["extra"] if past.has_extra else [])]
        if not past.rows:
            with pytest.raises(InputError, match="has no rows"):
                rows_of(folder, names)
            return
        found = rows_of(folder, names)
        assert multiset(found) == multiset(past.rows)
        assert multiset(found) == multiset(DeltaTable(folder).to_pyarrow_table().to_pylist())
        (snapshot,) = {source.snapshot for source in list_sources(str(folder))}
        assert snapshot is not None
        assert snapshot.version == str(DeltaTable(folder).version())


class IcebergPast:
    """An Iceberg table, and its rows by a plain reading of what was done to it."""

    def __init__(self, folder: Path, rng: random.Random, partition: str | None) -> None:
        self.rng = rng
        self.fields = [("user", pa.int32()), ("item", pa.string()), ("at", pa.timestamp("us")), ("score", pa.float32())]
        self.table = iceberg_table(folder, pa.schema(self.fields))
        if partition is not None:
            with self.table.update_spec() as spec:
                spec.add_field(partition, IdentityTransform(), f"part_{partition}")
        self.rows: Rows = []
        self.append()

    def append(self) -> None:
        new = []
        for _ in range(self.rng.randrange(1, 8)):
            moment = dt.datetime(2024, 6, self.rng.randrange(1, 3), self.rng.randrange(24))
            values = (self.rng.randrange(5), f"i{self.rng.randrange(5)}", moment, float(self.rng.randrange(3)), "more")
            new.append(dict(zip((name for name, _ in self.fields), values, strict=False)))
        self.table.append(pa.Table.from_pylist(new, schema=pa.schema(self.fields)))
        self.rows += new

    def overwrite(self) -> None:
        if self.rows:
            self.table.delete()
        self.rows = []
        self.append()

    def delete(self) -> None:
        name = self.fields[0][0]
        user = self.rng.choice(self.rows)[name] if self.rows else 0
        if self.rows:  # the library warns of deletes that hit nothing
            self.table.delete(f"{name} = {user}")
        self.rows = [row for row in self.rows if row[name] != user]

    def rename(self) -> None:
        old, new = self.fields[0][0], f"user{self.rng.randrange(10**6)}"
        with self.table.update_schema() as change:
            change.rename_column(old, new)
        self.fields[0] = (new, self.fields[0][1])
        self.rows = [{new if name == old else name: value for name, value in row.items()} for row in self.rows]

    def widen(self) -> None:
        with self.table.update_schema() as change:
            change.update_column(self.fields[0][0], LongType())
            change.update_column("score", DoubleType())
        self.fields[0] = (self.fields[0][0], pa.int64())
        self.fields[3] = ("score", pa.float64())

    def add(self) -> None:
        if len(self.fields) == 4:
            with self.table.update_schema() as change:
                change.add_column("extra", StringType())
            self.fields.append(("extra", pa.string()))
            self.rows = [{**row, "extra": None} for row in self.rows]

    def delete_by_position(self) -> None:
        """Of files without partitions, the first row of one."""
        tasks = list(self.table.scan().plan_files())
        if len(self.table.specs()) > 1 or not tasks or any(task.delete_files for task in tasks):
            return
        task = tasks[0]
        inside = self.table.scan().to_arrow().num_rows
        add_delete_file(self.table, task.file.file_path, [0])
        left = self.table.scan().to_arrow().to_pylist()
        assert len(left) == inside - 1  # the library applies it: the test would say nothing otherwise
        gone = multiset(self.rows) - multiset(left)
        self.rows = [row for row in self.rows if repr(sorted(row.items())) not in gone] + [
            row for row in left if repr(sorted(row.items())) in gone
        ]


ICEBERG_STEPS = ("append", "overwrite", "delete", "rename", "widen", "add", "delete_by_position")


@settings(max_examples=12)
@given(st.lists(st.sampled_from(ICEBERG_STEPS), max_size=6), st.sampled_from([None, None, "item", "at"]), st.integers())
def test_an_iceberg_table_is_what_its_past_says(steps: list[str], partition: str | None, seed: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        past = IcebergPast(Path(place), random.Random(seed), partition)
        for step in steps:
            getattr(past, step)()
        names = [name for name, _ in past.fields]
        folder = past.table.location()
        if not list(past.table.scan().plan_files()):
            with pytest.raises(InputError, match="has no rows"):
                rows_of(folder, names)
            return
        found = rows_of(folder, names)
        assert multiset(found) == multiset(past.rows)
        assert multiset(found) == multiset(past.table.scan().to_arrow().to_pylist())


def test_rows_under_deletion_vectors_are_gone(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    for start in (0, 100):
        table = pa.table({"user": range(start, start + 50), "kind": [f"{'ab'[n % 2]} %" for n in range(50)]})
        write_deltalake(folder, table, mode="append", partition_by=["kind"])
    add_deletion_vectors(folder, lambda path: [0, 3, 7, 24] if "a%2520" in path or "a%20" in path else [])
    found = rows_of(folder, ["user", "kind"])
    assert len(found) == 92
    assert multiset(found) == multiset(pa.table(DeltaTable(folder).scan()).to_pylist())


def delta(folder: Path) -> Path:
    write_deltalake(folder, pa.table({"user": [1, 2], "item": ["a", "b"]}))
    return folder


def with_action(folder: Path, action: dict[str, Any]) -> Path:
    (delta(folder) / "_delta_log" / f"{1:020}.json").write_text(json.dumps(action) + "\n")
    return folder


def mapped(folder: Path) -> Path:
    raw = (delta(folder) / "_delta_log" / f"{0:020}.json").read_text().splitlines()
    about = next(json.loads(line) for line in raw if "metaData" in line)
    about["metaData"]["configuration"] = {"delta.columnMapping.mode": "name"}
    schema = json.loads(about["metaData"]["schemaString"])
    for number, field in enumerate(schema["fields"]):
        field["metadata"] = {"delta.columnMapping.id": number, "delta.columnMapping.physicalName": f"col-{number}"}
    about["metaData"]["schemaString"] = json.dumps(schema)
    protocol = {"protocol": {"minReaderVersion": 2, "minWriterVersion": 5}}
    (folder / "_delta_log" / f"{1:020}.json").write_text(json.dumps(protocol) + "\n" + json.dumps(about) + "\n")
    return folder


def asking_for(feature: str, folder: Path) -> Path:
    features = {"readerFeatures": [feature], "writerFeatures": [feature]}
    return with_action(folder, {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **features}})


def hudi(folder: Path) -> Path:
    (folder / ".hoodie").mkdir(parents=True)
    pq.write_table(pa.table({"user": [1]}), folder / "a.parquet")
    return folder


def iceberg(folder: Path) -> Path:
    table = iceberg_table(folder, pa.schema([("user", pa.int64()), ("item", pa.string())]))
    table.append(pa.table({"user": [1, 2], "item": ["a", "b"]}))
    return Path(table.location())


def with_equality_deletes(folder: Path) -> Path:
    place = iceberg(folder)
    from pyiceberg.catalog.sql import SqlCatalog

    table = SqlCatalog("tests", uri=f"sqlite:///{folder}/catalog.db").load_table("lake.events")
    add_delete_file(table, "", [1], equality=True)
    return place


def without_a_file(folder: Path) -> Path:
    next(delta(folder).glob("*.parquet")).unlink()
    return folder


def written_over(place: Path) -> Path:
    """A table one of whose files is another's: fewer rows, under its name."""
    file = next(file for file in sorted(place.rglob("*.parquet")) if "_delta_log" not in file.parts)
    pq.write_table(pq.read_table(file).slice(1), file)
    return place


def with_two_newest(folder: Path) -> Path:
    newest = max((place := iceberg(folder)).glob("metadata/*.metadata.json"))
    shutil.copy(newest, newest.with_name(newest.name[:6] + "11111111-" + newest.name[15:]))
    return place


def damaged(folder: Path) -> Path:
    (delta(folder) / "_delta_log" / f"{1:020}.json").write_text("{")
    return folder


def moved(folder: Path) -> Path:
    return iceberg(folder / "a").rename(folder / "b")


def a_glob_into(folder: Path) -> Path:
    return delta(folder) / "*.parquet"


def two_tables(folder: Path) -> Path:
    delta(folder / "a")
    iceberg(folder / "b")
    return folder


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (hudi, r"is a Hudi table .*hudi.*write\.parquet"),
        (mapped, r"columnMapping.mode = name.*ALTER TABLE"),
        (lambda folder: asking_for("variantType", folder), r"variantType.*(ALTER TABLE|export)"),
        (lambda folder: asking_for("catalogManaged", folder), r"catalog-managed.*export"),
        (with_equality_deletes, r"equality deletes.*rewrite_data_files"),
        (without_a_file, r"version 0, names .*isn't there"),
        (lambda folder: written_over(delta(folder)), r"with [\d,]+ bytes, and it has [\d,]+: .*written over"),
        (lambda folder: written_over(iceberg(folder)), r"with [\d,]+ bytes, and it has [\d,]+: .*written over"),
        (moved, r"lies at .*/a/.*isn't there.*moved or copied"),
        (with_two_newest, r"which of its metadata files.*name that file"),
        (damaged, r"the Delta table .* can't be read"),
        (a_glob_into, r"of the lake table .*\(Delta\).*name the folder"),
        (lambda folder: next(delta(folder).glob("*.parquet")), r"of the lake table .*name the folder"),
        (lambda folder: iceberg(folder) / "data", r"of the lake table .*\(Iceberg\).*name the folder"),
        (two_tables, r"a \(Delta\).*\(Iceberg\).*name the folder of one"),
        (lambda folder: two_tables(folder) / "*", r"a \(Delta\).*\(Iceberg\).*name the folder of one"),
    ],
)
def test_what_cant_be_read_is_refused_by_name(make: Any, sentence: str, tmp_path: Path) -> None:
    path = str(make(tmp_path / "t"))
    with pytest.raises(InputError, match=sentence):
        rows_of(path, ["user"])


@pytest.mark.parametrize(("make", "module"), [(delta, "deltalake"), (iceberg, "pyiceberg")])
def test_without_the_package_the_pip_line_is_said(
    make: Any, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(make(tmp_path / "t"))
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "pipeline.ingest.lake.delta", raising=False)
    monkeypatch.delitem(sys.modules, "pipeline.ingest.lake.iceberg", raising=False)
    with pytest.raises(InputError, match=rf"{module} isn't installed here: pip install 'graphquilt-pipeline\[lake\]'"):
        list_sources(path)


@pytest.mark.parametrize("make", [delta, iceberg])
def test_a_table_is_found_by_folder_glob_and_date(make: Any, tmp_path: Path) -> None:
    place = make(tmp_path / "2024-06-01")
    want = multiset([{"user": 1, "item": "a"}, {"user": 2, "item": "b"}])
    spelt = str(place)
    for path in (spelt, f"{spelt}/", f"file://{spelt}", spelt[:-1] + "?", spelt.replace("2024-06-01", "2024-*")):
        assert multiset(rows_of(path, ["user", "item"])) == want
    dated = spelt.replace("2024-06-01", "{date}")
    assert multiset(rows_of(dated, ["user", "item"], date=dt.date(2024, 6, 1))) == want


def test_an_iceberg_table_may_be_named_by_a_metadata_file_or_a_hint(tmp_path: Path) -> None:
    place = iceberg(tmp_path / "t")
    files = sorted(place.glob("metadata/*.metadata.json"))
    assert len(rows_of(files[1], ["user"])) == 2
    with pytest.raises(InputError, match="has no rows"):
        rows_of(files[0], ["user"])
    files[0].rename(files[0].with_name("v1.metadata.json"))
    files[1].rename(files[1].with_name("v2.metadata.json"))
    (place / "metadata" / "version-hint.text").write_text("1")  # one behind: Hadoop's way writes it last
    assert len(rows_of(place, ["user"])) == 2
    (place / "metadata" / "v2.metadata.json").unlink()
    with pytest.raises(InputError, match="has no rows"):
        rows_of(place, ["user"])


def test_a_pinned_snapshot_is_read_whatever_came_later(tmp_path: Path) -> None:
    folder = delta(tmp_path / "t")
    (snapshot,) = {source.snapshot for source in list_sources(str(folder))}
    assert snapshot is not None
    DeltaTable(folder).delete("user = 1")
    assert len(rows_of(folder, ["user"])) == 1
    assert len(rows_of(folder, ["user"], snapshots={snapshot.table: snapshot})) == 2


def test_a_clone_names_files_of_another_table(tmp_path: Path) -> None:
    """Also where their names hold what addresses quote."""
    folder = delta(tmp_path / "a b%c")
    (file,) = folder.glob("*.parquet")
    moved = file.rename(tmp_path / "else #where.parquet")
    log = folder / "_delta_log" / f"{0:020}.json"
    log.write_text(log.read_text().replace(file.name, moved.as_uri()))
    assert len(rows_of(folder, ["user", "item"])) == 2


def test_a_link_to_a_table_is_the_table(tmp_path: Path) -> None:
    delta(tmp_path / "t")
    (tmp_path / "link").symlink_to(tmp_path / "t")
    assert len(rows_of(tmp_path / "link", ["user"])) == 2
    with pytest.raises(InputError, match="of the lake table"):
        rows_of(f"{tmp_path}/link/*.parquet", ["user"])


def test_texts_that_stand_for_no_value_do_so_in_lake_tables(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "t", pa.table({"user": ["a", "NULL"], "day": ["x", "NULL"]}), partition_by=["day"])
    (task,) = split_tasks(list_sources(str(tmp_path / "t")))
    roles = {"source": "user", "target": "day"}
    batches = [batch for piece in task.pieces for batch in read(piece, roles, TextFormat(null_values=("NULL",)))]
    found = [
        pair for batch in batches for pair in zip(*(batch.values[role].to_pylist() for role in roles), strict=True)
    ]
    assert sorted(found, key=str) == [("a", "x"), (None, None)]
