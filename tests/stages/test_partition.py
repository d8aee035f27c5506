from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import codec, storage
from pipeline.blocks.arrays import NodeParts
from pipeline.embedding.methods import CONFIG
from pipeline.errors import ConfigError, PartitionError
from pipeline.ingest.figures import IndexFigures
from pipeline.kernels.hashing import splitmix64
from pipeline.partitioning import narrow_cut
from pipeline.partitioning.placement import NodeHomes, stored_at
from pipeline.stages import partition
from pipeline.stages.chain import MAKER, STAGE_NAMES
from pipeline.stages.outcome import Outcome
from pipeline.tasks import Task, TaskFunction, TaskRecord, payload_type, run_task
from pipeline.workspace import DataFile, Manifest, Workspace
from schemas.tables import JOINED_EDGES, NODE_ARRAYS, PARTITION_TREE


class InProcess:
    """An engine for one stage that uses tasks only."""

    name, slots = "in process", 1

    def open_graph_tables(self) -> Any:
        raise ConfigError("engine 'in process' has no GraphFrames")

    def map_tasks(self, function: TaskFunction[Any, Any], tasks: Sequence[Task[Any]]) -> list[TaskRecord[Any]]:
        return [run_task(function, Task.from_json(task.to_json(), payload_type(function))) for task in tasks]


@dataclass(frozen=True)
class Graph:
    """Items are the first ``items`` nodes; a plain graph has none."""

    nodes: int
    items: int
    pairs: tuple[tuple[int, int], ...]  # (source, target)
    names: tuple[int, ...] | None = None  # what nodes are called by other graphs, ascending; None: by their numbers

    @property
    def is_plain(self) -> bool:
        return self.items == 0

    @cached_property
    def degree(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        src, dst = np.array(self.pairs, np.int64).T
        ends = np.concatenate([src, dst[src != dst]])  # a self loop counts once
        return np.bincount(ends, minlength=self.nodes).astype(np.int64)

    @property
    def node_key(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        return splitmix64(np.array(self.names or range(self.nodes), np.uint64))


@dataclass(frozen=True)
class Result:
    outcome: Outcome
    tree: list[dict[str, Any]]
    part_id: list[int]
    is_split: list[bool]

    @property
    def leaves(self) -> list[int]:
        return [row["part_id"] for row in self.tree if row["is_leaf"]]


def cut(
    graph: Graph, files: int = 1, dim: int = 4, worker_bytes: int | None = None, engine: Any = None, **wanted: Any
) -> Result:
    """Run the stage on tables as the index stage writes them; ``worker_bytes`` may be as small as a small graph."""
    input_config: dict[str, Any] = {"path": "unused", "source_type": "user", "target_type": "item"}
    if graph.is_plain:
        input_config["target_type"] = "user"
    config = CONFIG.model_validate(
        {
            "input": input_config,
            "partition": wanted,
            "embedding": {"dim": dim},
        }
    )
    if worker_bytes is not None:  # below what a config may say
        smaller = config.partition.model_copy(update={"worker_bytes": worker_bytes})
        config = config.model_copy(update={"partition": smaller})
    with TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder), dt.date(2024, 1, 1), dict.fromkeys(STAGE_NAMES, "f"), MAKER, "test")
        write_index(workspace, graph, files)
        outcome = partition.run(engine or InProcess(), config, workspace)
        (tree_file,), (parts_file,) = outcome.tables["partition_tree"], outcome.tables["node_parts"]
        tree = pq.read_table(tree_file.path, partitioning=None)
        assert tree.schema.equals(PARTITION_TREE.schema)
        assert (tree_file.rows, parts_file.rows) == (tree.num_rows, graph.nodes)
        parts = NodeParts.map(parts_file.path)
        return Result(outcome, tree.to_pylist(), parts.part_id.tolist(), parts.is_split.tolist())


def described_file(path: Path, rows: int) -> DataFile:
    return DataFile(path.name, rows, path.stat().st_size, storage.checksum_of(path))


def write_index(workspace: Workspace, graph: Graph, files: int) -> None:
    places = {table: workspace.folder(table) for table in ("node_index", "node_arrays", "indexed_edges")}
    for place in places.values():
        place.mkdir(parents=True)
    described = []
    for number in range(files):
        chosen = graph.pairs[number::files]
        columns = [[source for source, _ in chosen], [target for _, target in chosen], [1] * len(chosen)]
        path = places["indexed_edges"] / f"{number}.parquet"
        storage.write_parquet(path, pa.table([pa.array(c, pa.int64()) for c in columns], schema=JOINED_EDGES.schema))
        described.append(described_file(path, len(chosen)))
    half = graph.nodes // 2  # node_arrays may come in several files
    for number, nodes in enumerate((slice(0, half), slice(half, None))):
        columns = [graph.node_key.view(np.int64)[nodes], graph.degree[nodes], graph.degree[nodes]]
        table = pa.table([pa.array(c) for c in columns], schema=NODE_ARRAYS.schema)
        storage.write_arrow(places["node_arrays"] / f"{number}.arrow", table)
    rows = {"0.arrow": half, "1.arrow": graph.nodes - half}
    arrays = tuple(described_file(places["node_arrays"] / name, count) for name, count in rows.items())
    types = {"user": (0, graph.nodes)}
    if not graph.is_plain:
        types = {"item": (0, graph.items), "user": (graph.items, graph.nodes)}
    figures = codec.to_values(IndexFigures(graph.nodes, 0, len(graph.pairs), 0, types, {}, {}))
    workspace.commit(Manifest("indexed_edges", 2, "index", "f", tuple(described)))
    workspace.commit(Manifest("node_arrays", 1, "index", "f", arrays))
    workspace.commit(Manifest("node_index", 1, "index", "f", (), figures))


def expected_figures(graph: Graph, result: Result) -> dict[int, dict[str, int]]:
    """Figures of every part by sets: leaves store edges, inner parts what their leaves store."""
    parts = NodeParts(np.array(result.part_id, np.int32), np.array(result.is_split))
    src, dst = (np.array([pair[side] for pair in graph.pairs], np.int64) for side in (0, 1))
    first, second = stored_at(src, dst, NodeHomes(parts, graph.degree, graph.node_key))
    stored = defaultdict(set)
    for edge, leaf in [*enumerate(first.tolist()), *enumerate(second.tolist())]:
        if leaf >= 0:
            stored[leaf].add(graph.pairs[edge])
    path = {row["part_id"]: row["part_path"] for row in result.tree}
    found = {}
    for part in path:
        below = {leaf for leaf in result.leaves if f"{path[leaf]}/".startswith(f"{path[part]}/")}
        edges = set().union(*(stored[leaf] for leaf in below))
        at_home = {node for node, home in enumerate(result.part_id) if home in below}
        rows = {end for pair in edges for end in pair}
        away = rows - at_home
        # Each edge end whose node is no ghost of the leaf that holds it.
        ends = [
            end
            for leaf in below
            for pair in stored[leaf]
            for end in set(pair)
            if result.is_split[end] or result.part_id[end] == leaf
        ]
        found[part] = {
            "nodes": len(at_home),
            "edges": len(edges),
            "volume": len(ends),
            "cut": sum(not set(pair) <= at_home for pair in edges),
            "split_nodes": sum(result.is_split[node] for node in away),
            "ghosts": sum(not result.is_split[node] for node in away),
        }
    return found


def check(graph: Graph, result: Result) -> None:
    """All that holds for any tree."""
    parts = NodeParts(np.array(result.part_id, np.int32), np.array(result.is_split))
    for node, degree in enumerate(graph.degree):
        assert (result.part_id[node] in result.leaves) == (degree > 0)
        if degree == 0:
            assert (result.part_id[node], result.is_split[node]) == (-1, False)

    src, dst = (np.array([pair[side] for pair in graph.pairs], np.int64) for side in (0, 1))
    first, second = stored_at(src, dst, NodeHomes(parts, graph.degree, graph.node_key))
    holders: dict[int, Counter[int]] = defaultdict(Counter)
    for pair, *where in zip(graph.pairs, first.tolist(), second.tolist(), strict=True):
        for leaf in set(where) - {-1}:
            for end in set(pair):
                holders[end][leaf] += 1
    for node, stored in holders.items():
        home = result.part_id[node]
        assert stored[home] > 0  # the layout of blocks relies on it
        if result.is_split[node]:
            assert len(stored) > 1 or graph.is_plain
        else:
            assert stored[home] == graph.degree[node]
        if not graph.is_plain:
            assert stored[home] == max(stored.values())
            assert result.is_split[node] == (len(stored) > 1)

    assert [row["part_id"] for row in result.tree] == list(range(len(result.tree)))
    assert [row["part_path"] for row in result.tree] == list(preorder(result.tree))
    expected = expected_figures(graph, result)
    for row in result.tree:
        assert {name: row[name] for name in expected[0]} == expected[row["part_id"]], row["part_path"]
    assert sum(row["volume"] for row in result.tree if row["is_leaf"]) == graph.degree.sum()
    figures = result.outcome.figures
    assert figures["parts"] == len(result.leaves)
    away = sum(row["split_nodes"] + row["ghosts"] for row in result.tree if row["is_leaf"])
    assert figures["copies_per_node"] == pytest.approx(away / np.count_nonzero(graph.degree), abs=1e-4)
    for level in figures["levels"]:
        ancestor = {row["part_id"]: row["part_path"].split("/")[: level["depth"] + 1] for row in result.tree}
        is_cut = [ancestor[result.part_id[a]] != ancestor[result.part_id[b]] for a, b in graph.pairs]
        assert level["cut_percent"] == pytest.approx(100 * sum(is_cut) / len(graph.pairs), abs=1e-3)


def preorder(tree: list[dict[str, Any]]) -> Iterator[str]:
    children = defaultdict(list)
    for row in tree:
        children[row["parent"]].append(row)

    def walk(row: dict[str, Any], path: str, depth: int) -> Iterator[str]:
        assert row["depth"] == depth
        assert row["is_leaf"] == (not children[row["part_id"]])
        yield path
        for number, child in enumerate(sorted(children[row["part_id"]], key=lambda r: r["part_id"])):
            yield from walk(child, f"{path}/{number}", depth + 1)

    (root,) = children[-1]
    yield from walk(root, "0", 0)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    if draw(st.booleans()):
        items, users = draw(st.integers(1, 10)), draw(st.integers(1, 14))
        pair = st.tuples(st.integers(items, items + users - 1), st.integers(0, items - 1))
        return Graph(items + users, items, tuple(draw(st.lists(pair, unique=True, min_size=1, max_size=70))))
    nodes = draw(st.integers(1, 18))
    pair = st.tuples(st.integers(0, nodes - 1), st.integers(0, nodes - 1)).map(lambda p: (min(p), max(p)))
    return Graph(nodes, 0, tuple(draw(st.lists(pair, unique=True, min_size=1, max_size=70))))


@settings(max_examples=60)
@given(
    graphs(),
    st.sampled_from(["multilevel", "metis", "ldg", "hash"]),
    st.integers(1, 20),
    st.none() | st.integers(1, 6),
    st.data(),
)
def test_a_cut_into_parts_keeps_every_promise_in_any_order_of_edges(
    graph: Graph, method: str, parts: int, hub_degree: int | None, data: st.DataObject
) -> None:
    options = {"method": method, "parts": parts, "hub_degree": hub_degree}
    result = cut(graph, **options)
    check(graph, result)
    assert len(result.leaves) + result.outcome.figures["empty_parts_dropped"] == parts
    assert len(result.outcome.figures["warnings"]) <= 1

    shuffled = Graph(graph.nodes, graph.items, tuple(data.draw(st.permutations(graph.pairs))))
    again = cut(shuffled, files=3, **options)
    assert (again.part_id, again.is_split, again.tree) == (result.part_id, result.is_split, result.tree)


def largest_whole_degree(graph: Graph, hub_degree: int | None) -> int:
    """Of users; of plain nodes but hubs with a neighbour that is none."""
    degree = graph.degree
    if not graph.is_plain or hub_degree is None:
        return int(degree[graph.items :].max())
    hubs = set(np.flatnonzero(degree > hub_degree).tolist())
    split = {end for pair in graph.pairs for end in hubs & set(pair) if set(pair) - hubs}
    return max(int(d) for node, d in enumerate(degree) if node not in split)


@settings(max_examples=60)
@given(graphs(), st.sampled_from(["auto", "hash"]), st.integers(1, 30), st.none() | st.integers(1, 6))
def test_recursion_ends_below_the_bound_or_says_what_to_change(
    graph: Graph, method: str, max_edges: int, hub_degree: int | None
) -> None:
    options: dict[str, Any] = {"method": method, "max_edges": max_edges, "hub_degree": hub_degree}
    if graph.is_plain and hub_degree is None:
        hub_degree = max_edges  # hubs that fit no leaf are split; others may be, which no leaf shows
    if len(graph.pairs) > max_edges and largest_whole_degree(graph, hub_degree) > max_edges:
        way_out = "hub_degree below" if graph.is_plain else "raise it"
        with pytest.raises(PartitionError, match=f"partition.max_edges is {max_edges}: .*{way_out}"):
            cut(graph, **options)
        return
    result = cut(graph, **options)
    check(graph, result)
    check_bound(graph, result, max_edges, options["hub_degree"])


def check_bound(graph: Graph, result: Result, max_edges: int, hub_degree: int | None) -> None:
    """No leaf is over the bound but for edges between two hubs, and not without being said."""
    over = [row for row in result.tree if row["is_leaf"] and row["edges"] > max_edges]
    if not graph.is_plain:
        assert not over
    said = [warning for warning in result.outcome.figures["warnings"] if "between two hubs" in warning]
    assert len(said) == bool(over)
    if not over:
        return
    assert f"a part stores {max(row['edges'] for row in over):,} edges" in said[0]
    parts = NodeParts(np.array(result.part_id, np.int32), np.array(result.is_split))
    is_hub = graph.degree > (hub_degree or 0)  # where costs decide, any node may be one
    pairs = [pair for pair in graph.pairs if is_hub[list(pair)].all()]
    src, dst = np.array(pairs, np.int64).T
    stored = stored_at(src, dst, NodeHomes(parts, graph.degree, graph.node_key))
    late = Counter(np.concatenate(stored).tolist())  # at two homes, where a hub is in one part and is not split
    assert all(row["edges"] - late[row["part_id"]] <= max_edges for row in over)


def test_bytes_bound_leaves_too() -> None:
    rng = np.random.default_rng(0)
    pairs = {(int(u) + 30, int(i)) for u, i in zip(rng.integers(0, 60, 500), rng.integers(0, 30, 500), strict=True)}
    graph = Graph(90, 30, tuple(sorted(pairs)))
    dim, max_bytes = 16, 12_000
    result = cut(graph, dim=dim, max_bytes=max_bytes)
    check(graph, result)
    assert len(result.leaves) > 1
    for row in result.tree:
        if row["is_leaf"]:
            rows = row["nodes"] + row["split_nodes"] + row["ghosts"]
            assert rows * (80 + dim * 4 * 3) + 2 * row["edges"] * 8 <= max_bytes
    with pytest.raises(PartitionError, match=r"partition\.max_bytes is 1,000.*embedding\.dim"):
        cut(graph, dim=dim, max_bytes=1_000)


@pytest.mark.parametrize("options", [{}, {"parts": 1}, {"method": "none"}, {"method": "metis", "parts": 1}])
def test_one_block_is_made_without_reading_the_edges(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    monkeypatch.setattr(narrow_cut, "cut_piece", None)
    graph = Graph(5, 0, ((0, 1), (1, 1), (1, 3)))
    result = cut(graph, **options)
    check(graph, result)
    assert result.part_id == [0, 0, -1, 0, -1]
    assert [row["part_path"] for row in result.tree] == ["0"]
    assert result.outcome.figures["levels"] == []


def test_more_parts_than_users_drops_the_empty_ones_with_one_warning() -> None:
    graph = Graph(5, 2, ((2, 0), (3, 0), (4, 0), (4, 1)))
    result = cut(graph, parts=16)
    check(graph, result)
    assert len(result.leaves) == 3
    (warning,) = result.outcome.figures["warnings"]
    assert warning.startswith("13 of 16 parts")


def test_one_user_is_one_block_whatever_was_asked_for() -> None:
    graph = Graph(4, 3, ((3, 0), (3, 2)))
    result = cut(graph, parts=4)
    check(graph, result)
    assert [row["part_path"] for row in result.tree] == ["0"]
    (warning,) = result.outcome.figures["warnings"]
    assert warning.startswith("3 of 4 parts")


def test_a_hub_with_half_of_all_edges_is_split_where_it_may_be() -> None:
    rng = np.random.default_rng(1)
    ring = {tuple(sorted((int(a), int(a) % 400 + 1))) for a in range(1, 401)}
    chords = {(int(min(p)), int(max(p))) for p in rng.integers(1, 401, (30, 2)) if p[0] != p[1]}
    graph = Graph(401, 0, tuple(sorted({(0, leaf) for leaf in range(1, 401)} | ring | chords)))
    with pytest.raises(PartitionError, match=r"the 400 of its largest hub.*hub_degree below 400"):
        cut(graph, max_edges=300, hub_degree=400)
    for hub_degree in (100, None):
        result = cut(graph, max_edges=300, hub_degree=hub_degree)
        check(graph, result)
        assert result.is_split[0]
        assert sum(result.is_split) == 1
        assert max(row["edges"] for row in result.tree if row["is_leaf"]) <= 300

    # As an item it is split anyway, and users are balanced.
    for method, most in (("metis", 1.03), ("multilevel", 1.05)):
        users = cut(Graph(401, 1, tuple((user, 0) for user in range(1, 401))), parts=4, method=method)
        assert users.is_split[0]
        assert users.outcome.figures["imbalance"] <= most


def test_thousands_of_components_are_packed() -> None:
    pairs = tuple((item + 3_000, item) for item in range(3_000))
    result = cut(Graph(6_000, 3_000, pairs), parts=8)
    assert len(result.leaves) == 8
    assert result.outcome.figures["imbalance"] <= 1.05
    # A component of two nodes falls apart only to even out the last few.
    assert result.outcome.figures["copies_per_node"] == 0.0


@pytest.mark.parametrize("nodes", [2, 3, 500])
def test_paths_are_cut_in_few_places(nodes: int) -> None:
    graph = Graph(nodes, 0, tuple((node, node + 1) for node in range(nodes - 1)))
    result = cut(graph, parts=2)
    check(graph, result)
    assert len(result.leaves) == 2
    assert sum(row["ghosts"] for row in result.tree if row["is_leaf"]) <= 4
    assert result.outcome.figures["imbalance"] <= max(1.04, 4 / 3 if nodes == 3 else 0)


def test_imbalance_is_a_warning() -> None:
    pairs = ((20, 0), *((21, item) for item in range(20)))
    result = cut(Graph(22, 20, pairs), parts=2)
    (warning,) = result.outcome.figures["warnings"]
    assert "1.90 times the mean volume" in warning


def test_a_run_that_was_killed_does_not_cut_again(tmp_path: Path) -> None:
    graph = Graph(8, 4, tuple((4 + n % 4, n // 4) for n in range(16)))
    workspace = Workspace(tmp_path, dt.date(2024, 1, 1), dict.fromkeys(STAGE_NAMES, "f"), MAKER, "test")
    write_index(workspace, graph, 1)
    config = CONFIG.model_validate({"input": {"path": "unused"}, "partition": {"parts": 2}})
    first = partition.run(InProcess(), config, workspace)  # type: ignore[arg-type]
    second = partition.run(None, config, workspace)  # type: ignore[arg-type]
    assert second == first


@pytest.mark.data
def test_gowalla_in_16_parts_is_balanced_and_cut_as_well_as_published(shared_data: Path) -> None:
    table = pq.read_table(shared_data / "gowalla" / "train.parquet", partitioning=None)
    items = 40_981
    pairs = tuple(zip((table["src"].to_numpy() + items).tolist(), table["dst"].to_numpy().tolist(), strict=True))
    graph = Graph(items + 29_858, items, pairs)
    figures = cut(graph, method="metis", parts=16).outcome.figures
    assert figures["imbalance"] <= 1.03  # METIS's own bound for k-way cuts
    assert figures["levels"][0]["cut_percent"] < 33  # METIS on both sides' volumes: 32
    assert figures["copies_per_node"] < 1.5
    assert cut(graph, method="hash", parts=16).outcome.figures["copies_per_node"] > 4
