"""Stability: overlaps by sets, and what a rotation keeps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.stability import CosineMetrics, compare_rows, neighbor_overlap
from pipeline.evaluation.top_k import unit_rows
from pipeline.kernels.hashing import splitmix64


def normal(n: int, dim: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def nearest(queries: np.ndarray, rows: np.ndarray, k: int, *, are_same: bool) -> list[set[int]]:
    scores = queries.astype(np.float64) @ rows.astype(np.float64).T
    if are_same:
        np.fill_diagonal(scores, -np.inf)
    return [set(np.argsort(-row)[:k].tolist()) for row in scores]


@settings(max_examples=30)
@given(st.integers(1, 12), st.integers(2, 30), st.booleans(), st.integers(0, 999))
def test_overlap_is_that_of_sets(n_queries: int, n: int, are_same: bool, seed: int) -> None:
    rows = normal(n, 4, seed), normal(n, 6, seed + 1)  # widths may differ
    queries = rows if are_same else (normal(n_queries, 4, seed + 2), normal(n_queries, 6, seed + 3))
    node_key = splitmix64(np.arange(len(queries[0]), dtype=np.uint64))
    got = neighbor_overlap(queries, rows, node_key, (1, 3, 50), 0, are_same=are_same, sample=None)
    for k, overlap in zip((1, 3, 50), got.overlap, strict=True):
        k = min(k, n - are_same)
        old, new = (nearest(q, r, k, are_same=are_same) for q, r in zip(queries, rows, strict=True))
        assert overlap == pytest.approx(np.mean([len(a & b) / k for a, b in zip(old, new, strict=True)]), rel=1e-12)
    assert got.nodes == got.population == len(queries[0])


def test_a_rotation_keeps_neighbours_and_loses_the_space() -> None:
    rows = unit_rows(normal(300, 8, 0))
    turned = (rows @ np.linalg.qr(normal(8, 8, 1))[0]).astype(np.float32)
    node_key = splitmix64(np.arange(300, dtype=np.uint64))
    got = neighbor_overlap((rows, turned), (rows, turned), node_key, (10,), 0, are_same=True, sample=50)
    assert got.overlap[0] > 0.999  # but for neighbours that rounding swaps at the end of a list
    assert (got.nodes, got.population) == (50, 300)
    same, other = compare_rows(rows, rows), compare_rows(rows, turned)
    assert (same.mean, same.least) == pytest.approx((1.0, 1.0), abs=1e-6)
    assert other.mean is not None
    assert other.least is not None
    assert other.least < other.mean < 0.9


def test_zero_rows_have_no_cosine() -> None:
    rows = np.array([[1, 0], [0, 0], [3, 4]], np.float32)
    other = np.array([[0, 1], [1, 1], [6, 8]], np.float32)
    got = compare_rows(rows, other)
    assert (got.mean, got.least, got.nodes) == (pytest.approx(0.5, abs=1e-6), pytest.approx(0.0, abs=1e-6), 2)
    assert compare_rows(rows[1:2], other[1:2]) == CosineMetrics(None, None, 0)
