"""Spectral embeddings in rounds: against the simulator for any tree, and where there is hardly a graph at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.embedding import EmbeddingConfig
from pipeline.embedding.in_memory import block_from_edges, embed_in_memory
from tests.embedding.graphs_in_parts import ONE, GraphInParts, graphs_in_parts, placed
from tests.embedding.methods_in_parts import (
    Done,
    factorised,
    in_rounds,
    low_pass,
    random_tree,
    spectral,
    spectral_embeddings,
    spectral_parameters,
)
from tests.oracles.spectral_simulator import Errors, Simulated, first_columns, reduced, simulate_spectral

DRAWS = 4


def scores(rows: np.ndarray, items: int, columns: int) -> np.ndarray:
    """What the leading columns say of pairs: the same for any signs, and any rotation where eigenvalues are equal."""
    some = rows[:, :columns].astype(np.float64)
    return some[items:] @ some[:items].T if items else some @ some.T


def distances(rows: np.ndarray, other: np.ndarray, items: int) -> np.ndarray:
    """How far apart two embeddings are: in scores of the first 1, 2, ... columns, then in columns up to sign."""
    widths = range(1, rows.shape[1] + 1)
    in_scores = [np.linalg.norm(scores(rows, items, k) - scores(other, items, k)) for k in widths]
    rows, other = rows.astype(np.float64), other.astype(np.float64)
    in_columns = [min(np.linalg.norm(a - b), np.linalg.norm(a + b)) for a, b in zip(rows.T, other.T, strict=True)]
    return np.array([*in_scores, *in_columns])


def simulated(made: GraphInParts, embedding: EmbeddingConfig) -> tuple[Simulated, list[Simulated]]:
    """The simulator's run, and some with errors as large as float32's may be."""
    parameters = spectral_parameters(made, embedding)
    where = made.graph, made.home, made.is_split, parameters
    draws = [simulate_spectral(*where, Errors(made.graph, parameters, seed)) for seed in range(DRAWS)]
    return simulate_spectral(*where), draws


def check(made: GraphInParts, embedding: EmbeddingConfig) -> Done:
    """Hold the rounds against the simulator."""
    done = in_rounds(made, embedding)
    embedding = done.settings.embedding  # what was left to the form is settled there
    whole = as_truncated(embedding)
    truncated = done if embedding.reduction == "truncate" and done.settings.dim == whole.dim else in_rounds(made, whole)
    want, draws = simulated(made, whole)
    assert np.isfinite(done.rows.values).all()
    off = distances(truncated.rows.values, want.rows, made.items)
    # What the oracle makes of such errors; and at least the last rounding of the rows.
    bound = np.max([distances(draw.rows, want.rows, made.items) for draw in draws], axis=0)
    size = np.linalg.norm(want.rows)
    slack = 1e-6 * np.append(np.full(off.size // 2, size**2), np.full(off.size // 2, size))
    assert (off <= 2.0 * bound + slack + 1e-30).all()
    found = np.zeros_like(want.eigenvalues)
    found[: len(done.report["eigenvalues"])] = done.report["eigenvalues"]
    spread = np.max([np.abs(draw.eigenvalues - want.eigenvalues) for draw in draws], axis=0)
    assert (np.abs(found - want.eigenvalues) <= 2.0 * spread + 1e-6 * np.abs(want.eigenvalues).max() + 1e-30).all()
    ranks = [int(np.count_nonzero(run.eigenvalues)) for run in (want, *draws)]
    assert min(ranks) <= done.report["rank"] <= max(ranks)
    parameters = spectral_parameters(made, embedding)
    fewer = reduced(truncated.rows.values[:, : want.z.shape[1]].astype(np.float64), parameters)
    off = np.abs(done.rows.values - fewer)[~want.lost]  # the others are of other vectors than the leading ones
    assert off.max(initial=0.0) <= 2.0**-18 * size * np.sqrt(whole.dim / embedding.dim) + 1e-30
    if len(made.parts) > 1:
        assert {name: done.moved[name] for name in want.travelled} == want.travelled
    return done


def as_truncated(embedding: EmbeddingConfig) -> EmbeddingConfig:
    """The same run with all its columns."""
    return embedding.model_copy(update={"reduction": "truncate", "dim": embedding.rank})


@settings(max_examples=20)
@given(st.data())
def test_any_tree_weights_and_parameters(data: st.DataObject) -> None:
    made = data.draw(graphs_in_parts())
    check(made, data.draw(spectral_embeddings()))


@pytest.mark.parametrize("items", [0, 30], ids=["plain", "two_types"])
@pytest.mark.parametrize("parts", [1, 4])
def test_graphs_of_some_size(items: int, parts: int) -> None:
    made = random_tree(parts, items, 1)
    embedding = spectral(dim=6, no_return=0.5, iterations=3)
    done = check(made if parts > 1 else made.in_one_block(), embedding)
    want = simulate_spectral(made.graph, made.home, made.is_split, spectral_parameters(made, embedding))
    # Without looking at gaps: roundings of 2**-24, some hundred of them, hardly grown.
    assert distances(done.rows.values, want.rows, items).max() <= 1e-4 * np.linalg.norm(want.rows)
    assert done.report["rank"] == done.report["rank_asked"] == 6


@pytest.mark.parametrize("items", [0, 30], ids=["plain", "two_types"])
def test_one_block_equals_many_parts(items: int) -> None:
    made = random_tree(5, items, 3)
    embedding = spectral(dim=6, oversampling=8, iterations=3)
    many, one = in_rounds(made, embedding), in_rounds(made.in_one_block(), embedding)
    want, draws = simulated(made, embedding)
    bound = np.max([distances(draw.rows, want.rows, items) for draw in draws], axis=0)
    assert (distances(many.rows.values, one.rows.values, items) <= 2.0 * bound).all()
    together = scores(many.finished, items, 6)
    assert np.abs(together - scores(one.finished, items, 6)).max() <= 1e-4 * np.abs(together).max()


@pytest.mark.parametrize("items", [0, 30], ids=["plain", "two_types"])
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_narrow_rows_are_narrowed_as_the_simulator_narrows_them(dtype: str, items: int) -> None:
    # The first product is narrowed alike here and there but for the rare entry between two codes, whose graph this
    # isn't: errors of float32 are all that is left, though the codes' own are thousands of times as large.
    made = random_tree(4, items, 1)
    embedding = spectral(dim=4, iterations=1, boundary_dtype=dtype)
    done, parameters = in_rounds(made, embedding), spectral_parameters(made, embedding)
    want = simulate_spectral(made.graph, made.home, made.is_split, parameters)
    wide = simulate_spectral(made.graph, made.home, made.is_split, replace(parameters, boundary_dtype="float32"))
    size = np.linalg.norm(want.rows)
    assert distances(done.rows.values, want.rows, items).max() <= 2e-5 * size
    assert distances(wide.rows, want.rows, items).max() >= 5e-4 * size / (1 if dtype == "int8" else 16)
    assert done.moved["bytes"] == want.travelled["bytes"] < wide.travelled["bytes"]


def test_each_part_takes_its_share_of_the_diagonal_off() -> None:
    # One item whose users are alone at home, five parts: diag(P) is spread over all of them.
    made = placed([1, 2, 3, 4, 5], [0] * 5, [0, 0, 1, 2, 3, 4], nodes=6, items=1)
    for share in (0.0, 0.5, 0.75):
        done = in_rounds(made, spectral(dim=1, no_return=share, user_degree_power=0.0, item_degree_power=0.5))
        # P is 5 / 5, and so is its diagonal.
        assert done.report["eigenvalues"] == pytest.approx([1.0 - share], abs=1e-6)
        assert done.report["rank"] == 1


PLANTED = {
    "one user with all items": (placed([6] * 6, range(6), [0, 1, 0, 1, 0, 1, 0], nodes=7, items=6), 1),
    "one item with all users": (placed(range(1, 8), [0] * 7, [0, 1, 0, 1, 2, 2, 0, 1], nodes=8, items=1), 1),
    "one pair": (placed([1], [0], [0, 0], nodes=2, items=1), 1),
    "one edge": (placed([0], [1], [0, 1], nodes=2), 2),
    "one node and its loop": (placed([0], [0], [0], nodes=1), 1),
    "a star": (placed([0] * 9, range(1, 10), [0, 0, 0, 0, 1, 1, 1, 2, 2, 2], [True] + [False] * 9, nodes=10), 2),
    "users that are alike": (
        placed([4] * 4 + [5] * 4 + [6] * 4, [0, 1, 2, 3] * 3, [0, 0, 1, 1, 0, 1, 0], nodes=7, items=4),
        1,
    ),
    "isolated nodes": (placed([4, 4], [0, 1], [0] * 9, nodes=9, items=4), 1),
    "triangles apart": (placed([0, 1, 2, 3, 4, 5], [1, 2, 0, 4, 5, 3], [0, 0, 0, 1, 1, 1], nodes=6), 6),
    "pairs apart": (placed([4, 5, 6, 7], [0, 1, 2, 3], [0, 1, 0, 1] * 2, nodes=8, items=4), 4),
    "huge and tiny weights": (
        placed([3, 3, 4, 4], [0, 1, 1, 2], [0, 0, 1, 1, 0], nodes=5, items=3, weight=[ONE << 20, 1, 3, ONE << 19]),
        2,
    ),
    "the smallest weights": (
        placed([3, 3, 4, 4], [0, 1, 1, 2], [0, 0, 1, 1, 0], nodes=5, items=3, weight=[1, 2, 1, 3]),
        2,
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted(name: str) -> None:
    made, rank = PLANTED[name]
    for changes in (
        {"dim": 12, "no_return": 0.0},
        {"dim": 12, "no_return": 0.0, "shift": 0.0, "iterations": 1},
        {"dim": 2, "rank": 9, "reduction": "rotate"},
        {"dim": 1, "oversampling": 0, "item_row_power": 1.0, "boundary_dtype": "int8"},
    ):
        done = check(made, spectral(**changes))
        lengths = np.linalg.norm(done.finished, axis=1)
        assert np.isfinite(lengths).all()
        assert (lengths[made.home < 0] == 0).all()
        if changes.get("no_return") == 0.0:
            assert done.report["rank"] == rank
            is_of_leading = done.rows.values[:, :rank].any(axis=1)
            assert not done.rows.values[is_of_leading, rank:].any()
            assert (lengths[made.home >= 0] > 0).all()


@pytest.mark.parametrize("parts", [1, 2])
def test_steps_straight_back_stay_where_there_are_no_others(parts: int) -> None:
    # A user with one item never goes on to another: P is its own diagonal, and P - diag(P) nothing but rounding.
    weight = [ONE // 3, ONE, 3 * ONE, 7 * ONE, ONE // 7]
    made = placed(range(5, 10), range(5), [n % parts for n in range(5)] * 2, nodes=10, items=5, weight=weight)
    for changes in ({"dim": 5}, {"dim": 1, "oversampling": 0}, {"dim": 3, "rank": 5, "reduction": "rotate"}):
        asked, without = (in_rounds(made, spectral(no_return=share, **changes)) for share in (1.0, 0.0))
        np.testing.assert_array_equal(asked.finished, without.finished)
        assert asked.report == without.report | {"no_return": 0.0}
        assert asked.report["rank"] == changes.get("rank", changes["dim"])


@pytest.mark.parametrize("dim", [2, 12])
def test_a_component_that_leading_vectors_leave_out_has_rows_of_its_own(dim: int) -> None:
    # Two users of the same two items, and three pairs apart, from whose items no walk goes on.
    src, dst = [5, 5, 6, 6, 7, 8, 9], [0, 1, 0, 1, 2, 3, 4]
    made = placed(src, dst, [0, 0, 1, 1, 0, 0, 0, 1, 1, 0], nodes=10, items=5)
    done = in_rounds(made, spectral(dim=dim, oversampling=8))
    rows = done.finished.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    pairs = rows[7:] @ rows[2:5].T
    np.testing.assert_allclose(np.diag(pairs), 1.0, atol=1e-5)
    if dim == 12:  # a column for each vector that was found
        np.testing.assert_allclose(pairs, np.eye(3), atol=1e-5)
        np.testing.assert_allclose(rows[[0, 1, 5, 6]] @ rows[2:5].T, 0.0, atol=1e-5)


def test_a_component_of_tiny_weights_keeps_its_direction() -> None:
    # Next to the mean degree its own is 2^-33, and so is what each product leaves of its rows: float32 ends at 2^-149.
    weight = [1 << 40] * 3 + [1 << 8] * 2
    made = placed([0, 1, 2, 3, 4], [1, 2, 0, 4, 5], [0, 0, 1, 1, 0, 1], nodes=6, weight=weight)
    for embedding in (spectral(dim=4, iterations=6), factorised(dim=4, iterations=6)):
        done = in_rounds(made, embedding)
        np.testing.assert_allclose(np.linalg.norm(done.finished, axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("reduction", ["truncate", "rotate"])
def test_finished_rows_are_scaled_as_stated(reduction: str) -> None:
    for items, changes in (
        (30, {"item_row_power": 1.0, "item_norm_power": 0.2}),
        (30, {"item_row_power": 0.0, "item_norm_power": 0.4}),
        (30, {"item_row_power": 0.4, "rotated_row_power": 0.6}),
        (0, {}),
        (0, {"norm_degree_power": 0.5}),
    ):
        made = random_tree(3, items, 4)
        done = in_rounds(made, spectral(dim=4, rank=6, reduction=reduction, **changes))
        rows, strength = done.rows.values.astype(np.float64), made.graph.strength
        length = np.linalg.norm(rows, axis=1)
        length[made.home < 0] = 1.0
        scale = np.ones(made.nodes)
        if items:
            theta = changes.get("rotated_row_power", 1.0) if reduction == "rotate" else changes["item_row_power"]
            power = changes.get("item_norm_power", 0.2 if reduction == "rotate" else 0.3)
            scale[:items] = length[:items] ** -theta * strength[:items] ** power
        else:
            scale = strength ** changes.get("norm_degree_power", 0.0) / length * np.sqrt(4) / 2
        np.testing.assert_allclose(
            done.finished, rows * np.where(made.home < 0, 0, scale)[:, None], rtol=3e-6, atol=1e-9
        )


def test_the_eigenvalue_power_weighs_columns_of_one_type() -> None:
    made = random_tree(2, 0, 5)
    flat, bent = (in_rounds(made, spectral(dim=4, eigenvalue_power=p, shift=0.05)) for p in (0.0, 2.0))
    weighed = flat.rows.values * np.abs(flat.report["eigenvalues"]) ** 2.0
    np.testing.assert_allclose(bent.rows.values, weighed, atol=1e-6)


def test_more_columns_than_eigenpairs_are_zero() -> None:
    made = random_tree(2, 30, 5)
    want, _ = simulated(made, spectral(dim=40, oversampling=0))
    done = in_rounds(made, spectral(dim=40, oversampling=0))
    assert done.report["rank"] == int(np.count_nonzero(want.eigenvalues)) < 30
    assert not done.rows.values[:, 30:].any()
    assert first_columns(want.left, 40).shape == done.rows.values.shape


@pytest.mark.parametrize("items", [0, 30], ids=["plain", "two_types"])
def test_a_graph_in_memory_gets_the_rows_of_its_one_block(items: int) -> None:
    made = random_tree(1, items, 8).in_one_block()
    for embedding in (spectral(dim=6), low_pass(dim=6, rank=9)):
        done = in_rounds(made, embedding)
        block = block_from_edges(made.node_key, made.src, made.dst, made.weight)
        np.testing.assert_array_equal(embed_in_memory(block, done.settings), done.finished)


@pytest.mark.parametrize("items", [0, 30], ids=["plain", "two_types"])
def test_weights_in_other_units_change_scores_by_a_factor(items: int) -> None:
    made = random_tree(2, items, 9)
    flat = replace(made, weight=made.weight >> 10 << 10)  # so that a thousandth of it is exact
    scores = []
    for unit in (flat.weight, flat.weight >> 10):
        rows = in_rounds(replace(flat, weight=unit), spectral(dim=6, iterations=2)).rows.values.astype(np.float64)
        both = rows[items:] @ (rows[:items] if items else rows).T
        scores.append(both / np.linalg.norm(both))
    np.testing.assert_allclose(*scores, atol=1e-5)
