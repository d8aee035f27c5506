import tomllib
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from graphquilt import InputSettings, from_networkx, from_scipy
from pipeline.config.sections import InputConfig

Rows = list[tuple[Any, Any, float]]


def rows_of(settings: InputSettings) -> Rows:
    table = pq.read_table(settings["path"])
    return sorted(zip(*(table[name].to_pylist() for name in ("source", "target", "weight")), strict=True), key=repr)


def test_the_settings_are_a_valid_input_section(tmp_path: Path) -> None:
    settings = from_networkx(nx.path_graph(3), tmp_path / "a b.parquet")
    assert InputConfig.model_validate(settings).is_plain
    assert tomllib.loads(settings.toml) == {"input": dict(settings)}


def test_edges_keep_weights_and_parallel_edges_stay_apart(tmp_path: Path) -> None:
    graph = nx.MultiDiGraph([("a", "b", {"weight": 2}), ("a", "b", {}), ("b", "a", {"weight": 0.5})])
    assert rows_of(from_networkx(graph, tmp_path / "e.parquet")) == [
        ("a", "b", 1.0),
        ("a", "b", 2.0),
        ("b", "a", 0.5),
    ]


def test_a_bipartite_graph_points_from_its_first_side(tmp_path: Path) -> None:
    graph = nx.Graph()
    graph.add_nodes_from(["i1", "i2"], bipartite=1)
    graph.add_nodes_from(["u1", "u2"], bipartite=0)
    graph.add_edges_from([("i1", "u1"), ("u2", "i1"), ("i2", "u2")])
    settings = from_networkx(graph, tmp_path / "b.parquet", types=("user", "item"))
    assert rows_of(settings) == [("u1", "i1", 1.0), ("u2", "i1", 1.0), ("u2", "i2", 1.0)]
    assert (settings["source_type"], settings["target_type"]) == ("user", "item")
    graph.add_edge("u1", "u2")
    with pytest.raises(ValueError, match=r"attribute 'bipartite' is \[0, 0\]"):
        from_networkx(graph, tmp_path / "c.parquet", types=("user", "item"))


def test_ids_keep_their_type_where_one_fits_all(tmp_path: Path) -> None:
    path = tmp_path / "i.parquet"
    assert rows_of(from_networkx(nx.Graph([(1, np.int32(2))]), path)) == [(1, 2, 1.0)]
    assert rows_of(from_networkx(nx.Graph([(1, 2**64)]), path)) == [("1", str(2**64), 1.0)]
    assert rows_of(from_networkx(nx.Graph([(1, "a")]), path)) == [("1", "a", 1.0)]
    with pytest.raises(ValueError, match="1 nodes are there as an integer and as a string"):
        from_networkx(nx.Graph([(1, "1")]), path)
    with pytest.raises(TypeError, match=r"nodes are of types .*tuple"):
        from_networkx(nx.grid_2d_graph(2, 2), path)
    with pytest.raises(TypeError, match="bool"):
        from_networkx(nx.Graph([(True, 2)]), path)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_weight_that_is_not_positive_is_refused_and_no_file_is_left(tmp_path: Path, weight: float) -> None:
    graph = nx.Graph([(1, 2), (2, 3, {"weight": weight})])
    with pytest.raises(ValueError, match="1 of 2 weights are not positive numbers"):
        from_networkx(graph, tmp_path / "w.parquet")
    if weight != 0:
        with pytest.raises(ValueError, match="1 of 2 weights are not positive numbers"):
            from_scipy(sparse.coo_array(([1.0, weight], ([0, 1], [0, 1]))), tmp_path / "w.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_weight_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="edge attribute 'weight' holds values that are no numbers"):
        from_networkx(nx.Graph([(1, 2, {"weight": "heavy"})]), tmp_path / "w.parquet")


def test_no_edges_and_patterns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no edges"):
        from_networkx(nx.empty_graph(3), tmp_path / "e.parquet")
    with pytest.raises(ValueError, match="takes for a pattern"):
        from_networkx(nx.path_graph(3), tmp_path / "{date}.parquet")


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(1, 9)),
        min_size=1,
        unique_by=lambda t: t[:2],
    ),
    st.sampled_from(["coo", "csr", "csc", "lil", "dok", "bsr"]),
    st.booleans(),
)
def test_every_sparse_format_gives_its_entries(
    tmp_path_factory: pytest.TempPathFactory,
    entries: list[tuple[int, int, int]],
    layout: str,
    as_matrix: bool,
) -> None:
    row, col, value = zip(*entries, strict=True)
    make = sparse.coo_matrix if as_matrix else sparse.coo_array
    matrix = make((np.array(value, np.float32), (row, col)), shape=(5, 7)).asformat(layout)
    got = rows_of(from_scipy(matrix, tmp_path_factory.mktemp("m") / "m.parquet"))
    assert got == sorted(((r, c, float(v)) for r, c, v in entries), key=repr)


def test_a_matrix_takes_upstreams_ids(tmp_path: Path) -> None:
    matrix = sparse.csr_array([[0, 2], [3, 0]])
    settings = from_scipy(matrix, tmp_path / "m.parquet", row_ids=["u", "v"], column_ids=np.array([7, 9]))
    assert rows_of(settings) == [("u", 9, 2.0), ("v", 7, 3.0)]
    with pytest.raises(ValueError, match="row_ids has 3 ids for 2"):
        from_scipy(matrix, tmp_path / "m.parquet", row_ids=["u", "v", "w"])
    with pytest.raises(ValueError, match="1 ids that stand there twice"):
        from_scipy(matrix, tmp_path / "m.parquet", row_ids=["u", "u"])


def test_an_adjacency_counts_a_symmetric_edge_once(tmp_path: Path) -> None:
    adjacency = sparse.csr_array([[5, 2, 0], [2, 0, 0], [0, 0, 0]])
    settings = from_scipy(adjacency, tmp_path / "a.parquet", types=("node", "node"))
    assert rows_of(settings) == [(0, 0, 5.0), (0, 1, 2.0)]
    assert settings["self_loops"] == "keep"
    InputConfig.model_validate(settings)
    directed = sparse.csr_array([[0, 2, 0], [1, 0, 0], [0, 0, 0]])
    assert rows_of(from_scipy(directed, tmp_path / "a.parquet", types=("n", "n"))) == [
        (0, 1, 2.0),
        (1, 0, 1.0),
    ]
    with pytest.raises(ValueError, match="square"):
        from_scipy(sparse.csr_array([[1, 2]]), tmp_path / "a.parquet", types=("n", "n"))


def test_stored_zeros_are_no_interactions(tmp_path: Path) -> None:
    matrix = sparse.coo_array(([0.0, 1.0], ([0, 1], [1, 0])), shape=(2, 2))
    assert rows_of(from_scipy(matrix, tmp_path / "m.parquet")) == [(1, 0, 1.0)]


def test_a_dense_matrix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="matrix is ndarray; give a scipy sparse"):
        from_scipy(np.eye(2), tmp_path / "m.parquet")
