import datetime as dt
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphquilt import EmbeddingTable, TableError, UnknownNodeError
from pipeline.publishing.release import publish
from tests.graphquilt.published_tables import Nodes, metadata_of, publish_nodes, random_nodes, write_part
from tests.publishing.working_files import contents


def brute_lookup(nodes: Nodes, ids: list[Any], node_type: str) -> tuple[np.ndarray, np.ndarray]:
    known, rows = nodes[node_type]
    place = {node_id: row for row, node_id in enumerate(known)}
    found = np.array([node_id in place for node_id in ids], bool)
    vectors = np.array([rows[place[i]] if i in place else np.zeros(rows.shape[1]) for i in ids], np.float32)
    return vectors.reshape(len(ids), rows.shape[1]), found


@pytest.fixture(scope="module", params=[False, True], ids=["int64", "string"])
def nodes(request: pytest.FixtureRequest) -> Nodes:
    return random_nodes(np.random.default_rng(0), {"item": 150, "user": 301}, as_text=request.param)


@pytest.fixture(scope="module")
def workspace(nodes: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("workspace")
    publish_nodes(root, nodes, files=4)
    return root


@given(data=st.data())
def test_lookup_equals_a_dict(workspace: Path, nodes: Nodes, data: st.DataObject) -> None:
    node_type = data.draw(st.sampled_from(["item", "user"]))
    known = nodes[node_type][0]
    unknown = st.text(min_size=0, max_size=4) if isinstance(known[0], str) else st.integers(-(2**63), 2**63 - 1)
    ids = data.draw(st.lists(st.sampled_from(known) | unknown, max_size=200))
    with EmbeddingTable.open(workspace) as table:
        vectors, found = table.lookup(ids, node_type)
    want_vectors, want_found = brute_lookup(nodes, ids, node_type)
    np.testing.assert_array_equal(vectors, want_vectors)
    np.testing.assert_array_equal(found, want_found)
    assert vectors.dtype == np.float32


@pytest.mark.parametrize("cache_bytes", [0, 600, 2**20])
def test_lookup_does_not_depend_on_what_is_remembered(workspace: Path, nodes: Nodes, cache_bytes: int) -> None:
    table = EmbeddingTable.open(workspace, cache_bytes=cache_bytes)
    ids = list(nodes["user"][0])
    for _ in range(3):
        for some in (ids[:3], ids[150:290], ids[::-1]):
            vectors, found = table.lookup(some, "user")
            assert found.all()
            np.testing.assert_array_equal(vectors, brute_lookup(nodes, some, "user")[0])


def test_many_strings_take_the_hashed_way_and_agree(tmp_path: Path) -> None:
    # One row group holds more ids asked for than are worth a binary search each.
    nodes = random_nodes(np.random.default_rng(1), {"user": 3000}, as_text=True)
    publish_nodes(tmp_path, nodes, row_group=1000)
    ids = [*nodes["user"][0][::2], "zz", "", "n"]
    vectors, found = EmbeddingTable.open(tmp_path).lookup(ids, "user")
    want = brute_lookup(nodes, ids, "user")
    np.testing.assert_array_equal(vectors, want[0])
    np.testing.assert_array_equal(found, want[1])


def test_missing_nodes_get_zero_or_the_mean_or_an_error(workspace: Path, nodes: Nodes) -> None:
    table = EmbeddingTable.open(workspace)
    known = nodes["item"][0][5]
    ids = [known, 10**9] if isinstance(known, int) else [known, "nobody"]
    assert not table.lookup(ids, "item")[0][1].any()
    mean, found = table.lookup(ids, "item", missing="mean")
    np.testing.assert_allclose(mean[1], nodes["item"][1].mean(axis=0), rtol=1e-6)
    assert found.tolist() == [True, False]
    with pytest.raises(UnknownNodeError, match="1 of 2 ids are unknown as 'item', the first at position 1"):
        table.lookup(ids, "item", missing="raise")


def test_an_error_names_no_id(workspace: Path) -> None:
    with pytest.raises(UnknownNodeError) as caught:
        EmbeddingTable.open(workspace).lookup(["secret-person"], "user", missing="raise")
    assert "secret" not in str(caught.value)


def test_ids_mean_the_same_node_as_numbers_and_as_text(tmp_path: Path) -> None:
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    largest = 2**63 - 1
    publish_nodes(tmp_path / "i", {"u": ([-5, 0, 7, largest], rows)})
    publish_nodes(tmp_path / "s", {"u": (["-5", str(2**70), "7", "9x"], rows)})
    numbers, texts = EmbeddingTable.open(tmp_path / "i"), EmbeddingTable.open(tmp_path / "s")
    for ids in ([7, -5], ["7", "-5"], np.array([7, -5]), np.array(["7", "-5"]), pa.array([7, -5], pa.int8())):
        for table in (numbers, texts):
            np.testing.assert_array_equal(table.lookup(ids, "u")[0], rows[[2, 0]])
    assert numbers.lookup([str(largest)], "u")[1].all()
    assert texts.lookup([2**70], "u")[1].all()
    # None of these is a canonical decimal in int64, so none of them was an id of this table.
    strange = ["007", "+7", "7.0", " 7", "", "-0", str(2**63), str(-(2**63) - 1), "9" * 40, "٧"]
    assert not numbers.lookup(strange, "u")[1].any()
    assert numbers.lookup(np.array([2**63, 7], np.uint64), "u")[1].tolist() == [False, True]


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (7, "one int"),
        ("7", "one str"),
        ([1.0], "cast whole numbers"),
        ([True], "integers or strings"),
        ([b"7"], "integers or strings"),
        ([1, None], "null"),
        ([1, "a"], "all integers or all strings"),
        (np.zeros((2, 2), np.int64), "all integers or all strings"),
    ],
)
def test_ids_of_a_wrong_type_are_refused(workspace: Path, ids: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        EmbeddingTable.open(workspace).lookup(ids, "user")


def test_no_ids_are_no_rows(workspace: Path) -> None:
    vectors, found = EmbeddingTable.open(workspace).lookup([], "user", missing="raise")
    assert vectors.shape == (0, 8)
    assert found.shape == (0,)


def test_a_type_that_is_not_there_is_named(workspace: Path) -> None:
    with pytest.raises(ValueError, match=r"no nodes of type 'shop'; its types are \['item', 'user'\]"):
        EmbeddingTable.open(workspace).lookup([1], "shop")


@pytest.mark.parametrize("retrieval", ["dot", "cosine"])
@pytest.mark.parametrize("target", ["item", "user", None])
def test_neighbors_equal_a_full_sort(tmp_path: Path, retrieval: str, target: str | None) -> None:
    nodes = random_nodes(np.random.default_rng(2), {"item": 150, "user": 301})
    publish_nodes(tmp_path, nodes, files=3, retrieval=retrieval)
    table = EmbeddingTable.open(tmp_path)
    for row in (1, 77, 300):
        node_id, vector = nodes["user"][0][row], nodes["user"][1][row].astype(np.float64)
        got = table.neighbors(node_id, "user", k=20, target_type=target)
        ids, rows = nodes[target or "user"]
        rows = rows.astype(np.float64)
        score = rows @ vector
        if target != "item" or retrieval == "cosine":
            with np.errstate(divide="ignore", invalid="ignore"):
                score /= np.linalg.norm(rows, axis=1) * np.linalg.norm(vector)
        candidates = [i for i in range(len(ids)) if rows[i].any() and (target == "item" or i != row)]
        want = sorted(candidates, key=lambda i: (-score[i], i))[:20] if vector.any() else []
        assert [found for found, _ in got] == [ids[i] for i in want]
        np.testing.assert_allclose([s for _, s in got], score[want], atol=1e-5)


def test_equal_scores_go_by_id_across_row_groups(tmp_path: Path) -> None:
    rows = np.tile(np.array([[3.0, 4.0]], np.float32), (50, 1))
    publish_nodes(tmp_path, {"u": (list(range(50)), rows)}, row_group=7)
    got = EmbeddingTable.open(tmp_path).neighbors(9, "u", k=12)
    assert [node_id for node_id, _ in got] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12]
    assert len(EmbeddingTable.open(tmp_path).neighbors(9, "u", k=1000)) == 49


def test_a_zero_row_has_no_neighbors_and_is_nobodys(tmp_path: Path) -> None:
    publish_nodes(tmp_path, {"u": ([1, 2, 3], np.array([[0, 0], [1, 0], [-1, 0]], np.float32))})
    table = EmbeddingTable.open(tmp_path)
    assert table.neighbors(1, "u") == []
    assert table.neighbors(2, "u") == [(3, -1.0)]
    with pytest.raises(UnknownNodeError):
        table.neighbors(4, "u")


def test_tables_and_arrays_hold_every_row_once(workspace: Path, nodes: Nodes) -> None:
    table = EmbeddingTable.open(workspace)
    assert len(table) == table.to_arrow().num_rows == 451
    assert table.to_arrow("item", ["node_id", "norm"]).column_names == ["node_id", "norm"]
    assert table.to_arrow("item", ["node_id"])["node_id"].to_pylist() == nodes["item"][0]
    ids, vectors = table.to_numpy("user")
    assert ids.tolist() == nodes["user"][0]
    np.testing.assert_array_equal(vectors, nodes["user"][1])
    with pytest.raises(ValueError, match=r"no columns \['vector'\]"):
        table.to_arrow(columns=["vector"])


@pytest.mark.parametrize("node_type", [None, "item", "user"])
@pytest.mark.parametrize("columns", [None, ["node_id"], ["norm", "embedding"]])
def test_batches_hold_the_rows_of_the_table_in_order(
    workspace: Path, node_type: str | None, columns: list[str] | None
) -> None:
    table = EmbeddingTable.open(workspace)
    batches = list(table.to_batches(node_type, columns))
    assert len(batches) > 1
    assert pa.Table.from_batches(batches).combine_chunks().equals(table.to_arrow(node_type, columns).combine_chunks())


def test_batches_of_what_a_table_lacks_are_refused_at_once(workspace: Path) -> None:
    table = EmbeddingTable.open(workspace)
    with pytest.raises(ValueError, match=r"no columns \['vector'\]"):
        table.to_batches(columns=["vector"])
    with pytest.raises(ValueError, match="no nodes of type 'shop'"):
        table.to_batches("shop")


def test_what_a_table_says_of_itself(workspace: Path) -> None:
    table = EmbeddingTable.open(workspace)
    assert (table.dim, table.node_types, table.space_id) == (8, ("item", "user"), "space-1")
    assert table.release == "2024-06-01-aaaaaaaaaaaa"
    assert table.data_date == dt.date(2024, 6, 1)
    assert table.similarity["classifier"] == "cosine"
    assert repr(table) == "EmbeddingTable(2024-06-01-aaaaaaaaaaaa: 150 item, 301 user; dim=8)"


def test_every_path_to_a_release_opens_it(workspace: Path) -> None:
    published = workspace / "published" / "default"
    for path in (
        workspace,
        published,
        published / "CURRENT.json",
        published / "releases" / "2024-06-01-aaaaaaaaaaaa",
    ):
        assert len(EmbeddingTable.open(str(path))) == 451


def test_a_handle_outlives_its_release(tmp_path: Path) -> None:
    nodes = random_nodes(np.random.default_rng(3), {"user": 200})
    first = publish_nodes(tmp_path, nodes)
    table = EmbeddingTable.open(tmp_path, cache_bytes=0)
    other = random_nodes(np.random.default_rng(4), {"user": 10})
    publish_nodes(tmp_path, other, release="2024-06-02-b", date=dt.date(2024, 6, 2))
    shutil.rmtree(first.path)
    shutil.rmtree(tmp_path / "runs")
    assert table.release == first.release
    np.testing.assert_array_equal(table.to_numpy("user")[1], nodes["user"][1])
    assert len(EmbeddingTable.open(tmp_path)) == 10


def test_a_closed_table_says_so(workspace: Path) -> None:
    with EmbeddingTable.open(workspace) as table:
        arrow = table.to_arrow()
    assert arrow.num_rows == 451
    with pytest.raises(ValueError, match="closed"):
        table.to_arrow()


def test_ids_too_long_for_statistics_are_found(tmp_path: Path) -> None:
    ids = sorted([f"{i:03}" + "x" * 5000 for i in range(40)] + ["short"], key=str.encode)
    rows = np.random.default_rng(5).standard_normal((41, 4)).astype(np.float32)
    publish_nodes(tmp_path, {"u": (ids, rows)})
    vectors, found = EmbeddingTable.open(tmp_path).lookup([*ids[::-1], "020"], "u")
    np.testing.assert_array_equal(vectors[:-1], rows[::-1])
    assert found.tolist() == [True] * 41 + [False]


def test_ids_sort_by_code_point_not_by_utf16(tmp_path: Path) -> None:
    # U+FFFD sorts before U+10000 in UTF-8 and after it in UTF-16.
    ids = ["a", "é", "\ufffd", "\U00010000"]
    rows = np.eye(4, dtype=np.float32)
    publish_nodes(tmp_path, {"u": (ids, rows)}, row_group=1)
    np.testing.assert_array_equal(EmbeddingTable.open(tmp_path).lookup(ids, "u")[0], rows)


# What is refused


def test_nothing_published_is_said(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="does not exist"):
        EmbeddingTable.open(tmp_path / "nowhere")
    with pytest.raises(TableError, match="nothing has been published"):
        EmbeddingTable.open(tmp_path)
    publish_nodes(tmp_path, random_nodes(np.random.default_rng(0), {"u": 3}), name="a")
    with pytest.raises(TableError, match=r"nothing is published as 'b'.*\['a'\]"):
        EmbeddingTable.open(tmp_path, name="b")


def test_a_truncated_and_a_missing_file_are_named(tmp_path: Path) -> None:
    published = publish_nodes(tmp_path, random_nodes(np.random.default_rng(0), {"u": 30}), files=2)
    part = published.path / "node_embeddings" / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(TableError, match=r"part-00001.parquet has .* bytes, the manifest says"):
        EmbeddingTable.open(tmp_path)
    part.unlink()
    with pytest.raises(TableError, match=r"part-00001.parquet is missing"):
        EmbeddingTable.open(tmp_path)


def test_a_manifest_that_changed_after_publication_is_refused(tmp_path: Path) -> None:
    published = publish_nodes(tmp_path, random_nodes(np.random.default_rng(0), {"u": 3}))
    manifest = published.path / "manifest.json"
    manifest.write_text(manifest.read_text().replace("r1", "r2"))
    with pytest.raises(TableError, match="it was changed since"):
        EmbeddingTable.open(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.drop_columns(["norm"]), "has no column 'norm'"),
        (
            lambda t: t.set_column(3, "norm", t["norm"].cast(pa.float64())),
            "norm at .* is double, expected float",
        ),
        (lambda t: t.replace_schema_metadata({}), "no schema metadata"),
        (lambda t: t.replace_schema_metadata({b"graphquilt": b"{}"}), "lack .*space_id"),
        (lambda t: t.take(list(range(t.num_rows))[::-1]), "out of order|one type"),
    ],
)
def test_a_table_against_its_contract_is_refused(tmp_path: Path, change: Any, says: str) -> None:
    nodes = random_nodes(np.random.default_rng(0), {"item": 20, "user": 20})
    sound = pq.read_table(write_part(tmp_path / "sound.parquet", nodes))
    about = {b"graphquilt": json.dumps(metadata_of(nodes)).encode()}
    table = change(sound.replace_schema_metadata(about))
    pq.write_table(table, tmp_path / "broken.parquet", row_group_size=10)
    tables = {"node_embeddings": [(tmp_path / "broken.parquet", "part-00000.parquet")]}
    publish(tmp_path / "w", "default", contents("r", tables, dt.date(2024, 1, 1)))
    with pytest.raises(TableError, match=says):
        EmbeddingTable.open(tmp_path / "w")


def test_another_contract_version_is_refused(tmp_path: Path) -> None:
    part = write_part(tmp_path / "p.parquet", random_nodes(np.random.default_rng(0), {"u": 3}))
    tables = {"node_embeddings": [(part, "part-00000.parquet")]}
    publish(tmp_path, "default", contents("r", tables, dt.date(2024, 1, 1), contract_version=2))
    with pytest.raises(TableError, match="version 2, this reader knows version 1"):
        EmbeddingTable.open(tmp_path)


def test_a_type_without_a_mean_is_said(tmp_path: Path) -> None:
    nodes = random_nodes(np.random.default_rng(0), {"u": 3})
    part = pq.read_table(write_part(tmp_path / "p.parquet", nodes))
    metadata = {**metadata_of(nodes), "mean_vectors": {}}
    pq.write_table(part.replace_schema_metadata({b"graphquilt": json.dumps(metadata)}), tmp_path / "q.parquet")
    tables = {"node_embeddings": [(tmp_path / "q.parquet", "part-00000.parquet")]}
    publish(tmp_path, "default", contents("r", tables, dt.date(2024, 1, 1)))
    with pytest.raises(TableError, match="no mean vector of type 'u'"):
        EmbeddingTable.open(tmp_path).lookup([10**6], "u", missing="mean")


def test_a_workspace_may_move(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(workspace, tmp_path / "moved")
    assert len(EmbeddingTable.open(tmp_path / "moved")) == 451
    monkeypatch.chdir(tmp_path)
    assert len(EmbeddingTable.open(os.path.join("moved", "published", "default"))) == 451
