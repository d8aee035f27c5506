"""Any cut with any method, mode and width of rows: the chain publishes a valid table, or says what to change.

Where rows are exchanged as float32, they are those of one block and those of dense matrices, whatever the cut.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.blocks.arrays import NodeArrays
from pipeline.embedding import row_files
from pipeline.embedding.methods import CONFIG
from pipeline.embedding.rows import Rows
from pipeline.stages import partition
from pipeline.workspace import Workspace
from schemas.tables import WEIGHT_UNIT
from tests.embedding.graphs_in_parts import parameters_of
from tests.oracles.dense_powers import dense_powers
from tests.oracles.simulator import ZERO_BELOW, Graph
from tests.stages.chains import Chain, Published, config_for, write_rows

#: As in the tests of the rounds: rows that keep this share of what was summed are as near as was promised.
CLEAR = 2.0**-4


@st.composite
def interactions(draw: st.DrawFn, *, plain: bool) -> dict[str, list[Any]]:
    """Few nodes with any edges and weights: hubs, loners, several components, loops."""
    sources, targets = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    node, other = st.integers(0, sources - 1), st.integers(0, targets - 1)
    pairs = draw(st.lists(st.tuples(node, other), min_size=1, max_size=60))
    if draw(st.booleans()):  # hubs on both sides
        pairs += [(0, there) for there in range(targets)] + [(here, 0) for here in range(sources)]
    if plain and all(here == there for here, there in pairs):
        pairs.append((0, 1))
    weights = draw(st.lists(st.sampled_from([1.0, 0.25, 3.0]), min_size=len(pairs), max_size=len(pairs)))
    return {
        "source": [here for here, _ in pairs],
        "target": [there for _, there in pairs],
        "weight": weights,
    }


@st.composite
def cuts(draw: st.DrawFn, *, plain: bool) -> dict[str, Any]:
    """A [partition] section; bounds on leaves are no smaller than any node's edges."""
    made: dict[str, Any] = {"method": draw(st.sampled_from(["auto", "multilevel", "metis", "ldg", "hash"]))}
    made |= draw(st.sampled_from([{"parts": 2}, {"parts": 5}, {"parts": 40}, {"max_edges": 41}, {"max_edges": 60}]))
    if plain and draw(st.booleans()):
        made["hub_degree"] = draw(st.integers(1, 12))
    return made


@st.composite
def embeddings(draw: st.DrawFn, *, plain: bool) -> dict[str, Any]:
    """An [embedding] section of any form, mode and width."""
    is_exact = draw(st.booleans())
    boundary = "exchange" if is_exact else draw(st.sampled_from(["exchange", "halo", "border", "quotient", "drop"]))
    made: dict[str, Any] = {
        "form": "classic" if plain or draw(st.integers(0, 3)) == 0 else "two_tower",
        "dim": draw(st.sampled_from([16, 24, 40] if is_exact else [1, 16, 40])),  # few columns cancel too often
        "boundary": boundary,
        "boundary_dtype": "float32" if is_exact else draw(st.sampled_from(["float32", "int8", "float16"])),
    }
    if draw(st.booleans()):
        made["shards"] = draw(st.integers(1, 4))
    if boundary == "border":
        made["border_join"] = draw(st.sampled_from(["concatenate", "add"]))
    if made["form"] == "classic":
        made["iteration_weights"] = draw(st.sampled_from([[1.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 2.0]]))
        made["transition"] = draw(st.sampled_from(["random_walk", "symmetric"]))
        made["normalize_powers"] = draw(st.booleans())
        made["standardize_columns"] = draw(st.integers(0, 4)) == 0
    return made


def rows_of(workspace: Workspace, dim: int) -> Rows:
    rows = Rows.zeros(workspace.manifest("node_index").figures["nodes"], dim)
    for file in workspace.files("part_rows"):
        row_files.RowReader(file).fill(0, rows)
    return rows


def graph_of(workspace: Workspace, *, plain: bool) -> Graph:
    """The graph as the oracles want it, from the tables of the index."""
    arrays, figures = NodeArrays(workspace.files("node_arrays")), workspace.manifest("node_index").figures
    edges = [pq.read_table(file, partitioning=None) for file in workspace.files("indexed_edges")]
    src, dst, weight = (
        np.concatenate([table[name].to_numpy() for table in edges]) for name in ("src_ix", "dst_ix", "weight")
    )
    first, stop = (0, 0) if plain else figures["types"]["item"]
    node_ix = np.arange(arrays.nodes)
    is_target = (node_ix >= first) & (node_ix < stop)
    return Graph(arrays.all("node_key").view(np.uint64), src, dst, weight * WEIGHT_UNIT, is_target)


def check_table(made: Published, rows: dict[str, list[Any]], *, plain: bool) -> None:
    """Every node once, all finite, and the contract's own columns right."""
    ids = made.ids
    assert len(set(ids)) == len(ids)
    types = ("person", "person") if plain else ("user", "item")
    wanted = {
        end
        for pair in zip(rows["source"], rows["target"], strict=True)
        if not plain or pair[0] != pair[1]
        for end in zip(types, pair, strict=True)
    }
    assert set(ids) == wanted
    assert np.isfinite(made.rows).all()
    np.testing.assert_allclose(made.table["norm"].to_numpy(), np.linalg.norm(made.rows, axis=1), rtol=1e-5, atol=1e-30)
    assert min(made.table["degree"].to_pylist()) > 0


def check_any_combination(data: st.DataObject) -> None:
    plain = data.draw(st.booleans())
    rows = data.draw(interactions(plain=plain))
    cut, embedding = data.draw(cuts(plain=plain)), data.draw(embeddings(plain=plain))
    with tempfile.TemporaryDirectory() as folder:
        path = write_rows(Path(folder) / "in.parquet", rows)
        config = config_for(path, plain=plain, input={"weight": "weight", "max_rejected_share": 1.0})
        gates = {"max_zero_share": 1.0}  # rows of one column cancel
        config = {**config, "partition": cut, "embedding": embedding, "publish": {"gates": gates}}
        chain = Chain(Path(folder) / "chain")
        with pytest.MonkeyPatch.context() as patch:
            if data.draw(st.booleans(), label="is cut by many tasks"):  # which a config can't ask of so small a graph
                patch.setattr(partition, "cut_bytes", lambda *_: 2**60)
            made = chain.publish(config)
        check_table(made, rows, plain=plain)
        if embedding["boundary"] != "exchange" or embedding["boundary_dtype"] != "float32":
            return
        got = rows_of(chain.workspace(config), embedding["dim"])
        one = {**config, "partition": {"parts": 1}}
        whole = chain.publish(one)
        assert whole.ids == made.ids
        want = rows_of(chain.workspace(one), embedding["dim"])
        parameters = parameters_of(embedding["form"], CONFIG.model_validate(config).embedding)
        dense = dense_powers(graph_of(chain.workspace(config), plain=plain), parameters)
    off = np.linalg.norm(got.values.astype(np.float64) - want.values, axis=1)
    norm = np.linalg.norm(want.values.astype(np.float64), axis=1)
    if dense.clearness.min() > 4 * ZERO_BELOW:
        for some in (got, want):
            assert (np.linalg.norm(some.values - dense.rows, axis=1) <= 1.001 * dense.error + 1e-30).all()
    if dense.clearness.min() >= CLEAR:
        assert (off <= 1e-5 * norm + 2.0**-22 * want.noise_scale + 1e-30).all()
        np.testing.assert_allclose(got.noise_scale, want.noise_scale, rtol=1e-6)


QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=15, suppress_health_check=QUIET)
@given(st.data())
def test_any_combination(data: st.DataObject) -> None:
    check_any_combination(data)


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=QUIET)
@given(st.data())
def test_many_combinations(data: st.DataObject) -> None:
    check_any_combination(data)
