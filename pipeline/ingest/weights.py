"""Weights as int64 in units of 2**-32, so that sums do not depend on their order.

A row's weight is at most ``MAX_WEIGHT`` = 2**20, that is 2**52 units, and exact in a float64 on its way. Sums
are int64 and must stay below 2**63 units, a weight of 2**31. ``Counts.weight_total`` is the exact total of
all rows: where it stays below 2**63 no sum of rows can overflow, since every weight is positive. Otherwise
whoever sums must check, such as by summing ``weight / 2**32`` as float64 beside it and refusing what reaches
2**30: a float sum of positive terms is never off by a factor of 2.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.ingest.rejected import RowVerdict, Verdicts, is_missing, is_text, mask_of

ONE = 2**32  # units of weight 1
MAX_WEIGHT = 2.0**20

_NUMBER = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"
_NOT_FINITE = r"^[+-]?(?:nan|inf|infinity)$"


def judge_events(
    column: pa.Array, weights: Mapping[str, float], verdicts: Verdicts, name: str, where: str
) -> NDArray[np.float64]:
    """Return the weight of each row's kind of event, (n,) float64; 0 for rows of no known kind.

    Raises
    ------
    InputError : for a column that is neither text nor integers.
    """
    kind = column.type
    type_checks = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_null, is_text)
    if not any(holds(kind) for holds in type_checks):
        raise InputError(
            f"column '{name}' of {where} is {kind}; kinds of events are text or integers, as they stand in "
            f"[input.event_weights]. Write it as CAST({name} AS STRING)."
        )
    verdicts.mark(is_missing(column), RowVerdict.NULL_EVENT)
    at = pc.index_in(pc.cast(column, pa.string(), safe=False), pa.array(list(weights), pa.string()))
    kinds = at.fill_null(len(weights)).to_numpy()
    verdicts.mark(kinds == len(weights), RowVerdict.UNKNOWN_EVENT)
    result: NDArray[np.float64] = np.array([*weights.values(), 0.0])[kinds]
    return result


def judge_weights(
    column: pa.Array | None, factor: NDArray[np.float64] | None, verdicts: Verdicts, name: str, where: str
) -> NDArray[np.int64]:
    """Return column x factor in units of 2**-32, rounded half to even; (n,) int64.

    At least one of the two is not None. Rows with a verdict hold any value.

    Raises
    ------
    InputError : for a column that is neither numbers nor text.
    """
    if column is None:
        assert factor is not None
        value = factor
    else:
        value = _numbers(column, verdicts, name, where)
        if factor is not None:
            with np.errstate(over="ignore", invalid="ignore"):  # judged below
                value = value * factor
    if not value.all() or not (value > 0).all() or value.max(initial=0.0) > MAX_WEIGHT:
        verdicts.mark(~np.isfinite(value), RowVerdict.WEIGHT_NOT_FINITE)
        verdicts.mark(~(value > 0), RowVerdict.WEIGHT_NOT_POSITIVE)
        verdicts.mark(value > MAX_WEIGHT, RowVerdict.WEIGHT_OUT_OF_RANGE)
        value = np.where((value > 0) & (value <= MAX_WEIGHT), value, 1.0)
    units: NDArray[np.int64] = np.rint(value * ONE).astype(np.int64)  # rint rounds half to even; x 2**32 is exact
    verdicts.mark(units == 0, RowVerdict.WEIGHT_OUT_OF_RANGE)  # 2**-33 or less: it would vanish
    return units


def weight_total(units: NDArray[np.int64]) -> int:
    """Return the exact sum; that of 2**20 rows of 2**52 units would not fit in 64 bits."""
    return (int((units >> 32).sum()) << 32) + int((units & (ONE - 1)).sum())


def times_strength(units: NDArray[np.int64], strength: float) -> NDArray[np.int64]:
    """Return the weights of a relation's pairs times its strength, in float64, rounded; none falls to zero.

    Raises
    ------
    InputError : a product is above 2**30.
    """
    if strength == 1:
        return units
    product = units * np.float64(strength)
    if product.max(initial=0.0) > 2.0**30 * ONE:
        raise InputError(
            f"strength is {strength:g}, and the largest weight of its pairs {units.max() / ONE:g}: their product is "
            "above 2**30; lower the strength, or scale the weights down"
        )
    return np.maximum(np.rint(product), 1).astype(np.int64)


def _numbers(column: pa.Array, verdicts: Verdicts, name: str, where: str) -> NDArray[np.float64]:
    """A weight column as float64; rows with a verdict hold 1."""
    kind = column.type
    verdicts.mark(is_missing(column), RowVerdict.NULL_WEIGHT)
    if is_text(kind):
        return numbers_from_text(pc.cast(column, pa.string(), safe=False), verdicts, RowVerdict.UNREADABLE_WEIGHT)
    if pa.types.is_null(kind):
        return np.ones(len(column))
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise InputError(
            f"column '{name}' of {where} is {kind}; weights are numbers, or numbers as text. "
            f"Write it as CAST({name} AS DOUBLE), or map another column in [input]."
        )
    # safe=False: an integer beyond 2**53 is rounded, and out of range anyway.
    floats = pc.cast(column, pa.float64(), safe=False)
    result: NDArray[np.float64] = (floats.fill_null(1.0) if floats.null_count else floats).to_numpy()
    return result


def numbers_from_text(text: pa.Array, verdicts: Verdicts, unreadable: RowVerdict) -> NDArray[np.float64]:
    """Return decimal numbers as float64: NaN where the text says so, 1 where there is no number."""
    text = pc.ascii_trim_whitespace(text)
    is_number = mask_of(pc.match_substring_regex(text, _NUMBER))
    is_infinite = mask_of(pc.match_substring_regex(text, _NOT_FINITE, ignore_case=True))
    verdicts.mark(~(is_number | is_infinite), unreadable)
    result = np.ones(len(text))
    result[is_infinite] = np.nan
    at = np.flatnonzero(is_number)
    result[at] = pc.cast(text.take(pa.array(at)), pa.float64()).to_numpy()
    return result
