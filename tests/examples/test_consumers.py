"""The consumers of the examples, on small published tables."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from graphquilt import CodeTable, EmbeddingTable, InterestTable
from tests.graphquilt.published_neighbors import publish_lists
from tests.graphquilt.published_tables import publish_nodes
from tests.stages.chains import Chain, config_for, users_and_items, write_rows

CONSUMERS = Path(__file__).resolve().parents[2] / "examples" / "consumers"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"consumer_{name}", CONSUMERS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_lists_are_printed_from_the_best_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lists = {"package": {"emacs": ([], [], 0.0), "vim": (["libc6", "vim-common"], [0.5, 0.25], 0.0)}}
    publish_lists(tmp_path, lists, target_type="package")
    folder = str(tmp_path / "published" / "default")
    script("ppr_neighbors").main([folder, "vim", "emacs", "nano"])
    assert capsys.readouterr().out.splitlines() == [
        "# packages by PageRank, restart 0.25, error bounds pointwise",
        "vim    libc6 0.5000  vim-common 0.2500",
        "emacs",
        "nano   no list",
    ]
    script("ppr_neighbors").main([folder, "vim", "-k", "1"])
    assert capsys.readouterr().out.splitlines()[1] == "vim  libc6 0.5000"


def test_nearest_vectors_are_printed_from_the_best_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = ["emacs", "nano", "vim"]
    publish_nodes(tmp_path, {"package": (ids, np.random.default_rng(0).standard_normal((3, 4), np.float32))})
    folder = str(tmp_path / "published" / "default")
    script("neighbors").main([folder, "vim", "emacs", "-k", "1"])
    with EmbeddingTable.open(tmp_path) as table:
        nearest = {node: table.neighbors(node, "package", k=1)[0] for node in ids}
    assert capsys.readouterr().out.splitlines() == [
        f"{node:<5}  {nearest[node][0]} {nearest[node][1]:.2f}" for node in ("vim", "emacs")
    ]


def test_a_bag_of_codes_embeds_an_item_as_the_mean_of_its_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_rows(tmp_path / "in.parquet", users_and_items(1, 2_000))
    folder = Chain(tmp_path).publish(config_for(path, codes={"enabled": True, "resolution": 1.0})).folder
    with CodeTable.open(folder) as codes, EmbeddingTable.open(folder) as table:
        ids, vectors = table.to_numpy("item")
        cluster = codes.lookup(ids, "item").cluster
    means = np.stack([vectors[cluster == one].mean(axis=0) for one in cluster])
    history = ids[:3]
    scores = means @ means[:3].mean(axis=0)
    script("embedding_bag").main([str(folder), *map(str, history), "--type", "item", "-k", "4"])
    printed = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert len(printed) == 4
    score_of = dict(zip(ids.astype(str), scores, strict=True))
    best = np.sort([score for node, score in score_of.items() if node not in map(str, history)])[::-1][:4]
    np.testing.assert_allclose([float(score) for _, score in printed], best, atol=2e-4)
    np.testing.assert_allclose([score_of[node] for node, _ in printed], best, atol=1e-4)


def test_a_list_is_shared_out_over_the_interests_of_a_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_rows(tmp_path / "in.parquet", users_and_items(1, 2_000))
    folder = Chain(tmp_path).publish(config_for(path, interests={"clusters": 12})).folder
    with InterestTable.open(folder) as interests, EmbeddingTable.open(folder) as table:
        user = interests.to_arrow("user", ["node_id"])["node_id"][0].as_py()
        mine = interests.lookup([user], "user")
        ids, vectors = table.to_numpy("item")
    script("user_interests").main([str(folder), str(user), "-1", "-k", "9"])
    head, *lines, unknown = capsys.readouterr().out.splitlines()
    assert head == str(user)
    assert unknown == "-1  no interests"
    lists = [line.partition(": ")[2].split() for line in lines]
    assert [len(one) for one in lists] == mine.share_out(9).tolist()
    flat = [node for one in lists for node in one]
    assert len(set(flat)) == len(flat) == 9
    best = ids[np.argsort(-(vectors @ mine.query[0]), kind="stable")[: len(lists[0])]]
    assert lists[0] == list(map(str, best))
