"""Exports of a release: whole or the one before, on a folder as in a store; libraries are asked for when needed."""

from __future__ import annotations

import hashlib
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from graphquilt import EmbeddingTable, ExportedVectors, TableError, files
from graphquilt.locations import parse_location
from pipeline import storage
from pipeline.queries.exports import formats, recall, writing
from pipeline.queries.exports.rows import TypeRows
from tests.graphquilt.published_tables import publish_nodes, random_nodes
from tests.jobs.conftest import call
from tests.object_store import bucket, moto_endpoint, object_store  # noqa: F401


@pytest.fixture
def work(tmp_path: Path) -> Path:
    nodes = random_nodes(np.random.default_rng(3), {"item": 40, "user": 25}, as_text=True)
    publish_nodes(tmp_path / "work", nodes)
    return tmp_path / "work"


@pytest.fixture(params=["folder", "objects"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "folder":
        return tmp_path / "exports"
    return parse_location(request.getfixturevalue("bucket")) / "exports"


def export(work: Any, place: Any, format_name: str = "npy", **options: Any) -> ExportedVectors:
    with EmbeddingTable.open(work) as table:
        writing.export_table(table, format_name, place, **options)
    return ExportedVectors.open(place)


def test_arrays_are_the_table_s_rows(work: Path, place: Any, tmp_path: Path) -> None:
    exported = export(work, place)
    with EmbeddingTable.open(work) as table:
        assert exported.manifest["space_id"] == table.space_id
        assert exported.release == table.release
        for node_type in table.node_types:
            ids, rows = table.to_numpy(node_type)
            (tmp_path / "copy.npy").write_bytes(files.read(exported.file(node_type)))
            np.testing.assert_array_equal(np.load(tmp_path / "copy.npy"), rows)
            np.testing.assert_array_equal(exported.ids(node_type), ids)
            assert exported.manifest["types"][node_type]["rows"] == len(ids)
    for entry in exported.manifest["files"]:
        data = files.read(exported.folder / entry["name"])
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"])


def test_a_release_in_a_store_is_exported_to_a_folder(bucket: str, tmp_path: Path) -> None:  # noqa: F811
    root = parse_location(bucket) / "work"
    publish_nodes(root, random_nodes(np.random.default_rng(4), {"item": 20}))
    exported = export(root, tmp_path / "out")
    with EmbeddingTable.open(root) as table:
        np.testing.assert_array_equal(np.load(str(exported.file("item"))), table.to_numpy("item")[1])


def test_an_export_that_fails_leaves_the_one_before(work: Path, place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = export(work, place, node_types=["item"])
    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_json", lambda *_: pytest.fail("stopped before the manifest"))
        with pytest.raises(pytest.fail.Exception):
            export(work, place, node_types=["user"])
    assert ExportedVectors.open(place) == before
    assert export(work, place, node_types=["user"]).manifest["types"].keys() == {"user"}


def test_the_export_before_stays_for_its_readers_and_older_ones_go(work: Path, place: Any) -> None:
    choices = (["item"], ["user"], ["item", "user"])
    folders = [export(work, place, node_types=types).manifest["folder"] for types in choices]
    assert {name for name in storage.names_in(place) if name.startswith("2024")} == set(folders[1:])
    assert export(work, place).manifest["folder"] == folders[-1]  # the same export is not written twice
    files_there = ExportedVectors.open(place).manifest["files"]
    storage.remove(parse_location(str(place)) / folders[-1] / files_there[0]["name"])
    with pytest.raises(TableError, match="is missing"):
        ExportedVectors.open(place)
    assert export(work, place).manifest["folder"] != folders[-1]


def test_a_place_with_other_things_is_left_alone(work: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    done = call("export", "--workspace", str(work), "--format", "npy", "--out", str(tmp_path / "home"))
    assert done.code == 2
    assert "thesis.tex" in done.err
    assert (tmp_path / "home" / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("format_name", "module", "package"),
    [("faiss", "faiss", "faiss-cpu"), ("usearch", "usearch.index", "usearch"), ("lance", "lancedb", "lancedb")],
)
def test_a_library_that_is_missing_is_named_with_its_package(
    format_name: str, module: str, package: str, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    done = call("export", "--workspace", str(work), "--format", format_name, "--out", str(tmp_path / "out"))
    assert done.code == 2
    assert f"pip install {package}" in done.err
    with pytest.raises(TableError, match="nothing was exported"):
        ExportedVectors.open(tmp_path / "out")


@pytest.mark.parametrize("product", ["dot", "cosine"])
def test_an_index_gets_rows_of_equal_norms_and_recall_counts_what_it_misses(work: Path, product: Any) -> None:
    with EmbeddingTable.open(work) as table:
        rows = TypeRows(table, "item", product)
        ids, vectors = table.to_numpy("item")
        is_zero = ~vectors.any(axis=1)
        blocks = list(rows.index_batches())
        inside = np.concatenate([block for _, block in blocks])
        assert [one for block, _ in blocks for one in block.to_pylist()] == list(ids[~is_zero])
        norms = np.linalg.norm(inside.astype(np.float64), axis=1)
        largest = np.linalg.norm(vectors.astype(np.float64), axis=1).max() if product == "dot" else 1.0
        np.testing.assert_allclose(norms, largest, rtol=1e-6)
        queries = recall.query_rows(table, "item")
        users = table.to_numpy("user")[1]
        np.testing.assert_array_equal(queries, users[users.any(axis=1)])  # fewer than 500: all of them

        # Of one brute force the recall is 1; of one that never sees row 0, what it says of who has it among the best.
        lengths = np.linalg.norm(vectors[~is_zero].astype(np.float64), axis=1)
        exact = queries.astype(np.float64) @ vectors[~is_zero].T / (1.0 if product == "dot" else lengths)
        best = np.argsort(-exact, axis=1)[:, :10]
        assert recall.recall_of(lambda asked, k: np.argsort(-(asked @ inside.T))[:, :k], rows, queries) == 1.0
        without = recall.recall_of(lambda asked, k: 1 + np.argsort(-(asked @ inside[1:].T))[:, :k], rows, queries)
        assert without == pytest.approx(1 - (best == 0).sum() / best.size)


def test_features_say_when_they_may_be_used(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = export(work, tmp_path / "out", "feast")
    features = pq.read_table(str(exported.file("item")))
    assert {str(time) for time in features["event_timestamp"].to_pylist()} == {"2024-06-02 00:00:00+00:00"}
    with EmbeddingTable.open(work) as table:
        ids, rows = table.to_numpy("item")
    assert features["item_id"].to_pylist() == list(ids)
    np.testing.assert_array_equal(np.stack(features["embedding"].to_numpy()), rows)

    stand_in = SimpleNamespace(**{name: lambda name=None, **facts: {"name": name, **facts} for name in _FEAST})
    monkeypatch.setitem(sys.modules, "feast", stand_in)
    stand_in.ValueType, types = SimpleNamespace(STRING="string"), dict.fromkeys(("Float32", "Int64", "String"))
    monkeypatch.setitem(sys.modules, "feast.types", SimpleNamespace(Array=list, **types | {"Float32": ()}))
    defined = runpy.run_path(str(Path(str(exported.folder)) / "features.py"))
    assert defined["item_embeddings"]["source"]["path"] == str(exported.file("item"))
    assert defined["user_embeddings"]["tags"] == {"release": exported.release, "space_id": "space-1"}


_FEAST = ("Entity", "FeatureView", "Field", "FileSource")


def test_an_index_is_asked_with_what_the_manifest_says(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BruteForce:
        """Stands for faiss.IndexHNSWFlat: the products of all rows."""

        def __init__(self, dim: int, *_: Any) -> None:
            self.hnsw, self.rows = SimpleNamespace(), np.empty((0, dim), np.float32)

        ntotal = property(lambda self: len(self.rows))

        def add(self, rows: np.ndarray) -> None:
            self.rows = np.vstack((self.rows, rows))

        def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
            scores = queries @ self.rows.T
            best = np.argsort(-scores)[:, :k]
            return np.take_along_axis(scores, best, 1), best

    def write_index(index: BruteForce, path: str) -> None:
        with Path(path).open("wb") as file:
            np.save(file, index.rows)

    fake = SimpleNamespace(IndexHNSWFlat=BruteForce, write_index=write_index, METRIC_INNER_PRODUCT=0, __version__="0")
    monkeypatch.setattr(formats, "import_library", lambda *_: fake)
    exported = export(work, tmp_path / "out", "faiss")
    assert exported.manifest["types"].keys() == {"item", "user"}  # the table names no target
    assert exported.manifest["types"]["item"]["measured"] == {"recall@10": 1.0, "queries": 22}
    with EmbeddingTable.open(work) as table:
        user = table.to_numpy("user")[0][1]
        wanted = table.neighbors(user, "user", k=3, target_type="item")
        queries = exported.queries(table.lookup([user], "user")[0])
    index = BruteForce(9)
    index.add(np.load(str(exported.file("item"))))
    scores, rows = index.search(queries, 3)
    assert list(exported.ids("item")[rows[0]]) == [node for node, _ in wanted]
    np.testing.assert_allclose(exported.scores(scores[0]), [score for _, score in wanted], rtol=1e-5)
