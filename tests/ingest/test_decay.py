from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError, InputError
from pipeline.ingest.decay import MAX_HALF_LIFE_US, STEPS, decay_factors, decay_tables, decay_weights, half_life_us

DAY = 86_400_000_000
EPOCH = 1_700_000_000_000_000
weights = st.integers(0, 2**52)
half_lives = st.one_of(st.integers(1, 10**6), st.integers(DAY, 400 * DAY), st.just(MAX_HALF_LIFE_US))


def one(weight: int, ts: int, half_life: int, epoch: int = EPOCH) -> int:
    return int(decay_weights(np.array([weight]), np.array([ts]), epoch, half_life)[0])


def by_big_integers(weight: int, ts: int, epoch: int, half_life: int) -> int:
    steps = (epoch - ts) * STEPS**2 // half_life
    halvings, step = divmod(steps, STEPS**2)
    if halvings > 100:  # 2**52 units are long gone, and the power below would fill the memory
        return 0
    coarse, fine = (int(table[at]) for table, at in zip(decay_tables(), divmod(step, STEPS), strict=True))
    factor = math.floor(Fraction(coarse * fine, 2**31) + Fraction(1, 2))
    return round(Fraction(weight * factor, 2**32) / Fraction(2) ** halvings)


@given(st.sampled_from(range(STEPS)))
def test_each_coarse_entry_is_the_nearest_integer(c: int) -> None:
    # Exact: t is nearest to x = 2**(32 - c/4096) iff (2t - 1)**4096 < (2x)**4096 < (2t + 1)**4096.
    t = int(decay_tables()[0][c])
    assert (2 * t - 1) ** STEPS < 2 ** (33 * STEPS - c) < (2 * t + 1) ** STEPS


@given(st.sampled_from(range(STEPS)))
def test_each_fine_entry_is_the_nearest_integer(f: int) -> None:
    # The power by its own series: x = 2**31 exp(-y), y = f ln 2 / 2**24 below 2**-12, so that six terms are exact to
    # 2**-70; a tie would have to come nearer to a half than 2**-30.
    y = Fraction(f, 2**24) * Fraction("0.693147180559945309417232121458176568")
    x = 2**31 * sum((-y) ** k / math.factorial(k) for k in range(7))
    assert abs(int(decay_tables()[1][f]) - x) < Fraction(1, 2) - Fraction(1, 2**30) or f == 0


@given(weights, st.integers(-(2**63), 2**63 - 1), half_lives)
def test_equals_big_integers_at_any_age(weight: int, ts: int, half_life: int) -> None:
    ts = min(ts, EPOCH)
    got = one(weight, ts, half_life)
    # Beyond 2**62 us the age is clipped: all such factors round to 0 with any half-life allowed.
    assert got == by_big_integers(weight, max(ts, -(2**62)), EPOCH, half_life)
    assert ts >= -(2**62) or got == 0


@given(weights, st.integers(0, 9 * 400 * DAY), st.integers(400 * DAY, 4000 * DAY))
def test_equals_big_integers_after_the_epoch(weight: int, after: int, half_life: int) -> None:
    assert one(weight, EPOCH + after, half_life) == by_big_integers(weight, EPOCH + after, EPOCH, half_life)


@given(weights, st.integers(0, 30_000 * DAY), st.integers(DAY, 4000 * DAY))
def test_is_within_the_derived_bound_of_the_true_power(weight: int, age: int, half_life: int) -> None:
    got = one(weight, EPOCH - age, half_life)
    # Age rounded down by less than a step: too large by a factor below 2**(2**-24). Each table and their product:
    # half of 2**-31 of a value in (1/2, 1] and of 2**-32 of it, so 3 * 2**-32 relative. Result: half a unit. The
    # float power itself: 20,000 half-lives times 2**-53.
    true = weight * 2.0 ** (-age / half_life)
    slack = 3 * 2**-32 + 1e-11
    assert true * (1 - slack) - 0.5 <= got <= true * 2 ** (2.0**-24) * (1 + slack) + 0.5


@given(st.integers(1, MAX_HALF_LIFE_US), st.lists(st.floats(0, 1, exclude_max=True), min_size=1))
def test_factors_fall_from_one_to_a_half(half_life: int, ages: list[float]) -> None:
    """The steps around the coarse ones too: there both tables change at once."""
    around = [math.ceil(c * half_life / STEPS) for c in range(0, STEPS, 37)]
    rest = np.array(sorted({int(age * half_life) for age in ages} | {r + d for r in around for d in (-1, 0, 1)}))
    factors = decay_factors(rest[(rest >= 0) & (rest < half_life)], half_life)
    assert factors[0] <= 2**32
    assert factors[-1] > 2**31
    assert (factors[1:] <= factors[:-1]).all()


@given(weights, half_lives)
def test_factor_at_the_epoch_is_one(weight: int, half_life: int) -> None:
    assert one(weight, EPOCH, half_life) == weight


@given(st.integers(0, 2**51), st.integers(0, 40), st.integers(0, 10**15), st.integers(1, 10**13))
def test_half_a_life_apart_is_exactly_half(weight: int, lives: int, age: int, half_life: int) -> None:
    # Compared before the last rounding: twice the weight one half-life earlier is the same product.
    assert one(2 * weight, EPOCH - age - half_life, half_life) == one(weight, EPOCH - age, half_life)
    if weight % 2**lives == 0:
        assert one(weight, EPOCH - lives * half_life, half_life) == weight >> lives


@given(weights, st.lists(st.integers(EPOCH - 10**15, EPOCH + 10**12), min_size=2), st.integers(10**12, 10**15))
def test_a_later_event_never_counts_less(weight: int, moments: list[int], half_life: int) -> None:
    ts = np.sort(np.array(moments))
    assert (np.diff(decay_weights(np.full(len(ts), weight), ts, EPOCH, half_life)) >= 0).all()


@given(st.lists(st.tuples(weights, st.integers(0, EPOCH)), min_size=1), st.integers(1, 10**15))
def test_a_row_does_not_depend_on_the_others(rows: list[tuple[int, int]], half_life: int) -> None:
    weight, ts = map(np.array, zip(*rows, strict=True))
    assert decay_weights(weight, ts, EPOCH, half_life).tolist() == [one(w, t, half_life) for w, t in rows]


def test_ties_are_rounded_to_even_at_every_shift() -> None:
    odd = np.arange(1, 2001, 2)
    for lives in range(1, 12):
        ts = np.full(len(odd), EPOCH - lives * DAY)
        got = decay_weights(odd << (lives - 1), ts, EPOCH, DAY)  # each is a whole number and a half
        assert got.tolist() == [round(Fraction(w, 2)) for w in odd.tolist()]
    # Younger than a half-life, the half that is dropped lies in the lower word.
    entry, c = next((int(entry), c) for c, entry in enumerate(decay_tables()[0]) if c and entry % 2 == 0)
    weight = 2**31 // (entry & -entry) * odd
    got = decay_weights(weight, np.full(len(weight), EPOCH - c), EPOCH, STEPS)
    wanted = [Fraction(w * entry, 2**32) for w in weight.tolist()]
    assert {value.denominator for value in wanted} == {2}
    assert got.tolist() == [round(value) for value in wanted]


def test_sixteen_half_lives_after_the_epoch_fit_and_forty_do_not() -> None:
    assert one(2**40, EPOCH + 16 * DAY, DAY) == 2**56
    assert one(0, EPOCH + 400 * DAY, DAY) == 0
    with pytest.raises(InputError, match="40 half-lives after the epoch"):
        one(2**40, EPOCH + 40 * DAY, DAY)


@pytest.mark.parametrize("days", [0, -1, 1e-12, float("inf"), float("nan"), 60_000])
def test_half_lives_that_no_integer_holds_are_refused(days: float) -> None:
    with pytest.raises(ConfigError, match="half_life_days"):
        half_life_us(days)


def test_half_life_is_in_microseconds() -> None:
    assert half_life_us(30) == 30 * DAY
