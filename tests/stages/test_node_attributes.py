"""Node attributes through the whole chain: any files, parts and engine; what nodes without edges get; bad input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.cli import parser_of
from jobs.commands import plan, workspace_view
from jobs.config_file import read_config
from pipeline.embedding.attribute_rows import rows_of_attributes
from pipeline.embedding.figures import EmbedFigures
from pipeline.embedding.methods import CONFIG
from pipeline.embedding.run_settings import settings_of
from pipeline.ingest import sources
from pipeline.ingest.attributes.features import Spread, features_of
from pipeline.ingest.attributes.rows import AttributeRules
from tests.stages.chains import Chain, Published, config_for, friends, users_and_items, with_changes, write_rows

ITEMS, COLD = 40, 15  # items 40 to 54 have attributes and no edges


def attributes(seed: int = 0, nodes: int = ITEMS + COLD) -> pa.Table:
    """Numbers, categories and lists, some missing."""
    rng = np.random.default_rng(seed)
    price = pa.array(rng.lognormal(3, 1, nodes), mask=rng.random(nodes) < 0.2)
    brand = [None if rng.random() < 0.1 else f"b{rng.integers(4)}" for _ in range(nodes)]
    tags = [[f"t{k}" for k in rng.integers(0, 6, rng.integers(0, 4))] for _ in range(nodes)]
    return pa.table({"item": np.arange(nodes), "price": price, "brand": brand, "tags": tags})


SECTION = {"id": "item", "numbers": ["price"], "categories": ["brand"], "lists": ["tags"], "weights": {"brand": 2.0}}


def config_with(path: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    """The chain's config with attributes of items, or of persons where the graph is plain."""
    node_type = "person" if changes.get("plain") else "item"
    return config_for(path, **changes, attributes={node_type: {"path": str(folder), **SECTION}})


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("shop")
    edges = write_rows(folder / "in.parquet", {name: np.array(ids) for name, ids in users_and_items(1).items()})
    return edges, write_rows(folder / "items.parquet", attributes())


@pytest.fixture(scope="module")
def reference(shop: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Chain, Published]:
    chain = Chain(tmp_path_factory.mktemp("reference"))
    return chain, chain.publish(config_with(*shop, parts=4))


def features_by_hand(table: pa.Table, parameters: Mapping[str, Any], node_type: str) -> Any:
    """Features of rows from what a published table says of itself, as for nodes that it doesn't hold."""
    about = parameters["attributes"][node_type]
    rules = AttributeRules(node_type, **about["columns"])
    text = [sorted({*tags}) for tags in table["tags"].to_pylist()]
    columns = {"node_id": table["item"].cast(pa.string()), "file": [""] * len(table), "row": range(len(table))}
    columns |= {"numbers.price": table["price"], "categories.brand": table["brand"], "lists.tags": text}
    rows = pa.table(columns, schema=rules.schema)
    return features_of(rows, rules, about["weights"], {n: Spread(**raw) for n, raw in about["statistics"].items()})


def metadata_of(made: Published) -> dict[str, Any]:
    file = sorted((made.folder / "node_embeddings").iterdir())[0]
    return dict(json.loads(pq.read_schema(file).metadata[b"graphquilt"]))


FORMS = {
    "two_tower": {},
    "low_pass": {"form": "low_pass", "filter_degree": 4},
    "classic": {"form": "classic", "iteration_weights": [1.0, 1.0], "self_influence": 0.5, "standardize_columns": True},
    "plain": {"iteration_weights": [0.0, 1.0], "norm_degree_power": 0.5},
}


@pytest.mark.parametrize("form", FORMS)
def test_nodes_without_edges_get_what_their_attributes_alone_give(
    form: str, shop: tuple[Path, Path], tmp_path: Path
) -> None:
    plain = form == "plain"
    path = write_rows(tmp_path / "in.csv", friends(3, nodes=ITEMS)) if plain else shop[0]
    config = config_with(path, shop[1], plain=plain, parts=2, embedding=FORMS[form])
    chain = Chain(tmp_path / "chain")
    made = chain.publish(config)
    node_type = "person" if plain else "item"
    table, metadata = attributes(), metadata_of(made)
    workspace = chain.workspace(config)
    settings = settings_of(CONFIG.from_toml(chain.write_config(config)), workspace)
    sums = workspace.figures("part_rows", EmbedFigures).sums
    want = rows_of_attributes(features_by_hand(table, metadata["parameters"], node_type), settings, sums)
    degree = made.column("degree")
    without = Chain(tmp_path / "without").publish(config_for(path, plain=plain, parts=2, embedding=FORMS[form])).of
    assert max(np.abs(row - without[node]).max() for node, row in made.of.items() if degree[node]) > 1e-3
    assert metadata["parameters"]["attribute_share"] == 0.5
    checked = 0
    for node in range(ITEMS + COLD):
        row = made.of[node_type, node]
        assert np.isfinite(row).all()
        if degree[node_type, node] == 0:
            checked += want[node].any()
            np.testing.assert_array_equal(row, want[node])
    assert checked >= COLD - 2


def test_users_without_edges_stay_zero_where_only_items_start(shop: tuple[Path, Path], tmp_path: Path) -> None:
    users = write_rows(tmp_path / "users.csv", {"id": np.arange(100), "country": [f"c{n % 3}" for n in range(100)]})
    section = {"user": {"path": str(users), "categories": ["country"]}}
    plain = Chain(tmp_path / "plain").publish(config_for(shop[0]))
    made = Chain(tmp_path / "users").publish(config_for(shop[0], attributes=section))
    metadata = metadata_of(made)
    assert metadata["attributes_without_effect"] == ["user"]
    assert "attributes" not in metadata["parameters"]
    assert metadata["space_id"] == metadata_of(plain)["space_id"]
    assert len(made.ids) == len(plain.ids) + 100 - len({node for kind, node in plain.ids if kind == "user"})
    for node, row in made.of.items():
        np.testing.assert_array_equal(row, plain.of.get(node, np.zeros(16)))


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_any_files_and_order_give_the_same_bytes(
    suffix: str, shop: tuple[Path, Path], reference: tuple[Chain, Published], tmp_path: Path
) -> None:
    table = attributes().take(np.random.default_rng(2).permutation(ITEMS + COLD))
    for number, (first, stop) in enumerate([(0, 3), (3, 30), (25, ITEMS + COLD)]):  # equal rows twice are one
        write_rows(tmp_path / "items" / f"{number}.{suffix}", table.slice(first, stop - first))
    made = Chain(tmp_path / "chain").publish(config_with(shop[0], tmp_path / "items", parts=4))
    assert made.data == reference[1].data


def test_a_path_beside_the_config_file_is_found(tmp_path: Path) -> None:
    write_rows(tmp_path / "items.csv", {"id": [1], "brand": ["x"]})
    config = config_for(tmp_path / "in.csv", attributes={"item": {"path": "items.csv", "categories": ["brand"]}})
    file = Chain(tmp_path).write_config(config)
    assert read_config(file).attributes["item"].path == str(tmp_path / "items.csv")


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("items.csv", "items.csv"),
        ("in/{date}.csv", "in/2024-06-01.csv"),
        ("{date}/items.csv", "2024-06-01/items.csv"),
        ("in/day={date}/items.csv", "in/day=2024-06-01/items.csv"),
        ("*/items.csv", "in/items.csv"),
        ("in/*.csv", "in/items.csv"),
        ("it?ms.csv", "items.csv"),
        ("it[d-f]ms.csv", "items.csv"),
        ("**/items.csv", "in/deep/items.csv"),
        ("it[e]ms.csv", "it[e]ms.csv"),
        ("{date}", "2024-06-01/items.csv"),
    ],
)
def test_a_path_of_any_form_is_found_beside_the_config_and_here_first(
    path: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "in").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "in" / "other.txt").touch()
    there = Chain(tmp_path / "there")
    config = there.write_config(config_for(path))
    assert read_config(config).input.path == path or "/" not in path  # nowhere: whichever is nearer
    for folder, found in ((config.parent, str(config.parent / path)), (tmp_path / "here", path)):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
        assert read_config(config).input.path == found


def test_any_number_of_buckets(
    shop: tuple[Path, Path], reference: tuple[Chain, Published], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.ingest.attributes.tables._BYTES_PER_BUCKET", 500)
    made = Chain(tmp_path / "chain").publish(config_with(*shop, parts=4))
    assert made.data == reference[1].data


@pytest.mark.parametrize("parts", [1, 7])
def test_any_number_of_parts(
    parts: int, shop: tuple[Path, Path], reference: tuple[Chain, Published], tmp_path: Path
) -> None:
    made = Chain(tmp_path / "chain").publish(config_with(*shop, parts=parts))
    assert made.ids == reference[1].ids
    np.testing.assert_allclose(made.rows, reference[1].rows, rtol=1e-4, atol=2e-6)
    no_edges = reference[1].table["degree"].to_numpy() == 0
    np.testing.assert_array_equal(made.rows[no_edges], reference[1].rows[no_edges])


@pytest.mark.spark
def test_spark_gives_the_same_bytes(
    shop: tuple[Path, Path], reference: tuple[Chain, Published], spark_session: Any, tmp_path: Path
) -> None:
    from pipeline.engines.spark import SparkEngine

    made = Chain(tmp_path / "chain", SparkEngine(spark_session)).publish(config_with(*shop, parts=4))
    assert made.data == reference[1].data


@pytest.mark.parametrize("mode", ["halo", "border", "quotient", "drop"])
def test_other_modes_stay_finite_and_whole(mode: str, shop: tuple[Path, Path], tmp_path: Path) -> None:
    embedding = {"boundary": mode, "form": "classic", "iteration_weights": [1.0, 1.0], "self_influence": 0.5, "dim": 32}
    made = Chain(tmp_path / "chain").publish(config_with(*shop, parts=3, embedding=embedding))
    assert np.isfinite(made.rows).all()
    assert (np.linalg.norm(made.rows, axis=1) > 0).mean() > 0.95


def test_spectral_ignores_attributes_and_says_so(shop: tuple[Path, Path], tmp_path: Path) -> None:
    made = Chain(tmp_path / "chain").publish(config_with(*shop, embedding={"method": "spectral", "dim": 8}))
    assert metadata_of(made)["attributes_without_effect"] == ["item"]
    assert all(not made.of["item", node].any() for node in range(ITEMS, ITEMS + COLD))


def test_text_ids_of_attributes_make_all_ids_text(shop: tuple[Path, Path], tmp_path: Path) -> None:
    items = write_rows(tmp_path / "items.csv", {"id": ["007", "0", "1"], "brand": ["x", "y", "x"]})
    section = {"item": {"path": str(items), "categories": ["brand"]}}
    made = Chain(tmp_path / "chain").publish(config_for(shop[0], attributes=section))
    assert ("item", "007") in made.ids
    assert ("item", "0") in made.ids
    assert made.of["item", "007"].any()


def test_other_statistics_are_another_space(
    shop: tuple[Path, Path], reference: tuple[Chain, Published], tmp_path: Path
) -> None:
    first = metadata_of(reference[1])
    table = attributes()
    dearer = table.set_column(1, "price", pa.array([price and 2 * price for price in table["price"].to_pylist()]))
    path = write_rows(tmp_path / "items.parquet", dearer)
    made = Chain(tmp_path / "chain").publish(config_with(shop[0], path, parts=4))
    second = metadata_of(made)
    means = [about["parameters"]["attributes"]["item"]["statistics"]["price"]["mean"] for about in (first, second)]
    known = [price for price in table["price"].to_pylist() if price is not None]
    assert means == pytest.approx([np.mean(known), 2 * np.mean(known)])
    assert first["space_id"] != second["space_id"]
    # Standardised, prices in another currency are the same.
    np.testing.assert_allclose(made.rows, reference[1].rows, rtol=1e-4, atol=1e-6)


def test_changed_attributes_are_read_again(shop: tuple[Path, Path], tmp_path: Path) -> None:
    items = write_rows(tmp_path / "items.parquet", attributes())
    chain, config = Chain(tmp_path / "chain"), config_with(shop[0], items)
    chain.publish(config)
    assert "ingest" in chain.run(config).skipped
    write_rows(items, attributes(seed=9))
    again = chain.run(config)
    assert again.code == 0
    assert "ingest" not in again.skipped
    other = chain.run(with_changes(config, embedding={"attribute_share": 0.2}))
    assert "layout" in other.skipped
    assert "embed" not in other.skipped


def test_rejected_rows_are_kept_counted_and_shown(
    shop: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Plans look at what was read before, and of a file that was just written nothing is remembered.
    monkeypatch.setattr(sources, "SETTLING_NS", -(2**62))
    rows = attributes().to_pylist()
    rows += [{**rows[3], "price": 1.25}, {**rows[5], "item": None}, {**rows[6], "price": float("inf")}]
    items = write_rows(tmp_path / "items.parquet", pa.Table.from_pylist(rows))
    chain, config = Chain(tmp_path / "chain"), config_with(shop[0], items, input={"max_rejected_share": 0.2})
    ended = chain.run(config)
    assert ended.code == 0
    about = ended.figures("ingest")["attributes"]["item"]
    assert about["rejected"] == {"null id": 1, "non-finite number": 1, "same id with other values": 2}
    assert (about["read"], about["nodes"]) == (ITEMS + COLD + 3, ITEMS + COLD - 1)
    table = pa.concat_tables(
        pq.read_table(file, partitioning=None) for file in chain.workspace(config).files("rejected_attributes")
    )
    assert sorted(zip(table["row"].to_pylist(), table["reason"].to_pylist(), strict=True)) == [
        (3, "same id with other values"),
        (55, "same id with other values"),
        (56, "null id"),
        (57, "non-finite number"),
    ]
    options = parser_of("inspect", workspace_view).parse_args(["--workspace", str(chain.root), "--date", "1970-01-01"])
    line = "attributes of item: 58 rows, 54 nodes, 4 rejected"
    assert line in workspace_view.answer(options).text
    arguments = ["--config", str(chain.write_config(config)), "--workspace", str(chain.root)]
    planned = plan.answer(parser_of("plan", plan).parse_args(arguments))
    assert "58 rows, 4 rejected" in planned.text
    assert planned.facts["attributes"]["item"]["nodes"] == 54
    refused = chain.run(with_changes(config, input={"max_rejected_share": 0.01}))
    assert refused.code == 4
    for word in ("4 of 58 rows of attributes", "null id: 1", "input.max_rejected_share is 0.01"):
        assert word in refused.error


@pytest.mark.parametrize(
    ("section", "code", "words"),
    [
        (
            {"item": {"path": "{folder}/items.parquet", "id": "item", "numbers": ["prize"]}},
            4,
            ["'prize'", "'price'", "Did you mean"],
        ),
        ({"item": {"path": "{folder}/none.csv", "numbers": ["price"]}}, 4, ["no files", "attributes.item.path"]),
        ({"itm": {"path": "{folder}/items.parquet", "numbers": ["price"]}}, 2, ["attributes.itm", "'item'", "'user'"]),
        ({"item": {"path": "{folder}/items.parquet"}}, 2, ["attributes.item", "no columns are named"]),
        ({"item": {"path": "x", "numbers": ["a"], "lists": ["a"]}}, 2, ["'a'", "listed twice"]),
        ({"item": {"path": "x", "numbers": ["a"], "weights": {"a": 0}}}, 2, ["weights.a is 0", "above 0"]),
    ],
)
def test_what_cant_be_used_is_refused_by_name(
    section: dict[str, Any], code: int, words: list[str], shop: tuple[Path, Path], tmp_path: Path
) -> None:
    filled = json.loads(json.dumps(section).replace("{folder}", str(shop[1].parent)))
    ended = Chain(tmp_path).run(config_for(shop[0], attributes=filled))
    assert ended.code == code, ended.error
    for word in words:
        assert word in ended.error


def test_cold_items_are_found_by_their_attributes(tmp_path: Path) -> None:
    """Planted: users of 8 groups buy items of their group's brand, and now and then any; new items have a brand."""
    rng = np.random.default_rng(7)
    users, items, cold, groups = 400, 160, 40, 8
    user = np.repeat(np.arange(users), 8)
    own = rng.integers(0, items // groups, user.size) * groups + user % groups
    item = np.where(rng.random(user.size) < 0.8, own, rng.integers(0, items, user.size))
    edges = write_rows(tmp_path / "in.parquet", {"source": user, "target": item})
    known = np.arange(items + cold)
    table = {"id": known, "brand": [f"b{n % groups}" for n in known], "price": rng.normal(size=known.size)}
    section = {"path": str(write_rows(tmp_path / "items.csv", table)), "categories": ["brand"], "numbers": ["price"]}
    base = config_for(edges, dim=128)
    made = Chain(tmp_path / "with").publish(with_changes(base, attributes={"item": section}))
    rows = made.of
    scores = np.array([[rows["user", u] @ rows["item", items + c] for c in range(cold)] for u in range(users)])
    is_own = (np.arange(users)[:, None] % groups) == ((items + np.arange(cold)) % groups)
    better = (scores[:, :, None] > scores[:, None, :])[is_own[:, :, None] & ~is_own[:, None, :]]
    assert better.mean() > 0.95  # AUC: without attributes rows are zero, and this is a coin's .5
    # Warm items of the group are found as well as before.
    without = Chain(tmp_path / "without").publish(base).of
    assert share_of_own(rows, users, items, groups) >= share_of_own(without, users, items, groups)


def share_of_own(rows: Mapping[tuple[str, Any], np.ndarray], users: int, items: int, groups: int) -> float:
    """Of the 20 best items with edges, how many are of the user's group."""
    of_user, of_item = (
        np.stack([rows[kind, n] for n in range(count)]) for kind, count in (("user", users), ("item", items))
    )
    best = np.argsort(-(of_user @ of_item.T), axis=1)[:, :20]
    return float((best % groups == np.arange(users)[:, None] % groups).mean())
