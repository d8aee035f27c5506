import networkx as nx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.ppr_part_passes import ArrivedMass, HeldMass, PartScratch, PartWalk
from pipeline.kernels.ppr_parts import push_part, settle_part, weight_of_rows
from pipeline.kernels.ppr_push import push_scores
from pipeline.kernels.ranking import merge_lists
from pipeline.kernels.transition import Transition, single_seeds, transition
from tests.oracles.pagerank import looped_graphs, transition_of

NOTHING = HeldMass(np.zeros((0, 0, 2), np.int64), np.empty(0, np.int32), np.empty(0), np.empty(0))


def only_part(graph: Transition) -> PartWalk:
    """The whole graph as a part that shares no row."""
    nobody = np.empty(0, np.int32)
    away = np.full(graph.n, -1, np.int32)
    weight = weight_of_rows(graph.indptr, graph.weights)
    copies = np.zeros(graph.n + 1, np.int64)
    return PartWalk(graph.indptr, graph.indices, graph.weights, weight, away, away, copies, nobody, nobody)


def arrivals(rows: np.ndarray, mass: np.ndarray) -> ArrivedMass:
    """One arrival a source."""
    ends = np.arange(rows.size + 1)
    return ArrivedMass(np.stack([ends[:-1], ends[1:]], axis=1)[:, None, :].copy(), rows.astype(np.int32), mass)


def nothing_held(sources: int) -> HeldMass:
    return HeldMass(np.zeros((sources, 0, 2), np.int64), NOTHING.row, NOTHING.reserve, NOTHING.waiting)


@given(looped_graphs(), st.sampled_from([0.05, 0.15, 0.9]), st.sampled_from([0.1, 1e-3, 1e-5]), st.data())
def test_a_part_that_is_the_whole_graph_is_forward_push(
    graph: nx.Graph, restart: float, tolerance: float, data: st.DataObject
) -> None:
    matrix = transition_of(graph)
    with_edges = np.flatnonzero(matrix.degree > 0)
    if not with_edges.size:
        return  # nodes without edges are in no part
    sources = np.array(data.draw(st.lists(st.sampled_from(with_edges.tolist()), max_size=5)), np.int64)
    scratch = PartScratch.of(matrix.n)
    done = push_part(
        only_part(matrix),
        restart,
        tolerance,
        nothing_held(sources.size),
        arrivals(sources, np.ones(sources.size)),
        scratch,
    )
    assert done.sent.mass.size == 0
    bounds = np.stack([done.held.indptr[:-1], done.held.indptr[1:]], axis=1)[:, None, :].copy()
    held = HeldMass(bounds, done.held.row, done.held.reserve, done.held.waiting)
    indptr, rows, scores, missing = settle_part(restart, held, scratch)
    want = push_scores(matrix, single_seeds(sources), restart, tolerance)
    np.testing.assert_array_equal(indptr, want.indptr)
    np.testing.assert_array_equal(rows, want.nodes)
    np.testing.assert_array_equal(scores, want.scores)
    np.testing.assert_array_equal(missing, want.missing)
    for dense in (scratch.reserve, scratch.waiting, scratch.flow, scratch.marks):
        assert not dense.any()


def test_results_larger_than_the_first_guess_are_whole() -> None:
    # Hubs of 5,000 leaves each, from small inputs; the leaves of the second are at home elsewhere.
    leaves = 5_000
    graph = nx.star_graph(leaves)
    nx.set_edge_attributes(graph, 1.0, "weight")
    matrix = transition_of(graph)
    whole = only_part(matrix)
    is_away = np.arange(matrix.n) > leaves // 2
    part = PartWalk(
        np.append(0, np.full(matrix.n, leaves)),
        matrix.indices[:leaves].copy(),
        None,
        np.where(is_away, np.inf, whole.strength),
        np.where(is_away, 1, -1).astype(np.int32),
        np.where(is_away, np.arange(matrix.n) - leaves // 2 - 1, -1).astype(np.int32),
        whole.copy_indptr,
        whole.copy_part,
        whole.copy_position,
    )
    sources = 40
    seeds = arrivals(np.zeros(sources, np.int64), np.ones(sources))
    done = push_part(part, 0.2, 1.9e-4, nothing_held(sources), seeds, PartScratch.of(matrix.n))
    np.testing.assert_array_equal(np.diff(done.held.indptr), 1 + leaves // 2)
    np.testing.assert_array_equal(np.diff(done.sent.indptr), leaves - leaves // 2)
    for source in range(sources):
        sent = slice(done.sent.indptr[source], done.sent.indptr[source + 1])
        np.testing.assert_array_equal(np.sort(done.sent.position[sent]), np.arange(leaves - leaves // 2))
        np.testing.assert_array_equal(done.sent.mass[sent], np.float64(0.8) / leaves)
        held = slice(done.held.indptr[source], done.held.indptr[source + 1])
        assert done.held.reserve[held].sum() == np.float64(0.2)
    assert done.entries == sources * leaves


def test_a_row_pushed_elsewhere_sends_on_along_its_edges_here() -> None:
    # Row 1 is at home elsewhere and has two edges here: to row 0, at home, and to row 2, at home in part 4.
    part = PartWalk(
        np.array([0, 1, 3, 4]),
        np.array([1, 0, 2, 1], np.int32),
        np.array([0.5, 0.5, 2.0, 2.0], np.float32),
        np.array([0.5, np.inf, np.inf]),
        np.array([-1, 3, 4], np.int32),
        np.array([-1, 7, 9], np.int32),
        np.zeros(4, np.int64),
        np.empty(0, np.int32),
        np.empty(0, np.int32),
    )
    done = push_part(part, 0.2, 1.0, nothing_held(1), arrivals(np.array([~1]), np.array([0.1])), PartScratch.of(3))
    assert done.held.row.tolist() == [0]
    assert done.held.waiting.tolist() == [0.05]
    assert (done.sent.part_index.tolist(), done.sent.position.tolist(), done.sent.mass.tolist()) == ([4], [9], [0.2])


def test_of_several_entries_of_a_row_the_last_counts_and_quiet_sources_stay_as_they_are() -> None:
    graph = transition(np.array([0, 1, 2]), np.array([1, 0], np.int32))
    bounds = np.array([[[0, 1], [2, 3]], [[1, 2], [3, 3]]])
    held = HeldMass(bounds, np.zeros(3, np.int32), np.array([0.1, 0.2, 0.3]), np.array([0.4, 0.5, 0.6]))
    indptr, rows, scores, missing = settle_part(0.5, held, PartScratch.of(2))
    assert (indptr.tolist(), rows.tolist()) == ([0, 1, 2], [0, 0])
    np.testing.assert_allclose(scores, [0.3 + 0.3, 0.2 + 0.25], rtol=1e-15)
    np.testing.assert_allclose(missing, [0.3, 0.25], rtol=1e-15)
    # Mass arrives for the first source alone; the second has more than its limit, and nobody asks it to push.
    arrived = ArrivedMass(np.array([[[0, 1]], [[1, 1]]]), np.zeros(1, np.int32), np.array([0.1]))
    done = push_part(only_part(graph), 0.5, 1.0, held, arrived, PartScratch.of(2))
    assert done.held.indptr.tolist() == [0, 1, 1]
    assert (done.held.reserve.tolist(), done.held.waiting.tolist()) == ([0.3], [0.7])


@given(st.data())
def test_merged_lists_are_the_best_of_all(data: st.DataObject) -> None:
    lists = data.draw(st.integers(0, 4))
    sources = data.draw(st.integers(0, 3))
    k = data.draw(st.integers(1, 6))
    bounds = np.zeros((sources, lists, 2), np.int64)
    entries: list[tuple[int, np.float32]] = []
    want = []
    for source in range(sources):
        nodes = data.draw(st.lists(st.integers(0, 2**40), unique=True, max_size=12))
        found = [
            (
                node,
                np.float32(data.draw(st.sampled_from([0.5, 0.25, 1e-30]))),
                data.draw(st.integers(0, max(lists - 1, 0))),
            )
            for node in nodes
            if lists
        ]
        for at in range(lists):
            some = sorted(((node, score) for node, score, where in found if where == at), key=lambda e: (-e[1], e[0]))
            bounds[source, at] = len(entries), len(entries) + len(some)
            entries += some
        want.append(sorted(((node, score) for node, score, _ in found), key=lambda e: (-e[1], e[0]))[:k])
    counts, nodes_out, scores_out = merge_lists(
        bounds, np.array([n for n, _ in entries], np.int64), np.array([s for _, s in entries], np.float32), k
    )
    assert counts.tolist() == [len(some) for some in want]
    assert nodes_out.tolist() == [node for some in want for node, _ in some]
    assert scores_out.tolist() == [score for some in want for _, score in some]


def test_weights_are_added_as_float64() -> None:
    indptr = np.array([0, 0, 3, 4])
    weights = np.array([2.0**24, 1.0, 1.0, 0.5], np.float32)
    assert weight_of_rows(indptr, weights).tolist() == [0.0, 2.0**24 + 2, 0.5]
    assert weight_of_rows(indptr, None).tolist() == [0.0, 3.0, 1.0]
