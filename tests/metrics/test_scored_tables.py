"""Tables and pairs as evaluation reads them: against the files read whole, and the memory that it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.sampling import sample_by_key
from pipeline.evaluation.top_k import unit_rows
from pipeline.metrics.scored_tables import (
    VectorFiles,
    keys_of,
    read_different_ends,
    read_edges_of,
    read_sampled_table,
    read_scored_table,
)
from tests.memory import memory_growth

DIM = 64


def write_table(folder: Path, items: int, users: int, dim: int = DIM) -> VectorFiles:
    """A table of two types in two files, with the row groups of a published one."""
    rows = items + users
    vectors = np.random.default_rng(rows).standard_normal((rows, dim)).astype(np.float32)
    table = pa.table(
        {
            "node_type": ["item"] * items + ["user"] * users,
            "node_id": np.concatenate([np.arange(items), np.arange(users)]) * 3,
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dim),
            "degree": np.arange(rows) % 7,
        }
    )
    for number, (first, stop) in enumerate([(0, rows // 3), (rows // 3, rows)]):
        pq.write_table(table.slice(first, stop - first), folder / f"{number}.parquet", row_group_size=20_000)
    return VectorFiles(tuple(sorted(folder.glob("*.parquet"))), "user", "item", {"retrieval": "dot"})


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> VectorFiles:
    return write_table(tmp_path_factory.mktemp("table"), items=30_000, users=70_000)


def whole(vectors: VectorFiles) -> pa.Table:
    return pa.concat_tables([pq.read_table(file) for file in vectors.files])


def test_a_table_is_what_its_files_hold(vectors: VectorFiles) -> None:
    scored, table = read_scored_table(vectors), whole(vectors)
    assert scored.table.ranges == {"item": (0, 30_000), "user": (30_000, 100_000)}
    rows = table["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, DIM)
    np.testing.assert_array_equal(scored.table.rows, rows)
    np.testing.assert_array_equal(scored.table.rows_for("cosine"), unit_rows(rows))
    np.testing.assert_array_equal(scored.table.degree, table["degree"].to_numpy())
    for node_type, (first, stop) in scored.table.ranges.items():
        ids = table["node_id"].slice(first, stop - first).combine_chunks()
        assert scored.ids[node_type].equals(ids)
        np.testing.assert_array_equal(scored.table.node_key[first:stop], keys_of(node_type, ids))


@pytest.mark.parametrize("size", [1, 5_000, 40_000])
def test_a_sampled_table_has_the_rows_of_the_sampled_keys(vectors: VectorFiles, size: int) -> None:
    every, sampled = read_scored_table(vectors), read_sampled_table(vectors, size, seed=3)
    rows = []
    for node_type, (first, stop) in every.table.ranges.items():
        chosen = sample_by_key(every.table.node_key[first:stop], size, seed=3)
        assert sampled.ids[node_type].equals(every.ids[node_type].take(pa.array(chosen)))
        rows.append(every.table.rows[first + chosen])
    np.testing.assert_array_equal(sampled.table.rows, np.concatenate(rows))


def test_memory_does_not_grow_with_the_vectors(tmp_path: Path) -> None:
    vectors = write_table(tmp_path, items=100_000, users=300_000, dim=256)
    size = 400_000 * 256 * 4
    # Libraries and their pools take 150 MB; rows and unit rows in memory would take 820 MB, batches that stay 410.
    assert memory_growth(_read_all, vectors) < 1.1 * size
    assert memory_growth(_read_sample, vectors) < 0.75 * size


def _read_all(vectors: VectorFiles) -> None:
    read_scored_table(vectors).table.rows_for("cosine")


def _read_sample(vectors: VectorFiles) -> None:
    read_sampled_table(vectors, 1_000, seed=0)


PAIRS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30)


@pytest.mark.parametrize("is_text", [False, True])
@given(pairs=PAIRS, wanted=PAIRS, is_plain=st.booleans(), cut=st.integers(0, 30))
def test_pairs_of_some_nodes_are_those_of_the_files(
    tmp_path_factory: pytest.TempPathFactory,
    is_text: bool,
    pairs: list[tuple[int, int]],
    wanted: list[tuple[int, int]],
    is_plain: bool,
    cut: int,
) -> None:
    folder = tmp_path_factory.mktemp("edges")
    schema = pa.schema([("src_id", pa.int64()), ("dst_id", pa.int64())])
    files = []
    for number, some in enumerate((pairs[:cut], pairs[cut:])):
        files.append(folder / f"{number}.parquet")
        columns = [pa.array([pair[end] for pair in some], pa.int64()) for end in (0, 1)]
        pq.write_table(pa.table(columns, schema=schema), files[-1])
    src, dst = (pa.array([pair[end] for pair in wanted], pa.int64()) for end in (0, 1))
    if is_text:  # an input's ids may be text where the run's are numbers
        src, dst = src.cast(pa.string()), dst.cast(pa.string())

    found = read_edges_of(files, (src, dst), is_plain=is_plain)
    sources = {pair[0] for pair in wanted}
    ends = sources | {pair[1] for pair in wanted}
    want = [pair for pair in pairs if (set(pair) & ends if is_plain else pair[0] in sources)]
    assert list(zip(*(column.to_pylist() for column in found), strict=True)) == want

    for end, column in enumerate(read_different_ends(files)):
        assert column.equals(pc.unique(pa.array([pair[end] for pair in pairs], pa.int64())))
