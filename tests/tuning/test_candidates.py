"""What is worth a try: every candidate can be run, and a budget that ends early has seen the best presets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.model import PipelineConfig
from pipeline.embedding.methods import CONFIG, EMBEDDING
from pipeline.tuning.candidates import GraphFacts, advice, candidate_of, candidates, refinements
from pipeline.tuning.search import Candidate, Trial, VariantScore
from pipeline.tuning.validation import Score

LARGE = GraphFacts(is_plain=False, sources=30_000, targets=40_000, edges=800_000)
SMALL = GraphFacts(is_plain=False, sources=1_000, targets=2_000, edges=80_000)
PLAIN = GraphFacts(is_plain=True, sources=10_000, targets=10_000, edges=300_000)

sizes = st.integers(1, 10**7)
facts = st.builds(
    GraphFacts,
    is_plain=st.booleans(),
    sources=sizes,
    targets=sizes,
    edges=st.integers(0, 10**9),
    is_weighted=st.booleans(),
    use=st.sampled_from(["retrieval", "classifier", "feature"]),
)
widths = st.lists(st.integers(1, 1024), min_size=1, max_size=4)


def trial_of(candidate: Candidate, value: float) -> Trial:
    best = VariantScore({}, Score(np.array([value]), {}))
    return Trial(candidate, [best], best, True, 0.0, 0.0, 0.0, 0)


def config_of(changes: Any, is_plain: bool) -> PipelineConfig:
    types = {"source_type": "node", "target_type": "node"} if is_plain else {}
    return CONFIG.model_validate({"input": {"path": "x.parquet", **types}, "embedding": dict(changes)})


@settings(max_examples=30)
@given(facts, widths)
def test_every_candidate_is_a_configuration_that_runs(facts: GraphFacts, dims: list[int]) -> None:
    for candidate in candidates(facts, dims):
        embedding = config_of(candidate.changes, facts.is_plain).embedding
        assert embedding == EMBEDDING(**candidate.changes)
        assert embedding.dim in dims
        assert candidate.cost > 0
        assert candidate.why.endswith(".")


@settings(max_examples=30)
@given(facts, st.integers(1, 1024), st.data())
def test_refinements_run_and_are_one_step_away(facts: GraphFacts, dim: int, data: st.DataObject) -> None:
    best: Candidate = data.draw(st.sampled_from(candidates(facts, [dim])))
    for _ in range(3):
        moves = refinements(best, facts)
        for moved in moves:
            config_of(moved.changes, facts.is_plain)
            differing = [key for key in moved.changes if moved.changes[key] != best.changes.get(key)]
            assert len(differing) == 1
            assert set(best.changes) <= set(moved.changes)
        if moves:
            best = data.draw(st.sampled_from(moves))


@given(facts, widths)
def test_a_budget_that_ends_early_has_seen_each_width_as_often_as_any(facts: GraphFacts, dims: list[int]) -> None:
    found = candidates(facts, dims)
    length = {dim: sum(candidate.changes["dim"] == dim for candidate in found) for dim in dims}
    for end in range(len(found) + 1):
        seen = {dim: sum(candidate.changes["dim"] == dim for candidate in found[:end]) for dim in dims}
        unfinished = [seen[dim] for dim in dims if seen[dim] < length[dim]]
        assert not unfinished or max(seen.values()) - min(unfinished) <= 1


@given(facts, widths)
def test_the_order_is_stable_and_no_candidate_comes_twice(facts: GraphFacts, dims: list[int]) -> None:
    found = candidates(facts, dims)
    assert found == candidates(facts, [*dims, *dims])
    assert len({repr(sorted(candidate.changes.items())) for candidate in found}) == len(found)


def test_a_width_finds_the_same_candidates_beside_others() -> None:
    beside = [candidate for candidate in candidates(LARGE, [64, 512, 256]) if candidate.changes["dim"] == 256]
    assert beside == candidates(LARGE, [256])


def test_the_first_preset_depends_on_size_density_and_use() -> None:
    first = candidates(LARGE, [64, 512])
    assert first[0].changes["reduction"] == "rotate"
    assert first[0].changes["rank"] > 64
    assert first[1].changes["reduction"] == "truncate", "512 of 40,000 columns leave little to rotate in"
    assert candidates(SMALL, [64])[0].changes["reduction"] == "truncate"
    ranking, labels = candidates(PLAIN, [128])[0], candidates(_with_use(PLAIN, "classifier"), [128])[0]
    assert (ranking.changes["eigenvalues"], labels.changes["eigenvalues"]) == ("positive", "both")
    assert ranking.changes["norm_degree_power"] > 0


@pytest.mark.parametrize("graph", [LARGE, SMALL, PLAIN])
@pytest.mark.parametrize("use", ["classifier", "feature"])
def test_coordinates_for_models_are_never_rotated(graph: GraphFacts, use: Any) -> None:
    assert all(found.changes.get("reduction") != "rotate" for found in candidates(_with_use(graph, use), [16, 128]))


@pytest.mark.parametrize("graph", [LARGE, SMALL, PLAIN])
def test_costs_grow_with_the_graph_and_the_width(graph: GraphFacts) -> None:
    twice = GraphFacts(graph.is_plain, graph.sources, graph.targets, 2 * graph.edges)
    for few, many in zip(candidates(graph, [32]), candidates(twice, [32]), strict=True):
        assert few.cost < many.cost <= 2 * few.cost
    by_name = {found.name: found.cost for found in candidates(graph, [32])}
    wide = {found.name: found.cost for found in candidates(graph, [64])}
    assert all(by_name[name] < wide[name] for name in by_name)


def test_the_cost_of_walks_is_what_they_multiply() -> None:
    by_name = {found.name: found.cost for found in candidates(LARGE, [64])}
    assert by_name["two-tower"] == 2 * (2 * 800_000) * 64, "two steps of P, each twice over the edges"
    walks = {found.name: found.cost for found in candidates(PLAIN, [64])}
    assert walks["walks"] == 3 * (2 * 300_000) * 64


def test_refinements_walk_back_to_where_they_came_from() -> None:
    best = candidates(LARGE, [64])[0]
    there = next(found for found in refinements(best, LARGE) if "item_norm_power" in found.name)
    assert best.changes in [found.changes for found in refinements(there, LARGE)]


@pytest.mark.parametrize(("graph", "key"), [(SMALL, "item_norm_power"), (PLAIN, "norm_degree_power")])
def test_ppr_is_refined_in_keys_that_set_its_vectors_and_priced_by_its_form(graph: GraphFacts, key: str) -> None:
    hashed, factorised = (
        candidate_of("as given", "It is in the configuration.", {"method": "ppr", "form": form, "dim": 8}, graph)
        for form in ("hashed", "auto")
    )
    for own in (hashed, factorised):
        moved = refinements(own, graph)
        assert any(key in found.changes for found in moved)
        assert not {"eigenvalue_power", "powers", "degree_power"} & {one for found in moved for one in found.changes}
    # A push from each node sees the graph some ten times; eigenpairs take some products, whatever the number of nodes.
    assert hashed.cost > 10 * graph.entries * graph.sources
    assert factorised.cost < hashed.cost
    wider = candidate_of("as given", "It is.", {"method": "ppr", "form": "hashed", "dim": 800}, graph)
    assert wider.cost == hashed.cost


def test_a_method_without_presets_has_a_cost_and_no_refinements() -> None:
    facts = GraphFacts(is_plain=True, sources=100, targets=100, edges=500)
    candidate = candidate_of("as given", "", {"method": "neighbor_average", "dim": 8}, facts)
    assert candidate.cost > 0
    assert refinements(candidate, facts) == []


def test_a_configuration_without_a_method_is_refined_by_the_default_of_its_graph() -> None:
    own = Candidate("as given", "It is in the configuration.", {"dim": 8, "item_norm_power": None}, 1.0)
    assert {"powers", "item_norm_power"} <= {key for found in refinements(own, SMALL) for key in found.changes}
    assert {"degree_power"} <= {key for found in refinements(own, PLAIN) for key in found.changes}
    wide = Candidate("as given", "It is in the configuration.", {"method": "spectral", "dim": 8, "rank": 24}, 1.0)
    assert any(found.changes["rank"] == 32 for found in refinements(wide, SMALL)), "auto rotates more than dim pairs"


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (LARGE, "Large and sparse"),
        (SMALL, "Small and dense"),
        (GraphFacts(False, 2_000, 4_500, 40_000), "few targets"),
        (PLAIN, "positive end"),
    ],
)
def test_advice_says_what_kind_of_graph_it_is(graph: GraphFacts, words: str) -> None:
    assert words in " ".join(advice(graph, []))
    assert "orthogonal coordinates" in " ".join(advice(_with_use(graph, "classifier"), []))


def test_advice_compares_kinds_at_the_width_that_won_and_warns_of_weights() -> None:
    tried = candidates(LARGE, [64, 512])
    results = [trial_of(found, 0.1 + 0.01 * place) for place, found in enumerate(tried)]
    said = " ".join(advice(LARGE, results))
    assert f"with {tried[-1].changes['dim']} columns" in said
    assert f"{results[-1].score.value:.4f}" in said
    assert "weights" not in said
    weighted = GraphFacts(False, 30_000, 40_000, 800_000, is_weighted=True)
    assert "input.weight" in " ".join(advice(weighted, results))


@pytest.mark.parametrize("dims", [[], [0], [64, -1]])
def test_widths_below_one_are_refused(dims: list[int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        candidates(LARGE, dims)


def _with_use(graph: GraphFacts, use: Any) -> GraphFacts:
    return GraphFacts(graph.is_plain, graph.sources, graph.targets, graph.edges, graph.is_weighted, use)


def test_a_matrix_of_products_is_tried_for_rankings_and_its_ridge_moved() -> None:
    best = candidates(SMALL, [64])[0]
    (first,) = [found for found in refinements(best, SMALL) if "compatibility" in found.changes]
    moved = [found.changes["compatibility"] for found in refinements(first, SMALL) if found.changes != best.changes]
    assert first.changes == {**best.changes, "compatibility": 1.0}
    assert {0.3, 3.0} <= set(moved)
    for other in (PLAIN, replace(SMALL, use="classifier")):
        for candidate in candidates(other, [64]):
            assert all("compatibility" not in found.changes for found in refinements(candidate, other))
