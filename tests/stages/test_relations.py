"""Several relations are one graph: the matrix that dense algebra makes of their rows, at any cut, on any engine."""

from __future__ import annotations

import json
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.commands.tuned_config import tuned_text
from pipeline.embedding import row_files
from pipeline.embedding.in_memory import embed_in_memory
from pipeline.embedding.methods import CONFIG
from pipeline.embedding.rows import Rows
from pipeline.embedding.settings import GraphSummary, Settings
from pipeline.ingest.side_ids import as_numbers
from pipeline.kernels.node_keys import node_keys
from pipeline.stages import partition
from pipeline.tuning.pair_weights import PairWeights
from pipeline.tuning.training_graph import read_training_graph
from pipeline.workspace import Workspace
from tests.embedding.graphs_in_parts import parameters_of
from tests.oracles.dense_powers import dense_powers
from tests.oracles.simulator import ZERO_BELOW, Graph
from tests.stages.chains import Chain, config_for, users_and_items, with_changes, write_rows

Node = tuple[str, int]
Pairs = dict[tuple[Node, Node], float]


@dataclass(frozen=True)
class Relation:
    """A relation of these tests: its types, and where an edge from a source to a target stands, as (row, column).

    For a plain graph, any order will do.
    """

    name: str
    source: str
    target: str
    is_turned: bool = False
    stand_in: str | None = None  # of the target

    def ends(self, source: int, target: int) -> tuple[Node, Node]:
        row, column = (self.source, source), (self.stand_in or self.target, target)
        return (column, row) if self.is_turned else (row, column)


CLICKS = Relation("interactions", "user", "item")
OTHERS = (
    Relation("saves", "user", "item"),
    Relation("follows", "user", "user", stand_in="user'"),
    Relation("brands", "item", "brand", is_turned=True),
    Relation("alike", "item", "item", is_turned=True, stand_in="item'"),
    Relation("owners", "brand", "owner"),
    Relation("fans", "brand", "user", stand_in="user'"),
)
LINKS = Relation("interactions", "page", "page")
OTHERS_OF_PAGES = (Relation("visits", "page", "page"), Relation("words", "page", "word"))

Rows3 = list[tuple[int, int, float]]


@st.composite
def relation_rows(draw: st.DrawFn, relation: Relation) -> Rows3:
    node, weight = st.integers(0, 9), st.sampled_from([1.0, 0.25, 3.0])
    rows = draw(st.lists(st.tuples(node, node, weight), min_size=1, max_size=30))
    kept = [row for row in rows if relation.source != relation.target or row[0] != row[1]]
    return kept or [(0, 1, 1.0)]


def write_relations(
    folder: Path, rows: Mapping[Relation, Rows3], strengths: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Write the files of the relations; return their sections, the main one's first."""
    sections = []
    for relation, of_one in rows.items():
        columns = dict(zip(("source", "target", "weight"), map(list, zip(*of_one, strict=True)), strict=True))
        path = write_rows(folder / f"{relation.name}.parquet", columns)
        sections.append({"name": relation.name, "path": str(path), "weight": "weight"})
        sections[-1] |= {"source_type": relation.source, "target_type": relation.target}
        if relation.name in strengths:
            sections[-1]["strength"] = strengths[relation.name]
    return sections


def config_of(relations: Sequence[dict[str, Any]], **sections: Any) -> dict[str, Any]:
    config = config_for(Path(), **sections)
    del config["input"]
    return {"relations": list(relations), **config}


def matrix_of(rows: Mapping[Relation, Rows3], strengths: Mapping[str, float], *, plain: bool) -> Pairs:
    """The weights of all pairs, by dictionaries."""
    pairs: Pairs = defaultdict(float)
    for relation, of_one in rows.items():
        for source, target, weight in of_one:
            ends = relation.ends(source, target)
            pairs[(min(ends), max(ends)) if plain else ends] += weight * strengths.get(relation.name, 1.0)
    return {ends: weight for ends, weight in pairs.items() if weight}


def numbered_nodes(workspace: Workspace) -> dict[Node, int]:
    tables = [pq.read_table(file, partitioning=None) for file in workspace.files("node_index")]
    columns = ([value for table in tables for value in table[name].to_pylist()] for name in ("node_type", "node_id"))
    return {node: number for number, node in enumerate(zip(*columns, strict=True))}


def graph_of(pairs: Pairs, number_of: Mapping[Node, int], columns: frozenset[str]) -> Graph:
    keys = np.empty(len(number_of), np.uint64)
    for node, number in number_of.items():
        keys[number] = node_keys(node[0], [str(node[1]).encode()])[0]
    src, dst = (np.array([number_of[ends[end]] for ends in pairs], np.int64) for end in (0, 1))
    is_target = np.array([node_type in columns for node_type, _ in number_of])
    return Graph(keys, src, dst, np.array(list(pairs.values())), is_target)


def rows_of(workspace: Workspace, dim: int, nodes: int) -> Rows:
    rows = Rows.zeros(nodes, dim)
    for file in workspace.files("part_rows"):
        row_files.RowReader(file).fill(0, rows)
    return rows


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_rows_are_those_of_one_dense_matrix(data: st.DataObject) -> None:
    plain = data.draw(st.booleans(), label="plain")
    main, others = (LINKS, OTHERS_OF_PAGES) if plain else (CLICKS, OTHERS)
    chosen = data.draw(st.lists(st.sampled_from(others), min_size=1, unique=True))
    if any(one.name in ("owners", "fans") for one in chosen):  # what brings brands in
        chosen = [OTHERS[2], *(one for one in chosen if one is not OTHERS[2])]
    rows = {one: data.draw(relation_rows(one), label=one.name) for one in (main, *chosen)}
    strengths = {one.name: data.draw(st.sampled_from([1.0, 0.3, 7.0])) for one in chosen}
    dim, parts = 24, data.draw(st.sampled_from([1, 2, 5, 40]))
    embedding = {"dim": dim, "form": "classic" if plain else "two_tower"}
    with tempfile.TemporaryDirectory() as folder:
        relations = write_relations(Path(folder), rows, strengths)
        cut = {"parts": parts, "method": data.draw(st.sampled_from(["multilevel", "metis", "ldg", "hash"]))}
        gates = {"max_zero_share": 1.0}
        config = config_of(relations, embedding=embedding, partition=cut, publish={"gates": gates})
        chain = Chain(Path(folder) / "chain")
        with pytest.MonkeyPatch.context() as patch:
            if data.draw(st.booleans(), label="is cut by many tasks"):
                patch.setattr(partition, "cut_bytes", lambda *_: 2**60)
            made = chain.publish(config)
        workspace = chain.workspace(config)
        number_of = numbered_nodes(workspace)
        got = rows_of(workspace, dim, len(number_of))
    pairs = matrix_of(rows, strengths, plain=plain)
    assert set(number_of) == {node for ends in pairs for node in ends}
    columns = frozenset() if plain else frozenset(column for (_, (column, _)) in pairs)
    graph = graph_of(pairs, number_of, columns)
    dense = dense_powers(graph, parameters_of(embedding["form"], CONFIG.model_validate(config).embedding))
    if dense.clearness.min() > 4 * ZERO_BELOW:
        assert (np.linalg.norm(got.values - dense.rows, axis=1) <= 1.001 * dense.error + 1e-30).all()
    published = {main.source, main.target}
    assert set(made.ids) == {node for node in number_of if node[0] in published}
    of_main = graph_of(matrix_of({main: rows[main]}, {}, plain=plain), number_of, columns)
    assert made.column("degree") == {node: of_main.degree[number_of[node]] for node in made.ids}
    for node, weight in made.column("weight").items():
        assert weight == pytest.approx(of_main.strength[number_of[node]], rel=1e-6)


@pytest.fixture
def relations(tmp_path: Path) -> list[dict[str, Any]]:
    """Clicks, follows and brands of some size, with weights."""
    rng, clicks = np.random.default_rng(5), users_and_items(5)
    brands = [(item, item % 7, 1.0) for item in range(40)] + [(100, 3, 1.0)]  # an item that nobody has touched
    rows = {
        CLICKS: list(zip(*(clicks[name].tolist() for name in ("source", "target")), [1.0] * 500, strict=True)),
        OTHERS[1]: [(a, b, 0.5) for a, b in rng.integers(0, 70, (200, 2)).tolist() if a != b],
        OTHERS[2]: brands,
    }
    return write_relations(tmp_path, rows, {"follows": 0.3, "brands": 2.0})


def test_engines_agree_at_any_cut(relations: list[dict[str, Any]], tmp_path: Path) -> None:
    local = Chain(tmp_path / "one").publish(config_of(relations, parts=4))
    dask = Chain(tmp_path / "two").publish(config_of(relations, parts=4), workers=2)
    assert dask.data == local.data


@pytest.mark.spark
def test_spark_publishes_the_same_bytes(relations: list[dict[str, Any]], tmp_path: Path, spark_session: Any) -> None:
    from pipeline.engines.spark import SparkEngine

    local = Chain(tmp_path / "local").publish(config_of(relations, parts=4))
    spark = Chain(tmp_path / "spark", SparkEngine(spark_session)).publish(config_of(relations, parts=4))
    assert spark.data == local.data


def test_another_strength_reads_no_input_and_cuts_nothing(relations: list[dict[str, Any]], tmp_path: Path) -> None:
    chain, config = Chain(tmp_path / "chain"), config_of(relations, parts=4)
    before = chain.publish(config)
    stronger = chain.run(config, overrides=("relations.follows.strength=3",))
    assert stronger.code == 0, stronger.error
    assert stronger.skipped == ["ingest", "index", "partition"]
    assert chain.published().data != before.data


def test_strength_0_leaves_a_relation_out(relations: list[dict[str, Any]], tmp_path: Path) -> None:
    main, follows, brands = relations
    without = Chain(tmp_path / "without").publish(config_of([main, brands]))
    zero = Chain(tmp_path / "zero").publish(config_of([main, {**follows, "strength": 0}, brands]))
    assert zero.data == without.data


def test_input_is_the_short_form_of_the_first_relation(relations: list[dict[str, Any]], tmp_path: Path) -> None:
    main, *others = relations
    long = Chain(tmp_path / "long").publish(config_of(relations))
    short = config_for(Path(main["path"]), input={"weight": "weight"}, relations=others)
    assert Chain(tmp_path / "short").publish(short).data == long.data
    alone = Chain(tmp_path / "alone").publish(config_for(Path(main["path"]), input={"weight": "weight"}))
    assert Chain(tmp_path / "one").publish(config_of([main])).data == alone.data


def test_types_are_published_by_name(relations: list[dict[str, Any]], tmp_path: Path) -> None:
    chain = Chain(tmp_path / "chain")
    default = chain.publish(config_of(relations))
    assert {node_type for node_type, _ in default.ids} == {"user", "item"}
    assert ("item", 100) in default.ids  # through its brand
    assert default.of["item", 100].any()
    assert default.column("degree")["item", 100] == 0
    with_brands = chain.publish(config_of(relations, publish={"node_types": ["user", "item", "brand"]}))
    assert {node_type for node_type, _ in with_brands.ids} == {"user", "item", "brand"}
    for node in default.ids:
        np.testing.assert_array_equal(with_brands.of[node], default.of[node])
    degrees = with_brands.column("degree")
    assert {number: degrees["brand", number] for number in range(7)} == {0: 6, 1: 6, 2: 6, 3: 7, 4: 6, 5: 5, 6: 5}


@pytest.mark.parametrize("embedding", [{"method": "spectral", "dim": 8}, {"method": "ppr", "form": "hashed"}])
def test_every_method_honours_relations(
    relations: list[dict[str, Any]], embedding: dict[str, Any], tmp_path: Path
) -> None:
    main, follows, _ = relations
    chain = Chain(tmp_path / "chain")
    made = chain.publish(config_of(relations, embedding=embedding))
    without = chain.publish(config_of([main, follows], embedding=embedding))
    assert ("item", 100) not in without.ids
    assert set(made.ids) > set(without.ids)
    assert made.of["item", 100].any()


LISTS_OF_A_FILTER = {"lists": {"filter": "plateau", "rank": 4, "top_k": 300}}


@pytest.mark.parametrize("lists", [{"ppr": {"neighbors": True, "top_k": 300}}, LISTS_OF_A_FILTER])
def test_lists_hold_and_are_of_published_nodes_alone(
    relations: list[dict[str, Any]], lists: dict[str, Any], tmp_path: Path
) -> None:
    chain = Chain(tmp_path / "chain")
    made = chain.publish(config_of(relations, parts=3, **lists))
    (file,) = (made.folder / ("ppr_neighbors" if "ppr" in lists else "neighbors")).iterdir()
    table = pq.read_table(file, partitioning=None)
    assert {*table["node_type"].to_pylist()} == ({"user", "item"} if "ppr" in lists else {"user"})
    assert {*table["neighbor_type"].to_pylist()} == {"item"}
    items = {node_id for node_type, node_id in made.ids if node_type == "item"}
    assert {one for of_one in table["neighbor_ids"].to_pylist() for one in of_one} <= items
    assert any(100 in of_one for of_one in table["neighbor_ids"].to_pylist())  # reached over its brand


def test_pairs_of_the_main_relation_are_evaluated(relations: list[dict[str, Any]], tmp_path: Path) -> None:
    held_out = {"source": "holdout", "holdout_users": 1.0, "k": [5]}
    chain, config = Chain(tmp_path / "chain"), config_of(relations, evaluate=held_out)
    made = chain.publish(config)
    workspace = chain.workspace(config)
    assert made.metrics["ranking"]["users"] > 20
    held = [row for file in workspace.files("holdout") for row in pq.read_table(file)["relation"].to_pylist()]
    assert held
    assert set(held) == {0}
    indexed = [pq.read_table(file, partitioning=None) for file in workspace.files("indexed_edges")]
    assert {number for table in indexed for number in table["relation"].to_pylist()} == {0, 1, 2}


def test_each_relation_has_its_own_counts_and_its_own_bound(relations: list[dict[str, Any]], tmp_path: Path) -> None:
    main, follows, brands = relations
    broken = write_rows(tmp_path / "broken.jsonl", {"source": [1, None, 3], "target": [4, 5, 6]})
    chain = Chain(tmp_path / "chain")
    of_brands = {key: value for key, value in brands.items() if key != "weight"} | {"path": str(broken)}
    ended = chain.run(config_of([main, follows, of_brands]))
    assert ended.code == 4
    assert "relations.brands.max_rejected_share is 0.01" in ended.error
    ended = chain.run(config_of([main, follows, {**of_brands, "max_rejected_share": 0.5}]))
    assert ended.code == 0, ended.error
    figures = ended.figures("ingest")["relations"]
    assert {name: (one["read"], one["kept"]) for name, one in figures.items()}["brands"] == (3, 2)
    assert figures["interactions"]["read"] == 500
    (rejected,) = (chain.root / "runs").glob("*/rejected/*/*.parquet")
    (row,) = pq.read_table(rejected, partitioning=None).to_pylist()
    assert (row["section"], row["file"], row["row"]) == ("relations.brands", "broken.jsonl", 1)
    assert json.loads((chain.published().folder / "manifest.json").read_text())


def test_what_is_wrong_with_a_file_names_the_keys_of_its_relation(
    relations: list[dict[str, Any]], tmp_path: Path
) -> None:
    main, follows, brands = relations
    text = tmp_path / "brands.csv"
    text.write_text("source;target\n1;2\n")
    chain = Chain(tmp_path / "chain")
    for others, sentence in (
        ([{**follows, "source": "who"}, brands], "has no column 'who' (relations.follows.source)"),
        ([follows, {"name": "brands", "path": str(text)}], "set relations.brands.delimiter"),
    ):
        ended = chain.run(config_of([main, *others]))
        assert ended.code == 4
        assert sentence in ended.error
        assert "input." not in ended.error.replace(str(tmp_path), "")


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        (
            {"relations": [{"name": "x", "path": "x", "source_type": "a", "target_type": "b"}]},
            "relations 'x' join types",
        ),
        ({"relations": [{"name": "x", "path": "x"}, {"name": "x", "path": "y"}]}, "two relations have the name ['x']"),
        ({"relations": [{"name": "x", "path": "x", "source_tipe": "a"}]}, "did you mean 'source_type'?"),
        (
            {"relations": [{"name": "x", "path": "x"}, {"name": "y", "path": "y", "strength": -1}]},
            "relations.y.strength is -1;",
        ),
        ({"relations": [{"name": "x", "path": "x", "weight": "target"}]}, "relations.x: weight is 'target'"),
        ({"publish": {"node_types": ["user"]}}, "it needs ['item', 'user']"),
        ({"publish": {"node_types": ["user", "item", "brand"]}}, "publish.node_types has 'brand', which is of no type"),
        ({"ppr": {"target_type": "brand"}}, "ppr.target_type is 'brand', which is of no type"),
        (
            {
                "relations": [
                    {"name": "x", "path": "x", "source_type": "user", "target_type": "user"},
                    {"name": "y", "path": "y", "source_type": "user", "target_type": "user'"},
                ]
            },
            "has the name of another's stand-ins",
        ),
    ],
)
def test_relations_that_dont_go_together_are_refused(sections: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    config = with_changes(config_for(tmp_path / "in.parquet"), **sections)
    ended = Chain(tmp_path / "chain").run(config)
    assert ended.code == 2
    assert sentence in ended.error


@pytest.mark.parametrize("strength", [0.3, 3.0])
def test_what_is_tuned_is_the_graph_of_a_run(relations: list[dict[str, Any]], strength: float, tmp_path: Path) -> None:
    chain, config = Chain(tmp_path / "chain"), config_of(relations)
    changed = [{**one, "strength": strength} if one["name"] == "follows" else one for one in relations]
    made = Chain(tmp_path / "changed").publish(config_of(changed))
    chain.publish(config)
    workspace, read = chain.workspace(config), CONFIG.model_validate(config)
    graph = read_training_graph(read, workspace, 2**62, seed=0)
    weights = PairWeights(read, graph, np.ones(graph.src.size, np.bool_), None, None)
    block = weights.block({"relations.follows.strength": strength})
    summary = GraphSummary(graph.nodes, graph.rows, graph.columns)
    rows = embed_in_memory(block, Settings(summary, read.embedding, read.form))
    number_of = numbered_nodes(workspace)
    assert graph.nodes == len(number_of)  # every node has an edge here
    got = np.stack([rows[number_of[node]] for node in made.ids])
    np.testing.assert_allclose(got, made.rows, rtol=1e-5, atol=1e-6)


def test_a_tuned_config_has_the_strength_in_its_place(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    relations = '[[relations]]  # one\nname = "x"\npath = "b"\n[[relations]]\nname = "y"\npath = "c"\n'
    file.write_text(f'[input]\npath = "a"\n{relations}')
    text = tuned_text(file, ["relations.y.strength=2"], tmp_path / "o", {"relations.x": {"strength": 0.3}}, frozenset())
    assert "# one" in text
    x, y = tomllib.loads(text)["relations"]
    assert (x["strength"], y["strength"]) == (0.3, 2)


GENRES = [["war", "drama"], ["drama"], [], None, ["17", "war"], ["sci fi", "007", "drama", "drama"]]


def genres_file(folder: Path, form: str) -> Path:
    """Items of the clicks with their genres: as lists, or as text with blanks around the values."""
    items, lists = list(range(len(GENRES))), GENRES
    if form == "list.parquet":
        return write_rows(folder / form, {"item": items, "genres": pa.array(lists, pa.list_(pa.string()))})
    if form == "list.jsonl":
        return write_rows(folder / form, {"item": items, "genres": lists})
    return write_rows(folder / form, {"item": items, "genres": [" | ".join(one or []) for one in lists]})


def genres_section(path: Path) -> dict[str, Any]:
    ends = {"source": "item", "source_type": "item", "target": "genres", "target_type": "item.genres"}
    return {"name": "genres", "path": str(path), **ends, "targets": "any", "separator": "|", "strength": 0.5}


@pytest.mark.parametrize("form", ["list.parquet", "list.jsonl", "text.csv", "text.parquet"])
def test_a_row_may_have_any_number_of_targets(relations: list[dict[str, Any]], form: str, tmp_path: Path) -> None:
    chain, section = Chain(tmp_path / "chain"), genres_section(genres_file(tmp_path, form))
    config = config_of([relations[0], section])
    made = chain.publish(config)
    assert {type(node_id) for _, node_id in made.ids} == {int}  # texts that nobody sees leave the others integers
    edges = [pq.read_table(file, partitioning=None) for file in chain.workspace(config).files("edges")]
    pairs = {(row["src_id"], row["dst_id"]) for table in edges for row in table.to_pylist() if row["relation"] == 1}
    assert len(pairs) == sum(len(set(one or [])) for one in GENRES)
    ids = {text: number for item, of_one in enumerate(GENRES) for text in of_one or [] for _, number in pairs}
    assert (4, 17) in pairs  # a canonical number is itself
    assert (5, 7) not in pairs  # and "007" another
    assert len({number for _, number in pairs}) == len(ids)
    shown = config_of([relations[0], section], publish={"node_types": ["user", "item", "item.genres"]})
    assert {node_id for node_type, node_id in chain.publish(shown).ids if node_type == "item.genres"} == set(ids)


@pytest.mark.parametrize("method", ["spectral", "ppr"])
def test_attributes_are_relations_at_their_strength(
    relations: list[dict[str, Any]], method: str, tmp_path: Path
) -> None:
    path = genres_file(tmp_path, "text.parquet")
    embedding = {"method": method, "dim": 4} | ({"form": "factorised"} if method == "ppr" else {})
    section = {"path": str(path), "id": "item", "lists": ["genres"], "separator": "|", "strength": 0.25}
    attributes = {"item": section | {"weights": {"genres": 2.0}}}
    chain = Chain(tmp_path / "chain")
    made = chain.publish(config_of([relations[0]], embedding=embedding, attributes=attributes))
    explicit = chain.publish(config_of([relations[0], genres_section(path)], embedding=embedding))
    assert set(explicit.ids) <= set(made.ids)  # an item of the attributes may have neither genre nor click
    for node in explicit.ids:
        np.testing.assert_array_equal(made.of[node], explicit.of[node])


@given(st.lists(st.one_of(st.integers(-(2**70), 2**70).map(str), st.text(min_size=1, max_size=6)), max_size=20))
def test_texts_become_numbers_each_its_own(texts: list[str]) -> None:
    numbers = as_numbers(pa.array(texts, pa.string())).to_pylist()
    assert len(set(numbers)) == len(set(texts))
    for text, number in zip(texts, numbers, strict=True):
        is_canonical = text.lstrip("-").isdecimal() and str(int(text)) == text and -(2**63) <= int(text) < 2**63
        assert number == (int(text) if is_canonical else node_keys("", [text.encode()]).view(np.int64)[0])
        assert as_numbers(pa.array([text])).to_pylist() == [number]  # whatever stands beside it


FORMS = [
    {"method": "fastrp", "form": "two_tower", "dim": 32},
    {"method": "fastrp", "form": "low_pass", "dim": 32},
    {"method": "spectral", "dim": 8},
    {"method": "ppr", "form": "factorised", "dim": 8},
]


@pytest.mark.parametrize("embedding", FORMS, ids=lambda one: one.get("form", "spectral"))
def test_an_item_without_clicks_is_nearer_to_those_who_like_its_brand(
    embedding: dict[str, Any], tmp_path: Path
) -> None:
    """Users and items of two tastes, a brand each: item 98 is new, of the first brand, and 99 of the second."""
    rng = np.random.default_rng(3)
    clicks = [(user, 2 * int(rng.integers(0, 20)) + user % 2, 1.0) for user in range(60) for _ in range(6)]
    brands = [(item, item % 2, 1.0) for item in [*range(40), 98, 99]]
    sections = write_relations(tmp_path, {CLICKS: clicks, OTHERS[2]: brands}, {})
    rows = Chain(tmp_path / "chain").publish(config_of(sections, embedding=embedding)).of
    scores = np.array([[rows["user", user] @ rows["item", item] for item in (98, 99)] for user in range(60)])
    likes_first = np.arange(60) % 2 == 0
    assert (scores[likes_first, 0] > scores[likes_first, 1]).mean() > 0.9
    assert (scores[~likes_first, 1] > scores[~likes_first, 0]).mean() > 0.9


def test_modes_take_the_joined_graph(relations: list[dict[str, Any]], tmp_path: Path) -> None:
    chain = Chain(tmp_path / "chain")
    whole = chain.publish(config_of(relations))
    for boundary, keys in (("halo", {"halo_hops": 4}), ("border", {}), ("quotient", {}), ("drop", {})):
        embedding = {"boundary": boundary, "dim": 16, **keys}
        gates = {"publish": {"gates": {"max_zero_share": 1.0}}}
        made = chain.publish(config_of(relations, parts=3, embedding=embedding, **gates))
        assert made.ids == whole.ids
        if boundary == "halo":  # with all hops nothing is lost
            np.testing.assert_allclose(made.rows, whole.rows, rtol=1e-4, atol=1e-5)


def test_a_night_is_judged_by_pairs_of_the_main_relation(relations: list[dict[str, Any]], tmp_path: Path) -> None:
    clicks = users_and_items(7, rows=900)
    times = 946_684_800 + 86_400 * np.arange(900) // 300  # three days
    path = write_rows(tmp_path / "dated.parquet", {**clicks, "t": times})
    main = {"name": "clicks", "path": str(path), "timestamp": "t", "timestamp_unit": "s"}
    config = config_of([main, *relations[1:]], evaluate={"source": "next_day"})
    chain = Chain(tmp_path / "chain")
    for date in ("2000-01-02", "2000-01-03"):
        ended = chain.run(config, date=date)
        assert ended.code == 0, ended.error
    metrics = ended.answer["metrics"]
    pairs = {tuple(map(int, pair)) for pair in zip(clicks["source"], clicks["target"], strict=True)}
    before = {tuple(map(int, pair)) for pair in zip(clicks["source"][:600], clicks["target"][:600], strict=True)}
    assert metrics["ranking"]["test_pairs"] <= len(pairs - before)
    assert metrics["drift"]["kept"]["pairs"]["kept"] == metrics["drift"]["kept"]["pairs"]["of"] == len(before)
