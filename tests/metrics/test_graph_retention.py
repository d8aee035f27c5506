"""What is left of a graph, against sets of Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import codec
from pipeline.kernels.node_keys import node_keys
from pipeline.metrics import graph_retention
from pipeline.metrics.graph_retention import GraphComparison, NightGraph, measure_graph
from pipeline.metrics.scored_tables import VectorFiles, read_sampled_table, read_scored_table

Edges = dict[tuple[int, int], tuple[int, int | None, int]]  # weight, last event, events


@st.composite
def graphs(draw: st.DrawFn, dated: bool) -> Edges:
    pairs = draw(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30))
    times = st.integers(0, 5) if dated else st.none()
    return {pair: (draw(st.integers(1, 4)) * 2**32, draw(times), draw(st.integers(1, 3))) for pair in pairs}


def written(folder: Path, name: str, edges: Edges, types: tuple[str, str]) -> NightGraph:
    pairs = list(edges)
    table = pa.table(
        {
            "src_id": pa.array([a for a, _ in pairs], pa.int64()),
            "dst_id": pa.array([b for _, b in pairs], pa.int64()),
            "weight": pa.array([weight for weight, _, _ in edges.values()], pa.int64()),
            "last_ts": pa.array([last for _, last, _ in edges.values()], pa.int64()),
            "events": pa.array([events for _, _, events in edges.values()], pa.int64()),
        }
    )
    nodes = sorted({(kind, one) for pair in pairs for kind, one in zip(types, pair, strict=True)})
    keys = [node_keys(kind, [str(one).encode()])[0] for kind, one in nodes]
    index = pa.table(
        {
            "node_id": pa.array([one for _, one in nodes], pa.int64()),
            "node_type": [kind for kind, _ in nodes],
            "node_key": pa.array(np.array(keys, np.uint64).view(np.int64)),
        }
    )
    paths = {"edges": folder / f"{name}-edges.parquet", "node_index": folder / f"{name}-index.parquet"}
    for key, some in (("edges", table), ("node_index", index)):
        pq.write_table(some, paths[key])
    return NightGraph((paths["edges"],), (paths["node_index"],))


@pytest.mark.parametrize("is_plain", [False, True])
@given(data=st.data(), dated=st.booleans(), since=st.integers(0, 5))
def test_counts_are_those_of_sets(
    is_plain: bool, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, dated: bool, since: int
) -> None:
    old, new = data.draw(graphs(dated)), data.draw(graphs(dated))
    types = ("node", "node") if is_plain else ("user", "item")
    folder = tmp_path_factory.mktemp("kept")
    half_life = data.draw(st.sampled_from([None, 2])) if dated else None
    nights = (written(folder, name, edges, types) for name, edges in (("old", old), ("new", new)))
    got = codec.to_values(measure_graph(GraphComparison(*nights, *types, since if dated else None, half_life, seed=0)))

    due = {pair: of for pair, of in old.items() if not dated or of[1] >= since}  # type: ignore[operator]
    assert got["pairs"] == {"kept": len(due.keys() & new.keys()), "of": len(due)}
    ends = lambda edges: {(kind, one) for pair in edges for kind, one in zip(types, pair, strict=True)}  # noqa: E731
    for kind in set(types):
        wanted, here = ({one for of, one in ends(some) if of == kind} for some in (due, new))
        assert got["nodes"][kind] == {"kept": len(wanted & here), "of": len(wanted)}
    # Without a new event: the last one is no later than it was. Where there is a window, events leave it.
    both = [(due[pair], new[pair]) for pair in due.keys() & new.keys()]
    common = [(one, other) for one, other in both if not dated or other[2] >= one[2]]
    still = [(a, b) for (a, at, _), (b, then, _) in common if (then or 0) <= (at or 0)]
    same_time = [(a, b) for (a, at, _), (b, then, _) in common if then == at]
    factor = np.median([b / a for a, b in still]) if still else 1.0
    kept = sum(abs(b - a * factor) <= 0.01 * a * factor + 2 for a, b in same_time)
    assert got["weights"] == {"kept": kept, "of": len(still)}
    later = sum(b[1] > a[1] if dated else b[2] > a[2] for a, b in both)  # type: ignore[operator]
    assert got["renewed"] == {"kept": later, "of": len(both)}
    nodes = {kind: {one for of, one in ends(old) if of == kind} for kind in types}
    shares = {kind: got["nodes"][kind]["of"] / len(of) for kind, of in nodes.items()}
    assert got["due"] == ({"pairs": len(due), "node_shares": shares} if dated else None)
    came = [new[pair] for pair in new.keys() - due.keys()]
    first, second = (
        [weight / events * (2.0 ** (-at / half_life) if half_life else 1.0) for weight, at, events in some]
        for some in (came, [b for _, b in both])
    )
    assert got["new_weights"]["of"] == min(len(first), len(second))
    if first and second:
        medians = [np.exp2(np.median(np.log2(some))) for some in (first, second)]
        assert got["new_weights"]["ratio"] == pytest.approx(medians[0] / medians[1])


def test_a_sample_is_of_the_same_nodes_on_both_nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    old = {(int(a), int(b)): (2**32, None, 1) for a, b in rng.integers(0, 3_000, (20_000, 2))}
    new = {pair: of for number, (pair, of) in enumerate(old.items()) if number % 10}
    types = "user", "item"
    nights = [written(tmp_path, name, of, types) for name, of in (("old", old), ("new", new))]
    monkeypatch.setattr(graph_retention, "SAMPLE", 300)
    got = measure_graph(GraphComparison(*nights, *types, since_us=None, half_life_us=None, seed=0)).pairs
    assert 1_500 < got.of < 2_500  # a tenth of the sources
    share = got.kept / got.of
    # Pairs are left out whatever their source: binomial, by five deviations.
    assert abs(share - 0.9) < 5 * np.sqrt(0.9 * 0.1 / got.of)


@pytest.mark.parametrize("size", [7, 10_000])
def test_sampled_rows_are_rows_of_the_table(tmp_path: Path, size: int) -> None:
    rng = np.random.default_rng(1)
    kinds = np.array(["item"] * 40 + ["user"] * 60)
    rows = rng.standard_normal((100, 3)).astype(np.float32)
    files = []
    for number, part in enumerate((slice(0, 55), slice(55, 100))):
        table = pa.table(
            {
                "node_type": kinds[part].tolist(),
                "node_id": np.concatenate([np.arange(40), np.arange(60)])[part],
                "embedding": pa.FixedSizeListArray.from_arrays(pa.array(rows[part].ravel()), 3),
                "degree": np.arange(100)[part],
            }
        )
        files.append(tmp_path / f"part-{number}.parquet")
        pq.write_table(table, files[-1], row_group_size=16)
    vectors = VectorFiles(tuple(files), "user", "item", {"retrieval": "dot"})
    whole, some = read_scored_table(vectors), read_sampled_table(vectors, size, 3)
    for kind in ("item", "user"):
        assert len(some.ids[kind]) == min(size, len(whole.ids[kind]))
        place = whole.find(some.ids[kind], kind)
        first, stop = some.table.ranges[kind]
        np.testing.assert_array_equal(some.table.rows[first:stop], whole.table.rows[place])
        np.testing.assert_array_equal(some.table.node_key[first:stop], whole.table.node_key[place])
        np.testing.assert_array_equal(some.table.degree[first:stop], whole.table.degree[place])
