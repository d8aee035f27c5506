"""Rows in one byte an entry, for readers: one scale a row."""

import numpy as np
from numpy.typing import NDArray

_LARGEST = np.float32(127.0)


def compact_rows(rows: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return codes and scales: an entry is its code times its row's scale, off by at most half of the scale.

    The scale is the row's largest entry over 127; a zero row has scale 0. Codes are rounded half to even. (Rows without
    an entry above 2**-119 are further off: their scale is no normal float32.)

    Parameters
    ----------
    rows : (n, dim) float32, finite.

    Returns
    -------
    (n, dim) int8, from -127 to 127, and (n,) float32.
    """
    largest = np.abs(rows).max(axis=1, initial=0.0)
    scale = largest / _LARGEST
    # In float64: a quotient that float32 rounds to a half would get the wrong code.
    codes = np.rint(rows / np.where(scale > 0, scale, 1.0).astype(np.float64)[:, None])
    return np.clip(codes, -127, 127).astype(np.int8), scale
