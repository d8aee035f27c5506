import datetime as dt
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphquilt import EmbeddingTable, NeighborLists, NeighborTable, TableError, UnknownNodeError
from graphquilt.row_groups import NodeRowGroup, RowGroups
from pipeline.publishing.release import publish
from schemas.published_tables import PPR_NEIGHBOR_LISTS
from tests.graphquilt.published_neighbors import (
    Lists,
    metadata_of,
    publish_lists,
    random_lists,
    table_of,
    write_lists,
)
from tests.graphquilt.published_tables import publish_nodes, random_nodes
from tests.publishing.working_files import contents


def assert_is_the_dicts(got: NeighborLists, lists: Lists, ids: list[Any], node_type: str) -> None:
    """Hold an answer against the lists that were written."""
    known = lists[node_type]
    assert got.found.tolist() == [node_id in known for node_id in ids]
    assert len(got) == len(ids)
    assert (got.indptr.dtype, got.scores.dtype, got.error_bound.dtype) == (np.int64, np.float32, np.float32)
    assert got.indptr[-1] == len(got.ids) == got.scores.size
    for position, node_id in enumerate(ids):
        listed, scores, bound = known.get(node_id, ([], [], np.inf))
        assert got.of(position) == list(zip(listed, scores, strict=True))
        assert got.error_bound[position] == np.float32(bound)


@pytest.fixture(scope="module", params=[False, True], ids=["int64", "string"])
def lists(request: pytest.FixtureRequest) -> Lists:
    return random_lists(np.random.default_rng(0), {"item": 60, "user": 151}, as_text=request.param)


@pytest.fixture(scope="module")
def workspace(lists: Lists, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("workspace")
    publish_lists(root, lists, files=4)
    return root


@given(data=st.data(), cache_bytes=st.sampled_from([0, 2_000, 2**20]))
def test_lookup_equals_a_dict(workspace: Path, lists: Lists, data: st.DataObject, cache_bytes: int) -> None:
    node_type = data.draw(st.sampled_from(["item", "user"]))
    known = list(lists[node_type])
    unknown = st.text(max_size=4) if isinstance(known[0], str) else st.integers(-(2**63), 2**63 - 1)
    ids = st.lists(st.sampled_from(known) | unknown, max_size=100)
    with NeighborTable.open(workspace, cache_bytes=cache_bytes) as table:
        for asked in (data.draw(ids), data.draw(ids)):
            assert_is_the_dicts(table.lookup(asked, node_type), lists, asked, node_type)


def test_neighbors_are_the_start_of_the_list(workspace: Path, lists: Lists) -> None:
    table = NeighborTable.open(workspace)
    for node_id, (listed, scores, _) in lists["user"].items():
        whole = list(zip(listed, scores, strict=True))
        assert table.neighbors(node_id, "user") == whole
        assert table.neighbors(node_id, "user", k=2) == whole[:2]
        assert table.neighbors(node_id, "user", k=10**6) == whole
    with pytest.raises(ValueError, match="k is 0; it must be at least 1"):
        table.neighbors(next(iter(lists["user"])), "user", k=0)


def test_missing_nodes_get_an_empty_list_without_a_bound_or_an_error(workspace: Path, lists: Lists) -> None:
    table = NeighborTable.open(workspace)
    known = next(iter(lists["item"]))
    ids = [known, 10**9] if isinstance(known, int) else [known, "nobody"]
    got = table.lookup(ids, "item")
    assert (got.found.tolist(), got.of(1), got.error_bound[1]) == ([True, False], [], np.inf)
    with pytest.raises(UnknownNodeError, match="1 of 2 ids are unknown as 'item', the first at position 1"):
        table.lookup(ids, "item", missing="raise")
    with pytest.raises(UnknownNodeError) as caught:
        table.neighbors("secret-person", "item")
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="missing is 'zero'; choose 'empty' or 'raise'"):
        table.lookup(ids, "item", missing="zero")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"no nodes of type 'shop'; its types are \['item', 'user'\]"):
        table.lookup(ids, "shop")


def test_ids_mean_the_same_node_as_numbers_and_as_text(tmp_path: Path) -> None:
    publish_lists(tmp_path / "i", {"u": {-5: ([7], [0.5], 0.0), 7: ([-5], [0.25], 0.0)}})
    publish_lists(tmp_path / "s", {"u": {"-5": (["7"], [0.5], 0.0), "7": (["-5"], [0.25], 0.0)}})
    numbers, texts = NeighborTable.open(tmp_path / "i"), NeighborTable.open(tmp_path / "s")
    for ids in ([7, -5], ["7", "-5"], np.array([7, -5]), pa.array(["7", "-5"])):
        assert numbers.lookup(ids, "u").ids.equals(pa.array([-5, 7]))
        assert texts.lookup(ids, "u").ids.equals(pa.array(["-5", "7"]))
    assert not numbers.lookup(["007", "+7", ""], "u").found.any()
    with pytest.raises(TypeError, match="one int"):
        numbers.lookup(7, "u")  # type: ignore[arg-type]


def test_lists_count_from_the_end_too_and_no_further(workspace: Path, lists: Lists) -> None:
    ids = [node_id for node_id, (listed, _, _) in lists["user"].items() if listed][:3]
    got = NeighborTable.open(workspace).lookup(ids, "user")
    assert got.of(-1) == got.of(2) != []
    with pytest.raises(IndexError):
        got.of(3)


def test_no_ids_are_no_lists(workspace: Path) -> None:
    got = NeighborTable.open(workspace).lookup([], "user", missing="raise")
    assert (len(got), got.indptr.tolist(), len(got.ids), got.scores.size) == (0, [0], 0, 0)


def test_a_table_without_rows_opens(tmp_path: Path) -> None:
    publish_lists(tmp_path, {"user": {}})
    table = NeighborTable.open(tmp_path)
    assert (len(table), table.node_types, table.to_arrow().num_rows) == (0, (), 0)
    assert "no nodes" in repr(table)


def test_to_arrow_holds_every_row_once(workspace: Path, lists: Lists) -> None:
    table = NeighborTable.open(workspace)
    assert len(table) == table.to_arrow().num_rows == 211
    PPR_NEIGHBOR_LISTS.check_rows(table.to_arrow(), "the test's table")
    items = table.to_arrow("item", ["node_id", "neighbor_ids"])
    assert items.column_names == ["node_id", "neighbor_ids"]
    assert dict(zip(*items.to_pydict().values(), strict=True)) == {i: v[0] for i, v in lists["item"].items()}
    with pytest.raises(ValueError, match=r"no columns \['vector'\]"):
        table.to_arrow(columns=["vector"])


def test_what_a_table_says_of_itself(workspace: Path) -> None:
    table = NeighborTable.open(workspace)
    assert (table.node_types, table.target_type, table.top_k) == (("item", "user"), "item", 5)
    assert (table.restart, table.error_kind) == (0.25, "pointwise")
    assert (table.release, table.data_date) == ("2024-06-01-aaaaaaaaaaaa", dt.date(2024, 6, 1))
    assert table.path == workspace / "published" / "default" / "releases" / table.release
    assert table.metadata["method"] == "ppr"
    assert repr(table) == "NeighborTable(2024-06-01-aaaaaaaaaaaa: 60 item, 151 user; 5 item each)"


def test_a_handle_outlives_its_release(tmp_path: Path) -> None:
    lists = random_lists(np.random.default_rng(3), {"item": 9, "user": 100})
    first = publish_lists(tmp_path, lists)
    table = NeighborTable.open(tmp_path, cache_bytes=0)
    second = random_lists(np.random.default_rng(4), {"item": 3, "user": 10})
    publish_lists(tmp_path, second, release="2024-06-02-b", date=dt.date(2024, 6, 2))
    shutil.rmtree(first.path)
    shutil.rmtree(tmp_path / "runs")
    ids = list(lists["user"])
    assert_is_the_dicts(table.lookup(ids, "user"), lists, ids, "user")
    assert (table.release, len(NeighborTable.open(tmp_path))) == (first.release, 13)


def test_a_closed_table_says_so(workspace: Path, lists: Lists) -> None:
    with NeighborTable.open(workspace) as table:
        arrow = table.to_arrow()
    assert arrow.num_rows == 211
    with pytest.raises(ValueError, match="closed"):
        table.neighbors(next(iter(lists["user"])), "user")


def test_threads_share_a_table(tmp_path: Path) -> None:
    lists = random_lists(np.random.default_rng(5), {"item": 50, "user": 400})
    publish_lists(tmp_path, lists, files=3)
    table = NeighborTable.open(tmp_path, cache_bytes=3_000)  # they push each other's columns out
    ids = list(lists["user"])

    def ask(seed: int) -> None:
        asked = [ids[at] for at in np.random.default_rng(seed).integers(0, 400, 90)]
        assert_is_the_dicts(table.lookup(asked, "user"), lists, asked, "user")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(40)))


# What is read


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200,000 lists of 20 in row groups of 4,096, as many as a release has."""
    root = tmp_path_factory.mktemp("large")
    n, k = 200_000, 20
    schema = PPR_NEIGHBOR_LISTS.schema_for(pa.int64()).with_metadata({"graphquilt": json.dumps(metadata_of(top_k=k))})
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * k)
    ids = np.arange(n)[:, None] * 7 + np.arange(k)
    scores = np.tile(np.linspace(1, 0.5, k, dtype=np.float32), n)
    arrays = [
        pa.array(["user"]).take(pa.array(np.zeros(n, np.int64))),
        pa.array(np.arange(n) * 3),
        pa.array(["item"]).take(pa.array(np.zeros(n, np.int64))),
        pa.ListArray.from_arrays(offsets, pa.array(ids.reshape(-1)), type=schema.field("neighbor_ids").type),
        pa.ListArray.from_arrays(offsets, pa.array(scores), type=schema.field("scores").type),
        pa.array(np.zeros(n, np.float32)),
    ]
    pq.write_table(
        pa.Table.from_arrays(arrays, schema=schema), root / "part", row_group_size=4096, use_dictionary=["node_type"]
    )
    tables = {"ppr_neighbors": [(root / "part", "part-00000.parquet")]}
    publish(root, "default", contents("r", tables, dt.date(2024, 6, 1)))
    return root


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, tuple[str, ...]]]:
    """The row groups that are read from the files, with the columns."""
    seen: list[tuple[int, tuple[str, ...]]] = []
    plain = RowGroups._read

    def counting(self: RowGroups, groups: list[NodeRowGroup], names: Any) -> Any:
        seen.extend((group.number, tuple(names)) for group in groups)
        return plain(self, groups, names)

    monkeypatch.setattr(RowGroups, "_read", counting)
    return seen


def test_many_lookups_read_each_row_group_once(large: Path, reads: list[Any]) -> None:
    table = NeighborTable.open(large)
    assert reads == []
    node = np.random.default_rng(0).integers(0, 200_000, 10_000)
    got = table.lookup(node * 3, "user")
    assert got.found.all()
    np.testing.assert_array_equal(got.ids.to_numpy().reshape(-1, 20), node[:, None] * 7 + np.arange(20))
    groups = {int(number) for number in node // 4096}
    lists = ("neighbor_ids", "scores", "error_bound")
    assert sorted(reads) == sorted([(g, ("node_id",)) for g in groups] + [(g, lists) for g in groups])
    reads.clear()
    table.lookup(node * 3, "user")
    assert reads == []


def test_nodes_of_one_row_group_read_it_alone(large: Path, reads: list[Any]) -> None:
    table = NeighborTable.open(large)
    node = 5 * 4096 + np.arange(4096)
    assert table.lookup(node * 3, "user").found.all()
    assert [number for number, _ in reads] == [5, 5]
    reads.clear()
    assert not table.lookup(node * 3 + 1, "user").found.any()  # between the ids of row groups 5 and 6
    assert reads == []


def test_ids_that_are_not_there_read_no_lists(large: Path, reads: list[Any]) -> None:
    table = NeighborTable.open(large)
    assert not table.lookup([1, 2, 4], "user").found.any()
    assert reads == [(0, ("node_id",))]


def test_what_is_remembered_stays_within_the_bytes_allowed(large: Path, reads: list[Any]) -> None:
    size = 4096 * 20 * 12 + 2 * 4 * 4097 + 4096 * 12  # two lists with offsets, bound and id
    table = NeighborTable.open(large, cache_bytes=3 * size)
    for group in range(10):
        table.neighbors(group * 4096 * 3, "user")
        assert table._groups._cached_bytes <= 3 * size
    reads.clear()
    table.neighbors(9 * 4096 * 3, "user")
    assert reads == []
    # Lists of more than the memory holds are read past it, and leave those that are remembered alone.
    table.lookup(np.arange(200_000) * 3, "user")
    reads.clear()
    table.neighbors(9 * 4096 * 3, "user")
    assert ("neighbor_ids", "scores", "error_bound") not in {columns for _, columns in reads}


# What is refused


def test_a_release_without_lists_says_what_it_has_and_what_to_set(tmp_path: Path) -> None:
    publish_nodes(tmp_path, random_nodes(np.random.default_rng(0), {"user": 3}))
    with pytest.raises(TableError, match=r"no table 'ppr_neighbors'; it has \['node_embeddings'\]. set ppr.neighbors"):
        NeighborTable.open(tmp_path)


def test_a_release_without_vectors_says_who_reads_it(tmp_path: Path) -> None:
    publish_lists(tmp_path, random_lists(np.random.default_rng(0), {"item": 3}))
    with pytest.raises(TableError, match=r"no table 'node_embeddings'; it has \['ppr_neighbors'\].*NeighborTable"):
        EmbeddingTable.open(tmp_path)


def test_both_tables_of_a_release_open(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    publish_lists(tmp_path, random_lists(rng, {"item": 3, "user": 4}), vectors=random_nodes(rng, {"user": 4}))
    assert (len(NeighborTable.open(tmp_path)), len(EmbeddingTable.open(tmp_path))) == (7, 4)


def test_a_truncated_and_a_missing_file_are_named(tmp_path: Path) -> None:
    published = publish_lists(tmp_path, random_lists(np.random.default_rng(0), {"item": 30}), files=2)
    part = published.path / "ppr_neighbors" / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(TableError, match=r"part-00001.parquet has .* bytes, the manifest says"):
        NeighborTable.open(tmp_path)
    part.unlink()
    with pytest.raises(TableError, match=r"part-00001.parquet is missing"):
        NeighborTable.open(tmp_path)


def test_changed_bytes_of_a_list_are_a_table_error(tmp_path: Path) -> None:
    lists = random_lists(np.random.default_rng(0), {"item": 300}, top_k=50)
    published = publish_lists(tmp_path, lists, row_group=300)
    part = published.path / "ppr_neighbors" / "part-00000.parquet"
    about = pq.ParquetFile(part).metadata.row_group(0).column(4)  # scores.list.item: as random as can be
    data = bytearray(part.read_bytes())
    start = about.data_page_offset + 40
    data[start : start + 200] = bytes(200)
    part.write_bytes(data)
    with pytest.raises(TableError, match=r"column scores of row group 0 .*part-00000.parquet has other bytes"):
        NeighborTable.open(tmp_path).lookup(list(lists["item"]), "item")


def publish_table(root: Path, table: pa.Table, row_group: int = 10) -> None:
    pq.write_table(table, root / "part", row_group_size=row_group)
    tables = {"ppr_neighbors": [(root / "part", "part-00000.parquet")]}
    publish(root, "default", contents("r", tables, dt.date(2024, 6, 1)))


def said(**others: Any) -> dict[bytes, bytes]:
    return {b"graphquilt": json.dumps(metadata_of(**others)).encode()}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.drop_columns(["scores"]), "has no column 'scores'"),
        (
            lambda t: t.set_column(5, "error_bound", t["error_bound"].cast(pa.float64())),
            "error_bound at .* is double, expected float",
        ),
        (lambda t: t.replace_schema_metadata({}), "no schema metadata"),
        (lambda t: t.replace_schema_metadata({b"graphquilt": b"[]"}), "lack .*restart"),
        (lambda t: t.replace_schema_metadata({b"graphquilt": b"7"}), "no schema metadata"),
        (lambda t: t.replace_schema_metadata(said(contract_version=2)), "version 2, this reader knows version 1"),
        (lambda t: t.take(list(range(t.num_rows))[::-1]), "out of order|one type"),
    ],
)
def test_a_table_against_its_contract_is_refused(tmp_path: Path, change: Any, says: str) -> None:
    lists = random_lists(np.random.default_rng(0), {"item": 20, "user": 20})
    publish_table(tmp_path, change(table_of(lists).replace_schema_metadata(said())))
    with pytest.raises(TableError, match=says):
        NeighborTable.open(tmp_path)


def test_ids_without_scores_are_refused(tmp_path: Path) -> None:
    sound = table_of({"user": {1: ([2, 3], [0.5, 0.25], 0.0), 2: ([1], [0.5], 0.0)}})
    scores = pa.array([[0.5], [0.5, 0.25]], sound["scores"].type)
    publish_table(tmp_path, sound.set_column(4, "scores", scores).replace_schema_metadata(said()))
    with pytest.raises(TableError, match="other numbers of ids than scores"):
        NeighborTable.open(tmp_path).lookup([1, 2], "user")


@pytest.mark.spark
def test_spark_reads_it_as_pairs(tmp_path: Path, spark_session: Any) -> None:
    lists = random_lists(np.random.default_rng(6), {"item": 20, "user": 30})
    path = write_lists(tmp_path / "part-00000.parquet", lists)
    rows = spark_session.read.parquet(str(path)).where("node_type = 'user'")
    pairs = rows.selectExpr("node_id", "inline(arrays_zip(neighbor_ids, scores))").collect()
    want = [(i, j, s) for i, (ids, scores, _) in lists["user"].items() for j, s in zip(ids, scores, strict=True)]
    assert [tuple(pair) for pair in pairs] == want


def test_polars_reads_it_as_pairs(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    lists = random_lists(np.random.default_rng(6), {"item": 20, "user": 30})
    path = write_lists(tmp_path / "part-00000.parquet", lists)
    rows = polars.scan_parquet(path.parent / "*.parquet").filter(polars.col("node_type") == "user")
    pairs = rows.explode("neighbor_ids", "scores", empty_as_null=False).select("node_id", "neighbor_ids", "scores")
    want = [(i, j, s) for i, (ids, scores, _) in lists["user"].items() for j, s in zip(ids, scores, strict=True)]
    assert pairs.collect().rows() == want
