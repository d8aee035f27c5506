"""Logarithm and power in float64 with the same bits on every CPU.

numpy and the C libraries pick their code by CPU, and the last bit with it. These use nothing but
IEEE additions, multiplications, divisions and moves of exponent bits, each rounded once; the
compiler may not fuse or reorder them. Polynomials are those of fdlibm (Sun Microsystems, 1993).
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, ieee_kernel

_LN2_HIGH = 6.93147180369123816490e-01  # 33 bits: its product with an exponent is exact
_LN2_LOW = 1.90821492927058770002e-10
_INVERSE_LN2 = 1.44269504088896338700e00
_SQRT2_BITS = np.int64(0x3FF6A09E667F3BCD)
_SMALLEST_NORMAL = 2.0**-1022
_SPLITTER = 2.0**27 + 1.0  # Dekker: halves of 26 bits, whose products are exact
_EXP_OVERFLOW = 709.782712893384
_EXP_UNDERFLOW = -745.1332191019412


def log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural logarithm, any shape; within 1 ulp. log(0) is -inf, of a negative number nan."""
    argument = np.ascontiguousarray(x, np.float64)
    result = np.empty(argument.size, np.float64)
    _log_all(argument.reshape(-1), result)
    return result.reshape(argument.shape)


def power_or_zero(x: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """``x ** exponent`` where x > 0, else 0.0: a node without edges gets no weight, not infinity.

    Parameters
    ----------
    x : finite float64, any shape; degrees, or sums of weights.
    exponent : finite. Within 2 ulp for exponents between -32 and 32 where the result is normal.

    Returns
    -------
    float64 of x's shape. Too large a result is inf.

    Raises
    ------
    ValueError : if the exponent or a value of x is not finite.
    """
    if not np.isfinite(exponent):
        raise ValueError(f"the exponent is {exponent}; it must be finite")
    if not np.isfinite(x).all():
        raise ValueError("a base is infinite or not a number; check the degrees before taking powers")
    base = np.ascontiguousarray(x, np.float64)
    result = np.empty(base.size, np.float64)
    _power_all(base.reshape(-1), float(exponent), result)
    return result.reshape(base.shape)


@ieee_kernel
def _split_exponent(x: float) -> tuple[float, float]:
    """(m, k) with x = m 2**k and sqrt(1/2) <= m < sqrt(2); for normal positive x."""
    bits = np.float64(x).view(np.int64)
    # Adding the distance from sqrt(2) to 2 carries into the exponent for mantissas above sqrt(2).
    shifted_bits = bits + (np.int64(0x4000000000000000) - _SQRT2_BITS)
    exponent = (shifted_bits >> 52) - 1023
    mantissa = np.int64(bits - (exponent << 52)).view(np.float64)
    return mantissa, np.float64(exponent)


@ieee_kernel
def _log_series(z: float) -> float:
    """R(z) with log(1 + f) = 2 s + s R(s s), s = f / (2 + f); relative error below 2**-58."""
    r = 1.531383769920937332e-01 + z * 1.479819860511658591e-01
    r = 1.818357216161805012e-01 + z * r
    r = 2.222219843214978396e-01 + z * r
    r = 2.857142874366239149e-01 + z * r
    r = 3.999999999940941908e-01 + z * r
    return z * (6.666666666666735130e-01 + z * r)


@ieee_kernel
def log_of_normal(x: float) -> float:
    """Logarithm of a normal positive float64, without branches: for use inside kernels."""
    mantissa, k = _split_exponent(x)
    f = mantissa - 1.0
    s = f / (2.0 + f)
    half_square = 0.5 * f * f
    series = _log_series(s * s)
    return k * _LN2_HIGH - ((half_square - (s * (half_square + series) + k * _LN2_LOW)) - f)


@ieee_kernel
def _exact_product(a: float, b: float) -> tuple[float, float]:
    """a * b as a rounded product and its error (Dekker); a hardware fma is not on every CPU."""
    product = a * b
    multiple = _SPLITTER * a
    a_high = multiple - (multiple - a)
    a_low = a - a_high
    multiple = _SPLITTER * b
    b_high = multiple - (multiple - b)
    b_low = b - b_high
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, error


@ieee_kernel
def _exact_sum(a: float, b: float) -> tuple[float, float]:
    """a + b as a rounded sum and its error (Knuth)."""
    total = a + b
    b_seen = total - a
    return total, (a - (total - b_seen)) + (b - b_seen)


@ieee_kernel
def _log_pair(x: float) -> tuple[float, float]:
    """log(x) as an unevaluated sum, off by less than 2**-58: a power multiplies the error."""
    scale = 0.0
    if x < _SMALLEST_NORMAL:
        x = x * 2.0**54
        scale = -54.0
    mantissa, k = _split_exponent(x)
    k += scale
    f = mantissa - 1.0
    below, below_error = _exact_sum(mantissa, 1.0)
    s = f / below
    product, product_error = _exact_product(s, below)
    s_error = ((f - product) - product_error - s * below_error) / below
    high, low = _exact_sum(k * _LN2_HIGH, 2.0 * s)
    low += s * _log_series(s * s) + (2.0 * s_error + k * _LN2_LOW)
    return _exact_sum(high, low)


@ieee_kernel
def _exp_sum(x: float, correction: float) -> float:
    """exp(x + correction) for a correction below an ulp of x."""
    if x > _EXP_OVERFLOW:
        return np.inf
    if x < _EXP_UNDERFLOW:
        return 0.0
    k = np.int64(np.floor(x * _INVERSE_LN2 + 0.5))
    high = x - k * _LN2_HIGH
    low = k * _LN2_LOW - correction
    r = high - low
    t = r * r
    c = -1.65339022054652515390e-06 + t * 4.13813679705723846039e-08
    c = 6.61375632143793436117e-05 + t * c
    c = -2.77777777770155933842e-03 + t * c
    c = r - t * (1.66666666666666019037e-01 + t * c)
    y = 1.0 - ((low - (r * c) / (2.0 - c)) - high)
    # In two steps, since 2**k itself may be too large or too small.
    first = k >> 1
    y = y * np.int64((first + 1023) << 52).view(np.float64)
    return y * np.int64((k - first + 1023) << 52).view(np.float64)


@ieee_kernel
def _log_all(x: In[np.float64], result: Out[np.float64]) -> None:
    for i in range(len(x)):
        value = x[i]
        if value >= _SMALLEST_NORMAL and value < np.inf:
            result[i] = log_of_normal(value)
        elif value > 0.0 and value < np.inf:
            result[i] = _log_pair(value)[0]
        elif value == 0.0:
            result[i] = -np.inf
        elif value > 0.0:
            result[i] = np.inf
        else:
            result[i] = np.nan


@ieee_kernel
def _power_all(x: In[np.float64], exponent: float, result: Out[np.float64]) -> None:
    for i in range(len(x)):
        if x[i] > 0.0:
            high, low = _log_pair(x[i])
            product, error = _exact_product(high, exponent)
            # Beyond any exponent range the error term would be infinity minus infinity.
            correction = error + low * exponent if abs(product) < 1000.0 else 0.0
            result[i] = _exp_sum(product, correction)
        else:
            result[i] = 0.0
