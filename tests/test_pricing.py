"""Prices of parts and shards: traffic and tasks against what runs record, memory and the choice by their properties."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import EmbeddingConfig, PipelineConfig
from pipeline.cuts import Cut, cuts_by_level, hash_cut, one_block
from pipeline.embedding.methods import method_for
from pipeline.embedding.rounds import embed_parts
from pipeline.embedding.row_files import RowFormat
from pipeline.pricing import (
    Work,
    choose_shards,
    floats_moved_per_node,
    moved_bytes,
    price,
    shard_counts,
    task_bytes,
    waves,
)
from tests.embedding.graphs_in_parts import GraphInParts, InThisProcess, graphs_in_parts, lay_out, settings_of

DTYPES = ("float32", "float16", "int8")


def work_of(made: GraphInParts, embedding: EmbeddingConfig) -> Work:
    kind = "n" if made.form == "classic" else "item"
    given_input = {"path": "x", "source_type": "n" if kind == "n" else "user", "target_type": kind}
    config = PipelineConfig.model_validate({"input": given_input, "embedding": embedding.model_dump()})
    return Work.of(config, made.nodes)


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


@settings(deadline=None, max_examples=25)
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
    embedding = EmbeddingConfig(dim=dim, boundary_dtype=dtype, shards=shards, powers=powers, iteration_weights=weights)
    runner = InThisProcess()
    with tempfile.TemporaryDirectory() as folder:
        blocks = lay_out(made, Path(folder))
        done = embed_parts(runner, blocks, settings_of(made, embedding), Path(folder) / "rows")
    cut, work = cut_of(made), work_of(made, embedding)
    assert moved_bytes(cut, work) == 4 * done.floats_moved
    assert floats_moved_per_node(cut, work) == pytest.approx(done.floats_moved / made.nodes, rel=1e-12)
    found = waves(cut, work, shards)
    assert sum(wave.tasks for wave in found) == len(runner.ran)
    assert sum(wave.load.tasks for wave in found) == pytest.approx(len(runner.ran))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [1, 16, 35, 128])
def test_a_row_takes_what_its_file_says(dtype: str, dim: int) -> None:
    work = Work(1, True, dim, dtype, rounds=2, measured=1)
    assert work.row_bytes(dtype) == RowFormat(dim, dtype=dtype, has_magnitude=False).row_bytes
    assert work.row_bytes(dtype) + work.magnitude_bytes == RowFormat(dim, dtype=dtype).row_bytes


@pytest.mark.parametrize("weights", [(1.0,), (0.0, 1.0, 0.0), (1.0, 0.0, 2.0)])
def test_rounds_are_those_of_the_method(weights: tuple[float, ...]) -> None:
    made = GraphInParts(*([np.zeros(2, np.int64)] * 4), 0, np.zeros(2, np.int32), np.zeros(2, np.bool_))
    embedding = EmbeddingConfig(dim=8, iteration_weights=weights)
    asked, work = settings_of(made, embedding), work_of(made, embedding)
    method = method_for(asked)
    assert work.rounds == method.rounds(asked)
    assert work.measured == sum(method.is_measured(number, asked) for number in range(work.rounds))


def drawn_cut(parts: list[tuple[int, int]], share: float) -> Cut:
    """A cut in which a share of the rows is at home elsewhere."""
    copies = int(share * sum(rows for rows, _ in parts))
    return Cut([rows for rows, _ in parts], [entries for _, entries in parts], copies, copies // 2, len(parts))


CUTS = st.builds(
    drawn_cut,
    st.lists(st.tuples(st.integers(1, 10**7), st.integers(0, 10**9)), min_size=2, max_size=20),
    st.floats(0.0, 0.6),
)
WORKS = st.builds(
    Work,
    nodes=st.integers(1, 10**8),
    is_two_tower=st.booleans(),
    dim=st.sampled_from([1, 16, 100, 128, 512]),
    dtype=st.sampled_from(DTYPES),
    rounds=st.integers(1, 5),
    measured=st.just(1),
)


@given(CUTS, WORKS, st.integers(1, 40))
def test_memory_falls_with_shards_and_with_parts(cut: Cut, work: Work, shards: int) -> None:
    assert task_bytes(cut, work, shards + 1) <= task_bytes(cut, work, shards)
    assert task_bytes(Cut([sum(cut.rows)], [sum(cut.entries)], 0, 0, 0), work, shards) >= task_bytes(cut, work, shards)
    assert floats_moved_per_node(cut, replace(work, exchanges=False)) == 0


@given(st.integers(2, 10**6), st.integers(1, 10**8), st.integers(1, 200), WORKS)
def test_memory_of_a_bound_falls_with_parts(nodes: int, edges: int, parts: int, work: Work) -> None:
    few = one_block(nodes, edges) if parts == 1 else hash_cut(nodes, edges, [(1, nodes)], parts)
    more = hash_cut(nodes, edges, [(1, nodes)], parts + 1)
    assert task_bytes(more, work, 1) <= task_bytes(few, work, 1)


@given(CUTS, WORKS, st.integers(2**20, 2**34), st.integers(1, 64), st.sampled_from(["local", "spark"]))
def test_the_choice_fits_where_anything_does(cut: Cut, work: Work, most: int, slots: int, engine: str) -> None:
    choice = choose_shards(cut, work, most, engine, slots)
    counts = shard_counts(cut, work, slots)
    assert choice.price.shards in counts
    assert choice.reason
    fixed = task_bytes(Cut([0], [0], 0, 0, 0), work, 1)  # what any task holds
    fits = [count for count in counts if task_bytes(cut, work, count) - fixed <= most]
    if fits:
        assert choice.price.shards in fits
        assert choice.price.tasks <= max(
            price(cut, work, fits[0], engine, slots).tasks, 8 * max(slots, cut.parts) * (2 * work.rounds + 3)
        )
    else:
        assert choice.price.task_bytes <= 1.1 * task_bytes(cut, work, max(counts))
    assert choose_shards(cut, replace(work, exchanges=False), most, engine, slots).price.shards == 1


def test_a_block_too_large_is_sharded_and_a_small_one_is_not() -> None:
    work = Work(10**7, True, 128, "float32", rounds=2, measured=1)
    large = one_block(10**7, 10**8)
    assert task_bytes(large, work, 1) > 5 * 2**30
    choice = choose_shards(large, work, 4 * 2**30, "local", 1)
    assert choice.price.shards > 1
    assert choice.price.task_bytes <= 4 * 2**30 + 2**23
    small = replace(work, nodes=1000)
    for engine, slots in (("local", 1), ("local", 4), ("spark", 16)):
        assert choose_shards(one_block(1000, 5000), small, 4 * 2**30, engine, slots).price.shards == 1


def test_workers_make_shards_of_one_block_worth_it() -> None:
    work, block = Work(10**6, True, 128, "float32", rounds=2, measured=1), one_block(10**6, 10**7)
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
