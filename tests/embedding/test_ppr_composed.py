"""Lists over the parts of a cut graph against dense algebra, whatever the cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from pipeline import storage
from pipeline.blocks.arrays import Block
from pipeline.config.ppr import PprConfig
from pipeline.embedding.methods import CONFIG
from pipeline.embedding.ppr import composed
from pipeline.embedding.ppr.composed import ComposedLists, lists_across_parts
from pipeline.embedding.ppr.composed_tasks import RoundResult
from pipeline.embedding.ppr.list_request import ListRequest
from pipeline.embedding.ppr.lists import pushed_entries
from pipeline.embedding.waves import BlockFiles
from pipeline.kernels.ppr_push import push_scores
from pipeline.kernels.ppr_top_k import degree_factor
from pipeline.kernels.transition import Transition, single_seeds, transition
from pipeline.planning.list_costs import list_traffic
from pipeline.tasks import TaskRecord
from schemas.tables import NEIGHBOR_LISTS, WEIGHT_UNIT
from tests.embedding.graphs_in_parts import (
    ONE,
    DiesAfter,
    GraphInParts,
    InThisProcess,
    KilledError,
    graphs_in_parts,
    lay_out,
    placed,
)
from tests.oracles.pagerank import dense_pagerank

ROUNDING = 1e-9


def walk_of(given_graph: GraphInParts) -> Transition:
    """The whole graph, with the float32 weights that blocks have."""
    is_loop = given_graph.src == given_graph.dst
    weight = (given_graph.weight * WEIGHT_UNIT).astype(np.float32)
    ends = [
        np.concatenate([given_graph.src, given_graph.dst[~is_loop]]),
        np.concatenate([given_graph.dst, given_graph.src[~is_loop]]),
    ]
    n = given_graph.nodes
    matrix = sparse.csr_array((np.concatenate([weight, weight[~is_loop]]), tuple(ends)), shape=(n, n))
    return transition(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data)


def sources_file(folder: Path, node_ix: Sequence[int]) -> Path:
    file = folder / "sources.arrow"
    storage.write_arrow(file, pa.table({"node_ix": pa.array(node_ix, pa.int64())}))
    return file


@contextmanager
def in_batches_of(sources: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composed, "_MOST_AT_ONCE", sources)
        yield


def list_request(
    given_graph: GraphInParts, targets: tuple[int, int] | None = None, *, tolerance: float, **ppr: Any
) -> ListRequest:
    """What is wanted of lists; ``tolerance``: the error at a node of mean strength."""
    threshold = tolerance / mean_strength(walk_of(given_graph))
    config = PprConfig(solver="push", push_threshold=threshold, **ppr)
    return ListRequest(config, 0, (0, given_graph.nodes) if targets is None else targets)


def table_of(done: ComposedLists) -> pa.Table:
    tables = []
    for record in done.lists:
        path = record.file("lists")
        table = storage.map_arrow(path)
        assert table.schema == NEIGHBOR_LISTS.schema
        assert table.num_rows == record.files[0].rows
        tables.append(table)
    return pa.concat_tables(tables).combine_chunks()


@dataclass(frozen=True)
class Mass:
    """What nodes hold once rounds have ended, (sources, nodes) float64 each."""

    settled: np.ndarray
    waiting: np.ndarray


def mass_of(done: ComposedLists, blocks: Sequence[BlockFiles], sources: int, nodes: int) -> Mass:
    """Replay what the rounds' tasks left in files: the last entry of a node counts."""
    mass = Mass(np.zeros((sources, nodes)), np.zeros((sources, nodes)))
    node_ix = {b.part_id: Block.read(b.part_id, b.nodes, b.edges, b.routes).node_ix for b in blocks}
    for record in done.records:
        for file in record.paths("held"):
            for row in storage.map_arrow(file).to_pylist():
                for entry in row["held"]:
                    node = node_ix[part_id_of(record)][entry["row"]]
                    mass.settled[row["source"], node] = entry["settled"]
                    mass.waiting[row["source"], node] = entry["waiting"]
    return mass


def part_id_of(record: TaskRecord[Any]) -> int:
    return int(record.task.rpartition("-")[2])


def mean_strength(walk: Transition) -> float:
    return float(walk.degree[walk.degree > 0].mean())


@settings(max_examples=25)
@given(
    graphs_in_parts(),
    st.sampled_from([0.15, 0.5, 0.9]),
    st.sampled_from([0.5, 1e-1, 1e-2, 1e-3]),
    st.data(),
)
def test_no_mass_is_lost_and_scores_are_within_tolerance_times_strength(
    tmp_path_factory: pytest.TempPathFactory,
    given_graph: GraphInParts,
    restart: float,
    tolerance: float,
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("composed")
    n = given_graph.nodes
    chosen = sorted(data.draw(st.sets(st.integers(0, n - 1), max_size=n)))
    blocks = lay_out(given_graph, folder)
    asked = list_request(given_graph, restart=restart, tolerance=tolerance, top_k=n)
    with in_batches_of(data.draw(st.sampled_from([1, 4, 100]))):
        done = lists_across_parts(InThisProcess(), blocks, sources_file(folder, chosen), asked, folder / "ppr")

    walk = walk_of(given_graph)
    exact = dense_pagerank(walk, single_seeds(np.arange(n)), restart)
    has_edges = walk.degree[chosen] > 0
    mass = mass_of(done, blocks, len(chosen), n)
    assert not mass.settled[~has_edges].any()
    # The invariant of push, which is linear: what is settled, and the walks that what waits still has to do.
    np.testing.assert_allclose(
        (mass.settled + mass.waiting @ exact)[has_edges], exact[chosen][has_edges], atol=ROUNDING
    )
    limit = tolerance / mean_strength(walk)
    assert (mass.waiting <= limit * walk.degree * (1 + 1e-12)).all()

    lists = table_of(done)
    assert lists["node_ix"].to_pylist() == chosen
    missing = (1 - restart) * mass.waiting.sum(axis=1)
    for source, row in enumerate(lists.to_pylist()):
        if not has_edges[source]:
            assert (row["neighbor_ix"], row["scores"], row["error_bound"]) == ([], [], 0.0)
            continue
        listed = np.zeros(n)
        listed[row["neighbor_ix"]] = row["scores"]
        gap = exact[chosen[source]] - listed
        gap[chosen[source]] = 0  # never listed itself
        assert (gap >= -1e-6 * exact[chosen[source]] - ROUNDING).all()  # scores are float32
        assert (gap <= limit * walk.degree + 1e-6).all()
        assert gap.sum() <= missing[source] + 1e-6
        bound = min(missing[source], limit * walk.degree.max())
        assert bound <= row["error_bound"] * (1 + 1e-9) + 1e-12
        assert row["error_bound"] <= (bound + 2.0**-22) * (1 + 1e-6)  # what listing scores as float32 adds
        assert (gap <= row["error_bound"] + 1e-6).all()
    assert done.largest_missing == pytest.approx(missing[has_edges].max(initial=0.0), abs=1e-12)
    assert done.largest_bound == max(lists["error_bound"].to_pylist(), default=0.0)


@settings(max_examples=25)
@given(graphs_in_parts(), st.sampled_from([0.0, 0.5, 1.0]), st.booleans(), st.sampled_from([1, 3, 50]), st.data())
def test_lists_are_the_best_of_the_targets_without_the_source_and_what_is_known(
    tmp_path_factory: pytest.TempPathFactory,
    given_graph: GraphInParts,
    correction: float,
    exclude_known: bool,
    k: int,
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("composed")
    n, restart = given_graph.nodes, 0.4
    first = data.draw(st.sampled_from([0, given_graph.items, n // 2]))
    targets = (first, data.draw(st.sampled_from([n, n, max(first, n - 1), first])))
    chosen = sorted(data.draw(st.sets(st.integers(0, n - 1), max_size=n)))
    blocks = lay_out(given_graph, folder)
    asked = list_request(
        given_graph,
        targets,
        restart=restart,
        tolerance=1e-2,
        top_k=k,
        exclude_known=exclude_known,
        degree_correction=correction,
    )
    with in_batches_of(data.draw(st.sampled_from([1, 4, 100]))):
        done = lists_across_parts(InThisProcess(), blocks, sources_file(folder, chosen), asked, folder / "ppr")

    walk = walk_of(given_graph)
    mass = mass_of(done, blocks, len(chosen), n)
    factor = degree_factor(np.diff(walk.indptr).astype(np.float64), -correction)
    for source, row in enumerate(table_of(done).to_pylist()):
        node = chosen[source]
        scores = (
            (mass.settled[source] + restart * mass.waiting[source]) * (factor.astype(np.float64) if correction else 1.0)
        ).astype(np.float32)
        allowed = [
            (-float(scores[v]), v)
            for v in range(*targets)
            if v != node
            and scores[v] > 0
            and not (exclude_known and v in walk.indices[walk.indptr[node] : walk.indptr[node + 1]])
        ]
        want = sorted(allowed)[:k]
        assert row["neighbor_ix"] == [v for _, v in want]
        assert row["scores"] == [-score for score, _ in want]


def test_known_nodes_are_left_out_wherever_their_edge_is_stored(tmp_path: Path) -> None:
    # Item 0 is split, at home with user 3; its edge with user 4 is stored where user 4 is.
    given_graph = placed([3, 3, 4, 4], [0, 1, 0, 2], home=[0, 0, 1, 0, 1], nodes=5, items=3)
    assert given_graph.is_split.tolist() == [True, False, False, False, False]
    blocks = lay_out(given_graph, tmp_path / "graph")
    file = sources_file(tmp_path, [0, 3, 4])
    for exclude_known, want in ((True, [{1, 2}, {2, 4}, {1, 3}]), (False, [{1, 2, 3, 4}, {0, 1, 2, 4}, {0, 1, 2, 3}])):
        asked = list_request(given_graph, restart=0.2, tolerance=1e-3, exclude_known=exclude_known)
        done = lists_across_parts(InThisProcess(), blocks, file, asked, tmp_path / str(exclude_known))
        assert [set(row) for row in table_of(done)["neighbor_ix"].to_pylist()] == want


@dataclass(frozen=True)
class CutGraph:
    graph: GraphInParts
    blocks: Sequence[BlockFiles]

    def lists(self, folder: Path, runner: Any = None, at_once: int = 100, tolerance: float = 1e-2) -> ComposedLists:
        """Lists of all nodes."""
        asked = list_request(self.graph, restart=0.5, tolerance=tolerance, top_k=20, exclude_known=True)
        folder.mkdir(exist_ok=True)
        sources = sources_file(folder, range(self.graph.nodes))
        with in_batches_of(at_once):
            return lists_across_parts(runner or InThisProcess(), self.blocks, sources, asked, folder / "ppr")


@pytest.fixture(scope="module")
def hubs(tmp_path_factory: pytest.TempPathFactory) -> CutGraph:
    """300 nodes over 5 parts at random, the first 40 split and joined to each other too; uneven weights."""
    rng = np.random.default_rng(3)
    ends = (rng.integers(0, 300, (900, 2)) * rng.choice([1, 0.13], (900, 2))).astype(np.int64)
    pairs = np.unique(np.sort(ends, axis=1), axis=0)
    made = placed(
        pairs[:, 0].tolist(),
        pairs[:, 1].tolist(),
        home=rng.integers(0, 5, 300).tolist(),
        is_split=[node < 40 for node in range(300)],
        nodes=300,
        weight=(rng.choice([1, 3, 8], len(pairs)) * ONE // 4).tolist(),
    )
    assert made.is_split.sum() > 20
    return CutGraph(made, lay_out(made, tmp_path_factory.mktemp("hubs")))


@pytest.fixture(scope="module")
def whole_run(hubs: CutGraph, tmp_path_factory: pytest.TempPathFactory) -> tuple[ComposedLists, list[str]]:
    """Lists of all nodes, and the tasks that made them."""
    runner = InThisProcess()
    return hubs.lists(tmp_path_factory.mktemp("whole"), runner), runner.ran


def as_bytes(done: ComposedLists) -> list[bytes]:
    return [record.file("lists").read_bytes() for record in done.lists]


def test_lists_do_not_depend_on_the_tasks_that_join_them(
    hubs: CutGraph, whole_run: tuple[ComposedLists, list[str]], tmp_path: Path
) -> None:
    done, _ = whole_run
    assert len(done.lists) == 3
    assert done.rounds > 3
    for at_once, joins in ((60, 5), (4_096, 1)):
        other = hubs.lists(tmp_path / str(joins), at_once=at_once)
        assert len(other.lists) == joins
        assert table_of(other) == table_of(done)


class BackToFront(InThisProcess):
    def map_tasks(self, function: Any, tasks: Sequence[Any]) -> list[Any]:
        return super().map_tasks(function, list(reversed(tasks)))[::-1]


def test_lists_are_the_same_bytes_in_any_order_of_tasks(
    hubs: CutGraph, whole_run: tuple[ComposedLists, list[str]], tmp_path: Path
) -> None:
    done, _ = whole_run
    assert as_bytes(hubs.lists(tmp_path / "other", BackToFront())) == as_bytes(done)


def test_engines_agree(hubs: CutGraph, engine: Any, tmp_path: Path) -> None:
    here, there = (
        hubs.lists(tmp_path / name, runner, tolerance=0.3) for name, runner in (("here", None), ("there", engine))
    )
    assert here.rounds > 1
    assert as_bytes(here) == as_bytes(there)


@pytest.mark.parametrize("tasks", [7, -1])
def test_a_run_that_died_sends_only_what_is_missing(
    hubs: CutGraph, whole_run: tuple[ComposedLists, list[str]], tmp_path: Path, tasks: int
) -> None:
    done, names = whole_run
    died, after = DiesAfter(tasks % len(names)), InThisProcess()
    with pytest.raises(KilledError):
        hubs.lists(tmp_path / "run", died)
    resumed = hubs.lists(tmp_path / "run", after)
    assert died.ran + after.ran == names
    assert as_bytes(resumed) == as_bytes(done)
    (lost,) = (tmp_path / "run" / "ppr" / "_records").glob("push-002-00001.*")
    lost.unlink()
    again = InThisProcess()
    # Another attempt has other file names, so that all that read them is done again: with the same result.
    assert as_bytes(hubs.lists(tmp_path / "run", again)) == as_bytes(done)
    assert again.ran[0] == "push-002-00001"
    assert not any(name.startswith(("weigh", "push-000", "push-001")) for name in again.ran)


def test_bytes_that_travel_are_those_for_other_parts(
    hubs: CutGraph, whole_run: tuple[ComposedLists, list[str]], tmp_path: Path
) -> None:
    done, _ = whole_run
    in_one = hubs.graph.in_one_block()
    alone = CutGraph(in_one, lay_out(in_one, tmp_path / "graph")).lists(tmp_path / "alone")
    assert alone.rounds == 1
    rounds = [record for record in done.records if isinstance(record.result, RoundResult)]
    sent = sum(sum(record.result.entries_sent) for record in rounds)
    assert sent > 0
    assert 12 * sent < done.bytes_moved
    assert not any(record.result.entries_sent[part_id_of(record)] for record in rounds)  # whose ids are indices


def test_nothing_asked_and_nothing_there(hubs: CutGraph, tmp_path: Path) -> None:
    asked = list_request(hubs.graph, tolerance=0.1)
    for number, (some, sources) in enumerate([(hubs.blocks, []), ([], []), ([], [3, 7])]):
        place = tmp_path / str(number)
        place.mkdir()
        done = lists_across_parts(InThisProcess(), some, sources_file(place, sources), asked, place / "ppr")
        assert table_of(done).to_pylist() == [
            {"node_ix": node, "neighbor_ix": [], "scores": [], "error_bound": 0.0} for node in sources
        ]
        assert done.largest_missing == 0


def test_a_chain_through_all_parts(tmp_path: Path) -> None:
    # Every edge is cut: each push waits for a round, and rounds end.
    n, restart, tolerance = 12, 0.3, 1e-2
    given_graph = placed(range(n - 1), range(1, n), home=[node % 4 for node in range(n)], nodes=n)
    blocks = lay_out(given_graph, tmp_path / "graph")
    asked = list_request(given_graph, restart=restart, tolerance=tolerance, top_k=n)
    done = lists_across_parts(InThisProcess(), blocks, sources_file(tmp_path, [0, n - 1]), asked, tmp_path / "ppr")
    # Each round pushes somewhere, or is the last; the strengths of pushes, 1 at least, add up to 1 / (limit restart).
    limit = tolerance / mean_strength(walk_of(given_graph))
    assert 3 <= done.rounds <= 2 + 1 / (limit * restart)


def gowalla_in_parts(shared_data: Path, parts: int) -> GraphInParts:
    """Users dealt out at random, items split over the parts of their users."""
    import pyarrow.parquet as pq

    table = pq.read_table(shared_data / "gowalla" / "train.parquet")
    item, user = (table[name].to_numpy().astype(np.int64) for name in ("dst", "src"))
    items, users = int(item.max()) + 1, int(user.max()) + 1
    of_user = np.random.default_rng(5).integers(0, parts, users).astype(np.int32)
    stored = sparse.coo_array((np.ones(item.size), (item, of_user[user])), shape=(items, parts)).toarray()
    return GraphInParts(
        node_key=np.random.default_rng(6).integers(0, 2**64, items + users, np.uint64),
        src=user + items,
        dst=item,
        weight=np.full(item.size, ONE),
        items=items,
        home=np.concatenate([stored.argmax(axis=1).astype(np.int32), of_user]),
        is_split=np.concatenate([(stored > 0).sum(axis=1) > 1, np.zeros(users, np.bool_)]),
    )


@pytest.mark.data
@pytest.mark.slow
def test_top_100_of_gowalla_in_16_parts(shared_data: Path, tmp_path: Path) -> None:
    given_graph = gowalla_in_parts(shared_data, 16)
    blocks = lay_out(given_graph, tmp_path / "graph")
    chosen = np.linspace(given_graph.items, given_graph.nodes - 1, 200).astype(np.int64)
    restart, tolerance, k = 0.15, 1e-3, 100
    asked = list_request(given_graph, (0, given_graph.items), restart=restart, tolerance=tolerance, top_k=k)
    file = sources_file(tmp_path, chosen.tolist())
    done = lists_across_parts(InThisProcess(), blocks, file, asked, tmp_path / "ppr")

    walk = walk_of(given_graph)
    limit = tolerance / mean_strength(walk)
    precise = push_scores(walk, single_seeds(chosen), restart, limit / 100)
    for source, row in enumerate(table_of(done).to_pylist()):
        entries = slice(precise.indptr[source], precise.indptr[source + 1])
        exact = np.zeros(given_graph.nodes)
        exact[precise.nodes[entries]] = precise.scores[entries]
        rest = limit / 100 * walk.degree[: given_graph.items]  # that the oracle itself may lack
        listed, scores = np.array(row["neighbor_ix"]), np.array(row["scores"])
        assert listed.size == k
        assert (scores <= exact[listed] + rest[listed] + 1e-9).all()
        assert (exact[listed] - scores <= limit * walk.degree[listed] + 1e-9).all()
        assert (exact[listed] - scores).sum() <= done.largest_missing + 1e-6
        best = np.lexsort((np.arange(given_graph.items), -exact[: given_graph.items]))[:k]
        other = np.setxor1d(best, listed)
        gap = np.abs(exact[other] - exact[best[-1]])
        assert (gap <= row["error_bound"] + rest[other] + 1e-9).all()

    is_cut = (given_graph.home[given_graph.src] != given_graph.home[given_graph.dst]).mean()
    entries = pushed_entries(chosen.size, mean_strength(walk), tolerance, restart)
    assert entries / 2 <= done.entries <= 2 * entries
    ppr = {"restart": restart, "push_threshold": limit}
    config = CONFIG.model_validate({"input": {"path": "-"}, "ppr": ppr})
    said = list_traffic(config, given_graph.nodes, given_graph.src.size, chosen.size, 1, float(is_cut))
    assert said.moved_bytes / 2 <= done.bytes_moved <= 2 * said.moved_bytes
