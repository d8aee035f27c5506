"""Clean rows of attributes to hashed features: conflicts, statistics, and what each value counts.

A feature is a (column, value) pair, named by the hash of both; a number is a feature of its column alone, whose
value is how many deviations it is above the mean. Features of equal columns are equal, whatever the nodes' type.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ldexp, sqrt
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.blocks.arrays import Features
from pipeline.ingest.attributes.rows import AttributeRules, rejected_row
from pipeline.ingest.ids import keys_of
from pipeline.ingest.rejected import REASONS, RowVerdict
from pipeline.kernels.exact_sums import exact_sum, mean_of, scale_of
from pipeline.kernels.node_keys import node_keys

_CONSTANT_BELOW = 2.0**-1000  # a deviation that halves to nothing


@dataclass(frozen=True)
class Spread:
    """Mean and deviation of a column of numbers, over the nodes that have one."""

    count: int
    mean: float
    deviation: float  # 1 where all are equal


@dataclass(frozen=True)
class NumberSum:
    """Numbers of a column in one piece: their count, their exact sum as text, and a power of 2 above them all."""

    count: int
    total: str
    scale: int


@dataclass(frozen=True)
class NumberMean:
    """Mean of a column of numbers, and a power of 2 above them all."""

    count: int
    mean: float
    scale: int


def one_row_a_node(rows: pa.Table, rules: AttributeRules) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Order rows by id; keep one of equal rows, and none where the rows of an id differ.

    So neither the order of files nor that of rows has an effect.

    Returns
    -------
    (rows, rejected rows of the table of rejected attributes).
    """
    rows = rows.sort_by([(name, "ascending") for name in ("node_id", "file", "row")]).combine_chunks()
    ids = rows["node_id"].combine_chunks()
    is_first = np.ones(len(ids), np.bool_)
    if len(ids) > 1:
        is_first[1:] = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    starts = np.append(np.flatnonzero(is_first), len(ids))
    groups = np.flatnonzero(np.diff(starts) > 1)
    rejections: list[dict[str, Any]] = []
    is_kept = is_first.copy()
    for group in groups.tolist():
        first, stop = (int(start) for start in starts[group : group + 2])
        members = rows.slice(first, stop - first).to_pylist()
        values = [{name: row[f"{kind}.{name}"] for kind, name in rules.columns} for row in members]
        if any(first_values != next_values for first_values, next_values in pairwise(values)):
            is_kept[first] = False
            reason = REASONS[RowVerdict.CONFLICT]
            rejections += [
                rejected_row(rules, row["file"], row["row"], row["node_id"], row_values, reason)
                for row, row_values in zip(members, values, strict=True)
            ]
    return (rows if is_kept.all() else rows.filter(pa.array(is_kept))), rejections


def sums_of_numbers(rows: pa.Table, rules: AttributeRules) -> dict[str, NumberSum]:
    """Return by column of numbers what its mean follows from."""
    columns = {name: _numbers(rows, name)[1] for name in rules.numbers}
    return {name: NumberSum(values.size, str(exact_sum(values)), scale_of(values)) for name, values in columns.items()}


def means_of(sums: Sequence[Mapping[str, NumberSum]], rules: AttributeRules) -> dict[str, NumberMean]:
    """Return by column the mean that the sums of all pieces have."""
    means = {}
    for name in rules.numbers:
        pieces = [piece[name] for piece in sums]
        count = sum(piece.count for piece in pieces)
        mean = mean_of(sum(int(piece.total) for piece in pieces), count)
        means[name] = NumberMean(count, mean, max((piece.scale for piece in pieces), default=0))
    return means


def squares_of_numbers(rows: pa.Table, rules: AttributeRules, means: Mapping[str, NumberMean]) -> dict[str, str]:
    """Return {column: exact sum of squared distances from the mean, over 4**scale, as text}."""
    squares = {}
    for name in rules.numbers:
        mean = means[name]
        distance = np.ldexp(_numbers(rows, name)[1], -mean.scale) - ldexp(mean.mean, -mean.scale)
        squares[name] = str(exact_sum(distance * distance))
    return squares


def spreads_of(squares: Sequence[Mapping[str, str]], means: Mapping[str, NumberMean]) -> dict[str, Spread]:
    """Return the statistics of every column of numbers."""
    spreads = {}
    for name, mean in means.items():
        deviation = ldexp(sqrt(mean_of(sum(int(piece[name]) for piece in squares), mean.count)), mean.scale)
        spreads[name] = Spread(mean.count, mean.mean, deviation if deviation > _CONSTANT_BELOW else 1.0)
    return spreads


def features_of(
    rows: pa.Table, rules: AttributeRules, weights: Mapping[str, float], spreads: Mapping[str, Spread]
) -> Features:
    """Return the hashed features of clean rows.

    A column of weight w that has a value for a node adds: a number, w times its distance from the mean in
    deviations; a category, w; each of k values of a list, w / sqrt(k). All are then divided by the root of the sum
    of w squared over these columns or, where it is larger, of the sum of squares of what they add. So squares of
    a row's values sum to 1, and to less where its numbers are all near their means: a row of features is as long
    as a random row at most, an outlier outweighs its own node's other columns only, and nothing jumps at the mean.
    """
    n = rows.num_rows
    pieces: list[tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.float64]]] = []
    square_sum = np.zeros(n)
    for kind, name in rules.columns:
        weight = float(weights.get(name, 1.0))
        if kind == "numbers":
            at, values = _numbers(rows, name)
            spread = spreads[name]
            keys = np.broadcast_to(node_keys(name, [b""]), at.size)
            # Halves: a difference of numbers near the end of the range stays inside it.
            counts = weight * ((values / 2 - spread.mean / 2) / (spread.deviation / 2))
        else:
            at, keys = _hash_values(rows.column(f"{kind}.{name}"), name)
            size = np.bincount(at, minlength=n) if kind == "lists" else np.ones(n)
            counts = weight / np.sqrt(size[at])
        square_sum[np.unique(at)] += weight * weight
        pieces.append((at, keys, counts))
    row, key, value = (np.concatenate([piece[part] for piece in pieces]) for part in range(3))
    length = np.sqrt(np.maximum(np.bincount(row, weights=value * value, minlength=n), square_sum))
    value = (value / length[row]).astype(np.float32)
    counts_at_all = value != 0
    row, key, value = row[counts_at_all], key[counts_at_all], value[counts_at_all]
    order = np.lexsort((key, row))
    return Features.of_counts(np.bincount(row, minlength=n), key[order], value[order])


def _numbers(rows: pa.Table, name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows that have a number, and the numbers."""
    column = rows.column(f"numbers.{name}").combine_chunks()
    at = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    return at, column.drop_null().to_numpy()


def _hash_values(column: pa.ChunkedArray, name: str) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Rows, one for each of their values, and the values' keys."""
    whole = column.combine_chunks()
    if pa.types.is_list(whole.type):
        at = pc.list_parent_indices(whole).to_numpy().astype(np.int64)
        values = pc.list_flatten(whole)
    else:
        at = np.flatnonzero(whole.is_valid().to_numpy(zero_copy_only=False))
        values = whole.drop_null()
    codes = values.dictionary_encode()
    return at, keys_of(name, codes.dictionary)[codes.indices.to_numpy()]
