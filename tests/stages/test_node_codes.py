"""node_codes from interactions to a release, against the formula of modularity on dense matrices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graphquilt import CodeTable
from schemas.published_tables import NODE_CODE_PATHS
from tests.jobs.conftest import call
from tests.schemas.test_published_contracts import CODES_METADATA
from tests.stages.chains import Chain, Config, config_for, users_and_items, with_changes, write_rows
from tests.stages.test_lineage_nights import config_for as night_config
from tests.stages.test_lineage_nights import date_of, run_night, write_file

GROUPS, USERS, ITEMS = 6, 20, 10


def planted(seed: int = 0, *, is_plain: bool = False) -> dict[str, np.ndarray]:
    """Groups of users and items, or of persons, with nine rows in ten inside; numbers of a group are equal mod 6."""
    random = np.random.default_rng(seed)
    group = random.integers(0, GROUPS, 3_000)
    other = np.where(random.random(group.size) < 0.9, group, random.integers(0, GROUPS, group.size))
    source = group + GROUPS * random.integers(0, USERS, group.size)
    target = other + GROUPS * random.integers(0, USERS if is_plain else ITEMS, group.size)
    stays = source != target
    return {"source": source[stays], "target": target[stays]}


def with_codes(path: Path, *, plain: bool = False, codes: dict[str, Any] | None = None, **sections: Any) -> Config:
    config = config_for(path, plain=plain, **sections)
    return with_changes(config, codes={"enabled": True, **(codes or {})})


def files_of(chain: Chain) -> list[Path]:
    folder = chain.current_folder()
    assert folder is not None
    return sorted((folder / "node_codes").iterdir())


def table_of(chain: Chain) -> pa.Table:
    return pa.concat_tables(pq.read_table(file, partitioning=None) for file in files_of(chain))


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("groups") / "in.parquet", planted())


@pytest.mark.parametrize("plain", [False, True])
def test_planted_groups_are_clusters_and_the_modularity_is_true(plain: bool, tmp_path: Path) -> None:
    rows = planted(is_plain=plain)
    chain = Chain(tmp_path)
    config = with_codes(write_rows(tmp_path / "in.parquet", rows), plain=plain, codes={"resolution": 1.0, "levels": 2})
    ended = chain.run(config)
    assert ended.code == 0, ended.error
    table = table_of(chain)
    NODE_CODE_PATHS.check_rows(table, "here")
    metadata = json.loads(table.schema.metadata[b"graphquilt"])
    assert sorted(metadata) == CODES_METADATA
    nodes = list(zip(table["node_id"].to_pylist(), table["cluster"].to_pylist(), strict=True))
    assert len({(node % GROUPS, cluster) for node, cluster in nodes}) == GROUPS == metadata["clusters"]
    if plain:
        graph = nx.Graph()
        for one, other in zip(rows["source"].tolist(), rows["target"].tolist(), strict=True):
            graph.add_edge(one, other, weight=graph.get_edge_data(one, other, {"weight": 0})["weight"] + 1)
        sets = [{node for node, cluster in nodes if cluster == number} for number in range(GROUPS)]
        expected = nx.community.modularity(graph, sets)
    else:
        weights = np.zeros((USERS * GROUPS, ITEMS * GROUPS))
        np.add.at(weights, (rows["source"], rows["target"]), 1.0)
        excess = weights - np.outer(weights.sum(axis=1), weights.sum(axis=0)) / weights.sum()
        is_inside = np.equal.outer(*(np.arange(size) % GROUPS for size in weights.shape))
        expected = excess[is_inside].sum() / weights.sum()
    assert metadata["modularity"] == pytest.approx(expected, abs=1e-6)


def test_codes_are_paths_to_clusters_and_tokens_tell_nodes_apart(groups: Path, tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    assert chain.run(with_codes(groups, codes={"share": 0.2, "levels": 3})).code == 0
    table = table_of(chain)
    code, cluster = [tuple(one) for one in table["code"].to_pylist()], table["cluster"].to_pylist()
    metadata = json.loads(table.schema.metadata[b"graphquilt"])
    assert len(set(code)) == len(set(zip(code, cluster, strict=True))) == metadata["clusters"] == len(set(cluster))
    assert [len({one[:level] for one in code}) for level in (1, 2, 3)] == metadata["groups"]
    tokens = list(zip(table["node_type"].to_pylist(), code, table["leaf_token"].to_pylist(), strict=True))
    assert len(set(tokens)) == len(tokens)
    assert sum(token == 0 for *_, token in tokens) == metadata["rows"] <= 0.2 * GROUPS * (USERS + ITEMS)


def test_a_size_bound_holds(groups: Path, tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    assert chain.run(with_codes(groups, codes={"resolution": 1.0, "max_size": 7})).code == 0
    sizes = np.bincount(table_of(chain)["cluster"].to_numpy())
    assert sizes.max() <= 7


def test_parts_and_engines_publish_the_same_bytes(groups: Path, tmp_path: Path, engine: Any) -> None:
    made = []
    for name, parts, one in (("local", 1, None), ("engine", 1, engine), ("parts", 3, engine)):
        chain = Chain(tmp_path / name, one)
        assert chain.run(with_codes(groups, parts=parts, publish={"rows_per_file": 100})).code == 0
        made.append([file.read_bytes() for file in files_of(chain)])
    assert made[0] == made[1] == made[2]


def test_nodes_without_edges_have_no_code_and_readers_say_so(tmp_path: Path) -> None:
    rows = planted(is_plain=True)
    rows = {name: np.append(values, 999) for name, values in rows.items()}  # a loop is all that 999 has
    path = write_rows(tmp_path / "in.parquet", rows)
    chain = Chain(tmp_path)
    assert chain.run(with_codes(path, plain=True, codes={"resolution": 1.0})).code == 0
    with CodeTable.open(chain.root) as table:
        found = table.lookup([5, 999, 11], "person")
        assert found.found.tolist() == [True, False, True]
        assert found.cluster[1] == found.leaf_token[1] == -1
        assert (found.code[1] == -1).all()
        assert found.cluster[0] == found.cluster[2]
        assert table.clusters == GROUPS
        position = table.to_arrow()["node_id"].to_pylist().index(5)
        assert found.code[0].tolist() == table.to_arrow()["code"][position].as_py()


def test_a_graph_that_fits_no_worker_is_refused(groups: Path, tmp_path: Path) -> None:
    random = users_and_items(0, 60_000, 9_000, 4_000)
    path = write_rows(tmp_path / "in.parquet", random)
    ended = Chain(tmp_path).run(with_codes(path, partition={"parts": 1, "worker_bytes": 2**20}))
    assert ended.code == 2
    assert "codes.enabled is true" in ended.error
    assert "1,048,576" in ended.error


def test_evaluation_says_what_sharing_the_rows_of_clusters_leaves(groups: Path, tmp_path: Path) -> None:
    config = with_codes(groups, codes={"resolution": 1.0}, evaluate={"source": "holdout", "holdout_users": 0.5})
    chain = Chain(tmp_path)
    assert chain.publish(config).metrics["node_codes"]["once"]["rows"] == 2 * GROUPS
    figures = chain.published().metrics["node_codes"]
    assert figures["nodes"] == GROUPS * (USERS + ITEMS)
    assert figures["once"]["clusters"]["recall@20"] > figures["once"]["modulo"]["recall@20"]


def test_nights_keep_codes_and_a_recomputed_one_makes_the_same_bytes(tmp_path: Path) -> None:
    for day in range(3):
        rows = planted(day)
        some = slice(None) if day == 0 else slice(0, 120)
        newer = GROUPS * USERS * 10 if day == 2 else 0  # users that were never there
        ends = zip(rows["source"][some] + newer, rows["target"][some], strict=True)
        write_file(tmp_path / "in", f"dt={date_of(day)}/a.parquet", [(str(one), int(two), day, 1) for one, two in ends])
    chain, config = Chain(tmp_path), night_config(tmp_path / "in")
    config = {**config, "lineage": {"full_every": 20}, "codes": {"enabled": True, "resolution": 1.0}}
    codes: list[dict[tuple[str, str], Any]] = []
    metadata: list[dict[str, Any]] = []
    for day in range(3):
        run_night(chain, config, day)
        table = table_of(chain)
        keys = zip(table["node_type"].to_pylist(), map(str, table["node_id"].to_pylist()), strict=True)
        values = zip(*(table[name].to_pylist() for name in ("code", "cluster", "leaf_token")), strict=True)
        codes.append(dict(zip(keys, values, strict=True)))
        metadata.append(json.loads(table.schema.metadata[b"graphquilt"]))
    assert len({one["codes_id"] for one in metadata}) == 1
    assert metadata[0]["kept"] is None
    for before, night, said in zip(codes, codes[1:], metadata[1:], strict=False):
        same = sum(before[node] == night[node] for node in before)
        assert said["kept"]["same_code"] == same > 0.95 * len(before)
        assert said["kept"]["other_code"] == len(before) - same
        assert said["kept"]["new_nodes"] == len(night) - len(before)
    assert len(codes[2]) > len(codes[1])
    again = run_night(chain, config, 2, recompute=True)
    assert again.answer["verdict"] == "unchanged"


def test_labels_say_how_pure_codes_are(groups: Path, tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    assert chain.run(with_codes(groups, codes={"resolution": 1.0, "levels": 2})).code == 0
    users = np.unique(planted()["source"])
    labels = write_rows(tmp_path / "labels.csv", {"node": users, "label": [f"g{user % GROUPS}" for user in users]})
    options = ["--workspace", chain.root, "--labels", labels, "--metrics", "purity"]
    purity = call("evaluate", *options, "--json").json["purity"]
    assert [one["groups"] for one in purity["levels"]] == [1, 3, GROUPS]
    assert purity["levels"][0]["purity"] < 0.25
    assert purity["levels"][-1]["purity"] == purity["dendrogram_purity"] == 1.0
    assert "dendrogram purity 1.0000" in call("evaluate", *options).out
