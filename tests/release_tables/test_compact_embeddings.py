"""The compact table against the table that it is made of: rows, questions, bytes, and what it is worth."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graphquilt import CompactTable, EmbeddingTable, TableError
from schemas.published_tables import node_embeddings_int8
from tests.stages.chains import Chain, config_for, users_and_items, write_rows

DATE = "2024-06-01"


def config_of(folder: Path, **publish: Any) -> dict[str, Any]:
    path = write_rows(folder / "in.parquet", users_and_items(3, 2_000, 90, 60))
    return config_for(path, dim=24, publish={"compact": "int8", **publish})


@pytest.mark.parametrize("rows_per_file", [1_000, 40])
def test_it_has_the_rows_of_the_full_table_within_half_a_scale(tmp_path: Path, rows_per_file: int) -> None:
    config = config_of(tmp_path, rows_per_file=rows_per_file, exclude_ids={"item": [7]})
    made = Chain(tmp_path).publish(config)
    files = sorted((made.folder / "node_embeddings_int8").iterdir())
    assert len(files) == len(made.data) == (1 if rows_per_file == 1_000 else 4)
    compact = pa.concat_tables([pq.read_table(file, partitioning=None) for file in files])
    node_embeddings_int8(24).check_schema(compact.schema, "here")
    node_embeddings_int8(24).check_rows(compact, "here")
    assert compact.select(["node_type", "node_id"]).equals(made.table.select(["node_type", "node_id"]))
    scale = compact["scale"].to_numpy()[:, None]
    codes = compact["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, 24)
    assert (np.abs(codes * scale - made.rows) <= 0.50001 * scale).all()
    assert compact.schema.metadata == pq.read_schema(made.folder / "node_embeddings" / "part-00000.parquet").metadata


def test_it_answers_as_brute_force_over_its_own_rows(tmp_path: Path) -> None:
    folder = Chain(tmp_path).publish(config_of(tmp_path, fold_in=True)).folder
    with CompactTable.open(folder) as compact, EmbeddingTable.open(folder) as full:
        assert (compact.space_id, len(compact), compact.dim) == (full.space_id, len(full), full.dim)
        ids, rows = compact.to_numpy("item")
        np.testing.assert_array_equal(compact.lookup(ids[::-1], "item")[0], rows[::-1])
        user = int(full.to_numpy("user")[0][5])
        query = compact.lookup([user], "user")[0][0]
        best = np.argsort(-(rows @ query), kind="stable")[:5]
        assert [node for node, _ in compact.neighbors(user, "user", 5, "item")] == ids[best].tolist()
        cosine = rows @ rows[3] / np.linalg.norm(rows, axis=1) / np.linalg.norm(rows[3])
        cosine[3] = -1
        (nearest, score), *_ = compact.neighbors(int(ids[3]), "item", 1)
        assert (nearest, pytest.approx(score, rel=1e-5)) == (ids[cosine.argmax()], cosine.max())
        items = ids[:3].tolist()
        np.testing.assert_array_equal(compact.fold_in(items), full.fold_in(items))  # by the table fold_in
        with pytest.raises(TableError, match="open EmbeddingTable"):
            compact.fold_in([user], "item")


def test_a_release_without_it_says_which_key_makes_it(tmp_path: Path) -> None:
    folder = Chain(tmp_path).publish(config_of(tmp_path, compact="none")).folder
    with pytest.raises(TableError, match=r'publish\.compact = "int8"'):
        CompactTable.open(folder)


def test_event_timestamp_is_a_column_of_its_own_and_moves_no_other(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    plain = chain.publish(config_of(tmp_path, compact="none"), date=DATE)
    timed = chain.publish(config_of(tmp_path, compact="none", event_timestamp=True), date=DATE)
    assert "event_timestamp" not in plain.table.schema.names
    assert timed.table.drop_columns(["event_timestamp"]).equals(plain.table)
    assert set(timed.table["event_timestamp"].to_pylist()) == {dt.datetime(2024, 6, 2, tzinfo=dt.UTC)}
    for made in (plain, timed):
        with EmbeddingTable.open(made.folder) as table:
            assert table.dim == 24


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["gowalla", "ml-100k"])
def test_it_costs_a_five_hundredth_of_the_recall_and_saves_three_quarters(
    name: str, tmp_path: Path, shared_data: Path
) -> None:
    folder = shared_data / name
    keys = {"source": "src", "target": "dst"}
    config = config_for(folder / "train.parquet", dim=128, input=keys, publish={"compact": "int8"})
    made = Chain(tmp_path).publish(config)
    with EmbeddingTable.open(made.folder) as full, CompactTable.open(made.folder) as compact:
        recalls = [recall_at_20(table, folder) for table in (full, compact)]
    assert recalls[1] >= 0.998 * recalls[0]
    sizes = [
        sum(file.stat().st_size for file in (made.folder / table).iterdir())
        for table in ("node_embeddings", "node_embeddings_int8")
    ]
    assert sizes[1] <= 0.27 * sizes[0]


def recall_at_20(table: EmbeddingTable, folder: Path) -> float:
    """Mean over users with test pairs, all items ranked but those of the training pairs."""
    items, rows = table.to_numpy("item")
    users, queries = table.to_numpy("user")
    position = {int(user): row for row, user in enumerate(users)}
    column = np.full(max(int(items.max()) + 1, 10**6), -1)
    column[items] = np.arange(len(items))
    pairs = {part: pq.read_table(folder / f"{part}.parquet", columns=["src", "dst"]) for part in ("train", "test")}
    of_user: dict[str, dict[int, list[int]]] = {"train": {}, "test": {}}
    for part, table_of_pairs in pairs.items():
        for user, item in zip(table_of_pairs["src"].to_pylist(), table_of_pairs["dst"].to_pylist(), strict=True):
            of_user[part].setdefault(user, []).append(item)
    asked = [user for user in of_user["test"] if user in position]
    recalls = []
    for part in (asked[first : first + 512] for first in range(0, len(asked), 512)):
        score = queries[[position[user] for user in part]] @ rows.T
        for row, user in enumerate(part):
            known = column[of_user["train"].get(user, [])]
            score[row, known[known >= 0]] = -np.inf
        best = items[np.argpartition(-score, 20, axis=1)[:, :20]].tolist()
        wanted = [set(of_user["test"][user]) for user in part]
        recalls += [len(want.intersection(got)) / len(want) for want, got in zip(wanted, best, strict=True)]
    return float(np.mean(recalls))
