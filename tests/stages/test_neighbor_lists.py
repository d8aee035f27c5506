"""ppr_neighbors from interactions to a release, against exact PPR by dense algebra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.stages import neighbor_lists
from tests.stages.chains import Chain, config_for, friends, users_and_items, with_changes, write_rows
from tests.stages.published_lists import Exact, ListsOf, check_lists

WEIGHTED = {**users_and_items(1), "weight": np.random.default_rng(1).integers(1, 9, 500) / 4}
LISTS: dict[str, Any] = {"neighbors": True, "top_k": 5, "tolerance": 0.001}


def lists_only(
    path: Path, *, plain: bool = False, ppr: dict[str, Any] | None = None, **sections: Any
) -> dict[str, Any]:
    config = config_for(path, plain=plain, **sections)
    return with_changes(config, embedding={"method": "none"}, ppr={**LISTS, **(ppr or {})})


@pytest.fixture(scope="module")
def weighted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("weighted") / "in.parquet", WEIGHTED)


@pytest.mark.parametrize(
    "ppr",
    [
        {},
        {"restart": 0.5, "exclude_known": True, "degree_correction": 0.5},
        {"target_type": "user", "restart": 0.3},
        {"solver": "push", "tolerance": 0.01},
        {"solver": "push", "push_threshold": 1e-4},
        {"top_k": 40},
        {"edge_degree_power": 0.4, "degree_correction": 0.5},
    ],
    ids=["defaults", "recommendations", "users near", "push", "push to a threshold", "all items", "edges by degrees"],
)
def test_two_types_are_within_their_bounds_of_exact_scores(ppr: dict[str, Any], weighted: Path, tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    config = lists_only(weighted, ppr=ppr, input={"weight": "weight"})
    ended = chain.run(config)
    assert ended.code == 0, ended.error
    asked = {**LISTS, "restart": 0.15, **ppr}
    found = ListsOf.of(chain)
    check_lists(
        found,
        Exact.of(WEIGHTED, ("user", "item")),
        restart=asked["restart"],
        top_k=asked["top_k"],
        target=asked.get("target_type", "item"),
        correction=asked.get("degree_correction", 0.0),
        edge_power=asked.get("edge_degree_power", 0.0),
        exclude_known=asked.get("exclude_known", False),
    )
    assert sorted(found.nodes, key=str) == sorted(Exact.of(WEIGHTED, ("user", "item")).nodes, key=str)


@pytest.mark.parametrize("self_loops", ["reject", "keep"])
def test_one_type_with_loops_and_isolated_nodes(self_loops: str, tmp_path: Path) -> None:
    rows = friends(3)
    loops = {"source": [60, 3, 4], "target": [60, 3, 4]}  # of 60 it is all there is
    given = {name: np.concatenate([rows[name], loops[name]]) for name in rows}
    path = write_rows(tmp_path / "in.parquet", given)
    chain = Chain(tmp_path / "chain")
    config = lists_only(path, plain=True, input={"self_loops": self_loops, "max_rejected_share": 0.5})
    ended = chain.run(config)
    assert ended.code == 0, ended.error
    kept = given if self_loops == "keep" else rows
    check_lists(ListsOf.of(chain), Exact.of(kept, ("person", "person")), restart=0.15, top_k=5, target="person")


def test_any_number_of_shards_publishes_the_same_bytes(weighted: Path, tmp_path: Path) -> None:
    made = []
    for shards in (1, 4, 16):
        chain = Chain(tmp_path / str(shards))
        assert chain.run(lists_only(weighted, ppr={"shards": shards, "restart": 0.5})).code == 0
        made.append(ListsOf.of(chain).data)
    assert made[0] == made[1] == made[2]


def test_a_cut_changes_nothing_while_a_task_holds_the_whole_graph(weighted: Path, tmp_path: Path) -> None:
    made = []
    for parts in (1, 3):
        chain = Chain(tmp_path / str(parts))
        assert chain.run(lists_only(weighted, partition={"parts": parts})).code == 0
        made.append(ListsOf.of(chain).data)
    assert made[0] == made[1]


@pytest.mark.parametrize("method", ["multilevel", "hash"])
@pytest.mark.parametrize(
    "ppr",
    [
        {"push_threshold": 1e-5},
        {"restart": 0.5, "exclude_known": True, "degree_correction": 0.3, "edge_degree_power": 0.2},
        {"sources": "chosen.csv", "target_type": "user"},
    ],
    ids=["pointwise", "l1", "chosen"],
)
def test_lists_composed_from_parts_are_within_their_bounds(
    method: str, ppr: dict[str, Any], weighted: Path, tmp_path: Path
) -> None:
    if "sources" in ppr:
        file = write_rows(tmp_path / "chosen.csv", {"node_id": ["3", "5", "2"], "node_type": ["user", "user", "item"]})
        ppr = {**ppr, "sources": str(file)}
    cut = {"parts": 4, "method": method}
    config = lists_only(weighted, ppr={"across": "parts", **ppr}, partition=cut, input={"weight": "weight"})
    chain = Chain(tmp_path)
    ended = chain.run(config)
    assert ended.code == 0, ended.error
    found = ListsOf.of(chain)
    check_lists(
        found,
        Exact.of(WEIGHTED, ("user", "item")),
        restart=ppr.get("restart", 0.15),
        top_k=5,
        target=ppr.get("target_type", "item"),
        correction=ppr.get("degree_correction", 0.0),
        edge_power=ppr.get("edge_degree_power", 0.0),
        exclude_known=ppr.get("exclude_known", False),
    )
    assert ended.figures("embed")["lists"]["bytes_moved"] > 0
    assert len(found.nodes) == (3 if "sources" in ppr else 100)
    # What is within is small: a bound that says nothing would hold too.
    assert max(found.bounds.values()) < 0.2


def test_one_type_composed_from_parts(tmp_path: Path) -> None:
    rows = friends(3)
    path = write_rows(tmp_path / "in.parquet", rows)
    chain = Chain(tmp_path / "chain")
    ended = chain.run(lists_only(path, plain=True, ppr={"across": "parts"}, partition={"parts": 3}))
    assert ended.code == 0, ended.error
    check_lists(ListsOf.of(chain), Exact.of(rows, ("person", "person")), restart=0.15, top_k=5, target="person")


def test_a_graph_over_a_workers_memory_is_composed(weighted: Path, tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    config = lists_only(weighted, ppr={"top_k": 3}, partition={"worker_bytes": 2**20})
    ended = chain.run(config)
    assert ended.code == 0, ended.error
    assert ended.figures("embed")["lists"]["across"] == "sources"  # it is a small graph
    rows = users_and_items(7, 3_000, 900, 300)
    path = write_rows(tmp_path / "larger.parquet", rows)
    ended = Chain(tmp_path / "larger").run(
        lists_only(path, ppr={"top_k": 3}, partition={"worker_bytes": 2**20, "parts": 3})
    )
    assert ended.code == 0, ended.error
    assert ended.figures("embed")["lists"]["across"] == "parts"


def test_both_engines_publish_the_same_bytes(engine: Any, weighted: Path, tmp_path: Path) -> None:
    here, there = Chain(tmp_path / "here"), Chain(tmp_path / "there", engine)
    config = lists_only(weighted, ppr={"shards": 2})
    assert here.run(config).code == 0
    assert there.run(config, engine=engine.name).code == 0
    assert ListsOf.of(here).data == ListsOf.of(there).data


def test_lists_beside_embeddings(weighted: Path, tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    published = chain.publish(config_for(weighted, ppr=LISTS))
    lists = ListsOf.of(chain)
    assert published.ids == lists.nodes  # the same nodes in the same order
    alone = Chain(tmp_path / "alone")
    assert alone.run(lists_only(weighted)).code == 0
    assert ListsOf.of(alone).table.equals(lists.table)


def test_excluded_ids_are_in_no_list_and_have_none(weighted: Path, tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    config = lists_only(weighted, ppr={"top_k": 40}, publish={"exclude_ids": {"item": [0, 1], "user": [7]}})
    assert chain.run(config).code == 0
    found = ListsOf.of(chain)
    assert not {("item", 0), ("item", 1), ("user", 7)} & {*found.nodes}
    for listed in found.lists.values():
        assert not {0, 1} & {*listed}
        assert {*listed}


def test_lists_are_as_long_without_the_excluded(weighted: Path, tmp_path: Path) -> None:
    left_out = [0, 1, 5, 9]
    made = []
    for number, publish in enumerate(({}, {"exclude_ids": {"item": left_out}})):
        chain = Chain(tmp_path / str(number))
        config = lists_only(weighted, ppr={"top_k": 40 if not publish else 6}, publish=publish)
        assert chain.run(config).code == 0
        made.append(ListsOf.of(chain).lists)
    for node, listed in made[1].items():
        want = [id_ for id_ in made[0][node] if id_ not in left_out][:6]
        assert list(listed) == want


def test_bounds_wider_than_asked_for_are_said(weighted: Path, tmp_path: Path) -> None:
    config = lists_only(weighted, ppr={"across": "parts"}, partition={"parts": 3})
    found: list[tuple[Any, ...]] = []
    for changes in ({}, {"tolerance": 0.5}):
        given = with_changes(config, ppr=changes)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(neighbor_lists.log, "warning", lambda *said: found.append(said))
            assert Chain(tmp_path / str(changes.get("tolerance"))).run(given).code == 0
    (said,) = found
    assert "largest error bound" in said[0]


def test_empty_lists_are_for_the_gate_of_zero_rows(weighted: Path, tmp_path: Path) -> None:
    config = lists_only(
        weighted,
        ppr={"solver": "push", "push_threshold": 1e9},
        publish={"gates": {"max_zero_share": 0.5}},
    )
    ended = Chain(tmp_path).run(config)
    assert ended.code == 3
    assert "zero" in ended.error


def test_chosen_sources_have_lists_and_unknown_ones_are_counted(weighted: Path, tmp_path: Path) -> None:
    chosen = write_rows(
        tmp_path / "chosen.csv",
        {"node_id": ["3", "5", "5", "9999", "2", "x"], "node_type": ["user", "user", "user", "user", "item", "shop"]},
    )
    chain, whole = Chain(tmp_path / "chain"), Chain(tmp_path / "whole")
    config = lists_only(weighted, ppr={"sources": str(chosen)})
    ended = chain.run(config)
    assert ended.code == 0, ended.error
    assert ended.figures("embed")["lists"]["unknown_sources"] == 2
    found = ListsOf.of(chain)
    assert found.nodes == [("item", 2), ("user", 3), ("user", 5)]
    assert whole.run(lists_only(weighted)).code == 0
    everybody = ListsOf.of(whole).lists
    assert found.lists == {node: everybody[node] for node in found.nodes}
    # Other sources, another table: the file's bytes count, not its name.
    write_rows(chosen, {"node_id": ["3"], "node_type": ["user"]})
    assert chain.run(config).code == 0
    assert ListsOf.of(chain).nodes == [("user", 3)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"node_id": ["9999"], "node_type": ["user"]}, "0 of the 1 ids of ppr.sources"),
        ({"id": ["3"]}, "has no column node_id"),
        ({"node_id": ["3"]}, "has no column node_type"),
    ],
)
def test_sources_that_say_nothing_are_refused(
    content: dict[str, Any], said: str, weighted: Path, tmp_path: Path
) -> None:
    chosen = write_rows(tmp_path / "chosen.csv", content)
    ended = Chain(tmp_path / "chain").run(lists_only(weighted, ppr={"sources": str(chosen)}))
    assert ended.code == 4
    assert said in ended.error
    assert str(chosen) in ended.error


@pytest.mark.parametrize(
    ("ppr", "said"),
    [
        ({"restart": 0.0}, "above 0 and below 1"),
        ({"restart": 1}, "above 0 and below 1"),
        ({"restart": 1.5}, "above 0 and below 1"),
        ({"tolerance": 0}, "infinitely many steps"),
        ({"target_type": "shop"}, "ppr.target_type is 'shop'"),
        ({"solver": "chebyshev", "tolerance": 1e-6}, "can't certify ppr.tolerance 1e-06"),
        ({"across": "parts", "solver": "walks"}, "composed from parts"),
    ],
)
def test_what_cannot_be_asked(ppr: dict[str, Any], said: str, weighted: Path, tmp_path: Path) -> None:
    ended = Chain(tmp_path).run(lists_only(weighted, ppr=ppr))
    assert ended.code == 2
    assert said in ended.error


def test_a_graph_smaller_than_the_lists_gets_shorter_ones(weighted: Path, tmp_path: Path) -> None:
    for across in ("sources", "parts"):
        few, many = Chain(tmp_path / f"{across}-40"), Chain(tmp_path / f"{across}-41")
        for chain, top_k in ((few, 40), (many, 41)):
            ended = chain.run(lists_only(weighted, ppr={"top_k": top_k, "across": across}))
            assert ended.code == 0, ended.error
        assert ListsOf.of(many).lists == ListsOf.of(few).lists


def test_nothing_to_publish_is_refused(weighted: Path, tmp_path: Path) -> None:
    ended = Chain(tmp_path).run(with_changes(config_for(weighted), embedding={"method": "none"}))
    assert ended.code == 2
    assert "nothing would be published" in ended.error


def test_walks_are_near_and_the_same_for_any_shards(weighted: Path, tmp_path: Path) -> None:
    made = []
    for shards in (1, 3):
        chain = Chain(tmp_path / str(shards))
        ppr = {"solver": "walks", "walks": 4_000, "shards": shards, "top_k": 40}
        assert chain.run(lists_only(weighted, ppr=ppr, input={"weight": "weight"})).code == 0
        made.append(ListsOf.of(chain))
    assert made[0].data == made[1].data
    exact = Exact.of(WEIGHTED, ("user", "item")).scores(0.15)
    errors = [
        abs(score - exact[source]["item", id_]) > made[0].bounds[source]
        for source, listed in made[0].lists.items()
        for id_, score in listed.items()
    ]
    # Each is outside with chance .05 at most, by a bound that is far from tight.
    assert np.mean(errors) <= 0.05


@pytest.mark.parametrize("across", ["sources", "parts"])
def test_bounds_hold_what_float32_scores_round(across: str, weighted: Path, tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    ppr = {"solver": "push", "across": across, "top_k": 40, "degree_correction": 0.5}
    ppr |= {"tolerance": 1e-11} if across == "sources" else {"push_threshold": 1e-13}
    assert chain.run(lists_only(weighted, ppr=ppr, input={"weight": "weight"}, partition={"parts": 3})).code == 0
    found, exact = ListsOf.of(chain), Exact.of(WEIGHTED, ("user", "item"))
    scores = exact.scores(0.15)
    for source, listed in found.lists.items():
        errors = [
            abs(score - scores[source]["item", id_] / len(exact.neighbors(("item", id_))) ** 0.5)
            for id_, score in listed.items()
        ]
        assert sum(errors) <= found.bounds[source] < 1e-6


def test_string_ids_and_files_of_few_rows(tmp_path: Path) -> None:
    rows = users_and_items(5)
    named = {"source": [f"u{i}" for i in rows["source"]], "target": [f"i{i:03d}" for i in rows["target"]]}
    path = write_rows(tmp_path / "in.csv", named)
    made = []
    for size in (7, 10_000):
        chain = Chain(tmp_path / str(size))
        assert chain.run(lists_only(path, publish={"rows_per_file": size})).code == 0
        made.append(ListsOf.of(chain))
    assert len(made[0].data) > len(made[1].data) == 1
    assert made[0].table.equals(made[1].table)
    check_lists(made[0], Exact.of(named, ("user", "item")), restart=0.15, top_k=5, target="item")
