"""One sweep against the kernels that do its steps one after the other, to the bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.buffers import aligned_empty
from pipeline.kernels.csr import Csr
from pipeline.kernels.power_sums import RowSums, multiply_and_sum
from pipeline.kernels.random_projection import very_sparse_signs
from pipeline.kernels.rows import add_scaled, bfloat16_rows, row_norms, unit_or_zero_scales
from pipeline.kernels.spmm import spmm
from pipeline.kernels.threads import use_threads


def square_matrix(rng, n, weighted):  # type: ignore[no-untyped-def]
    lengths = rng.integers(0, 40, n)
    lengths[0] = 300
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    indices = rng.integers(0, n, indptr[-1]).astype(np.int32)
    weights = rng.normal(size=indices.size).astype(np.float32) if weighted else None
    if weights is not None:  # rows that cancel: to nothing, to rounding noise, nearly
        for row, rest in zip(range(1, n, 5), np.resize([0.0, 2.0**-24, 2.0**-17, 2.0**-12], n), strict=False):
            begin, end = indptr[row : row + 2]
            weights[begin:end] = 0.0
            if end - begin > 1:
                weights[begin], weights[begin + 1] = 1.0, -1.0 + rest
                indices[begin + 1] = indices[begin]
    return Csr(indptr, indices, weights)


def sums_of(n, dim, halves, total, noise_scale, weight, *, is_normalized=True, is_first=False):  # type: ignore[no-untyped-def]
    bits = np.empty((n if halves else 0, dim), np.uint16)
    return RowSums(np.empty(n), bits, total, noise_scale, weight, is_normalized, is_first)


@given(
    st.integers(0, 2**32),
    st.sampled_from([1, 3, 127, 128, 129, 300]),
    st.sampled_from([1, 16, 64, 100, 128, 200, 256]),
    st.booleans(),
    st.sampled_from(["float32", "bfloat16", "signs"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_a_sweep_has_the_bits_of_its_steps(
    seed: int, n: int, dim: int, weighted: bool, kind: str, is_normalized: bool, is_first: bool, is_kept: bool
) -> None:
    rng = np.random.default_rng(seed)
    matrix, scale, lengths = square_matrix(rng, n, weighted), rng.random(n), rng.random(n) + 0.5
    x = rng.normal(size=(n, dim)).astype(np.float32)
    bits = np.empty(x.shape, np.uint16)
    bfloat16_rows(x, bits)
    if kind == "signs":
        dim = 128 if dim >= 128 else 64
        operand = very_sparse_signs(rng.integers(0, 2**63, n).astype(np.uint64), dim, 3.0, 0)
    else:
        operand = {"float32": x, "bfloat16": bits}[kind]
    before, noise_before = rng.normal(size=(n, dim)).astype(np.float32), rng.random(n)

    rows, noise_scale = aligned_empty((n, dim)), np.empty(n)
    spmm(matrix, operand, rows, start=0, stop=n, scale=scale, noise_scale=lengths, out_noise_scale=noise_scale)
    norms, halves = row_norms(rows), np.empty((n, dim), np.uint16)
    bfloat16_rows(rows, halves)
    units = unit_or_zero_scales(norms, noise_scale)
    total = np.zeros_like(before) if is_first else before.copy()
    add_scaled(total, rows, -0.7 * units if is_normalized else np.full(n, -0.7))
    growth = 0.7 * ((units > 0) if is_normalized else noise_scale)

    got, got_noise = np.full_like(before, np.nan) if is_first else before.copy(), noise_before.copy()
    out = aligned_empty((n, dim)) if is_kept else None
    sums = sums_of(n, dim, True, got, got_noise, -0.7, is_normalized=is_normalized, is_first=is_first)
    multiply_and_sum(matrix, operand, out, scale=scale, lengths=lengths, sums=sums)
    assert out is None or out.tobytes() == rows.tobytes()
    assert sums.norms.tobytes() == norms.tobytes()
    assert sums.halves.tobytes() == halves.tobytes()
    assert got.tobytes() == total.tobytes()
    np.testing.assert_allclose(got_noise, noise_before + growth, rtol=1e-15)


def test_rows_of_rounding_noise_are_left_out_as_the_steps_do() -> None:
    """The shortcut past noise scales must not be taken where rows cancel: some here are noise and some are not."""
    rng = np.random.default_rng(3)
    n, dim = 400, 64
    matrix, lengths = square_matrix(rng, n, weighted=True), np.full(n, 8.0)
    x = rng.normal(size=(n, dim)).astype(np.float32)
    got, noise_scale = np.zeros((n, dim), np.float32), np.zeros(n)
    sums = sums_of(n, dim, False, got, noise_scale, 1.0, is_first=True)
    multiply_and_sum(matrix, x, None, scale=np.ones(n), lengths=lengths, sums=sums)
    of_rows = np.empty(n)
    rows = aligned_empty((n, dim))
    spmm(matrix, x, rows, start=0, stop=n, noise_scale=lengths, out_noise_scale=of_rows)
    is_signal = unit_or_zero_scales(row_norms(rows), of_rows) > 0
    near = row_norms(rows) <= 2.0**-18 * 8.0 * 300
    assert near[is_signal].any()
    assert near[~is_signal].sum() > 10
    np.testing.assert_array_equal(noise_scale > 0, is_signal)
    np.testing.assert_allclose(row_norms(got), is_signal, atol=1e-6)


@pytest.mark.parametrize("kind", ["rows", "signs"])
def test_threads_change_no_bit(kind: str) -> None:
    rng = np.random.default_rng(4)
    n, dim = 9_000, 128
    matrix, scale, lengths = square_matrix(rng, n, weighted=True), rng.random(n), rng.random(n)
    x = rng.normal(size=(n, dim)).astype(np.float32)
    operand = x if kind == "rows" else very_sparse_signs(rng.integers(0, 2**63, n).astype(np.uint64), dim, 3.0, 0)

    def results() -> list[bytes]:
        total, noise_scale = np.zeros((n, dim), np.float32), np.zeros(n)
        sums = sums_of(n, dim, True, total, noise_scale, 0.5)
        multiply_and_sum(matrix, operand, None, scale=scale, lengths=lengths, sums=sums)
        return [total.tobytes(), noise_scale.tobytes(), sums.norms.tobytes(), sums.halves.tobytes()]

    alone = results()
    use_threads(3)
    try:
        assert results() == alone
    finally:
        use_threads(1)


def test_sums_of_other_rows_are_refused() -> None:
    rng = np.random.default_rng(5)
    matrix, x, scale = square_matrix(rng, 4, weighted=False), np.ones((4, 2), np.float32), np.ones(4)
    good = sums_of(4, 2, False, np.zeros((4, 2), np.float32), np.zeros(4), 1.0)
    for sums in (good._replace(norms=np.empty(3)), good._replace(total=np.zeros((3, 2), np.float32))):
        with pytest.raises(ValueError, match=r"rows"):
            multiply_and_sum(matrix, x, None, scale=scale, lengths=scale, sums=sums)
    with pytest.raises(ValueError, match="lengths"):
        multiply_and_sum(matrix, x, None, scale=scale, lengths=None, sums=good)
    with pytest.raises(ValueError, match="square"):
        multiply_and_sum(matrix, np.ones((5, 2), np.float32), None, scale=scale, lengths=None, sums=good)
