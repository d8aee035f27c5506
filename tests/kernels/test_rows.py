import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels import rows
from pipeline.kernels.rows import (
    add_rows,
    add_scaled,
    bfloat16_rows,
    column_sums,
    gather_rows,
    group_squares,
    row_norms,
    scale_rows,
    scatter_rows,
    unit_or_zero_scales,
)

shapes = st.tuples(st.integers(0, 6), st.integers(1, 70), st.integers(0, 2**32))


def matrix(n: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


@given(shapes)
def test_norms_are_exact_to_float64_rounding(shape: tuple[int, int, int]) -> None:
    x = matrix(*shape)
    for got, row in zip(row_norms(x), x.astype(np.float64), strict=True):
        want = math.sqrt(math.fsum((row * row).tolist()))  # squares of float32 are exact in float64
        # At most 4 + dim / 16 additions of nonnegative terms, halved by the root, and the root's own.
        assert abs(got - want) <= (4 + x.shape[1] / 16 + 2) * 2.0**-53 * want


def test_norms_are_sums_of_groups_of_16() -> None:
    x = matrix(5, 100)
    total = np.zeros(5)
    for first in range(0, 100, 16):
        group = np.zeros((5, 16))
        group[:, : min(16, 100 - first)] = x[:, first : first + 16].astype(np.float64) ** 2
        for width in (8, 4, 2, 1):
            group = group[:, :width] + group[:, width:]
        total += group[:, 0]
    assert row_norms(x).tobytes() == np.sqrt(total).tobytes()


@given(shapes)
def test_squares_of_groups_add_up_to_the_norms_bits(shape: tuple[int, int, int]) -> None:
    x = matrix(*shape)
    squares = group_squares(x)
    assert squares.shape == (shape[0], math.ceil(shape[1] / 16))
    total = np.zeros(shape[0])
    for group in range(squares.shape[1]):
        apart = group_squares(np.ascontiguousarray(x[:, 16 * group : 16 * group + 16]))
        assert apart[:, 0].tobytes() == squares[:, group].tobytes()
        total += squares[:, group]
    assert np.sqrt(total).tobytes() == row_norms(x).tobytes()


def test_norms_of_extreme_rows_are_finite() -> None:
    x = np.zeros((3, 20), np.float32)
    x[0] = 3e38
    x[1, 0] = 1e-45
    np.testing.assert_allclose(row_norms(x), [3e38 * math.sqrt(20), 1.4e-45, 0.0], rtol=1e-2)


def test_rows_of_rounding_noise_are_zero_and_others_unit() -> None:
    limit = 2.0**-18
    norms = np.array([1.0, limit, math.nextafter(limit, 1.0), 0.0, 0.0, 4.0])
    noise_scales = np.array([1.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    want = [1.0, 0.0, 1.0 / norms[2], 0.0, 0.0, 0.25]
    np.testing.assert_array_equal(unit_or_zero_scales(norms, noise_scales), want)


@given(shapes)
def test_scaling_is_one_rounding_of_the_float64_product(shape: tuple[int, int, int]) -> None:
    x = matrix(*shape)
    scale = np.random.default_rng(1).normal(size=len(x))
    want = (x.astype(np.float64) * scale[:, None]).astype(np.float32)
    assert scale_rows(x, scale).tobytes() == want.tobytes()
    assert scale_rows(x, scale, x) is x
    assert x.tobytes() == want.tobytes()


@given(
    st.lists(st.floats(width=32, allow_nan=False, max_value=2.0**127, min_value=-(2.0**127)), min_size=1, max_size=40)
)
def test_bfloat16_is_the_nearest_and_of_two_the_even_one(values: list[float]) -> None:
    # Halves between two bfloat16 as well: the 16 bits that go are those of the last one that stays.
    x = np.array([values], np.float32)
    x = np.concatenate([x, (x.view(np.uint32) & 0xFFFF0000 | 0x8000).view(np.float32)])
    got = np.empty(x.shape, np.uint16)
    bfloat16_rows(x, got)
    below = (x.view(np.uint32) >> 16).astype(np.uint32)
    near = [(bits << 16).astype(np.uint32).view(np.float32).astype(np.float64) for bits in (below, below + 1)]
    off = [np.abs(one - x.astype(np.float64)) for one in near]
    takes_next = (off[1] < off[0]) | ((off[1] == off[0]) & (below % 2 == 1))
    np.testing.assert_array_equal(got, below + takes_next)


@given(shapes)
def test_adding_scaled_rows_is_one_rounding_of_the_float64_sum(shape: tuple[int, int, int]) -> None:
    x = matrix(*shape)
    total = matrix(shape[0], shape[1], 5)
    scale = np.random.default_rng(1).normal(size=len(x))
    want = (total.astype(np.float64) + scale[:, None] * x.astype(np.float64)).astype(np.float32)
    add_scaled(total, x, scale)
    assert total.tobytes() == want.tobytes()


@given(shapes)
def test_column_sums_add_the_chosen_rows_in_order(shape: tuple[int, int, int]) -> None:
    x = matrix(*shape)
    mask = np.random.default_rng(1).random(len(x)) < 0.7
    sums, squares, count = column_sums(x, mask)
    want, want_squares = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for row in x[mask].astype(np.float64):
        want += row
        want_squares += row * row
    assert sums.tobytes() == want.tobytes()
    assert squares.tobytes() == want_squares.tobytes()
    assert count == mask.sum()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adding_rows_repeats_and_keeps_the_order(dtype: type) -> None:
    x = matrix(50, 33)
    index = np.random.default_rng(1).integers(0, 7, 50)
    total = np.ones((7, 33), dtype)
    want = total.copy()
    np.add.at(want, index, x)
    add_rows(total, index, x)
    assert total.tobytes() == want.tobytes()


@given(shapes, st.integers(0, 30))
def test_gather_and_scatter_are_numpys(shape: tuple[int, int, int], m: int) -> None:
    x = matrix(shape[0] + 1, *shape[1:])
    x.flags.writeable = False
    index = np.random.default_rng(1).integers(0, len(x), m)
    got = np.empty((m, x.shape[1]), np.float32)
    gather_rows(x, index, got)
    np.testing.assert_array_equal(got, x[index])
    back, want = np.zeros_like(x), np.zeros_like(x)
    back.flags.writeable = True
    scatter_rows(got, index, back)
    want[index] = got
    np.testing.assert_array_equal(back, want)


@pytest.mark.parametrize("index", [np.array([0, 3]), np.array([-1, 0])])
@pytest.mark.parametrize("function", ["add_rows", "gather_rows", "scatter_rows"])
def test_an_index_outside_is_refused(function: str, index: np.ndarray) -> None:
    three, two = matrix(3, 4), matrix(2, 4)
    arguments = {
        "add_rows": (three, index, two),
        "gather_rows": (three, index, two),
        "scatter_rows": (two, index, three),
    }
    with pytest.raises(IndexError, match="3 rows"):
        getattr(rows, function)(*arguments[function])


def test_other_types_shapes_and_layouts_are_refused() -> None:
    x = matrix(3, 4)
    with pytest.raises(TypeError, match="C-contiguous float32"):
        row_norms(x.astype(np.float64))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="C-contiguous float32"):
        row_norms(x.T)
    with pytest.raises(ValueError, match=r"must be \(3, 4\)"):
        scale_rows(x, np.ones(3), matrix(3, 5))
    with pytest.raises(ValueError, match=r"must be \(3,\)"):
        scale_rows(x, np.ones(2))
    with pytest.raises(ValueError, match=r"must be \(3,\)"):
        unit_or_zero_scales(np.ones(3), np.ones(2))
    with pytest.raises(TypeError, match="bool"):
        column_sums(x, np.ones(3))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="int64"):
        gather_rows(x, np.zeros(1, np.int32), matrix(1, 4))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="columns"):
        add_rows(x, np.zeros(1, np.int64), matrix(1, 5))
