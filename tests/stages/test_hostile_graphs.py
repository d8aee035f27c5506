"""Graphs that break embedders, through the stages: exact in any cut, finite in any mode, alike on both engines."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.blocks.arrays import NodeParts
from pipeline.embedding import row_files
from pipeline.embedding.rows import Rows
from tests.oracles.simulator import ZERO_BELOW
from tests.stages.chains import Chain, Ended, Published, with_changes
from tests.stages.hostile_graphs import CANCELLATIONS, GRAPHS, Hostile, hostile

UP_TO_EMBED = ["ingest", "index", "partition", "layout", "embed"]
METHODS = ["multilevel", "hash", "ldg"]
#: The least that may be asked for: the graphs of full size are cut by many tasks.
WIDE = [{"parts": 16, "method": "hash", "worker_bytes": 2**20}, {"max_edges": 2_500, "worker_bytes": 2**20}]
#: No leaf holds a user with more edges.
HAS_LARGE_USERS = {"a user with all items", "both"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the chains of all tests are: what ingest and index made of a graph is made once."""
    return tmp_path_factory.mktemp("hostile")


def opened(name: str, place: Path, *, small: bool) -> tuple[Chain, Hostile]:
    folder = place / f"{name.replace(' ', '-')}-{'small' if small else 'large'}"
    return Chain(folder), hostile(name, small=small)


def sizes(*names: str, fast: Collection[str] = tuple(GRAPHS)) -> list[Any]:
    """Graphs in both sizes, but once where they have one; the full ones are slow tests, and those not ``fast``."""
    found = []
    for name in names or GRAPHS:
        _, large, few = GRAPHS[name]
        found.append(pytest.param(name, True, id=name, marks=[] if name in fast else pytest.mark.slow))
        if large != few:
            found.append(pytest.param(name, False, id=f"{name}, full size", marks=pytest.mark.slow))
    return found


def parts_for(name: str, *, small: bool) -> int:
    """16; fewer where many nodes are few, for the fast run's sake."""
    _, large, few = GRAPHS[name]
    return 6 if small and large != few else 16


def cut_into(config: dict[str, Any], **partition: Any) -> dict[str, Any]:
    """The config with another [partition] in place of its own."""
    return {**config, "partition": partition}


def rows_of(chain: Chain, config: dict[str, Any]) -> tuple[Rows, Ended]:
    """Rows of all nodes before the last step."""
    ended = chain.run(config, UP_TO_EMBED)
    assert ended.code == 0, ended.error
    workspace = chain.workspace(config)
    rows = Rows.zeros(workspace.manifest("node_index").figures["nodes"], config["embedding"]["dim"])
    for file in workspace.files("part_rows"):
        row_files.RowReader(file).fill(0, rows)
    return rows, ended


def norms(rows: Rows) -> np.ndarray:
    return np.linalg.norm(rows.values.astype(np.float64), axis=1)


@pytest.mark.parametrize(("name", "small"), sizes())
def test_rows_are_those_of_one_block(name: str, small: bool, place: Path) -> None:
    chain, graph = opened(name, place, small=small)
    config = graph.config(chain.folder)
    want, _ = rows_of(chain, cut_into(config, parts=1))
    norm = norms(want)
    assert norm.max() > 0
    ratio = np.divide(norm, want.noise_scale, out=np.ones_like(norm), where=want.noise_scale > 0)
    certain = (ratio < ZERO_BELOW / 2) | (ratio > ZERO_BELOW * 2)
    parts = parts_for(name, small=small)
    cuts: list[dict[str, Any]] = [{"parts": parts, "method": method} for method in METHODS]
    for cut in cuts if small else [*cuts, *WIDE]:
        if "max_edges" in cut and name in HAS_LARGE_USERS:
            refused = chain.run(cut_into(config, **cut), UP_TO_EMBED)
            assert refused.code == 1
            assert "the 10,000 of its largest hub stay together" in refused.error
            continue
        got, ended = rows_of(chain, cut_into(config, **cut))
        off = np.linalg.norm(got.values.astype(np.float64) - want.values, axis=1)
        assert (off <= 1e-5 * norm + 2.0**-22 * want.noise_scale).all(), (cut, off.max())
        np.testing.assert_allclose(got.noise_scale, want.noise_scale, rtol=1e-6)
        is_zero = norms(got) <= ZERO_BELOW * got.noise_scale
        np.testing.assert_array_equal(is_zero[certain], (norm <= ZERO_BELOW * want.noise_scale)[certain])
        figures = ended.figures("partition")
        if "parts" in cut:
            assert figures["parts"] + figures["empty_parts_dropped"] == cut["parts"]
        else:
            assert figures["most_edges"] <= 2_500


@pytest.mark.parametrize("small", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", ["none", *METHODS])
def test_large_partial_rows_that_cancel_are_zero_in_any_cut(small: bool, method: str, place: Path) -> None:
    chain, graph = opened("rows that cancel", place, small=small)
    # Hubs are split, camps are kept together: a hub's partial rows are as long as what they cancel to is short.
    parts = 1 if method == "none" else 16
    config = cut_into(graph.config(chain.folder), parts=parts, method=method, hub_degree=20)
    made = chain.publish(config)
    if parts > 1:
        is_split = NodeParts.map(chain.workspace(config).files("node_parts")[0]).is_split
        assert is_split.sum() >= len(CANCELLATIONS)
    row_of = made.of
    if method == "multilevel":
        signs: dict[str, list[int]] = {}
        for (_, node), path in made.column("cluster_path").items():
            if node < 1_000_000:
                signs.setdefault(path, []).append(1 if row_of["person", node][0] > 0 else -1)
        # Of the rows that a hub sums, so many are left in its partial rows before these cancel.
        assert sum(abs(sum(found)) for found in signs.values()) >= 0.75 * sum(map(len, signs.values()))
    for number, exponent in enumerate(CANCELLATIONS):
        row = row_of["person", 1_000_000 + number].astype(np.float64)
        assert np.linalg.norm(row) == pytest.approx(float(exponent > -18), abs=1e-6), exponent
        if exponent > -17:
            np.testing.assert_allclose(row, 0.5, atol=2.0 ** (-22 - exponent))
    others = [row for (_, node), row in row_of.items() if node < 1_000_000]
    np.testing.assert_allclose(np.linalg.norm(others, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "small"),
    sizes(
        *("an item with all users", "both", "path", "a loop", "loops and more", "rows that cancel"),
        fast={"both", "loops and more"},
    ),
)
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_narrow_rows_are_finite_and_shards_change_no_bit(dtype: str, name: str, small: bool, place: Path) -> None:
    chain, graph = opened(name, place, small=small)
    given = {"dim": 40, "boundary_dtype": dtype}
    config = cut_into(graph.config(chain.folder, embedding=given), parts=parts_for(name, small=small), method="hash")
    alone = chain.publish(with_changes(config, embedding={"shards": 1}))
    shared = chain.publish(with_changes(config, embedding={"shards": 3}))
    assert np.isfinite(alone.rows).all()
    assert np.abs(alone.rows).max() > 0
    assert shared.data == alone.data


MODES: dict[str, dict[str, Any]] = {
    "halo": {"halo_hops": 1},
    "border": {},
    "quotient": {},
    "drop": {},
}


@pytest.mark.parametrize(
    ("name", "small"),
    sizes(
        *("star", "both", "path", "10,000 components", "a loop", "loops and more"),
        fast={"star", "loops and more"},
    ),
)
@pytest.mark.parametrize("mode", MODES)
def test_modes_are_finite_and_count_what_they_lose(mode: str, name: str, small: bool, place: Path) -> None:
    chain, graph = opened(name, place, small=small)
    config = graph.config(chain.folder, embedding={"dim": 32, "boundary": mode, **MODES[mode]})
    ended = chain.run(cut_into(config, parts=parts_for(name, small=small), method="multilevel"))
    assert ended.code == 0, ended.error
    made = chain.published()
    assert np.isfinite(made.rows).all()
    assert ended.figures("aggregate")["zero_rows"] == (np.linalg.norm(made.rows, axis=1) == 0).sum()
    if mode == "drop":
        assert ended.figures("layout")["nodes_without_edges_left"] == len(made.ids) - len(with_edges(graph, made))


def with_edges(graph: Hostile, made: Published) -> set[tuple[str, Any]]:
    """Nodes with a neighbour in their own part, or a loop."""
    home = made.column("cluster_path")
    types = ("person", "person") if graph.plain else ("user", "item")
    found = set()
    for pair in zip(*(graph.columns[side].tolist() for side in ("source", "target")), strict=True):
        ends = set(zip(types, pair, strict=True))
        if len({home[end] for end in ends}) == 1:
            found |= ends
    return found


@pytest.mark.spark
@pytest.mark.parametrize(
    ("name", "partition", "embedding"),
    [
        ("rows that cancel", {"parts": 16, "method": "multilevel"}, {}),
        ("both", {"parts": 16, "method": "hash"}, {"boundary_dtype": "int8", "shards": 2, "dim": 24}),
        pytest.param("a loop", {"parts": 16}, {}, marks=pytest.mark.slow),
        pytest.param(
            "two nodes", {"parts": 16, "method": "hash"}, {"boundary_dtype": "float16"}, marks=pytest.mark.slow
        ),
        pytest.param("star", {"parts": 4, "method": "ldg"}, {"boundary": "halo"}, marks=pytest.mark.slow),
    ],
)
def test_spark_publishes_the_same_bytes(
    name: str, partition: dict[str, Any], embedding: dict[str, Any], tmp_path: Path, spark_session: Any
) -> None:
    from pipeline.engines.spark import SparkEngine

    chain, graph = opened(name, tmp_path, small=True)
    config = cut_into(graph.config(chain.folder, embedding=embedding), **partition)
    there = Chain(tmp_path / "spark", SparkEngine(spark_session)).publish(config)
    assert there.data == chain.publish(config).data


@pytest.mark.slow
@pytest.mark.spark
def test_spark_cuts_by_many_tasks_as_one_process_does(tmp_path: Path, spark_session: Any) -> None:
    from pipeline.engines.spark import SparkEngine

    chain, graph = opened("star", tmp_path, small=False)
    config = cut_into(graph.config(chain.folder), parts=4, method="hash", worker_bytes=2**20)
    there = Chain(tmp_path / "spark", SparkEngine(spark_session)).publish(config)
    assert there.data == chain.publish(config).data
