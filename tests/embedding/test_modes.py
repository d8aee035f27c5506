"""The modes that exchange no rows against dense algebra on the edges they keep, for any tree."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline import storage
from pipeline.blocks.arrays import NodeParts
from pipeline.config.embedding import EmbeddingConfig
from pipeline.embedding.combine import NodesOfSets, RowSet, rows_of, settings_for, shared_widths
from pipeline.embedding.methods import EMBEDDING
from pipeline.embedding.rounds import BlockFiles, embed_parts
from pipeline.embedding.rows import Rows
from pipeline.partitioning.cutting import Bounds
from pipeline.partitioning.figures import BorderLevel, ModeFigures
from pipeline.partitioning.layouts import border_graph, halo, induced, quotient
from pipeline.partitioning.layouts.block_sets import BlockLayout, PartTables
from pipeline.tasks import TaskFolder, TaskRecord
from tests.embedding.graphs_in_parts import (
    LEAST_WEIGHT,
    GraphInParts,
    InThisProcess,
    embed,
    embeddings,
    graphs_in_parts,
    parameters_of,
    placed,
    settings_of,
    tables_of,
    written_files,
)
from tests.oracles import modes
from tests.oracles.dense_powers import dense_powers

ROOMY = Bounds(None, 2**40, 16)


def lay_out(
    tables: PartTables, folder: Path, embedding: EmbeddingConfig, bounds: Bounds
) -> tuple[BlockLayout, list[TaskRecord[Any]]]:
    """Return the blocks of a mode, and the records of all tasks."""
    tasks = TaskFolder(InThisProcess(), folder)
    if embedding.boundary == "halo":
        layout = halo.lay_out(tasks, tables, embedding.halo_hops)
    elif embedding.boundary == "border":
        layout = border_graph.lay_out(tasks, tables, border_graph.BorderCut("hash", 0, bounds))
    else:
        layout = {"drop": induced, "quotient": quotient}[embedding.boundary].lay_out(tasks, tables)
    return layout, tasks.records


@dataclass(frozen=True)
class ModeRows:
    """Rows of all nodes before the last step, which of them have one, and the blocks."""

    rows: Rows
    has_row: np.ndarray
    layout: BlockLayout
    border_homes: list[np.ndarray]  # part of every node in each border graph


def embed_mode(
    graph: GraphInParts, embedding: EmbeddingConfig, folder: Path, bounds: Bounds = ROOMY, edge_files: int = 2
) -> ModeRows:
    """Rows of all nodes by the blocks of a mode."""
    tables = tables_of(graph, folder, edge_files)
    layout, records = lay_out(tables, folder / "blocks", embedding, bounds)
    settings = settings_of(graph, embedding)
    nodes = [blocks.nodes for blocks in layout.sets]
    sets = []
    for position, blocks in enumerate(layout.sets):
        files = [
            BlockFiles(part, built.file("nodes"), built.file("edges"), routed.file("routes"), has_splits=False)
            for part, built, routed in zip(blocks.parts, blocks.block_records, blocks.route_records, strict=True)
        ]
        of_set = settings_for(settings, blocks.name, position, nodes)
        done = embed_parts(InThisProcess(), files, of_set, folder / f"rows-{position}", exchange=False)
        kept = tuple(file for record in blocks.block_records for file in record.paths("kept"))
        sets.append(RowSet(blocks.nodes, tuple(file for file, _, _ in written_files(done)), kept))
    weight = storage.column(storage.map_arrow(tables.nodes.arrays[0]), "weight")
    # In two runs of nodes, as if they were two row groups. Of rows that are not written, the buffer would be seen.
    buffer = np.full((graph.nodes, settings.dim), np.nan, np.float32)
    pieces = [
        rows_of(NodesOfSets(first, sets, weight[first:stop], graph.home[first:stop], settings, buffer[first:stop]))
        for first, stop in ((0, graph.nodes // 2), (graph.nodes // 2, graph.nodes))
    ]
    rows = Rows(*(np.concatenate([getattr(rows, name) for rows, _ in pieces]) for name in ("values", "noise_scale")))
    borders = [NodeParts.map(record.file("parts")).part_id for record in records if "-cut" in record.task]
    return ModeRows(rows, np.concatenate([has_row for _, has_row in pieces]), layout, borders)


def wanted_of(graph: GraphInParts, embedding: EmbeddingConfig, mode: ModeRows) -> modes.Made:
    parameters = parameters_of(graph.form, embedding)
    parameters.boundary_dtype = "float32"
    if embedding.boundary == "drop":
        return modes.drop(graph.graph, graph.home, parameters)
    if embedding.boundary == "halo":
        return modes.halo(graph.graph, graph.home, parameters, embedding.halo_hops)
    if embedding.boundary == "quotient":
        paths = {part: f"0/{part}" for part in graph.parts}
        return modes.quotient(graph.graph, graph.home, paths, parameters, embedding.quotient_weight)
    levels = [graph.home, *mode.border_homes]
    is_joined = embedding.border_join == "concatenate"
    widths = shared_widths(embedding.dim, [blocks.nodes for blocks in mode.layout.sets])
    return modes.border(
        graph.graph, levels, parameters, widths if is_joined else [embedding.dim] * len(levels), embedding.border_join
    )


def check(graph: GraphInParts, embedding: EmbeddingConfig, bounds: Bounds = ROOMY) -> BlockLayout:
    with tempfile.TemporaryDirectory() as folder:
        got = embed_mode(graph, embedding, Path(folder), bounds)
        want = wanted_of(graph, embedding, got)
    np.testing.assert_array_equal(got.has_row, want.is_made)
    assert not got.rows.values[~got.has_row].any()
    if not want.in_doubt:
        np.testing.assert_array_less(np.linalg.norm(got.rows.values - want.rows, axis=1), want.error + 1e-30)
        # A noise scale adds up norms of rows, which are as far off as those: much, where rows nearly cancel.
        off = np.abs(got.rows.noise_scale - want.noise_scale)
        np.testing.assert_array_less(off, 2e-6 * want.noise_scale + want.noise_scale_error + 1e-30)
    return got.layout


BOUNDARIES: list[dict[str, Any]] = [
    {"boundary": "drop"},
    {"boundary": "halo", "halo_hops": 1},
    {"boundary": "halo", "halo_hops": 2},
    {"boundary": "border"},
    {"boundary": "border", "border_join": "add"},
    {"boundary": "quotient"},
    {"boundary": "quotient", "quotient_weight": 2.0},
]
NAMES = ["-".join(str(value) for value in boundary.values()) for boundary in BOUNDARIES]


#: The least weight where the products enlarge rows most: 2**12 times each of the eight.
LARGEST_ROWS = (
    placed([1], [0], home=[0, 0], nodes=2, items=1, weight=[LEAST_WEIGHT]),
    EMBEDDING(dim=16, sparsity=1.0, powers=3, user_degree_power=1.0, item_degree_power=0.5),
)


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=NAMES)
@settings(max_examples=12)
@given(
    graphs_in_parts().flatmap(lambda graph: st.tuples(st.just(graph), embeddings(graph.form))),
    st.sampled_from([ROOMY, Bounds(6, 2**40, 16)]),
)
@example(LARGEST_ROWS, ROOMY)
def test_any_tree_weights_and_parameters(
    boundary: dict[str, Any], graph_and_embedding: tuple[GraphInParts, EmbeddingConfig], bounds: Bounds
) -> None:
    graph, embedding = graph_and_embedding
    check(graph, embedding.model_copy(update=boundary), bounds)


def random_graph(parts: int, items: int, seed: int = 0) -> GraphInParts:
    rng = np.random.default_rng(seed)
    nodes = items + 60
    src = rng.integers(items, nodes, 200)
    dst = rng.zipf(1.4, 200) % (items or nodes)
    pairs = np.unique(np.stack([src, dst] if items else np.sort([src, dst], axis=0), axis=1), axis=0)
    weight = rng.integers(1, 2**33, len(pairs)).tolist()
    home = rng.integers(0, parts, nodes).tolist()
    return placed(*pairs.T.tolist(), home=home, nodes=nodes, items=items, weight=weight)


def config(form: str, **changes: Any) -> EmbeddingConfig:
    return EMBEDDING.model_validate({"dim": 48, "iteration_weights": [0.5, 1.0, 1.0], **changes})


@pytest.mark.parametrize("items", [0, 30], ids=["plain", "two_types"])
@pytest.mark.parametrize("boundary", BOUNDARIES, ids=NAMES)
def test_one_part_is_the_graph_itself(boundary: dict[str, Any], items: int, tmp_path: Path) -> None:
    made = random_graph(1, items)
    exchange, _ = embed(made, config(made.form), tmp_path / "exchange")
    mode = embed_mode(made, config(made.form, **boundary), tmp_path / "mode")
    np.testing.assert_array_equal(mode.rows.values, exchange.values)
    np.testing.assert_array_equal(mode.rows.noise_scale, exchange.noise_scale)
    np.testing.assert_array_equal(mode.has_row, made.home >= 0)


@pytest.mark.parametrize("items", [0, 30], ids=["plain", "two_types"])
def test_a_halo_as_deep_as_the_products_is_exact(items: int, tmp_path: Path) -> None:
    made = random_graph(5, items)
    products = 4 if items else 3  # two_tower: items <- users <- items, twice
    exchange, _ = embed(made, config(made.form), tmp_path / "exchange")
    bound = dense_powers(made.graph, parameters_of(made.form, config(made.form))).error
    for hops, is_exact in ((products, True), (1, False)):
        mode = embed_mode(made, config(made.form, boundary="halo", halo_hops=hops), tmp_path / f"{hops}")
        off = np.linalg.norm(mode.rows.values - exchange.values, axis=1)
        assert (off <= 2 * bound).all() == is_exact


def test_what_a_mode_leaves_out_is_counted(tmp_path: Path) -> None:
    # Two triangles, an edge between them, and a leaf whose only neighbour is at home elsewhere.
    made = placed([0, 0, 1, 3, 3, 4, 2, 0], [1, 2, 2, 4, 5, 5, 3, 6], [0, 0, 0, 1, 1, 1, 1, 0], nodes=8)
    drop = embed_mode(made, config("classic", boundary="drop"), tmp_path / "drop")
    assert drop.layout.figures == ModeFigures(edges_left_out=2, edges_left_out_percent=25.0, nodes_without_edges_left=1)
    np.testing.assert_array_equal(drop.has_row, [True] * 6 + [False] * 2)
    np.testing.assert_array_equal(drop.rows.values.any(axis=1), drop.has_row)
    layout = embed_mode(made, config("classic", boundary="halo", halo_hops=1), tmp_path / "halo").layout
    # Part 0 adds 3 and 6 with their edges to it; part 1 adds 2 and 0, and the edge between these two.
    assert [record.rows("edges") for record in layout.sets[0].block_records] == [2 * 5, 2 * 6]
    assert layout.figures.work_factor == pytest.approx(22 / 16, abs=1e-3)
    layout = embed_mode(made, config("classic", boundary="border"), tmp_path / "border").layout
    assert layout.figures.border_levels == (BorderLevel(nodes=4, edges=2, parts=1),)
    assert (layout.figures.edges_left_out, layout.figures.nodes_without_edges_left) == (0, 1)
    layout = embed_mode(made, config("classic", boundary="quotient"), tmp_path / "quotient").layout
    assert layout.sets[1].block_records[0].rows("edges") == 2


def test_a_border_graph_over_the_bounds_is_cut_again(tmp_path: Path) -> None:
    made = random_graph(6, 0)
    layout = check(made, config("classic", boundary="border", dim=96), Bounds(40, 2**40, 96))
    assert len(layout.sets) > 2
    levels = layout.figures.border_levels
    assert levels
    sizes = [level.edges for level in levels]
    assert sizes == sorted(sizes, reverse=True)
    assert levels[0].parts > 1


def test_hubs_warn_where_halos_are_large(tmp_path: Path) -> None:
    star = placed([0] * 30, range(1, 31), [n % 6 for n in range(31)], nodes=31)
    layout = check(star, config("classic", boundary="halo", halo_hops=2))
    assert layout.figures.work_factor == 6.0
    assert "6.0 times" in layout.warnings[0]


PLANTED = {
    "every edge is cut": placed([0, 2], [1, 3], [0, 1, 0, 1], nodes=4),
    "no edge is cut": placed([0, 2], [1, 3], [0, 0, 5, 5, 0], nodes=5),
    "a part a node": placed([0, 0, 1, 2], [1, 2, 2, 3], [0, 1, 2, 3], nodes=4),
    "loops": placed([0, 0, 1, 2], [0, 1, 1, 2], [0, 1, 2], nodes=3),
    "one item": placed([1, 2, 3], [0, 0, 0], [0, 0, 1, 2], nodes=4, items=1),
}


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("boundary", BOUNDARIES, ids=NAMES)
def test_planted(name: str, boundary: dict[str, Any]) -> None:
    check(PLANTED[name], config(PLANTED[name].form, **boundary))


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=NAMES)
def test_bytes_do_not_depend_on_the_files_of_edges(boundary: dict[str, Any], tmp_path: Path) -> None:
    made = random_graph(4, 0)
    order = np.random.default_rng(5).permutation(made.src.size)
    other = GraphInParts(
        made.node_key, made.src[order], made.dst[order], made.weight[order], made.items, made.home, made.is_split
    )
    bounds = Bounds(40, 2**40, 48)
    one = embed_mode(made, config("classic", **boundary), tmp_path / "one", bounds, edge_files=1).rows
    two = embed_mode(other, config("classic", **boundary), tmp_path / "two", bounds, edge_files=5).rows
    np.testing.assert_array_equal(one.values.view(np.uint32), two.values.view(np.uint32))
    np.testing.assert_array_equal(one.noise_scale, two.noise_scale)


@pytest.mark.parametrize(
    ("dim", "nodes", "want"),
    [
        (128, [100], [128]),
        (128, [100, 0], [128, 0]),
        (128, [0, 100], [0, 128]),
        (128, [100, 100], [64, 64]),
        (128, [70_000, 57_000], [64, 64]),
        (128, [70_000, 20_000], [96, 32]),
        (128, [1_000_000, 1], [112, 16]),
        (100, [100, 100], [52, 48]),
        (20, [3, 1], [15, 5]),
        (2, [9, 5, 1], [1, 1, 0]),
        (5, [0, 0], [0, 0]),
    ],
)
def test_shared_widths(dim: int, nodes: list[int], want: list[int]) -> None:
    assert shared_widths(dim, nodes) == want
