"""Random rows drawn from node keys: the first factor of every random-projection embedding."""

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, OutMatrix, ieee_kernel, kernel
from pipeline.kernels.buffers import aligned_empty
from pipeline.kernels.elementary import log_of_normal
from pipeline.kernels.hashing import hash_nodes, mix
from pipeline.kernels.vector_tiles import SignRows

_SHIFT_12 = np.uint64(12)
_HALF = np.uint64(32)
_ONE = np.uint64(1)
WORD = 64  # columns whose signs a word holds
_NO_COLUMN = np.uint64(2**63)  # a cell beyond all columns: what places the entry of a row that has none
_CENTRE = 0.425  # |u - 1/2| up to which the central rational function holds
_FAR = 5.0  # sqrt(-log(tail)) from which the far one does


def very_sparse_projection(
    node_key: NDArray[np.uint64],
    dim: int,
    sparsity: float,
    seed: int,
    *,
    scale: NDArray[np.float64] | None = None,
    first_col: int = 0,
    of: int = 0,
) -> NDArray[np.float32]:
    """Rows of the very sparse random projection matrix for the given nodes.

    Each entry is ``+sqrt(sparsity)`` or ``-sqrt(sparsity)``, each with probability
    ``1 / (2 * sparsity)``, else 0, so that entries have mean 0 and variance 1.

    Parameters
    ----------
    node_key : (n,) uint64. A row depends on nothing but its own node's key.
    dim : columns, at least 1.
    sparsity : at least 1. 3 is Achlioptas' choice; ``sqrt(number of nodes)`` is Li et al.'s.
    seed : any non-negative integer below 2**64.
    scale : (n,) float64 that multiplies the rows, one rounding to float32 after the product.
    first_col : the matrix' column that becomes the first; a column does not depend on which others are drawn.
    of : columns of a matrix none of whose rows is zero, or 0. Where chance left a row without an entry in all of them,
        one is put into a column, with a sign, that are hashed from the node's key: means and covariances stay 0, and
        the variance of an entry grows to ``1 + sparsity / of * (1 - 1 / sparsity) ** of`` [of = 128: by 1e-24 at
        sparsity 3, by 5 % at 57, the root of 3,300].

    Returns
    -------
    (n, dim) float32, C-contiguous, its data 64-byte aligned.

    Raises
    ------
    ValueError : if ``sparsity < 1``, since the probabilities would exceed 1; if ``dim < 1``; if the
        seed is out of range or ``scale`` has another length than ``node_key``.

    Source
    ------
    Li, Hastie & Church, "Very sparse random projections", KDD 2006.
    """
    bounds = _bounds_of_signs(sparsity)
    rows, factors = _prepare(node_key, dim, seed, scale)
    values, out = _values_of_signs(sparsity, factors), aligned_empty((len(rows), dim))
    is_empty = _fill_sparse(rows, first_col, *bounds, values, out)
    if of:
        _fill_empty(rows, is_empty, first_col, np.uint64(of), *bounds, values, out)
    return out


def very_sparse_signs(
    node_key: NDArray[np.uint64],
    dim: int,
    sparsity: float,
    seed: int,
    *,
    scale: NDArray[np.float64] | None = None,
    first_col: int = 0,
) -> SignRows:
    """The same rows as signs, where chance may leave some empty; dim a multiple of 64.

    Parameters and Raises as in `very_sparse_projection`.
    """
    if dim % WORD:
        raise ValueError(f"dim is {dim}; it must be a multiple of {WORD}, or take very_sparse_projection")
    bounds = _bounds_of_signs(sparsity)
    rows, factors = _prepare(node_key, dim, seed, scale)
    signs = np.empty((len(rows), 2 * dim // WORD), np.uint64)
    _fill_signs(rows, first_col, *bounds, signs)
    return SignRows(signs, _values_of_signs(sparsity, factors))


def normal_projection(
    node_key: NDArray[np.uint64],
    dim: int,
    seed: int,
    *,
    scale: NDArray[np.float64] | None = None,
    first_col: int = 0,
) -> NDArray[np.float32]:
    """Rows of a matrix of independent standard normal entries for the given nodes.

    Each entry is the normal quantile, to 16 digits, of ``(k + 1/2) / 2**52``, k the top 52 bits of
    the cell's hash: the largest entry possible is 8.2. The same bits on every CPU.

    Parameters, Returns and Raises as in `very_sparse_projection`.

    Source
    ------
    Wichura, "Algorithm AS 241: The percentage points of the normal distribution", 1988 (PPND16).
    """
    rows, factors = _prepare(node_key, dim, seed, scale)
    out = aligned_empty((len(rows), dim))
    _fill_normal(rows, first_col, factors, scale is not None, out)
    return out


def _prepare(
    node_key: NDArray[np.uint64], dim: int, seed: int, scale: NDArray[np.float64] | None
) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Mixed row keys, and one factor a row."""
    if dim < 1:
        raise ValueError(f"dim is {dim}; it must be at least 1")
    n = len(node_key)
    if scale is None:
        factors = np.ones(n)
    elif scale.shape == (n,) and scale.dtype == np.float64:
        factors = np.ascontiguousarray(scale)
    else:
        raise ValueError(f"scale is {scale.dtype} of shape {scale.shape}; it must be float64 of shape ({n},)")
    return hash_nodes(node_key, seed), factors


def _bounds_of_signs(sparsity: float) -> tuple[np.uint64, np.uint64]:
    """Return below which word of a cell's hash its entry is plus, and above which it is minus."""
    if not 1.0 <= sparsity < math.inf:
        raise ValueError(f"sparsity is {sparsity}; it must be finite and at least 1 (1 means no zeros)")
    # The entry is decided by u, the hash's top 53 bits as a double in [0, 1): + if u < tail, - if
    # u >= 1 - tail. Both bounds times 2**53 are exact, so the integers decide exactly the same.
    tail = 0.5 / sparsity
    plus_below = math.ceil(tail * 2.0**53) << 11
    minus_above = (math.ceil((1.0 - tail) * 2.0**53) << 11) - 1
    return np.uint64(plus_below), np.uint64(minus_above)


def _values_of_signs(sparsity: float, factors: NDArray[np.float64]) -> NDArray[np.float32]:
    return (float(np.float32(math.sqrt(sparsity))) * factors).astype(np.float32)


@kernel
def _fill_sparse(
    rows: In[np.uint64],
    first_col: int,
    plus_below: np.uint64,
    minus_above: np.uint64,
    values: In[np.float32],
    out: OutMatrix[np.float32],
) -> Out[np.bool_]:
    """Fill the matrix; return which rows have no entry here."""
    zero = np.float32(0.0)
    is_empty = np.empty(len(rows), np.bool_)
    for i in range(len(rows)):
        row = rows[i] + np.uint64(first_col)
        plus = values[i]
        minus = -plus
        entries = np.int64(0)
        for col in range(out.shape[1]):
            word = mix(row + np.uint64(col))
            out[i, col] = plus if word < plus_below else (minus if word > minus_above else zero)
            entries += (word < plus_below) | (word > minus_above)
        is_empty[i] = entries == 0
    return is_empty


@kernel
def _fill_signs(
    rows: In[np.uint64], first_col: int, plus_below: np.uint64, minus_above: np.uint64, signs: OutMatrix[np.uint64]
) -> None:
    words = signs.shape[1] // 2
    for i in range(len(rows)):
        for place in range(words):
            first = rows[i] + np.uint64(first_col + WORD * place)
            plus, minus = np.uint64(0), np.uint64(0)
            for bit in range(WORD):
                word = mix(first + np.uint64(bit))
                plus |= np.uint64(word < plus_below) << np.uint64(bit)
                minus |= np.uint64(word > minus_above) << np.uint64(bit)
            signs[i, place], signs[i, words + place] = plus, minus


@kernel
def _fill_empty(
    rows: In[np.uint64],
    is_empty: In[np.bool_],
    first_col: int,
    columns: np.uint64,
    plus_below: np.uint64,
    minus_above: np.uint64,
    values: In[np.float32],
    out: OutMatrix[np.float32],
) -> None:
    """Give rows without an entry in all columns one, where its column is here."""
    unseen = 0 if first_col else out.shape[1]
    for i in np.flatnonzero(is_empty):
        has_entry = False
        for col in range(unseen, np.int64(columns)):
            word = mix(rows[i] + np.uint64(col))
            if word < plus_below or word > minus_above:
                has_entry = True
                break
        if has_entry:
            continue
        word = mix(rows[i] + _NO_COLUMN)
        # The upper half of the word scaled to the columns; its lowest bit is the sign.
        place = np.int64(((word >> _HALF) * columns) >> _HALF)
        if first_col <= place < first_col + out.shape[1]:
            out[i, place - first_col] = values[i] if word & _ONE else -values[i]


@ieee_kernel
def _central_quantile(q: float) -> float:
    """Quantile of 1/2 + q for |q| <= 0.425."""
    r = 0.180625 - q * q
    top = 3.3430575583588128105e4 + r * 2.5090809287301226727e3
    top = 6.7265770927008700853e4 + r * top
    top = 4.5921953931549871457e4 + r * top
    top = 1.3731693765509461125e4 + r * top
    top = 1.9715909503065514427e3 + r * top
    top = 1.3314166789178437745e2 + r * top
    top = 3.3871328727963666080e0 + r * top
    bottom = 2.8729085735721942674e4 + r * 5.2264952788528545610e3
    bottom = 3.9307895800092710610e4 + r * bottom
    bottom = 2.1213794301586595867e4 + r * bottom
    bottom = 5.3941960214247511077e3 + r * bottom
    bottom = 6.8718700749205790830e2 + r * bottom
    bottom = 4.2313330701600911252e1 + r * bottom
    return q * top / (1.0 + r * bottom)


@ieee_kernel
def _tail_quantile(root: float) -> float:
    """Minus the quantile of exp(-root**2), for root up to 5."""
    r = root - 1.6
    top = 2.27238449892691845833e-2 + r * 7.74545014278341407640e-4
    top = 2.41780725177450611770e-1 + r * top
    top = 1.27045825245236838258e0 + r * top
    top = 3.64784832476320460504e0 + r * top
    top = 5.76949722146069140550e0 + r * top
    top = 4.63033784615654529590e0 + r * top
    top = 1.42343711074968357734e0 + r * top
    bottom = 5.47593808499534494600e-4 + r * 1.05075007164441684324e-9
    bottom = 1.51986665636164571966e-2 + r * bottom
    bottom = 1.48103976427480074590e-1 + r * bottom
    bottom = 6.89767334985100004550e-1 + r * bottom
    bottom = 1.67638483018380384940e0 + r * bottom
    bottom = 2.05319162663775882187e0 + r * bottom
    return top / (1.0 + r * bottom)


@ieee_kernel
def _far_quantile(root: float) -> float:
    """Minus the quantile of exp(-root**2), for root above 5."""
    r = root - 5.0
    top = 2.71155556874348757815e-5 + r * 2.01033439929228813265e-7
    top = 1.24266094738807843860e-3 + r * top
    top = 2.65321895265761230930e-2 + r * top
    top = 2.96560571828504891230e-1 + r * top
    top = 1.78482653991729133580e0 + r * top
    top = 5.46378491116411436990e0 + r * top
    top = 6.65790464350110377720e0 + r * top
    bottom = 1.42151175831644588870e-7 + r * 2.04426310338993978564e-15
    bottom = 1.84631831751005468180e-5 + r * bottom
    bottom = 7.86869131145613259100e-4 + r * bottom
    bottom = 1.48753612908506148525e-2 + r * bottom
    bottom = 1.36929880922735805310e-1 + r * bottom
    bottom = 5.99832206555887937690e-1 + r * bottom
    return top / (1.0 + r * bottom)


@ieee_kernel
def quantiles(
    deviations: Out[np.float64],
    result: Out[np.float64],
    tails: Out[np.int64],
    roots: Out[np.float64],
    values: Out[np.float64],
) -> None:
    """``result[j]`` = normal quantile of 1/2 + centred[j]; the other arrays are scratch.

    The centre first, everywhere and without branches; then the outer 15 % gathered side by side.
    Both loops become vector code, which a loop with a branch per entry would not.
    """
    dim = len(deviations)
    for j in range(dim):
        result[j] = _central_quantile(deviations[j])
    count = 0
    for j in range(dim):
        tails[count] = j
        count += abs(deviations[j]) > _CENTRE
    for t in range(count):
        roots[t] = 0.5 - abs(deviations[tails[t]])
    for t in range(count):
        roots[t] = math.sqrt(-log_of_normal(roots[t]))
    for t in range(count):
        values[t] = _tail_quantile(roots[t])
    for t in range(count):
        value = values[t] if roots[t] <= _FAR else _far_quantile(roots[t])  # one entry in 10**10
        result[tails[t]] = math.copysign(value, deviations[tails[t]])


@kernel
def _fill_normal(
    rows: In[np.uint64], first_col: int, factors: In[np.float64], is_scaled: bool, out: OutMatrix[np.float32]
) -> None:
    dim = out.shape[1]
    deviations = np.empty(dim)
    result = np.empty(dim)
    roots = np.empty(dim)
    values = np.empty(dim)
    tails = np.empty(dim + 1, np.int64)
    for i in range(len(rows)):
        row = rows[i] + np.uint64(first_col)
        for col in range(dim):
            # 52 bits and a half: an exact double, symmetric about 1/2, never 0 or 1.
            high = np.int64(mix(row + np.uint64(col)) >> _SHIFT_12)
            deviations[col] = (np.float64(high) + 0.5) * 2.0**-52 - 0.5
        quantiles(deviations, result, tails, roots, values)
        if is_scaled:
            factor = factors[i]
            for col in range(dim):
                out[i, col] = np.float32(np.float64(np.float32(result[col])) * factor)
        else:
            for col in range(dim):
                out[i, col] = np.float32(result[col])
