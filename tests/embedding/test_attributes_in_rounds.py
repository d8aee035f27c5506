"""Start rows with attributes, and rows' own influence: against the simulator and dense powers, for any tree."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import codec, storage
from pipeline.blocks.arrays import Block, Features
from pipeline.config.embedding import EmbeddingConfig
from pipeline.embedding.attribute_rows import rows_of_attributes
from pipeline.embedding.fastrp import Classic, TwoTower
from pipeline.embedding.low_pass import LowPass
from pipeline.embedding.methods import EMBEDDING
from pipeline.embedding.rounds import BlockFiles, embed_parts
from pipeline.embedding.rows import ColumnSums, Rows
from pipeline.embedding.settings import GraphSummary, Settings
from pipeline.embedding.start_rows import start_rows
from pipeline.ingest.attributes.numbering import TakePayload, take_features
from pipeline.kernels.elementary import power_or_zero
from pipeline.tasks import Task, run_task
from schemas.tables import NODE_FEATURES
from tests.embedding.graphs_in_parts import (
    GraphInParts,
    InThisProcess,
    embeddings,
    graphs_in_parts,
    lay_out,
    parameters_of,
    rows_of,
    settings_of,
)
from tests.embedding.test_shards import graph
from tests.oracles.dense_powers import dense_powers
from tests.oracles.simulator import ZERO_BELOW, Graph, Parameters, rows_of_features, simulate

Known = list[dict[int, float]]


def write_features(known: Known, folder: Path) -> tuple[Path, ...]:
    """The table of features in two files, cut anywhere between nodes."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, nodes in enumerate(np.array_split(np.arange(len(known)), 2)):
        entries = [(v, key, known[v][key]) for v in nodes.tolist() for key in sorted(known[v])]
        columns = [
            pa.array([v for v, *_ in entries], pa.int64()),
            pa.array(np.array([key for _, key, _ in entries], np.uint64).view(np.int64)),
            pa.array([value for *_, value in entries], pa.float32()),
        ]
        file = folder / f"features-{number}.arrow"
        storage.write_arrow(file, pa.Table.from_arrays(columns, schema=NODE_FEATURES.schema))
        files.append(file)
    return tuple(files)


def blocks_of(made: GraphInParts, known: Known, folder: Path) -> list[BlockFiles]:
    features = write_features(known, folder)
    found = []
    for block in lay_out(made, folder):
        payload = TakePayload(block.nodes, features)
        record = run_task(take_features, Task(f"features-{block.part_id}", folder / "blocks", payload))
        found.append(replace(block, features=record.file("features")))
    return found


def embedded(made: GraphInParts, known: Known, embedding: EmbeddingConfig, folder: Path) -> Rows:
    done = embed_parts(InThisProcess(), blocks_of(made, known, folder), settings_of(made, embedding), folder / "rows")
    return rows_of(done, made, embedding.dim)


def oracle_of(made: GraphInParts, known: Known, embedding: EmbeddingConfig) -> tuple[Graph, Parameters]:
    parameters = replace(
        parameters_of(made.form, embedding),
        self_influence=embedding.self_influence,
        attribute_share=embedding.attribute_share,
    )
    return replace(made.graph, features=known), parameters


@st.composite
def features_of_nodes(draw: st.DrawFn, nodes: int) -> Known:
    """Nothing, one or several features a node, from few keys, so that nodes share some."""
    keys = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=6, unique=True))
    values = st.sampled_from([1.0, 0.5, -0.25, 0.70703125, 2.0**-12])
    of_one = st.dictionaries(st.sampled_from(keys), values, max_size=4)
    return draw(st.lists(of_one, min_size=nodes, max_size=nodes))


@settings(max_examples=50)
@given(st.data())
def test_any_tree_any_features(data: st.DataObject) -> None:
    made = data.draw(graphs_in_parts())
    known = data.draw(features_of_nodes(made.nodes))
    embedding = data.draw(embeddings(made.form)).model_copy(
        update={
            "attribute_share": data.draw(st.sampled_from([0.0, 0.3, 0.5, 1.0])),
            "self_influence": data.draw(st.sampled_from([0.0, 1.0, 0.37])),
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        got = embedded(made, known, embedding, Path(folder))
    graph, parameters = oracle_of(made, known, embedding)
    want, noise_scale, _ = simulate(graph, made.home, made.is_split, parameters)
    dense = dense_powers(graph, parameters)
    if np.abs(want).max(initial=0) >= 2.0**64 or dense.clearness.min() <= 4 * ZERO_BELOW:
        return  # beyond float32, or some zero may have gone either way
    is_narrow = embedding.boundary_dtype != "float32"
    off = np.linalg.norm(got.values - want, axis=1)
    np.testing.assert_array_less(off, (1 + is_narrow) * dense.error + 1e-30)
    np.testing.assert_array_less(np.linalg.norm(got.values - dense.rows, axis=1), dense.error * 1.001 + 1e-30)
    np.testing.assert_array_less(
        np.abs(got.noise_scale - noise_scale),
        (1e-6 + is_narrow * 2.0**-8) * noise_scale + (1 + is_narrow) * dense.noise_scale_error + 1e-30,
    )


def random_features(nodes: int, seed: int = 5) -> Known:
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 2**64, 30, np.uint64).tolist()
    return [
        {keys[k]: float(np.float32(rng.normal() / 2)) for k in rng.integers(0, 30, rng.integers(0, 5))}
        for _ in range(nodes)
    ]


CASES: list[dict[str, Any]] = [
    {"dim": 100, "self_influence": 0.5, "degree_power": -0.5},
    {"dim": 40, "self_influence": 2.0, "normalize_powers": False, "projection": "normal"},
    {"dim": 40, "self_influence": 1.0, "standardize_columns": True, "boundary_dtype": "int8"},
]


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("items", [0, 20], ids=["plain", "two_types"])
@pytest.mark.parametrize("case", CASES)
def test_any_number_of_shards_gives_the_same_bits(case: dict[str, Any], items: int, parts: int, tmp_path: Path) -> None:
    made = graph(items, parts)
    made = made if parts > 1 else made.in_one_block()
    known = random_features(made.nodes)
    embedding = EMBEDDING.model_validate({"iteration_weights": [1.0, 0.0, 2.0], "attribute_share": 0.4, **case})
    results = []
    for shards in (1, 3):
        asked = embedding.model_copy(update={"shards": shards})
        done = embed_parts(
            InThisProcess(),
            blocks_of(made, known, tmp_path / str(shards)),
            settings_of(made, asked),
            tmp_path / str(shards) / "rows",
        )
        results.append((rows_of(done, made, embedding.dim), done.sums))
    (alone, alone_sums), (shared, shared_sums) = results
    assert np.abs(alone.values).max() > 0
    assert shared.values.tobytes() == alone.values.tobytes()
    assert shared.noise_scale.tobytes() == alone.noise_scale.tobytes()
    assert (alone_sums is None) == (shared_sums is None)
    if alone_sums and shared_sums:
        assert codec.to_values(alone_sums) == codec.to_values(shared_sums)


def test_start_rows_and_own_influence_have_the_same_bits_in_every_block(tmp_path: Path) -> None:
    many = graph(0, 4)
    made = many.in_one_block()
    known = random_features(made.nodes)
    embedding = EMBEDDING(dim=40, self_influence=0.7, degree_power=-0.5)
    asked = settings_of(made, embedding)
    (one,) = [read(block) for block in blocks_of(made, known, tmp_path / "one")]
    whole, total = start_of(one, asked), Classic().initial_total(one, np.arange(one.node_ix.size), asked)
    blocks = [read(block) for block in blocks_of(many, known, tmp_path / "many")]
    assert len(blocks) > 1
    for block in blocks:
        here = np.searchsorted(one.node_ix, block.node_ix)
        assert start_of(block, asked).tobytes() == whole[here].tobytes()
        own = Classic().initial_total(block, np.arange(block.node_ix.size), asked)
        assert own.values.tobytes() == total.values[here].tobytes()
        assert own.noise_scale.tobytes() == total.noise_scale[here].tobytes()
        some = slice(2, 9)
        assert (
            start_rows(block, some, None, asked).tobytes()
            == start_rows(block, slice(None), None, asked)[some].tobytes()
        )
    columns = replace(asked, columns=(16, 40))
    np.testing.assert_array_equal(start_of(one, columns), whole[:, 16:])


def test_low_pass_starts_where_two_tower_does(tmp_path: Path) -> None:
    made = graph(20, 1).in_one_block()
    (block,) = [read(files) for files in blocks_of(made, random_features(made.nodes), tmp_path)]
    asked = settings_of(made, EMBEDDING(dim=16))
    first, stop = LowPass().exchanged_range(block, asked)
    rows = TwoTower().start(block, asked)
    own = start_rows(replace(block, features=None), slice(first, stop), None, asked)
    assert (rows != own).any(axis=1).sum() > 10
    assert LowPass().start(block, asked).tobytes() == rows.tobytes()
    kept = LowPass().initial_carry(block, np.arange(first, stop), asked).values
    assert any(kept[:, 16 * k : 16 * k + 16].tobytes() == rows.tobytes() for k in range(3))  # T_0


def start_of(block: Block, asked: Settings) -> np.ndarray:
    scale = power_or_zero(block.strength, asked.embedding.degree_power)
    return start_rows(block, slice(None), scale, asked)


def read(files: BlockFiles) -> Block:
    return Block.read(files.part_id, files.nodes, files.edges, files.routes, files.features)


def test_without_features_rows_are_as_they_were(tmp_path: Path) -> None:
    made = graph(0, 2)
    embedding = EMBEDDING(dim=24)
    nobody = embedded(made, [{} for _ in range(made.nodes)], embedding, tmp_path / "nobody")
    no_share = embedded(
        made, random_features(made.nodes), embedding.model_copy(update={"attribute_share": 0.0}), tmp_path / "share"
    )
    done = embed_parts(InThisProcess(), lay_out(made, tmp_path / "plain"), settings_of(made, embedding), tmp_path / "p")
    want = rows_of(done, made, embedding.dim)
    assert nobody.values.tobytes() == want.values.tobytes() == no_share.values.tobytes()


def test_both_parts_of_a_start_row_are_as_long_as_a_row_of_its_own(tmp_path: Path) -> None:
    # Independent rows of 4,096 entries: squared lengths are within 6 / sqrt(dim) of their mean.
    made = graph(0, 1).in_one_block()
    known = [{v: 0.6, v + 1000: 0.8} for v in range(made.nodes)]
    (block,) = [read(files) for files in blocks_of(made, known, tmp_path)]
    for share in (0.0, 0.2, 0.5, 0.8, 1.0):
        asked = settings_of(made, EMBEDDING(dim=4096, attribute_share=share))
        squared = (start_of(block, asked).astype(np.float64) ** 2).mean(axis=1)
        assert abs(squared - 1).max() < 6 / np.sqrt(4096) * 2


def csr(known: Known) -> Features:
    counts = np.array([len(one) for one in known])
    entries = [(key, one[key]) for one in known for key in sorted(one)]
    return Features.of_counts(
        counts, np.array([key for key, _ in entries], np.uint64), np.array([value for _, value in entries], np.float32)
    )


@pytest.mark.parametrize("changes", [{}, {"self_influence": 0.5}, {"normalize_powers": False, "self_influence": 3.0}])
@pytest.mark.parametrize(("form", "length"), [("classic", None), ("two_tower", 1.0), ("low_pass", 1.0)])
def test_rows_of_attributes_alone(form: str, length: float | None, changes: dict[str, Any]) -> None:
    known = [{}, {7: 1.0}, {7: 0.5, 9: -0.25}, {3: 2.0**-20}, {}]
    embedding = EMBEDDING(dim=48, seed=3, **changes)
    asked = Settings(GraphSummary(100, (50, 100), (10, 50)), embedding, form)
    got = rows_of_attributes(csr(known), asked)
    parameters = Parameters(form=form, dim=48, seed=3)
    for row, features in zip(got, known, strict=True):
        want = rows_of_features(features, parameters)
        if not features:
            assert not row.any()
            continue
        if length or embedding.normalize_powers:
            want = want / np.linalg.norm(want)
        if form == "classic":
            want = want * (embedding.self_influence or 1.0)
        np.testing.assert_allclose(row, want, rtol=2e-6, atol=1e-7 * np.linalg.norm(want))


def test_the_last_step_is_done_to_them_too() -> None:
    known = [{7: 1.0}, {}]
    base = Settings(GraphSummary(100, (0, 100), (0, 100)), EMBEDDING(dim=16), "classic")
    plain = rows_of_attributes(csr(known), base)
    for changes in ({"normalize_rows": True, "self_influence": 4.0}, {"norm_degree_power": 0.7}):
        asked = replace(base, embedding=base.embedding.model_copy(update=changes))
        np.testing.assert_allclose(rows_of_attributes(csr(known), asked), plain, rtol=1e-6)
    standardized = replace(base, embedding=base.embedding.model_copy(update={"standardize_columns": True}))
    sums = ColumnSums(np.full(16, 10.0), np.full(16, 100.0), 4)  # mean 2.5, deviation sqrt(25 - 6.25)
    got = rows_of_attributes(csr(known), standardized, sums)
    np.testing.assert_allclose(got[0], (plain[0] - 2.5) / np.sqrt(18.75), rtol=1e-6)
    assert not got[1].any()
    spectral = Settings(GraphSummary(100, (0, 100), (0, 100)), EMBEDDING(dim=16, method="spectral"), "plain")
    assert not rows_of_attributes(csr(known), spectral).any()
