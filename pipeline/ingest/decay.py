"""Time decay in integers: the same bits on every machine, in any order.

An event of weight w at time ts counts ``w * 2**((ts - epoch) / half_life)``. The epoch stays put for a
lineage, so a later night adds events without touching those already summed; what a weight is *as of* a date
is one scalar.

Ages are counted in steps of 2**-24 half-life, rounded down, so the factor is ``COARSE[c] * FINE[f] * 2**-q`` with
two tables of 4,096 entries. The rounding of the age makes a factor too large by at most 2**(2**-24) - 1 = 4.2e-8
of it; the tables and their product move it by at most 2**-30 of it. Exact, whatever the rounding: the factor at the
epoch is 1, a half-life apart is a factor of 2, and a later event never counts less.
"""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, InputError

STEPS = 4096  # coarse steps a half-life, and fine steps a coarse one
MICROSECONDS_A_DAY = 86_400_000_000
#: 2**52 microseconds are 142 years; a remainder below it, times STEPS, fits in 64 bits.
MAX_HALF_LIFE_US = 2**52

_LOW = np.uint64(0xFFFF_FFFF)
_32 = np.uint64(32)
_HALF_OF_31_BITS = np.uint64(2**30)


def half_life_us(days: float) -> int:
    """Return a half-life in whole microseconds.

    Raises
    ------
    ConfigError : shorter than a microsecond or longer than 2**52 of them (142 years).
    """
    value = round(days * MICROSECONDS_A_DAY) if math.isfinite(days) else 0
    if not 1 <= value <= MAX_HALF_LIFE_US:
        raise ConfigError(
            f"input.half_life_days is {days}; it must be between a microsecond and "
            f"{MAX_HALF_LIFE_US // MICROSECONDS_A_DAY:,} days. Leave it out for weights that do not decay."
        )
    return value


def factor_between(epoch_us: int, end_us: int, half_life_us: int | None) -> float:
    """Return what a weight as of the epoch is times, as of a later moment; 1 where weights don't decay."""
    return 1.0 if half_life_us is None else 2.0 ** ((epoch_us - end_us) / half_life_us)


@cache
def decay_tables() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return ``2**(32 - c / 4096)`` and ``2**(31 - f / 4096**2)``, rounded to integers; two (4096,) uint64.

    The scales are such that a product of two entries fits in 64 bits. Made with integers only: 12 square roots of 1/2
    give a coarse step, 24 a fine one, products of it the others. With 128 bits after the point the roundings stay
    below 2**-114, far under what could move an entry.
    """
    bits = 128
    steps, step = [], 1 << (bits - 1)  # 1/2
    for _ in range(2):
        for _ in range(STEPS.bit_length() - 1):
            step = math.isqrt(step << bits)
        steps.append(step)
    coarse, fine = (_powers(step, bits, scale) for step, scale in zip(steps, (32, 31), strict=True))
    return coarse, fine


def _powers(step: int, bits: int, scale: int) -> NDArray[np.uint64]:
    """Return the first powers of a number with ``bits`` bits after the point, ``scale`` bits of which are kept."""
    entries, value = [], 1 << bits
    for _ in range(STEPS):
        entries.append((value + (1 << (bits - scale - 1))) >> (bits - scale))
        value = value * step >> bits
    table = np.array(entries, np.uint64)
    table.flags.writeable = False
    return table


def decay_factors(rest: NDArray[np.int64], half_life_us: int) -> NDArray[np.uint64]:
    """Return ``2**(32 - rest / half_life)`` for ages below a half-life; (n,) int64 microseconds to (n,) uint64."""
    length = np.uint64(half_life_us)
    coarse_table, fine_table = decay_tables()
    # Two divisions: a half-life has up to 52 bits, and 24 more don't fit in 64.
    steps = rest.astype(np.uint64) * np.uint64(STEPS)
    coarse = steps // length
    fine = (steps - coarse * length) * np.uint64(STEPS) // length
    return (coarse_table[coarse] * fine_table[fine] + _HALF_OF_31_BITS) >> np.uint64(31)


def decay_weights(
    weight: NDArray[np.int64], ts_us: NDArray[np.int64], epoch_us: int, half_life_us: int
) -> NDArray[np.int64]:
    """Return weights as of the epoch; (n,) int64 units in, (n,) int64 units out, rounded half to even.

    Parameters
    ----------
    weight : (n,) int64, at least 0, below 2**62.
    ts_us : (n,) int64 microseconds. At the epoch the factor is 1, before it less, after it more.
    epoch_us : the lineage's epoch, within +-2**61.
    half_life_us : 1 ... ``MAX_HALF_LIFE_US``.

    Raises
    ------
    InputError : an event so long after the epoch that its weight leaves 62 bits.

    Cost: about twenty passes over the rows, eight buffers of their size.
    """
    if not 1 <= half_life_us <= MAX_HALF_LIFE_US:
        raise ValueError(f"half_life_us is {half_life_us}; it must be in 1 ... {MAX_HALF_LIFE_US}")
    # Clipped so that the age fits: 2**62 microseconds are at least 2**10 half-lives, where every factor is 0.
    age = np.int64(epoch_us) - np.clip(ts_us, -(2**62), 2**62)
    halvings, rest = np.divmod(age, np.int64(half_life_us))

    doublings = -np.minimum(halvings, 0)
    w = weight
    if doublings.any():
        _refuse_overflow(weight, doublings, ts_us)
        w = weight << np.minimum(doublings, 62)  # beyond 62 only zeros are left

    # w * factor is up to 95 bits: high * 2**32 + low, from two products of at most 64 bits.
    factor, wide = decay_factors(rest, half_life_us), w.astype(np.uint64)
    low = (wide & _LOW) * factor
    high = (wide >> _32) * factor + (low >> _32)
    low &= _LOW
    return _shift_down(high, low, np.clip(halvings, 0, 63).astype(np.uint64))


def _shift_down(high: NDArray[np.uint64], low: NDArray[np.uint64], shift: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return ``(high * 2**32 + low) / 2**(32 + shift)``, rounded half to even; shift is 0 ... 63."""
    result = high >> shift
    remainder = high - (result << shift)
    # Twice the part dropped, against one unit: in whole units of 2**-32 where it had no bit of ``high``.
    half = np.uint64(1) << np.maximum(shift, np.uint64(1)) - np.uint64(1)
    no_shift = shift == 0
    upper = np.where(no_shift, low, remainder)
    half = np.where(no_shift, np.uint64(2**31), half)
    tail = np.where(no_shift, np.uint64(0), low)
    up = (upper > half) | ((upper == half) & ((tail > 0) | (result & np.uint64(1) == 1)))
    return (result + up).astype(np.int64)


def _refuse_overflow(weight: NDArray[np.int64], doublings: NDArray[np.int64], ts_us: NDArray[np.int64]) -> None:
    too_large = (weight > 0) & ((doublings > 62) | (weight >> (62 - np.minimum(doublings, 62)) > 0))
    if too_large.any():
        worst = int(np.flatnonzero(too_large)[0])
        raise InputError(
            f"an event of weight {weight[worst] / 2**32:g} at {int(ts_us[worst])} us lies "
            f"{int(doublings[worst])} half-lives after the epoch, and its weight no longer fits 62 bits; "
            "start a new lineage with a full run, or lengthen input.half_life_days"
        )
