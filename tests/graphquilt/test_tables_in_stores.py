"""Tables in an object store: the same answers as in a folder, for the bytes that they take."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from graphquilt import EmbeddingTable, NeighborTable, TableError
from graphquilt.__main__ import main
from graphquilt.locations import ObjectPath, parse_location
from pipeline import storage
from tests.graphquilt.published_neighbors import publish_lists, random_lists
from tests.graphquilt.published_tables import publish_nodes, random_nodes
from tests.object_store import FaultProxy

COUNTS = {"item": 300, "user": 500}


@pytest.fixture
def place(bucket: str) -> ObjectPath:
    location = parse_location(f"{bucket}/tables")
    assert isinstance(location, ObjectPath)
    return location


def upload(folder: Path, target: ObjectPath) -> None:
    """Copy a workspace's published tables, as any tool would."""
    for file in storage.files_below(folder / "published"):
        storage.write(target / "published" / file.name, (folder / "published" / file.name).read_bytes())


@pytest.mark.parametrize("as_text", [False, True])
def test_vectors_are_those_of_a_folder(tmp_path: Path, place: ObjectPath, as_text: bool) -> None:
    nodes = random_nodes(np.random.default_rng(1), COUNTS, as_text=as_text)
    publish_nodes(tmp_path, nodes, files=3, row_group=40)
    upload(tmp_path, place)
    asked = [*nodes["user"][0][::7], "nobody" if as_text else 10**9]
    with EmbeddingTable.open(tmp_path) as here, EmbeddingTable.open(str(place)) as there:
        assert (repr(there), there.metadata) == (repr(here), here.metadata)
        assert there.path == place / "published/default/releases" / here.release
        for mine, other in zip(here.lookup(asked, "user"), there.lookup(asked, "user"), strict=True):
            assert np.array_equal(mine, other)
        for node_type in COUNTS:
            for mine, other in zip(here.to_numpy(node_type), there.to_numpy(node_type), strict=True):
                assert np.array_equal(mine, other)
        assert there.to_arrow() == here.to_arrow()
        assert there.to_arrow("item", ["weight", "node_id"]) == here.to_arrow("item", ["weight", "node_id"])
        for node_id in asked[:5]:
            assert there.neighbors(node_id, "user", 5, "item") == here.neighbors(node_id, "user", 5, "item")


def test_lists_are_those_of_a_folder(tmp_path: Path, place: ObjectPath) -> None:
    lists = random_lists(np.random.default_rng(2), COUNTS)
    publish_lists(tmp_path, lists, files=2, row_group=50)
    upload(tmp_path, place)
    asked = list(lists["user"])[::3]
    with NeighborTable.open(tmp_path) as here, NeighborTable.open(place) as there:
        mine, other = here.lookup(asked, "user"), there.lookup(asked, "user")
        assert (mine.ids, mine.scores.tolist(), mine.indptr.tolist()) == (
            other.ids, other.scores.tolist(), other.indptr.tolist(),
        )  # fmt: skip
        assert there.to_arrow() == here.to_arrow()


def returned_by(store: FaultProxy) -> int:
    """Return the bytes of all answers, the last of which the proxy counts after it has arrived."""
    time.sleep(0.3)
    return store.returned


def test_a_look_up_fetches_its_own_rows_once(tmp_path: Path, place: ObjectPath, object_store: FaultProxy) -> None:
    """Of a table of 2 MB, 16 row groups: the footer at the opening, then two columns of the row group of the id."""
    dim, group = 256, 125
    ids = list(range(2000))
    rows = np.random.default_rng(3).standard_normal((2000, dim)).astype(np.float32)
    file = publish_nodes(tmp_path, {"user": (ids, rows)}, row_group=group).path / "node_embeddings/part-00000.parquet"
    upload(tmp_path, place)
    footer = pq.read_metadata(file)
    group_bytes = footer.row_group(3).total_byte_size

    object_store.returned = 0
    with EmbeddingTable.open(place) as table:
        opened = returned_by(object_store)
        assert opened < 5 * 2**16 < file.stat().st_size / 5
        object_store.requests.clear()
        assert np.array_equal(table.lookup([3 * group + 5], "user")[0][0], rows[3 * group + 5])
        assert returned_by(object_store) - opened < 1.1 * group_bytes
        assert [request.method for request in object_store.requests] == ["GET", "GET"]  # node_id, then embedding
        table.lookup([3 * group + 6], "user")
        assert len(object_store.requests) == 2


def test_a_footer_of_many_row_groups_is_read_whole(tmp_path: Path, place: ObjectPath) -> None:
    nodes = random_nodes(np.random.default_rng(4), {"user": 900})
    file = publish_nodes(tmp_path, nodes, row_group=2).path / "node_embeddings/part-00000.parquet"
    assert pq.read_metadata(file).serialized_size > 2**17
    upload(tmp_path, place)
    with EmbeddingTable.open(place) as table:
        assert np.array_equal(table.to_numpy("user")[1], nodes["user"][1])


def test_a_byte_that_changed_in_the_store_is_told_to_who_reads_it(tmp_path: Path, place: ObjectPath) -> None:
    nodes = random_nodes(np.random.default_rng(5), COUNTS)
    folder = publish_nodes(tmp_path, nodes, row_group=100).path
    upload(tmp_path, place)
    name = f"published/default/releases/{folder.name}/node_embeddings/part-00000.parquet"
    data = bytearray((tmp_path / name).read_bytes())
    columns = pq.read_metadata(tmp_path / name).row_group(0)
    embedding = next(
        columns.column(i) for i in range(columns.num_columns) if "embedding" in columns.column(i).path_in_schema
    )
    data[embedding.data_page_offset + embedding.total_compressed_size // 2] ^= 1
    storage.write(place / name, bytes(data))
    with EmbeddingTable.open(place) as table:
        table.lookup(nodes["user"][0], "user")
        with pytest.raises(TableError, match=rf"column embedding of row group 0 in {place / name} has other bytes"):
            table.lookup(nodes["item"][0], "item")
    assert main(["check", "--workspace", str(place)]) == 0
    assert main(["check", "--workspace", str(place), "--deep"]) == 4
    storage.write(place / name, bytes(data[:-1]))
    with pytest.raises(TableError, match=r"has [\d,]+ bytes, the manifest says"):
        EmbeddingTable.open(place)


@pytest.mark.parametrize("fault", ["throttle", "busy", "lose", "cut"])
def test_a_store_that_fails_now_and_then_is_asked_again(
    tmp_path: Path, place: ObjectPath, object_store: FaultProxy, fault: str
) -> None:
    nodes = random_nodes(np.random.default_rng(9), COUNTS)
    publish_nodes(tmp_path, nodes, row_group=100)
    upload(tmp_path, place)
    turns = itertools.count()
    object_store.fault = lambda _: fault if next(turns) % 3 == 0 else None
    with EmbeddingTable.open(place) as table:
        assert np.array_equal(table.lookup(nodes["user"][0], "user")[0], nodes["user"][1])
    assert next(turns) > 9


def test_a_release_that_is_removed_while_it_is_read_is_named(tmp_path: Path, place: ObjectPath) -> None:
    nodes = random_nodes(np.random.default_rng(6), COUNTS)
    release = publish_nodes(tmp_path, nodes).path.name
    upload(tmp_path, place)
    with EmbeddingTable.open(place) as table:
        storage.remove_tree(place / "published/default/releases" / release)
        with pytest.raises(TableError, match="its release was removed; open the table again"):
            table.lookup(nodes["user"][0], "user")


@pytest.mark.parametrize("below", ["", "published/default", "published/default/CURRENT.json", "release", "table"])
def test_every_address_of_a_table_opens_it(tmp_path: Path, place: ObjectPath, below: str) -> None:
    folder = publish_nodes(tmp_path, random_nodes(np.random.default_rng(7), COUNTS)).path
    upload(tmp_path, place)
    release = f"published/default/releases/{folder.name}"
    address = f"{place}/" + {"release": release, "table": f"{release}/node_embeddings"}.get(below, below)
    with EmbeddingTable.open(address) as table:
        assert table.release == folder.name


def test_what_is_not_there_is_named(tmp_path: Path, place: ObjectPath, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TableError, match=rf"{place} does not exist; give a workspace"):
        EmbeddingTable.open(str(place))
    publish_nodes(tmp_path, random_nodes(np.random.default_rng(8), COUNTS))
    upload(tmp_path, place)
    with pytest.raises(TableError, match=rf"nothing is published as 'ads' in workspace {place}; .*: \['default'\]"):
        EmbeddingTable.open(str(place), name="ads")
    with pytest.raises(TableError, match="s3://no-such-bucket-1 does not exist; make this bucket"):
        EmbeddingTable.open("s3://no-such-bucket-1/tables")
    with pytest.raises(TableError, match="tables are in a folder, or on s3://, gs:// or az://"):
        EmbeddingTable.open("hdfs://host/tables")
    with pytest.raises(TableError, match="the address holds a secret"):
        EmbeddingTable.open("s3://KEY:hunter2@bucket/tables")
    assert main(["current", "--workspace", str(place), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["path"] == f"{place}/published/default/releases/{answer['release']}/node_embeddings"
    assert answer["files"] == [f"{answer['path']}/part-00000.parquet"]
