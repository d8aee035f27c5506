"""The subspace that a night leaves, and what a later one starts from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline import storage
from pipeline.embedding import row_files
from pipeline.embedding.earlier_rows import EarlierSubspace
from pipeline.embedding.methods import method_for
from pipeline.embedding.rounds import Embedded, embed_parts
from pipeline.embedding.row_files import RowFormat
from pipeline.embedding.rows import SUBSPACE, Rows
from schemas.tables import NODE_ARRAYS
from tests.embedding.graphs_in_parts import InThisProcess, lay_out
from tests.embedding.methods_in_parts import settings_for, spectral, spectral_parameters
from tests.embedding.test_spectral_eigenvectors import CASES, communities
from tests.oracles.spectral_simulator import dense_operator


def write_keys(path: Path, node_key: np.ndarray) -> Path:
    zeros = pa.array(np.zeros(node_key.size, np.int64))
    columns = {"node_key": pa.array(node_key.view(np.int64)), "degree": zeros, "weight": zeros}
    storage.write_arrow(path, pa.table(columns, schema=NODE_ARRAYS.schema))
    return path


def subspace_of(night: Embedded) -> list[Path]:
    return [path for record in night.row_records for path in record.paths(SUBSPACE)]


def dense_rows(files: list[Path], nodes: int, width: int) -> np.ndarray:
    dense = np.zeros((nodes, width))
    for file in files:
        node_ix, rows = row_files.read_all(file, width)
        dense[node_ix] = rows.values
    return dense


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("parts", [1, 3])
def test_a_night_leaves_an_orthonormal_basis_and_the_next_says_how_far_it_is_off(
    tmp_path: Path, case: str, parts: int
) -> None:
    items, changes = CASES[case]
    groups = communities(items, 1)
    groups = groups if parts == 3 else groups.in_one_block()
    embedding = spectral(dim=6, oversampling=8, iterations=2, **changes)
    settings = replace(settings_for(groups, embedding), keeps_subspace=True)
    width, blocks = method_for(settings).width(0, settings), lay_out(groups, tmp_path)
    first = embed_parts(InThisProcess(), blocks, settings, tmp_path / "first")
    basis = dense_rows(subspace_of(first), groups.nodes, width)
    np.testing.assert_allclose(basis.T @ basis, np.eye(width), atol=1e-5)

    earlier = EarlierSubspace(tuple(subspace_of(first)), (write_keys(tmp_path / "keys.arrow", groups.node_key),), 6)
    second = embed_parts(InThisProcess(), blocks, replace(settings, earlier=earlier), tmp_path / "second")
    # By dense algebra: the eigenpairs on the span of the basis, and what the operator leaves of them.
    parameters = spectral_parameters(groups, embedding)
    shifted = dense_operator(groups.graph, parameters)[0] + parameters.shift * np.eye(groups.nodes)
    values, vectors = np.linalg.eigh(basis.T @ shifted @ basis)
    by_magnitude = not items and embedding.values_of("plain").eigenvalues == "both"
    order = np.argsort(-np.abs(values) if by_magnitude else -values)[:6]
    vectors = basis @ vectors[:, order]
    off = np.linalg.norm(shifted @ vectors - vectors * values[order]) / np.linalg.norm(values[order])
    # The difference of two sums of squares, of float32 rows: 2**-24 times some hundred operations, before the root.
    assert second.report["residual"] ** 2 == pytest.approx(off**2, abs=100 * 2.0**-24)
    assert second.report["residual"] < first.report["residual"]


@pytest.mark.parametrize("items", [0, 30])
def test_rows_are_found_by_key_whatever_the_numbers(tmp_path: Path, items: int) -> None:
    groups = communities(items, 2).in_one_block()
    settings = replace(settings_for(groups, spectral(dim=6, oversampling=2, iterations=2)), keeps_subspace=True)
    night = embed_parts(InThisProcess(), lay_out(groups, tmp_path / "a"), settings, tmp_path / "first")
    width = method_for(settings).width(0, settings)
    old = dense_rows(subspace_of(night), groups.nodes, width)
    earlier = EarlierSubspace(tuple(subspace_of(night)), (write_keys(tmp_path / "keys.arrow", groups.node_key),), 6)

    order = np.random.default_rng(0).permutation(groups.nodes)[: groups.nodes - 5]  # five nodes are gone
    new_keys = np.arange(1, 4, dtype=np.uint64)  # and three are new
    x = np.full((order.size + 3, width), 7.0, np.float32)
    earlier.put_into(x, np.concatenate([groups.node_key[order], new_keys]), 100)
    has_row = old[order].any(axis=1)
    np.testing.assert_array_equal(x[:-3][has_row], old[order][has_row].astype(np.float32))
    # A new node keeps its random row, as long as others are, in the columns that are beyond the leading ones.
    unknown = np.concatenate([x[:-3][~has_row], x[-3:]])
    assert not unknown[:, :6].any()
    np.testing.assert_allclose(unknown[:, 6:], 0.7, rtol=1e-6)


def test_rows_that_have_faded_are_drawn_again(tmp_path: Path) -> None:
    keys = np.array([5, 9, 7], np.uint64)
    values = np.array([[1, 0], [0, 2.0**-45], [0, 2.0**-30]], np.float32)
    row_files.write_rows(tmp_path / "rows.arrows", np.arange(3), Rows(values, np.zeros(3)), RowFormat(2))
    earlier = EarlierSubspace((tmp_path / "rows.arrows",), (write_keys(tmp_path / "keys.arrow", keys),), 2)
    x = np.ones((3, 2), np.float32)
    earlier.put_into(x, keys, 4)
    np.testing.assert_array_equal(x, [[1, 0], [0, 0.5], [0, 2.0**-30]])


def test_a_graph_that_grows_gets_more_columns(tmp_path: Path) -> None:
    values = np.eye(2, dtype=np.float32)
    row_files.write_rows(tmp_path / "rows.arrows", np.arange(2), Rows(values, np.zeros(2)), RowFormat(2))
    keys = np.array([5, 9], np.uint64)
    earlier = EarlierSubspace((tmp_path / "rows.arrows",), (write_keys(tmp_path / "keys.arrow", keys),), 1)
    x = np.ones((3, 3), np.float32)
    earlier.put_into(x, np.array([9, 5, 7], np.uint64), 4)
    np.testing.assert_array_equal(x, [[0, 1, 0], [1, 0, 0], [0, 0.5, 0.5]])
