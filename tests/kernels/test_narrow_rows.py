"""Narrow rows against numpy's own frexp, rint and float16."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.kernels.narrow_rows import DTYPES, decode_rows, encode_rows, round_rows

ANY_FLOAT = st.floats(width=32, allow_nan=False, allow_infinity=False)
#: Entries of all sizes, and groups whose entries are of similar size: random bits alone give only the former.
MATRICES = st.tuples(st.integers(0, 4), st.integers(1, 40)).flatmap(
    lambda shape: st.one_of(
        arrays(np.float32, shape, elements=ANY_FLOAT),
        st.tuples(arrays(np.float32, shape, elements=st.floats(-1, 1, width=32)), st.integers(-148, 127)).map(
            lambda pair: np.ldexp(pair[0], pair[1]).astype(np.float32)
        ),
    )
)
LARGEST = float(np.finfo(np.float32).max)


def exact_scales(x: np.ndarray, dtype: str) -> np.ndarray:
    """Exponents of the scales by the definition, one a (row, group)."""
    found = np.empty((len(x), math.ceil(x.shape[1] / 16)), np.int64)
    for i, row in enumerate(x.astype(np.float64)):
        for g in range(found.shape[1]):
            largest = float(np.abs(row[16 * g : 16 * g + 16]).max())
            if dtype == "int8":
                lowest, highest, fits = -133, 121, lambda e, top=largest: np.rint(top * 2.0**-e) <= 127
            else:
                lowest, highest, fits = -141, 113, lambda e, top=largest: np.float16(min(top * 2.0**-e, 6e4)) < 2**15
            found[i, g] = next((e for e in range(lowest, highest) if fits(e)), highest)
    return found


def oracle(x: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """What the codes decode to, and the scale of every entry."""
    scale = np.repeat(2.0 ** exact_scales(x, dtype), 16, axis=1)[:, : x.shape[1]]
    scaled = x.astype(np.float64) / scale
    if dtype == "int8":
        codes = np.clip(np.rint(scaled), -127, 127)
    else:
        codes = np.clip(scaled.astype(np.float16).astype(np.float64), -32752, 32752)
    return codes * scale, scale


@pytest.mark.parametrize("dtype", DTYPES)
class TestBothTypes:
    @given(x=MATRICES)
    def test_rows_are_the_oracles_within_the_bound(self, dtype: str, x: np.ndarray) -> None:
        got = decode_rows(*encode_rows(x, dtype))
        want, scale = oracle(x, dtype)
        np.testing.assert_array_equal(got, want)
        off = np.abs(got - x.astype(np.float64))
        bound = scale / 2 if dtype == "int8" else np.maximum(2.0**-11 * np.abs(x.astype(np.float64)), 2.0**-25 * scale)
        near_the_end = np.abs(x) > 0.996 * LARGEST
        assert (off <= np.where(near_the_end, 2 * bound, bound)).all()

    @given(x=MATRICES)
    def test_encoding_again_changes_nothing(self, dtype: str, x: np.ndarray) -> None:
        codes, scales = encode_rows(x, dtype)
        again, scales_again = encode_rows(decode_rows(codes, scales), dtype)
        np.testing.assert_array_equal(again, codes)
        np.testing.assert_array_equal(scales_again, scales)
        rounded = x.copy()
        round_rows(rounded, dtype)
        np.testing.assert_array_equal(rounded, decode_rows(codes, scales))

    @given(x=MATRICES)
    def test_a_group_depends_on_nothing_else(self, dtype: str, x: np.ndarray) -> None:
        whole, _ = encode_rows(x, dtype)
        for first in range(0, x.shape[1], 16):
            some, _ = encode_rows(np.ascontiguousarray(x[:, first : first + 16]), dtype)
            np.testing.assert_array_equal(some, whole[:, first : first + 16])

    def test_planted(self, dtype: str) -> None:
        x = np.zeros((6, 18), np.float32)
        x[1] = LARGEST
        x[2, 0] = 2.0**-126
        x[3] = -LARGEST
        x[4, 3], x[4, 17] = 1.0, LARGEST
        x[5] = np.array([1, -1] * 9)
        got = decode_rows(*encode_rows(x, dtype))
        assert np.isfinite(got).all()
        np.testing.assert_array_equal(got[[0, 2, 5]], x[[0, 2, 5]])  # a power of two is exact
        assert got[4, 3] == 1.0  # the other group's size is none of its business
        np.testing.assert_allclose(got, x, rtol=2.0**-7)

    def test_what_is_not_finite_stays_so(self, dtype: str) -> None:
        x = np.ones((3, 33), np.float32)
        x[0, 1], x[1, 20], x[2, 32] = np.nan, np.inf, -np.inf
        broken = np.isnan(decode_rows(*encode_rows(x, dtype)))
        want = np.zeros(x.shape, bool)
        want[0, :16] = want[1, 16:32] = want[2, 32:] = True
        np.testing.assert_array_equal(broken, want)

    def test_sizes(self, dtype: str) -> None:
        codes, scales = encode_rows(np.ones((5, 100), np.float32), dtype)
        assert codes.nbytes == 500 * {"int8": 1, "float16": 2}[dtype]
        assert scales.nbytes == 5 * 7


def test_many_rows_are_rounded_in_runs() -> None:
    x = np.random.default_rng(0).normal(size=(40_000, 5)).astype(np.float32)
    want = decode_rows(*encode_rows(x, "int8"))
    round_rows(x, "int8")
    np.testing.assert_array_equal(x, want)
    round_rows(x, "float32")
    np.testing.assert_array_equal(x, want)


def test_ties_go_to_the_even_code() -> None:
    x = np.array([[64.0, 0.5, 1.5, 2.5, -0.5, -1.5, 126.5, -126.5]], np.float32)
    np.testing.assert_array_equal(encode_rows(x, "int8")[0], [[64, 0, 2, 2, 0, -2, 126, -126]])


def test_bad_arguments_are_refused() -> None:
    x = np.ones((2, 20), np.float32)
    with pytest.raises(ValueError, match="'int4'"):
        encode_rows(x, "int4")
    with pytest.raises(TypeError, match="float32"):
        encode_rows(x.astype(np.float64), "int8")  # type: ignore[arg-type]
    codes, scales = encode_rows(x, "int8")
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        decode_rows(codes, scales[:, :1])
    with pytest.raises(TypeError, match="int64"):
        decode_rows(codes.astype(np.int64), scales)
