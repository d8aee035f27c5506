"""Against decimal arithmetic of 60 digits: the error is counted in units of the result's last place."""

import hashlib
import math
import struct
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.kernels.elementary import log, power_or_zero

LARGEST, SMALLEST = 1.7976931348623157e308, 5e-324

positive = st.floats(min_value=SMALLEST, max_value=LARGEST)


def one(function, *arguments: float) -> float:  # type: ignore[no-untyped-def]
    return float(function(np.array([arguments[0]]), *arguments[1:])[0])


def ulps(got: float, want: Decimal) -> float:
    return float(abs(Decimal(got) - want) / Decimal(math.ulp(float(want))))


@given(positive)
@example(1.0)
@example(math.nextafter(1.0, 0.0))
@example(math.nextafter(1.0, 2.0))
@example(math.sqrt(2.0))
@example(math.sqrt(0.5))
def test_log_is_within_one_ulp(x: float) -> None:
    with localcontext(prec=60):
        assert ulps(one(log, x), Decimal(x).ln()) <= 1.0


@given(positive, st.floats(-32.0, 32.0))
@example(5e-324, 0.5)
@example(1e12, -0.628)
@example(math.nextafter(1.0, 2.0), 32.0)
def test_power_is_within_two_ulps(x: float, exponent: float) -> None:
    with localcontext(prec=60):
        want = (Decimal(exponent) * Decimal(x).ln()).exp()
        got = one(power_or_zero, x, exponent)
        if want > Decimal(LARGEST):
            assert got == math.inf or ulps(got, want) <= 2.0
        elif want < Decimal(2.0**-1022):
            assert abs(Decimal(got) - want) <= 2 * Decimal(SMALLEST)
        else:
            assert ulps(got, want) <= 2.0


@pytest.mark.parametrize("x", [0.0, -0.0, -3.5])
@pytest.mark.parametrize("exponent", [-1.0, 0.0, 0.4, 2.0])
def test_power_of_no_degree_is_zero(x: float, exponent: float) -> None:
    assert one(power_or_zero, x, exponent) == 0.0


def test_special_values() -> None:
    assert one(power_or_zero, 7.0, 0.0) == 1.0
    assert one(power_or_zero, 1.0, -0.628) == 1.0
    assert one(log, 1.0) == 0.0
    assert one(log, 0.0) == -math.inf
    assert one(log, math.inf) == math.inf
    assert math.isnan(one(log, -1.0))
    assert math.isnan(one(log, math.nan))


@pytest.mark.parametrize(("x", "exponent"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf)])
def test_power_refuses_what_is_not_finite(x: float, exponent: float) -> None:
    with pytest.raises(ValueError, match=r"finite|infinite"):
        one(power_or_zero, x, exponent)


@pytest.mark.parametrize("function", [log, lambda x: power_or_zero(x, 0.4)])
def test_shape_and_strides_do_not_matter(function) -> None:  # type: ignore[no-untyped-def]
    x = np.linspace(0.1, 5.0, 24).reshape(4, 6)
    x.flags.writeable = False
    np.testing.assert_array_equal(function(x), function(x.reshape(-1)).reshape(4, 6))
    np.testing.assert_array_equal(function(x[:, ::2]), function(x)[:, ::2])
    assert function(np.empty((0, 3))).shape == (0, 3)


def test_bits_never_change() -> None:
    # Frozen, and the same on any CPU: published bytes depend on them.
    x = np.ldexp(1.0 + np.arange(4000) / 4000.0, np.arange(4000) % 80 - 20)
    values = [log(x), power_or_zero(x, -0.628), power_or_zero(x, 0.4)]
    digest = hashlib.sha256(b"".join(struct.pack(f"<{x.size}d", *value) for value in values))
    assert digest.hexdigest() == "3a403df8bd8ae6d501c5f9b436916532bd48e8ad0d1f51ce1abd8cc9f183dc74"
