import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from pipeline.kernels.buffers import aligned_empty
from pipeline.kernels.csr import Csr
from pipeline.kernels.spmm import spmm
from pipeline.kernels.vector_tiles import RUN, SignRows

LENGTHS = [0, 1, 2, 5, RUN - 1, RUN, RUN + 1, 2 * RUN, 3 * RUN + 7]
UNIT = 2.0**-24  # half an ulp of float32, relative


def product(indptr, indices, weights, x, **options):  # type: ignore[no-untyped-def]
    out = aligned_empty((len(indptr) - 1, x.shape[1]))
    out.fill(np.nan)
    spmm(Csr(indptr, indices, weights), x, out, start=0, stop=len(indptr) - 1, **options)
    return out


def product_by_definition(indptr, indices, weights, x):  # type: ignore[no-untyped-def]
    """One rounding per operation, entry after entry, in numpy's own float32 and float64."""
    out = np.zeros((len(indptr) - 1, x.shape[1]), np.float32)
    for i in range(len(out)):
        total = np.zeros(x.shape[1])
        for run in range(indptr[i], indptr[i + 1], RUN):
            partial = np.zeros(x.shape[1], np.float32)
            for e in range(run, min(run + RUN, indptr[i + 1])):
                partial += x[indices[e]] if weights is None else weights[e] * x[indices[e]]
            total += partial
        out[i] = total
    return out


def random_block(rng, lengths, columns, dim):  # type: ignore[no-untyped-def]
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    indices = rng.integers(0, columns, indptr[-1]).astype(np.int32)
    weights = rng.normal(size=len(indices)).astype(np.float32)
    x = rng.normal(size=(columns, dim)).astype(np.float32)
    return indptr, indices, weights, x


any_product = given(
    st.lists(st.sampled_from(LENGTHS), min_size=1, max_size=6),
    st.one_of(st.integers(1, 40), st.sampled_from([100, 127, 128, 129, 200, 256, 300])),
    st.integers(1, 9),
    st.booleans(),
    st.integers(0, 2**32),
)


@any_product
def test_rows_of_bfloat16_give_the_bits_of_the_float32_they_stand_for(
    lengths: list[int], dim: int, columns: int, weighted: bool, seed: int
) -> None:
    indptr, indices, weights, x = random_block(np.random.default_rng(seed), lengths, columns, dim)
    halves = (x.view(np.uint32) >> 16).astype(np.uint16)
    whole = (halves.astype(np.uint32) << 16).view(np.float32)
    of_halves, want = (product(indptr, indices, weights if weighted else None, rows) for rows in (halves, whole))
    assert of_halves.tobytes() == want.tobytes()


@any_product
def test_bits_are_those_of_the_definition(
    lengths: list[int], dim: int, columns: int, weighted: bool, seed: int
) -> None:
    indptr, indices, weights, x = random_block(np.random.default_rng(seed), lengths, columns, dim)
    if not weighted:
        weights = None
    got = product(indptr, indices, weights, x)
    assert got.tobytes() == product_by_definition(indptr, indices, weights, x).tobytes()


def test_rows_agree_with_scipy_in_float64_within_the_rounding() -> None:
    rng = np.random.default_rng(1)
    lengths = np.concatenate([rng.integers(0, 30, 300), [500, 3000]])
    indptr, indices, weights, x = random_block(rng, lengths, 200, 96)
    shape = (len(lengths), 200)
    # A copy: abs() merges repeated entries in place.
    matrix = sparse.csr_array((weights.astype(np.float64), indices, indptr), shape=shape, copy=True)
    noise_scale = abs(matrix) @ np.abs(x).astype(np.float64)
    error = np.abs(product(indptr, indices, weights, x) - matrix @ x.astype(np.float64))
    # RUN - 1 additions, one product and one final rounding, each off by a unit of what is added.
    np.testing.assert_array_less(error, (RUN + 1) * UNIT * 1.001 * noise_scale + 1e-300)


@pytest.mark.parametrize("dim", [1, 16, 100, 128, 200])
def test_a_column_does_not_depend_on_the_others(dim: int) -> None:
    rng = np.random.default_rng(2)
    indptr, indices, weights, x = random_block(rng, [40, 3, 0, 17, 1], 50, 300)
    whole = product(indptr, indices, weights, x)
    for first in (0, 1, 37, 300 - dim):
        some = slice(first, first + dim)
        got = product(indptr, indices, weights, np.ascontiguousarray(x[:, some]))
        assert got.tobytes() == whole[:, some].tobytes()


@pytest.mark.parametrize("terms", ["equal", "near"])
@pytest.mark.parametrize("value", [0.1, 1 / 3, 0.7, 1.0, 1.9999])
@pytest.mark.parametrize("weight", [None, 1 / 7])
def test_a_hub_of_a_million_terms_is_within_a_millionth(terms: str, value: float, weight: float | None) -> None:
    n = 1_000_000
    rng = np.random.default_rng(3)
    x = np.full((n, 2), value, np.float32)
    if terms == "near":
        x *= rng.uniform(1 - 1e-4, 1 + 1e-4, x.shape).astype(np.float32)
    weights = None if weight is None else np.full(n, weight, np.float32)
    got = product(np.array([0, n]), np.arange(n, dtype=np.int32), weights, x)
    for col in range(2):
        factor = 1.0 if weights is None else float(weights[0])
        want = factor * math.fsum(x[:, col].tolist())
        assert abs(got[0, col] - want) <= 1e-6 * want
        # What the run length was chosen for: half of RUN + 1 roundings, the product, the result.
        assert abs(got[0, col] - want) <= ((RUN + 1) / 2 + 2) * UNIT * want


def test_weights_of_one_change_no_bit() -> None:
    rng = np.random.default_rng(4)
    indptr, indices, _, x = random_block(rng, [40, 3, 0, 17, 1], 50, 70)
    ones = np.ones(len(indices), np.float32)
    assert product(indptr, indices, ones, x).tobytes() == product(indptr, indices, None, x).tobytes()


def test_a_slice_of_rows_and_an_offset_of_columns_change_no_bit() -> None:
    rng = np.random.default_rng(5)
    indptr, indices, weights, x = random_block(rng, [4, 30, 0, 17, 1, 8], 50, 70)
    whole = product(indptr, indices, weights, x)
    out = np.full((4, 70), 7, np.float32)
    spmm(Csr(indptr, indices + np.int32(1000), weights), x, out, start=1, stop=4, first_col=1000)
    assert out[:3].tobytes() == whole[1:4].tobytes()
    np.testing.assert_array_equal(out[3], 7)


@pytest.mark.parametrize("weighted", [True, False])
def test_noise_scales_are_sums_of_absolute_weights_times_norms(weighted: bool) -> None:
    rng = np.random.default_rng(6)
    indptr, indices, weights, x = random_block(rng, [4, 1000, 0, 17], 50, 3)
    norms = rng.uniform(0, 5, 50)
    sums = np.empty(4)
    used = weights if weighted else None
    product(indptr, indices, used, x, noise_scale=norms, out_noise_scale=sums)
    factors = np.abs(weights).astype(np.float64) if weighted else np.ones(len(indices))
    for i in range(4):
        entries = slice(indptr[i], indptr[i + 1])
        want = math.fsum((factors[entries] * norms[indices[entries]]).tolist())
        assert abs(sums[i] - want) <= 1001 * 2.0**-53 * want


@pytest.mark.parametrize("dim", [1, 16, 37, 128, 200])
def test_scales_give_the_bits_of_the_product_scaled_afterwards(dim: int) -> None:
    rng = np.random.default_rng(8)
    indptr, indices, weights, x = random_block(rng, LENGTHS, 50, dim)
    scale, norms = rng.uniform(-2, 2, len(LENGTHS)), rng.uniform(0, 5, 50)
    sums, scaled_sums = np.empty(len(LENGTHS)), np.empty(len(LENGTHS))
    plain = product(indptr, indices, weights, x, noise_scale=norms, out_noise_scale=sums)
    got = product(indptr, indices, weights, x, scale=scale, noise_scale=norms, out_noise_scale=scaled_sums)
    assert got.tobytes() == (plain.astype(np.float64) * scale[:, None]).astype(np.float32).tobytes()
    np.testing.assert_array_equal(scaled_sums, sums * scale)


@given(
    st.lists(st.sampled_from(LENGTHS), min_size=1, max_size=6),
    st.sampled_from([64, 128, 192, 320]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_rows_of_signs_give_the_bits_of_the_rows_they_stand_for(
    lengths: list[int], dim: int, weighted: bool, scaled: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    indptr, indices, weights, _ = random_block(rng, lengths, 9, 1)
    signs, value = rng.integers(-1, 2, (9, dim)), rng.normal(size=9).astype(np.float32)
    bits = [np.packbits(signs == sign, axis=1, bitorder="little").view("<u8") for sign in (1, -1)]
    x = SignRows(np.concatenate(bits, axis=1).astype(np.uint64), value)
    assert x.shape == (9, dim)
    options = {"scale": rng.uniform(-2, 2, len(lengths))} if scaled else {}
    used = weights if weighted else None
    dense = (signs * value[:, None]).astype(np.float32)
    assert product(indptr, indices, used, x, **options).tobytes() == (
        product(indptr, indices, used, dense, **options).tobytes()
    )


def test_read_only_and_unaligned_inputs_are_accepted() -> None:
    rng = np.random.default_rng(7)
    indptr, indices, weights, x = random_block(rng, [4, 30], 50, 33)
    want = product(indptr, indices, weights, x)
    raw = np.empty(x.size + 1, np.float32)
    shifted = raw[1:].reshape(x.shape)
    shifted[:] = x
    for array in (indptr, indices, weights, shifted):
        array.flags.writeable = False
    assert product(indptr, indices, weights, shifted).tobytes() == want.tobytes()


def test_a_block_without_entries_gives_zeros() -> None:
    empty = product(np.zeros(4, np.int64), np.zeros(0, np.int32), None, np.ones((2, 130), np.float32))
    np.testing.assert_array_equal(empty, np.zeros((3, 130)))


class TestRefusals:
    indptr = np.array([0, 2, 3])
    indices = np.array([0, 1, 2], np.int32)
    weights = np.ones(3, np.float32)
    x = np.ones((3, 4), np.float32)
    out = np.empty((2, 4), np.float32)

    def call(self, **changes) -> None:  # type: ignore[no-untyped-def]
        matrix = Csr(*(changes.pop(name, getattr(self, name)) for name in ("indptr", "indices", "weights")))
        spmm(matrix, **{"x": self.x, "out": self.out, "start": 0, "stop": 2, **changes})

    def test_the_unchanged_call_works(self) -> None:
        self.call()

    @pytest.mark.parametrize(
        "changes",
        [
            {"indptr": np.array([0, 2, 3], np.int32)},
            {"indices": np.array([0, 1, 2], np.int64)},
            {"weights": np.ones(3)},
            {"x": np.ones((3, 4))},
            {"x": np.ones((4, 3), np.float32).T},
            {"out": np.empty((2, 8), np.float32)[:, ::2]},
            {"noise_scale": np.ones(3, np.float32), "out_noise_scale": np.ones(2)},
        ],
    )
    def test_other_types_and_layouts(self, changes: dict[str, np.ndarray]) -> None:
        with pytest.raises(TypeError, match="must be contiguous"):
            self.call(**changes)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"weights": np.ones(2, np.float32)}, "2 weights for 3"),
            ({"stop": 3}, "rows 0 to 3"),
            ({"start": -1}, "rows -1 to 2"),
            ({"out": np.empty((1, 4), np.float32)}, r"must be \(2, 4\)"),
            ({"out": np.empty((2, 5), np.float32)}, r"must be \(2, 4\)"),
            ({"out": x[:2]}, "overlaps"),
            ({"indptr": np.array([0, 3, 2])}, "decreases"),
            ({"indptr": np.array([0, 2, 4])}, "leaves the 3"),
            ({"indptr": np.array([-1, 2, 3])}, "leaves the 3"),
            ({"scale": np.ones(3)}, "3 scales for rows 0 to 2"),
            ({"noise_scale": np.ones(3)}, "both or neither"),
            ({"noise_scale": np.ones(2), "out_noise_scale": np.ones(2)}, "must have 3 and at least 2"),
        ],
    )
    def test_lengths_that_do_not_fit(self, changes: dict[str, np.ndarray], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            self.call(**changes)

    def test_values_for_other_rows_of_signs(self) -> None:
        x = SignRows(np.zeros((3, 4), np.uint64), np.ones(2, np.float32))
        with pytest.raises(ValueError, match="2 values for 3 rows"):
            self.call(x=x, out=np.empty((2, 128), np.float32))

    @pytest.mark.parametrize("changes", [{"indices": np.array([0, 1, 3], np.int32)}, {"first_col": 1}])
    def test_indices_outside_x(self, changes: dict[str, np.ndarray]) -> None:
        with pytest.raises(IndexError, match="indices reach"):
            self.call(**changes)
