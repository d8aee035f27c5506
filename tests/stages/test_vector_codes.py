"""node_codes of the published rows: the same wherever rows lie, above one worker, and from night to night."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from graphquilt import CodeTable
from pipeline.codes import row_cells
from schemas.published_tables import NODE_CODE_PATHS
from tests.schemas.test_published_contracts import CODES_METADATA
from tests.stages.chains import Chain, Config, users_and_items, with_changes, write_rows
from tests.stages.test_lineage_nights import config_for as night_config
from tests.stages.test_lineage_nights import date_of, run_night, write_file
from tests.stages.test_node_codes import GROUPS, ITEMS, USERS, planted, table_of, with_codes

NODES = GROUPS * (USERS + ITEMS)
#: Bytes of 40 rows: 180 nodes of two types take six cells.
SMALL_CELL = 40 * 4 * 16


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("groups") / "in.parquet", planted())


def of_vectors(path: Path, codes: dict[str, Any] | None = None, **sections: Any) -> Config:
    sections = {"embedding": {"dim": 16}, **sections}
    return with_codes(path, codes={"source": "vectors", **(codes or {})}, **sections)


def columns_of(table: pa.Table) -> list[Any]:
    return [table[name].to_pylist() for name in ("node_type", "node_id", "code", "cluster", "leaf_token")]


@pytest.mark.parametrize("is_small", [False, True])
def test_codes_are_paths_to_clusters_of_one_type(
    groups: Path, tmp_path: Path, is_small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_small:
        monkeypatch.setattr(row_cells, "_CELL_BYTES", SMALL_CELL)
    chain = Chain(tmp_path)
    ended = chain.run(of_vectors(groups, {"share": 0.2, "max_size": 9}))
    assert ended.code == 0, ended.error
    table = table_of(chain)
    NODE_CODE_PATHS.check_rows(table, "here")
    metadata = json.loads(table.schema.metadata[b"graphquilt"])
    assert sorted(metadata) == sorted([*CODES_METADATA, "source"])
    node_type, _, code, cluster, token = columns_of(table)
    assert len(node_type) == metadata["nodes"] == NODES
    paths = list(map(tuple, code))
    assert len(set(paths)) == len(set(zip(paths, cluster, strict=True))) == metadata["clusters"] == len(set(cluster))
    assert len(set(zip(node_type, cluster, strict=True))) == metadata["rows"] == metadata["clusters"]
    assert len({(kind, path[0]) for kind, path in zip(node_type, paths, strict=True)}) == metadata["groups"][0]
    assert len(set(zip(paths, token, strict=True))) == NODES
    assert np.bincount(cluster).max() == metadata["largest"] <= 9
    assert metadata["rows"] <= 0.2 * NODES


@pytest.mark.parametrize("is_small", [False, True])
def test_codes_of_residuals_are_numbers_in_codebooks(
    groups: Path, tmp_path: Path, is_small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_small:
        monkeypatch.setattr(row_cells, "_CELL_BYTES", SMALL_CELL)
    config = of_vectors(groups, {"source": "residuals", "share": 0.3}, evaluate={"source": "holdout"})
    chain = Chain(tmp_path)
    metrics = chain.publish(config).metrics["node_codes"]
    table = table_of(chain)
    NODE_CODE_PATHS.check_rows(table, "here")
    metadata = json.loads(table.schema.metadata[b"graphquilt"])
    node_type, _, code, cluster, token = columns_of(table)
    paths = list(map(tuple, code))
    assert len(set(paths)) == len(set(zip(paths, cluster, strict=True))) == metadata["clusters"] == len(set(cluster))
    assert len(set(zip(paths, token, strict=True))) == len(paths)
    codebooks = [{path[level] for path in paths} for level in range(3)]
    assert sum(map(len, codebooks)) == metadata["rows"] == metrics["once"]["rows"] <= 0.3 * NODES
    assert [len(one) for one in codebooks] == metadata["widest"]
    for level in range(3):  # types have no number in common
        assert len({(kind, path[level]) for kind, path in zip(node_type, paths, strict=True)}) == len(codebooks[level])
    alone = sum(count == 1 for count in Counter(paths).values()) / len(paths)
    assert metrics["once"]["clusters"]["alone"] == pytest.approx(alone)


@pytest.mark.parametrize(("source", "is_small"), [("vectors", False), ("vectors", True), ("residuals", True)])
def test_files_shards_and_engines_make_the_same_codes(
    groups: Path, tmp_path: Path, engine: Any, source: str, is_small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_small:
        monkeypatch.setattr(row_cells, "_CELL_BYTES", SMALL_CELL)
    made = []
    for name, one, changes in (
        ("local", None, {}),
        ("engine", engine, {}),
        ("files", engine, {"publish": {"rows_per_file": 37}}),
        ("shards", engine, {"embedding": {"dim": 16, "shards": 2}, "publish": {"rows_per_file": 50}}),
    ):
        chain = Chain(tmp_path / name, one)
        assert chain.run(of_vectors(groups, {"source": source}, **changes)).code == 0
        made.append((columns_of(table_of(chain)), [file.read_bytes() for file in _files(chain)]))
    assert made[0] == made[1]
    assert made[0][0] == made[2][0] == made[3][0]


def _files(chain: Chain) -> list[Path]:
    folder = chain.current_folder()
    assert folder is not None
    return sorted((folder / "node_codes").iterdir())


def test_a_graph_that_no_worker_holds_has_codes(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", users_and_items(0, 60_000, 9_000, 4_000))
    chain = Chain(tmp_path)
    config = of_vectors(path, {"share": 0.1}, partition={"worker_bytes": 2**20})
    ended = chain.run(config)  # codes of the graph are refused here: see test_node_codes
    assert ended.code == 0, ended.error
    assert len(table_of(chain)) == chain.published().table.num_rows


def test_ids_that_are_left_out_and_zero_rows_have_no_code(groups: Path, tmp_path: Path) -> None:
    rows = {name: np.append(values, 999) for name, values in planted(is_plain=True).items()}  # 999 has a loop alone
    path = write_rows(tmp_path / "in.parquet", rows)
    config = with_changes(of_vectors(path, plain=True), publish={"exclude_ids": {"person": [5]}, "rows_per_file": 50})
    chain = Chain(tmp_path)
    assert chain.run(config).code == 0
    with CodeTable.open(chain.root) as table:
        found = table.lookup([5, 999, 11], "person")
        assert found.found.tolist() == [False, False, True]


def test_evaluation_says_that_clusters_of_vectors_keep_more_than_those_of_the_graph(
    groups: Path, tmp_path: Path
) -> None:
    recall = {}
    for source in ("graph", "vectors", "residuals"):
        config = with_codes(
            groups,
            codes={"source": source, "share": 0.3},
            evaluate={"source": "holdout", "holdout_users": 0.5},
        )
        figures = Chain(tmp_path / source).publish(config).metrics["node_codes"]["once"]
        recall[source] = figures["clusters"]["recall@20"]
        assert recall[source] > figures["modulo"]["recall@20"]
    assert recall["residuals"] > 0.9 * recall["vectors"]
    assert recall["vectors"] > 0.9 * recall["graph"]


def test_what_is_not_of_vectors_is_refused(groups: Path, tmp_path: Path) -> None:
    ended = Chain(tmp_path).run(of_vectors(groups, {"resolution": 1.0}))
    assert ended.code == 2
    assert "codes.resolution 1" in ended.error
    ended = Chain(tmp_path).run(of_vectors(groups, {"source": "residuals", "max_size": 5}))
    assert "codes.max_size 5" in ended.error
    config = of_vectors(groups, embedding={"method": "none"}, ppr={"neighbors": True})
    ended = Chain(tmp_path).run(config)
    assert ended.code == 2
    assert "embedding.method 'none'" in ended.error


@pytest.mark.parametrize(("source", "is_small"), [("vectors", False), ("vectors", True), ("residuals", True)])
def test_nights_keep_codes_and_a_recomputed_one_makes_the_same_bytes(
    tmp_path: Path, source: str, is_small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_small:
        monkeypatch.setattr(row_cells, "_CELL_BYTES", SMALL_CELL)
    for day in range(3):
        rows = planted(day)
        some = slice(None) if day == 0 else slice(0, 120)
        newer = GROUPS * USERS * 10 if day == 2 else 0  # users that were never there
        ends = zip(rows["source"][some] + newer, rows["target"][some], strict=True)
        write_file(tmp_path / "in", f"dt={date_of(day)}/a.parquet", [(str(one), int(two), day, 1) for one, two in ends])
    chain, config = Chain(tmp_path), night_config(tmp_path / "in")
    config = {
        **config,
        "lineage": {"full_every": 20},
        "embedding": {"dim": 16},
        "codes": {"enabled": True, "source": source, "share": 0.1},
    }
    codes: list[dict[tuple[str, str], Any]] = []
    metadata: list[dict[str, Any]] = []
    for day in range(3):
        run_night(chain, config, day)
        table = table_of(chain)
        node_type, node_id, *values = columns_of(table)
        codes.append(dict(zip(zip(node_type, map(str, node_id), strict=True), zip(*values, strict=True), strict=True)))
        metadata.append(json.loads(table.schema.metadata[b"graphquilt"]))
        paths = {(tuple(code), cluster) for code, cluster, _ in codes[-1].values()}
        assert len(paths) == len({path for path, _ in paths}) == len({cluster for _, cluster in paths})
    assert len({one["codes_id"] for one in metadata}) == 1
    assert metadata[0]["kept"] is None
    for before, night, said in zip(codes, codes[1:], metadata[1:], strict=False):
        same = sum(before[node] == night[node] for node in before)
        assert said["kept"]["same_code"] == same > 0.9 * len(before)
        assert said["kept"]["other_code"] == len(before) - same
        assert said["kept"]["new_nodes"] == len(night) - len(before)
    assert len(codes[2]) > len(codes[1])
    again = run_night(chain, config, 2, recompute=True)
    assert again.answer["verdict"] == "unchanged"
