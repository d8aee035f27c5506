"""How far a mean over users may be off: bootstrap intervals, the same on any day, in any order."""

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.hashing import hash_cells

RESAMPLES = 1000
CONFIDENCE = 0.95
_USERS_PER_BLOCK = 8192
#: Draws are read off the top 16 bits of a hash: chances are exact to 2**-16.
_STEPS = 2**16


def bootstrap_intervals(
    by_user: NDArray[np.float64] | NDArray[np.bool_], user_key: NDArray[np.uint64], seed: int
) -> list[tuple[float, float]]:
    """Percentile intervals of the mean of each column under the Poisson bootstrap.

    In each resample a user counts a Poisson(1) number of times, drawn from (seed, its key, the resample's
    number): as the bootstrap for many users. No draw depends on another user, so that neither the order of the
    users nor a user more or less moves the other draws. An interval says how much the figure depends on which
    users were sampled; not how it would change with another seed of the table or another split.

    Parameters
    ----------
    by_user : (users, columns): a figure of each user.
    user_key : (users,) uint64.
    seed : any non-negative integer below 2**64.

    Returns
    -------
    One (low, high) for each column; (0, 0) where there are no users.

    Cost
    ----
    RESAMPLES x users hashes, 20 ns each.

    Source
    ------
    Hanley & MacGibbon, "Creating non-parametric bootstrap samples using Poisson frequencies", 2006.
    """
    if user_key.shape != by_user.shape[:1]:
        raise ValueError(f"there are {user_key.size} keys for {by_user.shape[0]} users; give one key to each")
    if not user_key.size:
        return [(0.0, 0.0)] * by_user.shape[1]
    draws = _poisson_table()
    sums = np.zeros((RESAMPLES, by_user.shape[1]))
    counts = np.zeros(RESAMPLES)
    for start in range(0, user_key.size, _USERS_PER_BLOCK):
        block = slice(start, start + _USERS_PER_BLOCK)
        words = hash_cells(user_key[block], RESAMPLES, seed)
        times = draws[(words >> np.uint64(48)).astype(np.uint16)].astype(np.float32)
        counts += times.sum(axis=0, dtype=np.float64)
        sums += times.T.astype(np.float64) @ by_user[block].astype(np.float64)
    means = sums / np.maximum(counts, 1.0)[:, None]
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail], axis=0)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def _poisson_table() -> NDArray[np.int8]:
    """Number of times drawn for each of 65,536 equally likely words."""
    chance = np.cumsum([math.exp(-1.0) / math.factorial(times) for times in range(10)])
    return np.searchsorted(chance, (np.arange(_STEPS) + 0.5) / _STEPS).astype(np.int8)
