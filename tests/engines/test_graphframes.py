"""GraphFrames: what needs its jar, and what can be told without."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline import storage
from pipeline.errors import ConfigError, TaskError
from schemas.tables import JOINED_EDGES
from tests.conftest import missing
from tests.stages.test_partition import Graph, InProcess, check, cut

COORDINATES = "io.graphframes:graphframes-spark4_2.13:<version of graphframes-py> (GRAPHFRAMES_JAR)"


@pytest.fixture
def graphframes(spark_session: Any) -> Any:
    """The real thing, or a skip that says what to give."""
    from pipeline.engines.graphframes import GraphFramesTables, what_is_missing

    reason = what_is_missing(spark_session)
    if reason is not None:
        missing("graphframes", f"GraphFrames is not here: {reason}; pip install graphframes-py and {COORDINATES}")
    return GraphFramesTables(spark_session)


def plain_graph() -> tuple[int, np.ndarray]:
    """A path, a star, triangles, a loop and isolated nodes, numbered at random."""
    parts = [nx.path_graph(40), nx.star_graph(30), *[nx.complete_graph(3)] * 20, nx.empty_graph(7)]
    plain = nx.disjoint_union_all(parts)
    number = np.random.default_rng(0).permutation(len(plain))
    pairs = number[np.array(plain.edges)]
    return len(plain), np.concatenate([pairs, [[number[0], number[0]]]])


def write_edges(folder: Path, pairs: np.ndarray) -> list[Path]:
    files = []
    for part in range(2):
        src, dst = pairs[part::2].T
        files.append(folder / f"edges-{part}.parquet")
        table = pa.table([src, dst, np.ones(src.size, np.int64)], schema=JOINED_EDGES.schema)
        storage.write_parquet(files[-1], table)
    return files


def answers(files: Sequence[Path], column: str) -> dict[int, int]:
    table = pa.concat_tables(pq.read_table(file, partitioning=None) for file in files)
    assert table.column_names == ["id", column]
    ids = table["id"].to_pylist()
    assert len(ids) == len(set(ids))
    return dict(zip(ids, table[column].to_pylist(), strict=True))


def least_of_each(nodes: int, pairs: np.ndarray) -> np.ndarray:
    matrix = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(nodes, nodes))
    count, label = connected_components(matrix, directed=False)
    least = np.full(count, nodes)
    np.minimum.at(least, label, np.arange(nodes))
    return least[label]


def persisted(session: Any) -> int:
    return session.sparkContext._jsc.getPersistentRDDs().size()


@pytest.mark.spark
@pytest.mark.graphframes
def test_components_are_scipys_and_nothing_is_left_behind(graphframes: Any, spark_session: Any, tmp_path: Path) -> None:
    nodes, pairs = plain_graph()
    files, before = write_edges(tmp_path, pairs), persisted(spark_session)
    found = graphframes.components(files, nodes, tmp_path / "answer")
    component = answers(found, "component")
    assert [component[node] for node in range(nodes)] == least_of_each(nodes, pairs).tolist()
    assert sorted(path.name for path in (tmp_path / "answer").iterdir()) == sorted(
        [*(file.name for file in found), "done.json"]
    )
    assert persisted(spark_session) == before
    assert graphframes.components(files, nodes, tmp_path / "answer") == found


@pytest.mark.spark
@pytest.mark.graphframes
def test_labels_stay_inside_of_components(graphframes: Any, spark_session: Any, tmp_path: Path) -> None:
    nodes, pairs = plain_graph()
    before = persisted(spark_session)
    label = answers(graphframes.label_propagation(write_edges(tmp_path, pairs), nodes, tmp_path / "answer"), "label")
    least = least_of_each(nodes, pairs)
    assert sorted(label) == list(range(nodes))
    assert all(least[label[node]] == least[node] for node in range(nodes))
    assert persisted(spark_session) == before


def small_graph() -> Graph:
    plain = nx.disjoint_union(nx.random_partition_graph([20] * 4, 0.4, 0.02, seed=3), nx.path_graph(9))
    return Graph(len(plain) + 3, 0, tuple(sorted((min(e), max(e)) for e in plain.edges)))


@pytest.mark.spark
@pytest.mark.graphframes
def test_the_tables_are_the_same_with_either_components(graphframes: Any, spark_session: Any) -> None:
    from pipeline.engines.spark import SparkEngine

    graph = small_graph()
    own = cut(graph, parts=4, worker_bytes=20_000)
    theirs = cut(graph, parts=4, worker_bytes=20_000, engine=SparkEngine(spark_session), components="graphframes")
    assert (theirs.part_id, theirs.is_split, theirs.tree) == (own.part_id, own.is_split, own.tree)
    seeded = cut(graph, parts=4, worker_bytes=20_000, engine=SparkEngine(spark_session), top_seed="graphframes")
    check(graph, seeded)


class FakeGraphFrame:
    """Does to a session what GraphFrames does: checkpoints, leaves results persisted, and gives some nodes no label."""

    def __init__(self, vertices: Any, edges: Any) -> None:
        assert (vertices.columns, edges.columns) == (["id"], ["src", "dst"])
        self.shuffle_partitions = vertices.sparkSession.conf.get("spark.sql.shuffle.partitions")
        self.ids = [row.id for row in vertices.collect()]
        self.pairs = np.array([(row.src, row.dst) for row in edges.collect()])
        self.session = vertices.sparkSession

    def connectedComponents(self) -> Any:  # noqa: N802
        least = least_of_each(len(self.ids), self.pairs)
        greatest = {int(name): int(np.flatnonzero(least == name).max()) for name in np.unique(least)}
        return self._frame([greatest[int(name)] for name in least], "component")

    def labelPropagation(self, maxIter: int, algorithm: str) -> Any:  # noqa: N802
        assert (maxIter > 0, algorithm) == (True, "graphx")
        least = least_of_each(len(self.ids), self.pairs)
        return self._frame([None if node % 7 == 0 else int(least[node]) for node in self.ids], "label")

    def _frame(self, values: list[int | None], column: str) -> Any:
        frame = self.session.createDataFrame(list(zip(self.ids, values, strict=True)), f"id bigint, {column} bigint")
        assert self.session.sparkContext.getCheckpointDir() is not None
        return frame.checkpoint().persist()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, spark_session: Any) -> Any:
    module: Any = types.ModuleType("graphframes")
    module.GraphFrame = FakeGraphFrame
    monkeypatch.setitem(sys.modules, "graphframes", module)
    import pipeline.engines.graphframes as ours

    monkeypatch.setattr(ours, "what_is_missing", lambda _: None)
    return ours.GraphFramesTables(spark_session)


@pytest.mark.spark
def test_answers_go_to_files_and_nothing_is_left_behind(fake: Any, spark_session: Any, tmp_path: Path) -> None:
    nodes, pairs = plain_graph()
    before = persisted(spark_session)
    files = fake.components(write_edges(tmp_path, pairs), nodes, tmp_path / "answer")
    component, least = answers(files, "component"), least_of_each(nodes, pairs)
    assert len({(component[node], int(least[node])) for node in range(nodes)}) == np.unique(least).size
    assert {path.name for path in (tmp_path / "answer").iterdir()} == {"done.json", *(file.name for file in files)}
    assert persisted(spark_session) == before
    assert spark_session.conf.get("spark.sql.shuffle.partitions") == "2"
    # Killed before the end: what is there is not an answer.
    (tmp_path / "answer" / "done.json").unlink()
    for file in files:
        file.write_bytes(b"")
    again = fake.components(write_edges(tmp_path, pairs), nodes, tmp_path / "answer")
    assert answers(again, "component") == component


@pytest.mark.spark
def test_whoever_finds_the_components_the_tables_are_the_same(fake: Any) -> None:
    class WithGraphFrames(InProcess):  # tasks here, so that Spark does nothing but what GraphFrames asks of it
        def open_graph_tables(self) -> Any:
            return fake

    graph, options = small_graph(), {"parts": 3, "worker_bytes": 40_000}
    own = cut(graph, engine=WithGraphFrames(), **options)
    theirs = cut(graph, engine=WithGraphFrames(), components="graphframes", **options)
    assert (theirs.part_id, theirs.is_split, theirs.tree) == (own.part_id, own.is_split, own.tree)
    assert any(record.task.startswith("link-") for record in own.outcome.records)
    assert not any(record.task.startswith("link-") for record in theirs.outcome.records)
    seeded = cut(graph, engine=WithGraphFrames(), top_seed="graphframes", **options)
    check(graph, seeded)


class FailingGraphFrame(FakeGraphFrame):
    """Fails in the JVM, and in a task."""

    def connectedComponents(self) -> Any:  # noqa: N802
        return self.session.sparkContext._jvm.java.lang.Integer.parseInt("no number")

    def labelPropagation(self, maxIter: int, algorithm: str) -> Any:  # noqa: N802
        return self.session.range(1).selectExpr("id", "assert_true(id < 0, 'no label') is null as label")


@pytest.mark.spark
def test_a_failure_names_graphframes_its_cause_and_what_to_do(
    fake: Any, spark_session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["graphframes"], "GraphFrame", FailingGraphFrame)
    nodes, pairs = plain_graph()
    files = write_edges(tmp_path, pairs)
    with pytest.raises(TaskError, match=r"GraphFrames failed at conn.*NumberFormat.*no number.*components = 'own'"):
        fake.components(files, nodes, tmp_path / "components")
    with pytest.raises(TaskError, match=r"GraphFrames failed at label prop.*no label.*top_seed = 'own'"):
        fake.label_propagation(files, nodes, tmp_path / "labels")
    assert spark_session.conf.get("spark.sql.shuffle.partitions") == "2"
    monkeypatch.setattr(sys.modules["graphframes"], "GraphFrame", FakeGraphFrame)
    assert len(answers(fake.components(files, nodes, tmp_path / "components"), "component")) == nodes


@pytest.mark.spark
def test_shuffle_partitions_follow_the_edges(fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[str] = []

    class Recorder(FakeGraphFrame):
        def connectedComponents(self) -> Any:  # noqa: N802
            counts.append(self.shuffle_partitions)
            return self._frame(self.ids, "component")

    monkeypatch.setattr(sys.modules["graphframes"], "GraphFrame", Recorder)
    monkeypatch.setattr("pipeline.engines.graphframes._EDGES_PER_PARTITION", 40)
    _, pairs = plain_graph()
    for edges in (1, 40, 41, len(pairs)):
        (tmp_path / str(edges)).mkdir()
        fake.components(write_edges(tmp_path / str(edges), pairs[:edges]), 1, tmp_path / str(edges) / "answer")
    assert counts == ["1", "1", "2", str(-(-len(pairs) // 40))]


@pytest.mark.spark
def test_without_the_package_it_says_what_to_install(spark_session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.engines.spark import SparkEngine

    monkeypatch.setitem(sys.modules, "graphframes", None)  # importing it fails
    with pytest.raises(ConfigError, match=r"package can't be imported.*pipeline\[graphframes\].*GRAPHFRAMES_JAR"):
        cut(small_graph(), engine=SparkEngine(spark_session), components="graphframes")


@pytest.mark.spark
def test_without_the_jar_it_is_the_jar_that_is_missing(spark_session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.engines.graphframes import what_is_missing

    if what_is_missing(spark_session) is None:
        pytest.skip("the jar is here")
    monkeypatch.setitem(sys.modules, "graphframes", types.ModuleType("graphframes"))
    reason = what_is_missing(spark_session)
    assert reason is not None
    assert "jar" in reason
