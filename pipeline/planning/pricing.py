"""What embedding costs in so many parts and shards: memory of a task, exchanged rows, seconds. Counts only.

An alternative is a cut of the graph and a number of shards. All counts of a finished cut are known, and the bytes of
exchanged rows follow; those of another cut are bounds. Seconds are estimates: see :mod:`pipeline.planning.time_model`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.kernels.narrow_rows import groups_of
from pipeline.partitioning.cutting import ENTRY_BYTES, ROW_BYTES
from pipeline.planning import time_model
from pipeline.planning.cuts import Cut
from pipeline.planning.embedding_work import Work
from pipeline.planning.time_model import Wave, cpu_seconds_of, product_seconds, wall_seconds_of

_TASK_BYTES = 4 * 2**20  # that a task holds in any case (batches of files): measured
#: float64 matrices of columns by columns that a task holds where rows are reduced, and rows it takes to float64
#: at a time to make them.
_SQUARES, _ROWS_AT_ONCE = 6, 2 * 2_048
#: More shards than this many tasks a slot only add overhead.
_TASKS_A_SLOT = 8
#: Fewer shards are taken where more save less than this share of the time: a model of time is no better.
_WORTH = 0.10


@dataclass(frozen=True)
class Price:
    """What one alternative costs."""

    parts: int
    shards: int
    task_bytes: int
    floats_moved_per_node: float
    cpu_seconds: float
    wall_seconds: float
    tasks: int
    is_exact: bool  # counts of the cut; seconds are estimates in any case


@dataclass(frozen=True)
class ShardChoice:
    """The price with the chosen number of shards, and why it is chosen."""

    price: Price
    reason: str


@dataclass(frozen=True)
class _RowCounts:
    """Rows by what a method does with them. They are estimates for one part of several."""

    all: float
    joined_rows: float  # at home, copies and ghosts
    joined_home: float
    home: float

    @classmethod
    def of(cls, cut: Cut, work: Work, part_rows: int | None = None) -> _RowCounts:
        """Return the rows of all parts, or of a part that stores so many: in the proportions of all parts."""
        rows, away = sum(cut.rows), cut.copies + cut.ghosts
        share = 1.0 if part_rows is None else part_rows / max(rows, 1)
        home = max(rows - away, 0) * share
        joined_home = home * work.joined_nodes / max(work.nodes, 1)
        return cls(rows * share, joined_home + away * share, joined_home, home)


def price(cut: Cut, work: Work, shards: int, engine: str, slots: int) -> Price:
    """Price one alternative.

    Parameters
    ----------
    engine : "local" or "spark". slots : tasks that run at once.
    """
    shards, slots = work.shards(shards), max(slots, 1)
    tasks = waves(cut, work, shards)
    return Price(
        parts=cut.parts,
        shards=shards,
        task_bytes=task_bytes(cut, work, shards),
        floats_moved_per_node=moved_bytes(cut, work) / 4 / work.nodes if work.nodes else 0.0,
        cpu_seconds=cpu_seconds_of(tasks, slots),
        wall_seconds=wall_seconds_of(tasks, engine, slots),
        tasks=sum(wave.tasks for wave in tasks),
        is_exact=cut.is_exact,
    )


def shard_counts(cut: Cut, work: Work, slots: int) -> list[int]:
    """Return the numbers of shards that are worth a price, ascending: powers of two, and what fills the slots."""
    most = work.most_shards
    filling = math.ceil(slots / max(cut.parts, 1))
    counts = {1, most, filling, *(2**power for power in range(most.bit_length()))}
    return sorted(count for count in counts if 1 <= count <= most)


def choose_shards(
    cut: Cut, work: Work, max_bytes: int, engine: str, slots: int, *, shards: int | None = None
) -> ShardChoice:
    """Choose how many tasks share the columns of a part: the least wall time among those that fit.

    Without an exchange no columns are shared out, nor are orthogonal ones. Fewer shards are taken where more save
    little time. If a task is too large even with the most shards, the fewest shards that come near the least memory
    are taken.

    Parameters
    ----------
    shards : the number of ``embedding.shards``, if it is set.
    """
    if not work.exchanges:
        return ShardChoice(price(cut, work, 1, engine, slots), "no rows are exchanged")
    if work.is_reduced:
        return ShardChoice(price(cut, work, 1, engine, slots), "columns are made orthogonal to each other")
    if shards:
        return ShardChoice(price(cut, work, shards, engine, slots), "as embedding.shards says")
    prices = [price(cut, work, count, engine, slots) for count in shard_counts(cut, work, slots)]
    fitting = [candidate for candidate in prices if candidate.task_bytes - _TASK_BYTES <= max_bytes]
    if not fitting:
        least = min(candidate.task_bytes for candidate in prices)
        near = next(candidate for candidate in prices if candidate.task_bytes <= (1 + _WORTH) * least)
        return ShardChoice(near, "no number of shards fits partition.max_bytes: near the least memory")
    useful = [
        candidate
        for candidate in fitting
        if candidate.parts * candidate.shards <= _TASKS_A_SLOT * max(slots, candidate.parts)
    ] or fitting[:1]
    fastest = min(candidate.wall_seconds for candidate in useful)
    best = next(candidate for candidate in useful if candidate.wall_seconds <= (1 + _WORTH) * fastest)
    if len(prices) == 1:
        return ShardChoice(best, "the columns are one group")
    if prices[0] is best:
        return ShardChoice(best, "more shards save less than a tenth of the time")
    if fitting[0] is best:
        return ShardChoice(best, "fewer shards do not fit partition.max_bytes")
    return ShardChoice(best, "the least time among those that fit partition.max_bytes")


def moved_bytes(cut: Cut, work: Work) -> int:
    """Return the bytes of rows that go to another part: partial rows to homes, totals to whoever reads them.

    Each copy's partial row is sent in all rounds that aren't one way, with its noise scale where a round needs it.
    Totals go to copies and ghosts in all rounds but the last. Shards change nothing.
    """
    if not work.exchanges:
        return 0
    total = sum(moved_bytes(cut, prelude) for prelude in work.preludes)
    for number, round_work in enumerate(work.rounds, start=1):
        row = work.row_bytes(round_work.width)
        if not round_work.is_one_way:
            total += cut.copies * (row + round_work.needs_noise_scales * work.noise_scale_bytes)
        if number < len(work.rounds):
            total += (cut.copies + cut.ghosts) * row
    return total


def kept_bytes(cut: Cut, work: Work, shards: int) -> int:
    """Return about the bytes of files that are kept until all rounds are done, beside the rows that are the result."""
    total = sum(kept_bytes(cut, prelude, 1) for prelude in work.preludes)
    rows, shards = _RowCounts.of(cut, work), work.shards(shards)
    if cut.parts > 1 and work.exchanges:
        # Of each round: the rows at home and what they carry; and what travelled.
        widths = [round_work.width + work.carried_columns(shards) for round_work in work.rounds[:-1]]
        total += sum(int(rows.joined_home) * (16 + 4 * width) for width in widths)
        if work.is_reduced:
            total += int(rows.home) * (16 + 4 * work.rounds[-1].width)
            total += cut.parts * sum(8 * round_work.width**2 for round_work in work.rounds)
        total += moved_bytes(cut, work) - sum(moved_bytes(cut, prelude) for prelude in work.preludes)
    if shards > 1:
        # Squares of rows, for their norms; and what is added up when they are known.
        total += int(rows.all) * groups_of(work.dim) * 8 * 2 * work.noise_scale_rounds
        total += int(rows.home) * (16 + 4 * work.dim) * work.noise_scale_rounds if work.keeps_total else 0
    return total


def task_bytes(cut: Cut, work: Work, shards: int) -> int:
    """Return the memory of the largest task, beside the process itself.

    The task of a graph in one block holds all at once: joined rows with their products, what is carried, and other
    rows. The task of a part makes the product first, then brings what is carried to whole rows; homes add in float64.
    """
    if not work.rounds:
        return 0
    largest = max((task_bytes(cut, prelude, 1) for prelude in work.preludes), default=_TASK_BYTES)
    widest = max(round_work.width for round_work in work.rounds)
    width = work.columns_of_shard(widest, shards)
    extra = work.carried_columns(shards) * width // widest
    first = extra if work.keeps_total or not extra else extra + 2 * width  # as it is built
    squares = 8 * (_SQUARES * width**2 + _ROWS_AT_ONCE * width) if work.is_reduced else 0
    for part_rows, entries in zip(cut.rows, cut.entries, strict=True):
        rows = _RowCounts.of(cut, work, part_rows)
        other_rows = rows.all - rows.joined_rows
        product_floats = work.buffers * rows.joined_rows * width + other_rows * width
        if cut.parts == 1 or not work.exchanges:
            floats = max(product_floats + rows.joined_rows * extra, rows.joined_rows * first)
            reduction_floats = rows.all * width + max(rows.joined_rows, other_rows) * 2 * work.dim
        else:
            # A split node has between one copy and a copy in every other part.
            copies = cut.copies * rows.all / max(sum(cut.rows), 1)
            whole = rows.joined_home - min(copies / (cut.parts - 1), rows.joined_home)
            split = min(copies, rows.joined_home)
            floats = max(product_floats, whole * (width + first), split * max(width + first, 3 * width))
            reduction_floats = max(rows.joined_home, other_rows) * (width + max(width, 2 * work.dim))
        floats = max(floats, reduction_floats) if work.is_reduced else floats
        size = int(4 * floats) + part_rows * ROW_BYTES + entries * ENTRY_BYTES + squares + _TASK_BYTES
        largest = max(largest, size)
    return largest


def waves(cut: Cut, work: Work, shards: int) -> list[Wave]:
    """Return the waves of tasks, as :mod:`pipeline.embedding.rounds` makes them."""
    shards = work.shards(shards)
    preludes = [wave for prelude in work.preludes for wave in _round_waves(cut, prelude, 1)]
    rounds = _round_waves(cut, work, shards, writes_rows=True)
    return [*preludes, *rounds, *(_norm_waves(cut, work, shards) if shards > 1 else [])]


def _round_waves(cut: Cut, work: Work, shards: int, *, writes_rows: bool = False) -> list[Wave]:
    rows, tasks = _RowCounts.of(cut, work), cut.parts * shards
    reduction = _dense_seconds(rows.home, work.rounds[-1].width, work.dim) if work.is_reduced else 0.0
    if cut.parts > 1 and work.exchanges:
        exchange_waves = [
            wave for number in range(len(work.rounds)) for wave in _exchange_waves(cut, work, number, shards)
        ]
        if work.is_reduced and writes_rows:
            columns = work.rounds[-1].width + work.dim
            files = time_model.FILE_BYTE * 4 * rows.home * columns + time_model.STARTED_TASK * cut.parts
            exchange_waves.append(Wave(cut.parts, files + reduction))
        return exchange_waves
    seconds = _opening_seconds(cut, shards) + reduction
    seconds += sum(_compute_seconds(cut, rows, work, number, shards) for number in range(len(work.rounds)))
    # Powers are in files until their norms are known.
    times = work.noise_scale_rounds if work.keeps_total and shards > 1 else 1
    return [Wave(tasks, seconds + writes_rows * times * time_model.FILE_BYTE * 4 * rows.home * work.dim)]


def _exchange_waves(cut: Cut, work: Work, number: int, shards: int) -> list[Wave]:
    """Return the waves of a round over parts: products, and homes where nodes are split."""
    rows, round_work, parts = _RowCounts.of(cut, work), work.rounds[number], cut.parts
    is_last = number == len(work.rounds) - 1
    row = work.row_bytes(round_work.width)
    joined_bytes = rows.joined_rows * row + 4 * work.carried_columns(shards) * rows.joined_home
    partial = 0 if round_work.is_one_way else cut.copies * row
    size = partial + (joined_bytes if number else 0) + (4 * rows.home * round_work.width if is_last else joined_bytes)
    coded_rows = cut.copies + (0 if is_last else rows.joined_rows)
    slices = 0
    if number:
        coded_rows += cut.copies + cut.ghosts + rows.joined_rows
        slices = parts * (parts - 1) * shards
    coded_width = round_work.width if work.dtype != "float32" else 0
    opening = _opening_seconds(cut, shards)
    seconds = opening + _compute_seconds(cut, rows, work, number, shards)
    products = Wave(parts * shards, seconds + _file_seconds(size, coded_rows * coded_width, slices))
    if not cut.homes or round_work.is_one_way:
        return [products]
    inbox = _file_seconds(2 * partial, cut.copies * coded_width, cut.homes * parts * shards)
    return [products, Wave(cut.homes * shards, opening * cut.homes / parts + inbox)]


def _norm_waves(cut: Cut, work: Work, shards: int) -> list[Wave]:
    """Return the waves that make what takes whole rows, of the columns that shards have left."""
    rows, opening = _RowCounts.of(cut, work), _opening_seconds(cut, 1)
    sides = 2 if work.has_two_sides else 1
    sweep = sides * sum(cut.entries) / 2 * time_model.VISITED_ENTRY + 2 * rows.all * time_model.OPENED_ROW
    squares = _file_seconds(2 * rows.all * 8 * groups_of(work.dim))
    norm_waves = [Wave(cut.parts, opening + work.noise_scale_rounds * (sweep + squares))]
    homes = cut.homes if cut.parts > 1 else 0
    if homes:
        slices = _file_seconds(slices=homes * cut.parts * work.noise_scale_rounds)
        norm_waves.append(Wave(homes, opening * homes / cut.parts + slices))
    if work.keeps_total:
        tasks = (cut.parts + homes) * shards
        sums = _file_seconds((work.noise_scale_rounds + 1) * 4 * rows.home * work.dim)
        norm_waves.append(Wave(tasks, sums + time_model.STARTED_TASK * tasks))
    return norm_waves


def _compute_seconds(cut: Cut, rows: _RowCounts, work: Work, number: int, shards: int) -> float:
    """Return the seconds of a product with the graph, and of what is done with complete rows after it."""
    round_work = work.rounds[number]
    width = round_work.width
    product = product_seconds(cut.rows, cut.entries, width, work.columns_of_shard(width, shards), shards)
    if round_work.is_one_way and work.has_two_sides:
        product /= 2  # to the other nodes, and not back
    if work.keeps_total:  # norms are taken of all rows that are multiplied
        return product + (
            time_model.CACHED_BYTE * 8 * work.extra_columns * rows.joined_rows if round_work.needs_noise_scales else 0.0
        )
    if not work.is_reduced:
        return product + time_model.SWEPT_BYTE * 8 * work.extra_columns * rows.joined_home
    product += time_model.SWEPT_BYTE * 8 * width * (work.buffers - 1) * rows.joined_rows
    product += _dense_seconds(rows.joined_rows, width, width) if number else 0.0
    sum_rows = rows.joined_home
    if round_work.is_one_way:  # of two different matrices, which takes twice as long
        sum_rows = rows.all if work.has_two_sides else 2 * rows.joined_rows
    eigenpairs = time_model.CUBED_COLUMN * width**3 * (1 if work.exchanges else cut.parts)
    # Sums of all pairs of columns, in float64: read as float32, written and read as float64.
    return product + eigenpairs + sum_rows * width * (2 * width * time_model.DENSE_FLOP + 20 * time_model.SWEPT_BYTE)


def _opening_seconds(cut: Cut, shards: int) -> float:
    seconds = sum(cut.rows) * time_model.OPENED_ROW + sum(cut.entries) * time_model.OPENED_ENTRY
    return shards * (seconds + cut.parts * time_model.STARTED_TASK)


def _dense_seconds(rows: float, width: int, columns: int) -> float:
    """Return the seconds of rows times a matrix of width by columns."""
    return rows * (2 * width * columns * time_model.DENSE_FLOP + 4 * (width + columns) * time_model.SWEPT_BYTE)


def _file_seconds(size: float = 0.0, coded_floats: float = 0.0, slices: int = 0) -> float:
    return size * time_model.FILE_BYTE + coded_floats * time_model.CODED_FLOAT + slices * time_model.SLICE
