"""Rows shared out to threads: every row once, errors told, and the bits of one thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.buffers import aligned_empty
from pipeline.kernels.csr import Csr
from pipeline.kernels.random_projection import very_sparse_signs
from pipeline.kernels.rows import add_scaled, bfloat16_rows, row_norms, scale_rows
from pipeline.kernels.spmm import spmm
from pipeline.kernels.threads import share_rows, threads_in_use, use_threads


@pytest.fixture(autouse=True)
def one_thread_afterwards() -> Iterator[None]:
    yield
    use_threads(1)


@given(st.integers(0, 50), st.integers(0, 20_000), st.integers(1, 5), st.one_of(st.none(), st.integers(0, 2**32)))
def test_each_row_is_in_one_range(start: int, rows: int, threads: int, seed: int | None) -> None:
    use_threads(threads)
    times = np.zeros(start + rows, np.int64)
    lock = threading.Lock()

    def count(first: int, last: int) -> None:
        with lock:
            times[first:last] += 1

    totals = None
    if seed is not None:  # a hub now and then: some ranges are then empty
        costs = np.random.default_rng(seed).zipf(1.3, start + rows).clip(max=10**9)
        totals = np.concatenate([[0], np.cumsum(costs)])
    share_rows(start, start + rows, count, totals)
    assert (times[start:] == 1).all()
    assert (times[:start] == 0).all()


def test_several_threads_compute_at_once() -> None:
    use_threads(2)
    both = threading.Barrier(2, timeout=60)
    share_rows(0, 2_048, lambda *_: both.wait())


def test_an_error_of_a_range_is_raised() -> None:
    use_threads(3)

    def refuse(first: int, last: int) -> None:
        if first:
            raise ValueError(f"rows from {first}")

    with pytest.raises(ValueError, match="rows from"):
        share_rows(0, 10_000, refuse)


def test_no_threads_are_refused() -> None:
    with pytest.raises(ValueError, match="threads is 0"):
        use_threads(0)
    assert threads_in_use() == 1


@pytest.mark.parametrize("threads", [2, 3])
def test_the_bits_are_those_of_one_thread(threads: int) -> None:
    rng = np.random.default_rng(5)
    rows, dim = 9_000, 128
    lengths = rng.zipf(1.5, rows).clip(max=5_000)
    lengths[::7] = 0
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    indices = rng.integers(0, rows, indptr[-1]).astype(np.int32)
    matrix = Csr(indptr, indices, rng.normal(size=indices.size).astype(np.float32))
    x = rng.normal(size=(rows, dim)).astype(np.float32)
    halves = np.empty(x.shape, np.uint16)
    scale = rng.random(rows)
    signs = very_sparse_signs(rng.integers(0, 2**63, rows).astype(np.uint64), dim, 3.0, 0)

    def results() -> list[bytes]:
        bfloat16_rows(x, halves)
        total = x.copy()
        add_scaled(total, x, scale)
        computed = [halves.tobytes(), total.tobytes(), row_norms(x).tobytes(), scale_rows(x, scale).tobytes()]
        start, stop = 100, rows - 3
        for operand in (x, halves, signs):
            out, noise = aligned_empty((stop - start, dim)), np.empty(stop - start)
            options = {"noise_scale": scale, "out_noise_scale": noise, "scale": scale[start:stop]}
            spmm(matrix, operand, out, start=start, stop=stop, **options)
            computed += [out.tobytes(), noise.tobytes()]
        return computed

    alone = results()
    use_threads(threads)
    assert results() == alone
