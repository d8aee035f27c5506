"""Prices of parts and shards: traffic and tasks against what runs record, memory and the choice by their properties."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.model import PipelineConfig
from pipeline.embedding.methods import CONFIG
from pipeline.embedding.rounds import embed_parts
from pipeline.embedding.row_files import RowFormat
from pipeline.embedding.settings import Settings
from pipeline.planning.cuts import Cut, cuts_by_level, hash_cut, one_block
from pipeline.planning.embedding_work import RoundWork, Work, work_for
from pipeline.planning.pricing import (
    choose_shards,
    kept_bytes,
    moved_bytes,
    price,
    shard_counts,
    task_bytes,
    waves,
)
from pipeline.planning.sizes import bounds_of, held_columns
from tests.embedding.graphs_in_parts import GraphInParts, InThisProcess, graphs_in_parts, lay_out, placed, settings_of

DTYPES = ("float32", "float16", "int8")


#: What a configuration asks for, by name; every method that a run can name is one of them.
ASKED: dict[str, dict[str, Any]] = {
    "default": {},
    "low_pass": {"form": "low_pass", "filter_degree": 3},
    "low_pass_cut": {"form": "low_pass", "filter_degree": 2, "cut": 0.3},
    "spectral": {"method": "spectral", "iterations": 2, "oversampling": 5},
    "rotated": {"method": "spectral", "iterations": 1, "oversampling": 0, "rank": 40, "reduction": "rotate"},
}


def config_of(is_plain: bool, **embedding: Any) -> PipelineConfig:
    types = {"source_type": "n", "target_type": "n"} if is_plain else {}
    return CONFIG.model_validate({"input": {"path": "x", **types}, "embedding": embedding})


def asked_of(made: GraphInParts, config: PipelineConfig) -> tuple[Settings, Work]:
    """What a run over a graph is handed, and what is priced."""
    work = work_for(config, made.nodes, made.items or made.nodes)
    return replace(settings_of(made, config.embedding), embedding=config.embedding, form=config.form), work


def cut_of(made: GraphInParts) -> Cut:
    """What each part stores, counted from the edges by the rules of the cut alone."""
    degree = made.graph.degree
    rows: dict[int, set[int]] = {part: set(np.flatnonzero(made.home == part).tolist()) for part in made.parts}
    entries = dict.fromkeys(made.parts, 0)
    for a, b in zip(made.src.tolist(), made.dst.tolist(), strict=True):
        whole = [end for end in (a, b) if not made.is_split[end]]
        keepers = whole or [min((a, b), key=lambda v: (degree[v], made.node_key[v], v))]
        for part in {int(made.home[v]) for v in keepers}:
            rows[part] |= {a, b}
            computed = {v for v in (a, b) if made.is_split[v] or made.home[v] == part}
            entries[part] += len(computed)
    away = [(part, v) for part, held in rows.items() for v in held if made.home[v] != part]
    copies = sum(bool(made.is_split[v]) for _, v in away)
    homes = len({int(made.home[v]) for v in np.flatnonzero(made.is_split)}) if len(made.parts) > 1 else 0
    stored = [len(rows[part]) for part in made.parts]
    return Cut(stored, [entries[part] for part in made.parts], copies, len(away) - copies, homes)


def check_against_a_run(made: GraphInParts, config: PipelineConfig) -> None:
    """Compare what is said with what a run records: rows that travel to the byte, and tasks."""
    asked, work = asked_of(made, config)
    runner, shards = InThisProcess(), config.embedding.shards or 1
    with tempfile.TemporaryDirectory() as folder:
        done = embed_parts(runner, lay_out(made, Path(folder)), asked, Path(folder) / "rows")
    cut = cut_of(made)
    assert moved_bytes(cut, work) == 4 * done.floats_moved
    priced = price(cut, work, shards, "local", 1)
    assert priced.floats_moved_per_node == pytest.approx(done.floats_moved / made.nodes, rel=1e-12)
    assert priced.tasks == sum(wave.tasks for wave in waves(cut, work, shards)) == len(runner.ran)


@settings(max_examples=25)
@given(graphs_in_parts(), st.sampled_from(DTYPES), st.sampled_from([1, 3]), st.sampled_from([7, 35]), st.data())
def test_traffic_and_tasks_are_what_a_run_records(
    made: GraphInParts,
    dtype: str,
    shards: int,
    dim: int,
    data: st.DataObject,
) -> None:
    weights = data.draw(st.sampled_from([(1.0,), (0.0, 1.0), (1.0, 0.0, 2.0), (1.0, 1.0, 0.0)]))
    powers = data.draw(st.integers(1, 2))
    more = {"form": made.form, "powers": powers, "iteration_weights": weights}
    check_against_a_run(made, config_of(not made.items, dim=dim, boundary_dtype=dtype, shards=shards, **more))


@settings(max_examples=5)
@given(graphs_in_parts(), st.sampled_from(DTYPES), st.sampled_from([7, 35]), st.data())
def test_so_are_those_of_methods_with_preludes_or_orthogonal_columns(
    made: GraphInParts, dtype: str, dim: int, data: st.DataObject
) -> None:
    name, shards = data.draw(st.sampled_from([("spectral", 1), ("rotated", 1), ("low_pass", 1), ("low_pass_cut", 3)]))
    asked = {**ASKED[name], **({"shards": shards} if shards > 1 else {})}
    check_against_a_run(made, config_of(not made.items, dim=dim, boundary_dtype=dtype, **asked))


@pytest.mark.parametrize("items", [0, 12], ids=["plain", "two_types"])
@pytest.mark.parametrize("name", [name for name in ASKED if name != "default"])
def test_they_are_on_a_graph_whose_parts_share_many_rows(name: str, items: int) -> None:
    rng = np.random.default_rng(5)
    nodes = items + 30
    ends = [rng.integers(items, nodes, 120), rng.integers(0, items or nodes, 120)]
    pairs = np.unique(np.stack(ends if items else np.sort(ends, axis=0), axis=1), axis=0)
    home, is_split = rng.integers(0, 3, nodes).tolist(), (rng.random(nodes) < 0.3).tolist()
    made = placed(*pairs.T.tolist(), home=home, is_split=is_split, nodes=nodes, items=items)
    assert cut_of(made).copies
    assert bool(cut_of(made).ghosts) == (not items)
    check_against_a_run(made, config_of(not items, dim=20, boundary_dtype="int8", **ASKED[name]))


@pytest.mark.parametrize("is_plain", [False, True])
@pytest.mark.parametrize("name", ASKED)
def test_preludes_are_all_there_is_before_the_rounds(name: str, is_plain: bool) -> None:
    work = work_for(config_of(is_plain, dim=8, **ASKED[name]), 50, 50 if is_plain else 20)
    sizes = [small.rounds[0].width for small in work.preludes]
    if not name.startswith("low_pass"):
        assert sizes == []
    else:  # a single column finds the largest eigenvalue, which is 1 on graphs of one type; several the cut
        assert [width > 1 for width in sizes] == [False] * (not is_plain) + [True] * (name == "low_pass")
    assert work.joined_nodes == (50 if is_plain else 20)
    assert not any(small.preludes for small in work.preludes)


def test_the_classic_form_joins_all_nodes_of_two_types() -> None:
    assert work_for(config_of(False, form="classic", iteration_weights=[1.0, 1.0]), 50, 20).joined_nodes == 50


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [1, 16, 35, 128])
def test_a_row_takes_what_its_file_says(dtype: str, dim: int) -> None:
    work = two_tower(1, 1, dim, dtype)
    assert work.row_bytes(dim) == RowFormat(dim, dtype=dtype, has_noise_scale=False).row_bytes
    assert work.row_bytes(dim) + work.noise_scale_bytes == RowFormat(dim, dtype=dtype).row_bytes


def two_tower(nodes: int, joined: int, dim: int, dtype: str = "float32") -> Work:
    return Work(nodes, joined, dim, (RoundWork(dim), RoundWork(dim, needs_noise_scales=True)), dtype)


@pytest.mark.parametrize("weights", [(1.0,), (0.0, 1.0, 0.0), (1.0, 0.0, 2.0)])
def test_rounds_are_those_of_the_weights(weights: tuple[float, ...]) -> None:
    work = work_for(config_of(True, dim=8, iteration_weights=weights), 2, 2)
    assert [one.needs_noise_scales for one in work.rounds] == [weight != 0 for weight in np.trim_zeros(weights, "b")]
    assert work_for(config_of(False, powers=3), 9, 4).noise_scale_rounds == 1
    assert len(work_for(config_of(False, powers=3), 9, 4).rounds) == 4


def test_columns_of_a_spectral_method_are_no_more_than_its_rows() -> None:
    assert {one.width for one in work_for(config_of(True, **ASKED["rotated"]), 9, 9).rounds} == {9}
    assert {one.width for one in work_for(config_of(False, **ASKED["rotated"]), 99, 7).rounds} == {7}
    assert {one.width for one in work_for(config_of(False, **ASKED["rotated"]), 999, 77).rounds} == {40}


@given(st.sampled_from([*ASKED]), st.booleans(), st.integers(2, 10**8), st.integers(1, 10**9), st.floats(0.0, 1.0))
def test_a_graph_within_the_bounds_fits_a_task_in_one_block(
    name: str, is_plain: bool, nodes: int, edges: int, share: float
) -> None:
    config = config_of(is_plain, dim=32, **ASKED[name])
    work = work_for(config, nodes, nodes if is_plain else 1 + int(share * (nodes - 1)))
    least = min(task_bytes(one_block(nodes, edges, is_exact=True), work, shards) for shards in (1, work.most_shards))
    columns = held_columns(config)
    beside_rows = 8 * columns * (6 * columns + 4_096) + 4 * 2**20  # sums of pairs of columns, batches
    assert least <= bounds_of(config).bytes_of(nodes, edges) + beside_rows


def drawn_cut(parts: list[tuple[int, int]], share: float) -> Cut:
    """A cut in which a share of the rows is at home elsewhere."""
    copies = int(share * sum(rows for rows, _ in parts))
    return Cut([rows for rows, _ in parts], [entries for _, entries in parts], copies, copies // 2, len(parts))


CUTS = st.builds(
    drawn_cut,
    st.lists(st.tuples(st.integers(1, 10**7), st.integers(0, 10**9)), min_size=2, max_size=20),
    st.floats(0.0, 0.6),
)


@st.composite
def works(draw: st.DrawFn) -> Work:
    """What any method computes of a graph of any size."""
    nodes, is_plain = draw(st.integers(2, 10**8)), draw(st.booleans())
    more = {"dim": draw(st.sampled_from([1, 16, 100, 128, 512])), "boundary_dtype": draw(st.sampled_from(DTYPES))}
    asked = {**ASKED[draw(st.sampled_from(sorted(ASKED)))], **more}
    return work_for(config_of(is_plain, **asked), nodes, nodes if is_plain else draw(st.integers(1, nodes - 1)))


@given(CUTS, works(), st.integers(1, 40))
def test_memory_falls_with_shards(cut: Cut, work: Work, shards: int) -> None:
    assert task_bytes(cut, work, shards + 1) <= task_bytes(cut, work, shards)
    assert moved_bytes(cut, replace(work, exchanges=False)) == 0


@pytest.mark.parametrize(
    ("name", "of_targets", "of_sources", "squares"),
    [
        ("default", 1, 1, 0),  # the product takes the place of what is multiplied
        ("low_pass", 4, 1, 0),  # the same, and the sum and two terms at home
        ("spectral", 3, 1, 1),  # rows as they came, orthonormal, and scaled
    ],
)
def test_a_block_holds_the_rows_of_its_method(name: str, of_targets: int, of_sources: int, squares: int) -> None:
    nodes, targets, edges = 10**6, 3 * 10**5, 10**7
    work = work_for(config_of(False, dim=128, **ASKED[name]), nodes, targets)
    block = one_block(nodes, edges)
    for shards in (1, 8) if work.most_shards == 8 else (1,):
        width = work.rounds[0].width // shards
        floats = (of_targets * targets + of_sources * (nodes - targets)) * width
        if squares:  # when rows are reduced, sources' rows are held in three copies
            floats = max(floats, nodes * width + 2 * (nodes - targets) * work.dim)
        rest = 80 * nodes + 8 * 2 * edges + 4 * 2**20 + squares * 8 * (6 * width**2 + 4096 * width)
        assert task_bytes(block, work, shards) == pytest.approx(4 * floats + rest, rel=1e-6)


def test_orthogonal_columns_are_one_share() -> None:
    work = work_for(config_of(False, dim=128, **ASKED["spectral"]), 1000, 300)
    assert price(one_block(1000, 5000), work, 8, "local", 8).shards == 1
    assert shard_counts(one_block(1000, 5000), work, 8) == [1]


@given(works(), st.integers(1, 10**8), st.integers(1, 50), st.integers(2, 200))
def test_memory_of_a_bound_falls_with_parts(work: Work, edges: int, degree: int, parts: int) -> None:
    few, more = (hash_cut(work.nodes, edges, [(degree, work.joined_nodes)], count) for count in (parts, parts + 1))
    a_row_more = replace(few, rows=[rows + 1 for rows in few.rows])  # counts of parts are rounded up
    assert task_bytes(more, work, 1) <= task_bytes(a_row_more, work, 1)


@given(works(), st.integers(1, 40))
def test_an_alternative_costs_something(work: Work, shards: int) -> None:
    cuts = [one_block(work.nodes, 5 * work.nodes), hash_cut(work.nodes, 5 * work.nodes, [(3, work.nodes)], 4)]
    for cut in cuts:
        found = price(cut, work, shards, "spark", 4)
        assert 0 < found.wall_seconds < math.inf
        assert found.cpu_seconds > 0
        assert found.shards <= work.most_shards
    assert kept_bytes(cuts[0], work, 1) == 0
    kept = kept_bytes(cuts[1], work, 1)
    assert kept > moved_bytes(cuts[1], work)


@given(CUTS, works(), st.integers(2**20, 2**34), st.integers(1, 64), st.sampled_from(["local", "spark"]))
def test_the_choice_fits_where_anything_does(cut: Cut, work: Work, most: int, slots: int, engine: str) -> None:
    choice = choose_shards(cut, work, most, engine, slots)
    counts = shard_counts(cut, work, slots)
    assert choice.price.shards in counts
    assert choice.reason
    fixed = task_bytes(Cut([0], [0], 0, 0, 0), work, 1)  # what any task holds
    fits = [count for count in counts if task_bytes(cut, work, count) - fixed <= most]
    if work.is_reduced:
        assert choice.price.shards == 1
    elif fits:
        assert choice.price.shards in fits
        before = sum(2 * cut.parts * len(small.rounds) for small in work.preludes)
        assert choice.price.tasks <= max(
            price(cut, work, fits[0], engine, slots).tasks,
            before + 8 * max(slots, cut.parts) * (2 * len(work.rounds) + 3),
        )
    else:
        assert choice.price.task_bytes <= 1.1 * task_bytes(cut, work, max(counts))
    assert choose_shards(cut, replace(work, exchanges=False), most, engine, slots).price.shards == 1


def test_a_block_too_large_is_sharded_and_a_small_one_is_not() -> None:
    work = two_tower(10**7, 10**6, 128)
    large = one_block(10**7, 10**8)
    assert task_bytes(large, work, 1) > 5 * 2**30
    choice = choose_shards(large, work, 4 * 2**30, "local", 1)
    assert choice.price.shards > 1
    assert choice.price.task_bytes <= 4 * 2**30 + 2**23
    small = replace(work, nodes=1000, joined_nodes=100)
    for engine, slots in (("local", 1), ("local", 4), ("spark", 16)):
        assert choose_shards(one_block(1000, 5000), small, 4 * 2**30, engine, slots).price.shards == 1


def test_workers_make_shards_of_one_block_worth_it() -> None:
    work, block = two_tower(10**6, 10**5, 128), one_block(10**6, 10**7)
    choice = choose_shards(block, work, 4 * 2**30, "local", 4)
    assert choice.price.shards >= 4
    assert choice.price.wall_seconds < 0.5 * price(block, work, 1, "local", 4).wall_seconds


@settings(max_examples=50)
@given(st.integers(2, 9), st.integers(0, 2**32), st.lists(st.integers(1, 30), min_size=400, max_size=400))
def test_the_hash_bound_holds_the_mean_of_random_cuts(parts: int, seed: int, degrees: list[int]) -> None:
    rng = np.random.default_rng(seed)
    # A split node lives in a part with edges of it.
    copies = [len(set(rng.integers(0, parts, degree).tolist())) - 1 for degree in degrees]
    values, counts = np.unique(degrees, return_counts=True)
    exact = hash_cut(1000, sum(degrees), zip(values.tolist(), counts.tolist(), strict=True), parts)
    by_mean = hash_cut(1000, sum(degrees), [(sum(degrees) / len(degrees), len(degrees))], parts)
    # Each of 400 nodes is off by at most parts - 1: Hoeffding at one in 10**9.
    slack = math.sqrt(len(degrees) * (parts - 1) ** 2 * math.log(1e9) / 2)
    assert sum(copies) <= exact.copies + slack
    assert exact.copies <= by_mean.copies
    assert not exact.is_exact


def test_levels_of_a_tree_are_cuts() -> None:
    # The root; a leaf at depth 1; a part of two leaves.
    tree = {
        "parent": [-1, 0, 0, 2, 2],
        "depth": [0, 1, 1, 2, 2],
        "nodes": [10, 4, 6, 3, 3],
        "volume": [40, 15, 25, 12, 13],
        "split_nodes": [0, 2, 1, 3, 2],
        "ghosts": [0, 1, 1, 2, 0],
    }
    first, leaves = cuts_by_level(tree)
    assert first == Cut([7, 8], [15, 25], 3, 2, 2)
    assert leaves == Cut([7, 8, 5], [15, 12, 13], 7, 3, 3)
    assert cuts_by_level({name: values[:1] for name, values in tree.items()}) == []
