"""Nights that go on with an earlier one's tree keep the promises of a tree that is cut anew, and nobody moves."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from pipeline.blocks.arrays import NodeParts
from pipeline.embedding.methods import CONFIG
from pipeline.errors import PartitionError
from pipeline.partitioning.cutting import EarlierTree
from pipeline.stages import partition
from pipeline.stages.chain import MAKER, STAGE_NAMES
from pipeline.stages.night_tree import TREE, NightTree, TreeOrigin
from pipeline.workspace import DataFile, Lineage, Manifest, RunInputs, Workspace
from tests.stages.test_partition import Graph, InProcess, Result, check, check_bound, graphs, write_index

FIRST = dt.date(2024, 1, 1)
LINEAGE = Lineage(FIRST, "lineage")


class Nights:
    """Runs the partition stage night after night in one folder."""

    def __init__(self, folder: Path, is_plain: bool, **wanted: Any) -> None:
        types = {"source_type": "user", "target_type": "user" if is_plain else "item"}
        given = {"input": {"path": "unused", **types}, "partition": wanted, "embedding": {"dim": 4}}
        self.config, self.folder, self.day = CONFIG.model_validate(given), folder, 0

    def run(self, graph: Graph, files: int = 1) -> Result:
        date = FIRST + dt.timedelta(days=self.day)
        tree = TREE.choose(self.folder, self.config, LINEAGE, date, starts_with_ingest=True, is_dry=False)
        inputs = RunInputs(lineage=LINEAGE, tree=tree)
        prints = dict.fromkeys(STAGE_NAMES, "f")
        workspace = Workspace(self.folder, date, prints, MAKER, "test", inputs)
        write_index(workspace, graph, files)
        outcome = partition.run(InProcess(), self.config, workspace)  # type: ignore[arg-type]
        for table, outputs in outcome.tables.items():
            folder = workspace.folder(table)
            folder.mkdir(parents=True)
            for file in outputs:
                (folder / file.path.name).write_bytes(file.path.read_bytes())
            sizes = [DataFile(file.path.name, file.rows, file.path.stat().st_size, file.checksum) for file in outputs]
            figures = outcome.figures_of(table)
            workspace.commit(Manifest(table, 1, "partition", prints["partition"], tuple(sizes), figures))
        self.day += 1
        (tree_file,), (parts_file,) = outcome.tables["partition_tree"], outcome.tables["node_parts"]
        parts = NodeParts.map(parts_file.path)
        rows = pq.read_table(tree_file.path, partitioning=None).to_pylist()
        return Result(outcome, rows, parts.part_id.tolist(), parts.is_split.tolist())


@st.composite
def later(draw: st.DrawFn, graph: Graph) -> Graph:
    """The graph after some nodes and pairs went and others came, in numbers of its own and the names of before."""
    names = [7 * node for node in range(graph.nodes)]  # others come between them
    items = names[: graph.items]
    new = draw(st.lists(st.integers(0, 7 * graph.nodes), max_size=8, unique=True).map(sorted))
    pairs = {(names[a], names[b]) for a, b in graph.pairs}
    gone = set(draw(st.lists(st.sampled_from(names), max_size=3)))
    pairs = {pair for pair in pairs if not gone & set(pair)} - set(draw(st.lists(st.sampled_from(sorted(pairs)))))
    border = 7 * (graph.items - 1) + 3  # of items and users
    every = sorted({*names, *new} - gone)
    ends = ([one for one in every if one > border], [one for one in every if one <= border])
    if graph.is_plain:
        ends = (every, every)
    if all(ends):
        for a, b in draw(st.lists(st.tuples(*map(st.sampled_from, ends)), max_size=25)):
            pairs.add((min(a, b), max(a, b)) if graph.is_plain else (a, b))
    if not pairs:
        return replace(graph, names=tuple(names))
    number = {name: node for node, name in enumerate(every)}
    count = sum(name <= border for name in every) if items else 0
    return Graph(len(every), count, tuple((number[a], number[b]) for a, b in sorted(pairs)), tuple(every))


def leaves_by_name(graph: Graph, result: Result) -> dict[int, str]:
    """Paths of the leaves of nodes that are in one part alone, by their names."""
    path = {row["part_id"]: row["part_path"] for row in result.tree}
    nodes = zip(graph.names or (), result.part_id, result.is_split, strict=True)
    return {name: path[part] for name, part, is_split in nodes if part >= 0 and not is_split}


@settings(max_examples=30, deadline=None)
@given(graphs(), st.sampled_from(["auto", "hash"]), st.sampled_from(["parts", "max_edges"]), st.data())
def test_a_night_keeps_every_promise_and_nobody_moves(graph: Graph, method: str, key: str, data: st.DataObject) -> None:
    options: dict[str, Any] = {"method": method, key: data.draw(st.integers(2, 8 if key == "parts" else 30))}
    first = replace(graph, names=tuple(7 * node for node in range(graph.nodes)))
    second = data.draw(later(graph))
    with TemporaryDirectory() as folder:
        nights = Nights(Path(folder), graph.is_plain, **options)
        try:
            before, night = nights.run(first), nights.run(second)
        except PartitionError:
            event("a node fits no leaf")
            return
        shuffled = replace(second, pairs=tuple(data.draw(st.permutations(second.pairs))))
        nights.day -= 1
        for table in ("node_arrays", "node_index", "indexed_edges", "node_parts", "partition_tree"):
            (folder_of := Path(folder) / "runs" / str(FIRST + dt.timedelta(days=1)) / table).rename(f"{folder_of}-old")
        again = nights.run(shuffled, files=3)
    assert (again.part_id, again.is_split, again.tree) == (night.part_id, night.is_split, night.tree)
    check(second, night)
    if key == "max_edges":
        check_bound(second, night, options[key], None)
    tree_of = night.outcome.figures_of("node_parts").get("tree_of")
    event(f"tree_of {tree_of is not None}")
    if tree_of is None or second.is_plain:  # where costs decide again who is split
        return
    homes, homes_before = leaves_by_name(second, night), leaves_by_name(first, before)
    users = {name for name in set(homes) & set(homes_before) if name > 7 * (graph.items - 1) + 3}
    for one in users:
        for other in users:
            if homes_before[one] != homes_before[other]:
                assert homes[one] != homes[other]
            elif key == "parts":
                assert homes[one] == homes[other]


@pytest.mark.parametrize(
    ("first", "tonight", "lost"),
    [
        ({"copies_per_node": 1.0, "imbalance": 1.05}, {"copies_per_node": 1.25, "imbalance": 1.3}, ""),
        ({"copies_per_node": 1.0, "imbalance": 1.05}, {"copies_per_node": 1.26, "imbalance": 1.3}, "copies_per_node"),
        ({"copies_per_node": 1.0, "imbalance": 1.05}, {"copies_per_node": 1.0, "imbalance": 1.32}, "imbalance"),
        ({"copies_per_node": 0.0, "imbalance": 1.0}, {"copies_per_node": 0.24, "imbalance": 1.0}, ""),
        ({"leaves_per_full_leaf": 1.1}, {"leaves_per_full_leaf": 1.66}, "leaves_per_full_leaf"),
    ],
)
def test_a_tree_is_given_up_beyond_its_bounds(first: dict[str, float], tonight: dict[str, float], lost: str) -> None:
    tree = NightTree(EarlierTree((), (), Path()), TreeOrigin("", "", None, first), FIRST)
    assert tree.loss(tonight).partition(" ")[0] == lost
