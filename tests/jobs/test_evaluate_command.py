"""``graphquilt evaluate`` on a published table: figures recomputed from what is stored, and what it refuses."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from graphquilt import EmbeddingTable
from pipeline.evaluation import table_report
from tests.stages.chains import Chain, config_for, friends, users_and_items, write_rows

METADATA = b"graphquilt"


@pytest.fixture(scope="module")
def pairs(shop: Any) -> Path:
    """Test pairs that were no interactions, in other columns than the config's; one of an unknown user."""
    known = train_of(shop)
    rng = np.random.default_rng(5)
    drawn = {(f"person-{rng.integers(40)}", f"thing-{rng.integers(25)}") for _ in range(150)}
    test = [*sorted(drawn - known)[:60], ("stranger", "thing-1"), ("person-1", "no-such-thing")]
    path = shop.workspace.parent / "test.csv"
    pacsv.write_csv(pa.table({"who": [a for a, _ in test], "what": [b for _, b in test]}), path)
    return path


def train_of(shop: Any) -> set[tuple[str, str]]:
    """The pairs of the rows that count, read from the input."""
    table = pacsv.read_csv(shop.workspace.parent / "events.csv").to_pylist()
    return {(row["user_id"], row["item_id"]) for row in table if row["at"] != "never" and row["item_id"]}


def report(shop: Any, *arguments: object) -> dict[str, Any]:
    said = shop.call("evaluate", "--name", "shop", *arguments, "--json")
    assert said.code == 0, said.err
    found: dict[str, Any] = said.json
    return found


def test_ranking_is_the_one_by_brute_force_from_the_published_rows(shop: Any, pairs: Path) -> None:
    got = report(shop, "--pairs", pairs, "--source", "who", "--target", "what", "-k", "5,3", "--metrics", "ranking")
    with EmbeddingTable.open(shop.workspace, name="shop") as table:
        users, items = (dict(zip(*table.to_numpy(kind), strict=True)) for kind in ("user", "item"))
    train = train_of(shop)
    test = {tuple(row.values()) for row in pacsv.read_csv(pairs).to_pylist()}
    by_user = {}
    for user in {user for user, _ in test}:
        wanted = {item for of, item in test if of == user}
        score = (
            {i: float(users[user].astype(float) @ items[i]) for i in items if (user, i) not in train}
            if user in users
            else {}
        )
        best = sorted(score, key=lambda item: (-score[item], item))
        by_user[user] = [(wanted, [item in wanted for item in best[:k]], k) for k in (3, 5)]
    for col, k in enumerate((3, 5)):
        recall, ndcg = [], []
        for wanted, hits, _ in (lists[col] for lists in by_user.values()):
            recall.append(sum(hits) / len(wanted))
            ideal = sum(1 / math.log2(place + 2) for place in range(min(k, len(wanted))))
            ndcg.append(sum(1 / math.log2(place + 2) for place, hit in enumerate(hits) if hit) / ideal)
        assert got["ranking"][f"recall@{k}"] == pytest.approx(np.mean(recall), rel=1e-12)
        assert got["ranking"][f"ndcg@{k}"] == pytest.approx(np.mean(ndcg), rel=1e-12)
        low, high = got["ranking"]["intervals"][f"recall@{k}"]
        assert low < got["ranking"][f"recall@{k}"] < high
    assert got["ranking"]["users"] == len(by_user)
    assert got["ranking"]["unknown_users"] == got["ranking"]["unknown_items"] == 1
    assert got["ranking"]["similarity"] == got["similarity"]["retrieval"] == "dot"
    assert got["train_pairs"] == "edges of the release's run"
    assert sum(one["members"] for one in got["ranking"]["by_activity"]) == len(by_user) - 1
    assert "links" not in got


def test_all_that_the_inputs_allow_and_the_same_object_in_the_file(shop: Any, pairs: Path, tmp_path: Path) -> None:
    first = shop.call("inspect", "--json").json["published"]["shop"]["releases"][0]["release"]
    labels = tmp_path / "labels.csv"
    rng = np.random.default_rng(0)
    rows = [(f"person-{n}", label) for n in range(40) for label in {f"group-{rng.integers(3)}", f"group-{n % 3}"}]
    rows.append(("stranger", "group-1"))
    pacsv.write_csv(pa.table({"node": [a for a, _ in rows], "label": [b for _, b in rows]}), labels)
    named = ["--pairs", pairs, "--source", "who", "--target", "what", "--labels", labels, "--against", first]
    options = [*named, "--train-shares", ".5", "--shuffles", "2"]
    got = report(shop, *options, "--out", tmp_path / "out.json")
    sections = ("ranking", "links", "classification", "reconstruction", "spectrum", "probe", "stability")
    assert [name for name in got if name in sections] == list(sections)
    assert json.loads((tmp_path / "out.json").read_text()) == got
    assert got["classification"]["unknown_nodes"] == 1
    assert (got["classification"]["nodes"], got["classification"]["labels"]) == (40, 3)
    assert [one["seed"] for one in got["classification"]["shares"][0]["shuffles"]] == [0, 1]
    assert got["classification"]["similarity"] == got["similarity"]["classifier"] == "cosine"
    assert 0 < got["links"]["hard"]["auc"] < 1
    assert got["stability"]["is_one_space"]
    text = shop.call("evaluate", "--name", "shop", *options).out
    for word in ("recall", "AUC", "micro-F1", "mAP", "RankMe", "bits", "overlap", "dot for retrieval"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 120
    assert "person-" not in text + json.dumps(got)  # ids of persons are in no report
    assert "stranger" not in text


def test_a_release_is_stable_against_itself_and_no_cosine_crosses_spaces(shop: Any, tmp_path: Path) -> None:
    with EmbeddingTable.open(shop.workspace, name="shop") as table:
        release, folder = table.release, table.path
    one = ["--metrics", "stability", "-k", "4"]
    same = report(shop, *one, "--against", release)["stability"]
    assert {row["overlap@4"] for row in same["lists"]} == {1.0}
    assert [(row["from"], row["to"]) for row in same["lists"]] == [("item", "item"), ("user", "user"), ("user", "item")]
    assert all(found["least"] == pytest.approx(1.0, abs=1e-6) for found in same["cosine"].values())

    (file,) = (folder / "node_embeddings").iterdir()
    stored = pq.read_table(file, partitioning=None)
    about = {**json.loads(stored.schema.metadata[METADATA]), "space_id": "another"}
    elsewhere = tmp_path / "other.parquet"
    pq.write_table(stored.replace_schema_metadata({METADATA: json.dumps(about)}), elsewhere)
    other = report(shop, *one, "--against", elsewhere)["stability"]
    assert (other["is_one_space"], other["cosine"]) == (False, None)
    assert {row["overlap@4"] for row in other["lists"]} == {1.0}
    assert "mean nothing" in shop.call("evaluate", "--name", "shop", *one, "--against", elsewhere).out


def test_a_table_elsewhere_needs_its_similarity_and_its_pairs(
    shop: Any, call: Any, pairs: Path, tmp_path: Path
) -> None:
    with EmbeddingTable.open(shop.workspace, name="shop") as table:
        (file,) = (table.path / "node_embeddings").iterdir()
    bare = tmp_path / "bare.parquet"
    pq.write_table(pq.read_table(file, partitioning=None).replace_schema_metadata(None), bare)
    named = ["--pairs", pairs, "--source", "who", "--target", "what", "--metrics", "ranking", "--json"]
    said = call("evaluate", "--table", bare, *named)
    assert (said.code, "give --similarity" in said.err) == (2, True)
    said = call("evaluate", "--table", bare, "--similarity", "dot", *named)
    assert said.code == 4
    assert "has nodes of type item, user" in said.err
    said = call("evaluate", "--table", bare, "--similarity", "dot", "--config", shop.config, *named)
    assert said.code == 0, said.err
    assert "nothing is left out" in said.json["notes"][0]
    train = tmp_path / "train.csv"
    columns = list(zip(*sorted(train_of(shop)), strict=True))
    pacsv.write_csv(pa.table({"who": columns[0], "what": columns[1]}), train)
    said = call("evaluate", "--table", bare, "--similarity", "dot", "--config", shop.config, "--train", train, *named)
    want = report(shop, *named[:-1])["ranking"]
    assert said.json["ranking"] == want
    assert not said.json["similarity"]["is_said_by_table"]


@pytest.mark.parametrize("is_plain", [False, True])
def test_what_a_run_held_out_is_scored_as_in_the_run(tmp_path: Path, call: Any, is_plain: bool) -> None:
    chain = Chain(tmp_path)
    rows = friends(3, 600) if is_plain else users_and_items(3, 900)
    held_out = {"holdout_edges": 0.2} if is_plain else {"holdout_users": 0.6, "holdout_pairs": 0.3}
    evaluate = {"source": "holdout", "k": [5, 9], **held_out}
    config = config_for(write_rows(tmp_path / "in.parquet", rows), plain=is_plain, parts=3, evaluate=evaluate)
    made = chain.publish(config)
    got = call("evaluate", "--workspace", chain.root, "-k", "5,9", "--json").json
    assert got["test_pairs"] == "held out by the run"
    assert got["ranking"]["test_pairs_in_train"] == 0
    assert got["ranking"]["recall@5"] > 0
    for name, value in made.metrics["ranking"].items():
        assert got["ranking"][name] == value
    assert got["links"]["random"]["auc"] == made.metrics["link_prediction"]["auc_random"]
    assert got["links"]["degree_matched"]["auc"] == made.metrics["link_prediction"]["auc_degree_matched"]
    paths = {made.column("cluster_path")[node] for node in made.ids} - {""}  # without edges: in no part
    assert got["reconstruction"]["parts"] == len(paths) == 3
    assert got["reconstruction"]["hops"][0]["same_part"]["nodes"] > 0


def test_pairs_of_the_runs_own_config_are_the_default_and_missed_only_if_named(tmp_path: Path, call: Any) -> None:
    chain, test = Chain(tmp_path), write_rows(tmp_path / "test.csv", {"source": [1, 2, 3], "target": [4, 5, 999]})
    path = write_rows(tmp_path / "in.csv", users_and_items(3, 300))
    made = chain.publish(config_for(path, evaluate={"source": "file", "path": str(test), "k": [5]}))
    got = call("evaluate", "--workspace", chain.root, "-k", "5", "--json").json
    assert got["test_pairs"] == str(test)
    assert got["ranking"]["ndcg@5"] == made.metrics["ranking"]["ndcg@5"]
    test.unlink()
    said = call("evaluate", "--workspace", chain.root, "--json")
    assert said.code == 0, said.err
    assert "ranking" not in said.json
    assert "are gone" in said.json["notes"][0]
    said = call("evaluate", "--workspace", chain.root, "--pairs", test)
    assert said.code == 4


def test_a_sample_says_so(shop: Any, pairs: Path) -> None:
    named = ["--pairs", pairs, "--source", "who", "--target", "what", "--sample", "7", "--metrics", "ranking"]
    got = report(shop, *named)["ranking"]
    assert (got["users"], got["is_sampled"]) == (7, True)
    assert got["population"] > 7
    assert "7 of" in shop.call("evaluate", "--name", "shop", *named).out


def test_a_ranking_that_is_too_dear_is_sampled_unless_a_size_is_given(
    shop: Any, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = ["--pairs", pairs, "--source", "who", "--target", "what", "--metrics", "ranking"]
    whole = report(shop, *named)["ranking"]
    assert not whole["is_sampled"]
    monkeypatch.setattr(table_report, "DEAR", 9 * 25 * 16)  # 9 users x 25 items x 16 columns
    got = report(shop, *named)["ranking"]
    assert (got["users"], got["is_sampled"]) == (9, True)
    assert report(shop, *named, "--sample", "1000")["ranking"] == whole


def test_the_stage_is_what_it_was(shop: Any) -> None:
    said = shop.call("evaluate", "--config", shop.config, "--date", "2024-03-02", "--json")
    assert said.code == 0, said.err
    assert [stage["stage"] for stage in said.json["stages"]] == ["evaluate"]
    said = shop.call("evaluate", "--config", shop.config, "--date", "2024-03-02", "-k", "3")
    assert (said.code, "--date is an option of the stage, and --k is the report's" in said.err) == (2, True)


def test_help_explains_both(call: Any) -> None:
    text = call("evaluate", "--help").out
    assert "the stage 'evaluate' of a run" in text
    assert "a report on a published table" in text
    assert "--force-current" in text
    assert "--train-shares" in text


def bad_cases(folder: Path) -> list[tuple[list[object], int, str]]:
    pacsv.write_csv(pa.table({"who": ["a"], "what": ["b"]}), folder / "other.csv")
    pacsv.write_csv(pa.table({"user_id": ["a"], "item_id": ["b"]}), folder / "strangers.csv")
    pacsv.write_csv(
        pa.table({"user_id": pa.array([], pa.string()), "item_id": pa.array([], pa.string())}), folder / "empty.csv"
    )
    (folder / "nulls.csv").write_text("user_id,item_id\na,\n,b\n")
    (folder / "ragged.csv").write_text("user_id,item_id\na,b\na,b,c\n")
    pacsv.write_csv(pa.table({"node": ["a"], "label": ["b"]}), folder / "labels.csv")
    (folder / "text.parquet").write_text("no")
    pq.write_table(pa.table({"node_id": [1]}), folder / "wrong.parquet")
    at = lambda name: folder / name  # noqa: E731
    return [
        (
            ["--pairs", at("other.csv")],
            4,
            "no column 'user_id' (of --pairs; --source names it); it has ['who', 'what']",
        ),
        (["--pairs", at("strangers.csv")], 4, "0 of the 1 ids of"),
        (["--pairs", at("empty.csv")], 4, "has no rows; pairs of 'user_id' and 'item_id' were wanted"),
        (["--pairs", at("nulls.csv")], 4, "has no usable pairs: all 2 rows were rejected (null id: 2"),
        (["--pairs", at("ragged.csv")], 4, "1 of 2 rows of pairs in"),
        (["--pairs", at("nothing.csv")], 4, "nothing.csv"),
        (["--train", at("text.parquet")], 4, "can't be read as Parquet"),
        (["--labels", at("other.csv")], 4, "no column 'node' (--label-node names it); it has ['who', 'what']"),
        (["--labels", at("labels.csv")], 4, "0 of the 1 ids of --labels"),
        (
            ["--labels", at("labels.csv"), "--type", "thing"],
            2,
            "--type is 'thing'; the table has nodes of type item, user",
        ),
        (
            ["--release", "2020-01-01-abc"],
            2,
            "--release is '2020-01-01-abc'; published as 'shop' there are 2024-03-01-",
        ),
        (["--against", "2020-01-01-abc"], 2, "which is no path, and published as 'shop' there are"),
        (["--against", at("wrong.parquet")], 4, "has no column 'node_type'; it has ['node_id']"),
        (["--against", at("text.parquet")], 4, "can't be read as Parquet"),
        (["--metrics", "links"], 2, "asks for links, which needs test pairs: give --pairs"),
        (["--metrics", "classification"], 2, "needs labels: give --labels"),
        (["--metrics", "recall"], 2, "there is no metric 'recall'; choose from ranking,links"),
        (["--out", at("no") / "out.json"], 2, "there is no folder"),
        (["--similarity", "cosine"], 2, "the table's metadata say dot for retrieval"),
        (["--train-shares", ".5,1"], 2, "must be shares above 0 and below 1"),
        (["--set", "embedding.dim=4"], 2, "--set changes a config, and there is no --config"),
        (["--table", at("wrong.parquet")], 2, "--table is a path; --release and --name choose one of a workspace"),
        (["-k", "0"], 2, "must be a whole number from 1 on"),
    ]


def test_what_can_not_be_used_is_refused_with_what_was_found_and_wanted(shop: Any, tmp_path: Path) -> None:
    for arguments, code, message in bad_cases(tmp_path):
        said = shop.call("evaluate", "--name", "shop", *arguments, "--json")
        assert said.code == code, (arguments, said.err)
        assert message in said.json["error"], arguments
        assert said.json["exit_code"] == code


def test_a_table_that_is_none_is_refused(call: Any, tmp_path: Path) -> None:
    rows = pa.table(
        {
            "node_type": ["a", "b", "a"],
            "node_id": [1, 1, 2],
            "embedding": pa.array([[1.0, 2.0]] * 3, pa.list_(pa.float32(), 2)),
            "degree": [1, 1, 1],
        }
    )
    flawed = {
        "not sorted by node_type": rows,
        "not finite": rows.slice(0, 1).set_column(
            2, "embedding", pa.array([[math.nan, 0.0]], pa.list_(pa.float32(), 2))
        ),
        "fixed_size_list<float32> was wanted": rows.set_column(2, "embedding", pa.array([[1.0]] * 3)),
    }
    config = tmp_path / "config.toml"
    config.write_text('[input]\npath = "x"\nsource_type = "a"\ntarget_type = "b"\n')
    for message, table in flawed.items():
        pq.write_table(table, tmp_path / "table.parquet")
        plain = [] if table.num_rows == 1 else ["--config", config]
        said = call("evaluate", "--table", tmp_path / "table.parquet", "--similarity", "dot", *plain)
        assert said.code == 4, said.err
        assert message in said.err
    said = call("evaluate", "--metrics", "spectrum")
    assert (said.code, "give --workspace, or --table" in said.err) == (2, True)
    said = call("evaluate", "--table", tmp_path / "missing")
    assert (said.code, "does not exist" in said.err) == (4, True)


@pytest.mark.parametrize("way", ["current", "release", "table", "folder"])
def test_a_damaged_release_has_no_figures(shop: Any, call: Any, pairs: Path, tmp_path: Path, way: str) -> None:
    """A bit inside of a column, of which no footer tells."""
    workspace = tmp_path / "workspace"
    shutil.copytree(shop.workspace, workspace)
    with EmbeddingTable.open(workspace, name="shop") as opened:
        place = opened.path
    path = place / "node_embeddings" / "part-00000.parquet"
    data = bytearray(path.read_bytes())
    data[pq.read_metadata(path).row_group(0).column(1).data_page_offset + 40] ^= 1
    path.write_bytes(data)
    where = {
        "current": ("--workspace", workspace, "--name", "shop"),
        "release": ("--workspace", workspace, "--name", "shop", "--release", place.name),
        "table": ("--table", place),
        "folder": ("--table", path.parent),
    }[way]
    said = call("evaluate", *where, "--pairs", pairs, "--source", "who", "--target", "what", "--json")
    assert said.code == 4
    assert f"{path} has other bytes than the manifest says" in said.json["error"]
    assert f"'graphquilt run' with the config and the date of {place.name} restores it" in said.json["error"]
