"""The row of a new node, computed by hand from a small published table."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graphquilt import EmbeddingTable, TableError, UnknownNodeError
from graphquilt.fold_in import parse_weights
from pipeline.publishing.release import publish
from schemas.published_tables import fold_in, node_embeddings
from tests.graphquilt.published_tables import metadata_of
from tests.publishing.working_files import contents

ITEMS = [2, 5, 9, 11]
ROWS = np.array([[3, 4], [0, 0], [1, 0], [0, 2]], np.float32)
STRENGTH = np.array([4, 1, 9, 16], np.float32)
SIDE = np.array([[1, 1], [0, 0], [2, 0], [0, 5]], np.float32)
OF_USERS = {
    "neighbors": "item",
    "table": "node_embeddings",
    "norm_power": 1.0,
    "weight_power": -0.5,
    "own_weight_power": -0.4,
    "is_exact": True,
}


def lists_of(rows: np.ndarray, kind: pa.DataType) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), type=kind)


def published(root: Path, recipes: Mapping[str, Any], *, has_side: bool = False, as_text: bool = False) -> Path:
    """A release of four items and a user, and of its sidecar."""
    kind = pa.string() if as_text else pa.int64()
    ids = pa.array([str(one) if as_text else one for one in sorted(ITEMS, key=str if as_text else int)], kind)
    order = np.argsort([str(one) for one in ITEMS]) if as_text else np.arange(4)
    vectors, side, strength = ROWS[order], SIDE[order], STRENGTH[order]
    metadata = metadata_of({"item": (ITEMS, ROWS)}) | {"source_type": "user", "fold_in": dict(recipes)}
    schema = node_embeddings(2).schema_for(kind).with_metadata({"graphquilt": json.dumps(metadata)})
    main = pa.table(
        {
            "node_type": ["item"] * 4,
            "node_id": ids,
            "embedding": lists_of(vectors, schema.field("embedding").type),
            "norm": np.linalg.norm(vectors, axis=1).astype(np.float32),
            "degree": np.ones(4, np.int64),
            "weight": strength,
            "cluster_path": ["0"] * 4,
        },
        schema=schema,
    )
    beside = fold_in(2).schema_for(kind)
    sidecar = pa.table([pa.array(["item"] * 4), ids, lists_of(side, beside.field("row").type)], schema=beside)
    root.mkdir(parents=True, exist_ok=True)
    pq.write_table(main, root / "main.parquet", row_group_size=3)
    pq.write_table(sidecar, root / "side.parquet", row_group_size=2)
    tables = {"node_embeddings": [(root / "main.parquet", "part-00000.parquet")]}
    if has_side:
        tables["fold_in"] = [(root / "side.parquet", "part-00000.parquet")]
    day = dt.date(2024, 6, 1)
    return publish(root, "default", contents("r1", tables, day)).path


@pytest.mark.parametrize("as_text", [False, True])
def test_a_row_follows_its_recipe(as_text: bool, tmp_path: Path) -> None:
    with EmbeddingTable.open(published(tmp_path, {"user": OF_USERS}, as_text=as_text)) as table:
        found = table.fold_in({2: 2.0, 5: 8.0, 11: 0.5})
        # 2 · |(3, 4)| / √4 · (3, 4), nothing of a zero row but its weight, .5 · |(0, 2)| / √16 · (0, 2); total 10.5.
        want = (2 * 5 / 2 * ROWS[0] + 0.5 * 2 / 4 * ROWS[3]) * 10.5**-0.4
        np.testing.assert_allclose(found, want, rtol=1e-6)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(table.fold_in({"2": 2.0, "5": 8.0, "11": 0.5}, "user"), found)
        np.testing.assert_array_equal(table.fold_in([2, 9, 2]), table.fold_in({2: 2, 9: 1}))
        np.testing.assert_array_equal(table.fold_in(np.array([2, 9])), table.fold_in((2, 9)))


def test_a_row_of_a_set_norm_keeps_its_direction(tmp_path: Path) -> None:
    recipe = {**OF_USERS, "norm_power": -1.0, "weight_power": 0.0, "own_norm_power": 0.5}
    with EmbeddingTable.open(published(tmp_path, {"user": recipe})) as table:
        found = table.fold_in({2: 1.0, 9: 3.0})
        want = ROWS[0] / 5 + 3 * ROWS[2]
        np.testing.assert_allclose(found, want / np.linalg.norm(want) * 2.0, rtol=1e-6)
        np.testing.assert_array_equal(table.fold_in([5]), [0, 0])  # of zero rows: zero, not NaN


def test_a_sidecar_is_read_where_the_recipe_says_so(tmp_path: Path) -> None:
    recipe = {
        **OF_USERS,
        "table": "fold_in",
        "norm_power": 0.0,
        "weight_power": 0.0,
        "own_weight_power": -1.0,
    }
    folder = published(tmp_path, {"user": recipe}, has_side=True)
    table = EmbeddingTable.open(folder)
    shutil.rmtree(folder)  # a handle stays on its release
    np.testing.assert_allclose(table.fold_in({2: 1.0, 11: 3.0}), (SIDE[0] + 3 * SIDE[3]) / 4, rtol=1e-6)
    table.close()


def test_a_missing_sidecar_is_said_when_the_table_is_opened(tmp_path: Path) -> None:
    folder = published(tmp_path, {"user": {**OF_USERS, "table": "fold_in"}})
    with pytest.raises(TableError, match="has no table 'fold_in'"):
        EmbeddingTable.open(folder)


def test_unknown_neighbors_do_not_count(tmp_path: Path) -> None:
    with EmbeddingTable.open(published(tmp_path, {"user": OF_USERS})) as table:
        np.testing.assert_array_equal(table.fold_in({2: 1.0, 77: 100.0}), table.fold_in({2: 1.0}))
        with pytest.raises(UnknownNodeError, match="none of the 2 neighbours is known as 'item'"):
            table.fold_in([77, 78])


def test_what_cannot_be_folded_in_is_said(tmp_path: Path) -> None:
    with EmbeddingTable.open(published(tmp_path, {"user": OF_USERS})) as table:
        with pytest.raises(TableError, match=r"of type 'item'; of types \['user'\] it can"):
            table.fold_in([2], "item")
        with pytest.raises(ValueError, match="no neighbours"):
            table.fold_in([])
        for weight in (0.0, -1.0, float("inf"), float("nan")):
            with pytest.raises(ValueError, match="must be above zero and finite"):
                table.fold_in({2: weight})
    with (
        EmbeddingTable.open(published(tmp_path / "none", {})) as table,
        pytest.raises(TableError, match=r"publish\.fold_in = true"),
    ):
        table.fold_in([2])


def test_ids_alone_weigh_one_each() -> None:
    ids, weights = parse_weights(["a", "b", "a"])
    assert ids == ["a", "b", "a"]
    np.testing.assert_array_equal(weights, [1, 1, 1])
