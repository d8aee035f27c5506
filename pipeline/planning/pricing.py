"""What embedding costs in so many parts and shards: memory of a task, rows that travel, seconds. Counts only.

An alternative is a cut of the graph and a number of shards. Of a cut that is made all counts are known, and what
travels follows to the byte; of one that isn't they are bounds. Seconds are estimates: see
:mod:`pipeline.planning.time_model`. :mod:`pipeline.planning.embedding_work` asks a method for its rounds and states
them as :class:`~pipeline.planning.round_work.Work`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.kernels.narrow_rows import groups_of
from pipeline.planning.cuts import Cut
from pipeline.planning.round_work import Work, kept_columns, shards_of, share_of
from pipeline.planning.time_model import Load, Wave, seconds_of, wall_of

#: What a task holds for each stored entry (a neighbour and a weight), for each stored row beside its columns
#: (the node's columns, row starts, strengths, magnitudes), and in any case (batches of files): measured.
_ENTRY_BYTES, _ROW_BYTES, _TASK_BYTES = 8, 80, 4 * 2**20
#: float64 matrices of columns by columns that a task holds where rows are reduced, and rows it takes to float64
#: at a time to make them.
_SQUARES, _SUMMED_AT_ONCE = 6, 2 * 2_048
#: More shards than this many tasks a slot only add overhead.
_TASKS_A_SLOT = 8
#: Fewer shards are taken where more save less than this share of the time: a model of time is no better.
_WORTH = 0.10


def moved_bytes(cut: Cut, work: Work) -> int:
    """Return the bytes of rows that go to another part: partial rows to homes, totals to whoever reads them.

    Each copy's partial row travels in all rounds that aren't one way, with its magnitude where that is asked for;
    totals go to copies and ghosts in all rounds but the last. Shards change nothing.
    """
    if not work.exchanges:
        return 0
    total = sum(moved_bytes(cut, small) for small in work.preludes)
    for number, one in enumerate(work.rounds, start=1):
        row = work.row_bytes(one.width)
        if not one.is_one_way:
            total += cut.copies * (row + one.is_measured * work.magnitude_bytes)
        if number < len(work.rounds):
            total += (cut.copies + cut.ghosts) * row
    return total


def floats_moved_per_node(cut: Cut, work: Work) -> float:
    """Return the same in float32s a node."""
    return moved_bytes(cut, work) / 4 / work.nodes if work.nodes else 0.0


@dataclass(frozen=True)
class _Rows:
    """Rows of parts, told apart by what a method does with them. Estimates, where it is one part of several."""

    all: float
    joined: float  # stored: at home, copies and ghosts
    joined_home: float
    home: float

    @classmethod
    def of(cls, cut: Cut, work: Work, stored: int | None = None) -> _Rows:
        """Return those of all parts, or of a part that stores so many: as all parts on average."""
        rows, away = sum(cut.rows), cut.copies + cut.ghosts
        share = 1.0 if stored is None else stored / max(rows, 1)
        home = max(rows - away, 0) * share
        joined_home = home * work.joined / max(work.nodes, 1)
        return cls(rows * share, joined_home + away * share, joined_home, home)


def _whole_and_split(cut: Cut, rows: _Rows) -> tuple[float, float]:
    """Return how many of the joined rows at home in one of several parts are whole at most, and split at most.

    A split node has between one copy and a copy in every other part.
    """
    copies = cut.copies * rows.all / max(sum(cut.rows), 1)
    fewest = min(copies / (cut.parts - 1), rows.joined_home)
    return rows.joined_home - fewest, min(copies, rows.joined_home)


def kept_bytes(cut: Cut, work: Work, shards: int) -> int:
    """Return the bytes of files that are kept until all rounds are done, beside the rows that are the result."""
    found = sum(kept_bytes(cut, small, 1) for small in work.preludes)
    rows, shards = _Rows.of(cut, work), shards_of(work, shards)
    if cut.parts > 1 and work.exchanges:
        # Of each round: the rows at home and what they carry.
        carried = 4 * kept_columns(work, shards)
        found += sum(int(rows.joined_home) * (16 + 4 * one.width + carried) for one in work.rounds[:-1])
        if work.is_reduced:
            found += int(rows.home) * (16 + 4 * work.rounds[-1].width)
            found += cut.parts * sum(8 * one.width**2 for one in work.rounds)
        found += moved_bytes(cut, work) - sum(moved_bytes(cut, small) for small in work.preludes)
    if shards > 1:
        # Squares of rows, for their norms; and what is added up when they are known.
        found += int(rows.all) * groups_of(work.dim) * 8 * 2 * work.measured
        found += int(rows.home) * (16 + 4 * work.dim) * work.measured if work.keeps_total else 0
    return found


def task_bytes(cut: Cut, work: Work, shards: int) -> int:
    """Return the memory of the largest task, beside the process itself.

    Of a graph in one block all is held at once: joined rows with their products, what is carried, and other rows.
    Among several, the product comes first, then what was carried is brought to whole rows; homes add in float64.
    """
    if not work.rounds:
        return 0
    found = max((task_bytes(cut, small, 1) for small in work.preludes), default=0)
    is_alone = cut.parts == 1 or not work.exchanges
    widest = max(one.width for one in work.rounds)
    width = share_of(work, widest, shards)
    kept = kept_columns(work, shards) * width // widest
    first = kept if work.keeps_total or not kept else kept + 2 * width  # as it is built
    squares = 8 * (_SQUARES * width**2 + _SUMMED_AT_ONCE * width) if work.is_reduced else 0
    for stored, entries in zip(cut.rows, cut.entries, strict=True):
        rows = _Rows.of(cut, work, stored)
        others = rows.all - rows.joined
        multiplying = work.buffers * rows.joined * width + others * width
        if is_alone:
            columns = max(multiplying + rows.joined * kept, rows.joined * first)
            if work.is_reduced:
                columns = max(columns, rows.all * width + max(rows.joined, others) * 2 * work.dim)
        else:
            whole, split = _whole_and_split(cut, rows)
            columns = max(multiplying, whole * (width + first), split * max(width + first, 3 * width))
            if work.is_reduced:
                columns = max(columns, max(rows.joined_home, others) * (width + max(width, 2 * work.dim)))
        found = max(found, int(4 * columns) + stored * _ROW_BYTES + entries * _ENTRY_BYTES + squares + _TASK_BYTES)
    return found or _TASK_BYTES


def waves(cut: Cut, work: Work, shards: int) -> list[Wave]:
    """Return the waves of tasks, as :mod:`pipeline.embedding.rounds` makes them, with what each does."""
    shards, exchanged = shards_of(work, shards), cut.parts > 1 and work.exchanges
    found = [wave for small in work.preludes for wave in _rounds(cut, small, 1, writes_rows=False)]
    found += _rounds(cut, work, shards)
    rows = _Rows.of(cut, work)
    if work.is_reduced and exchanged:
        width = work.rounds[-1].width
        files = Load(file_bytes=4 * rows.home * (width + work.dim), tasks=cut.parts)
        found.append(Wave(cut.parts, files + _reduction(rows, work)))
    return found + _waves_of_norms(cut, work, shards) if shards > 1 else found


def _rounds(cut: Cut, work: Work, shards: int, *, writes_rows: bool = True) -> list[Wave]:
    """Return the waves of the rounds alone."""
    if cut.parts > 1 and work.exchanges:
        return [wave for number in range(len(work.rounds)) for wave in _round(cut, work, number, shards)]
    rows, tasks = _Rows.of(cut, work), cut.parts * shards
    done = _opened(cut, shards)
    for number in range(len(work.rounds)):
        done += _product(cut, rows, work, number, shards) + _between(rows, work, number)
        done += _decomposition(work, number).times(cut.parts)
    # Powers are in files until their norms are known.
    written = (work.measured if work.keeps_total and shards > 1 else 1) * writes_rows
    done += Load(file_bytes=4 * rows.home * work.dim * written)
    return [Wave(tasks, done + _reduction(rows, work) if work.is_reduced else done)]


def _round(cut: Cut, work: Work, number: int, shards: int) -> list[Wave]:
    """Return the waves of a round over parts: products, homes, and what the driver makes of their sums."""
    rows, here, parts = _Rows.of(cut, work), work.rounds[number], cut.parts
    is_last = number == len(work.rounds) - 1
    row, away = work.row_bytes(here.width), cut.copies + cut.ghosts
    carried = 4 * kept_columns(work, shards) * rows.joined_home
    partial = 0 if here.is_one_way else cut.copies * row
    arrived = rows.joined * row + carried if number else 0
    left = 4 * rows.home * here.width if is_last else rows.joined * row + carried
    coded = here.width if work.dtype != "float32" else 0
    files = Load(
        file_bytes=partial + arrived + left + (8 * here.width**2 * parts * 2 if work.is_reduced else 0),
        coded_floats=coded * (cut.copies + ((away + rows.joined) if number else 0) + (0 if is_last else rows.joined)),
        slices=parts * (parts - 1) * shards if number else 0,
    )
    opened = _opened(cut, shards)
    product = opened + _product(cut, rows, work, number, shards) + _between(rows, work, number)
    made = [Wave(parts * shards, product + files)]
    if cut.homes and not here.is_one_way:
        inbox = Load(file_bytes=2 * partial, coded_floats=coded * cut.copies, slices=cut.homes * parts * shards)
        made.append(Wave(cut.homes * shards, opened.times(cut.homes / parts) + inbox))
    return [*made, Wave(0, _decomposition(work, number))] if work.is_reduced else made


def _opened(cut: Cut, shards: int) -> Load:
    tasks = cut.parts * shards
    return Load(opened_entries=shards * sum(cut.entries), opened_rows=shards * sum(cut.rows), tasks=tasks)


def _product(cut: Cut, rows: _Rows, work: Work, number: int, shards: int) -> Load:
    """The product with the graph, and of columns with columns before it."""
    here = work.rounds[number]
    width = here.width
    load = Load.product(cut.rows, cut.entries, width, share_of(work, width, shards), shards)
    if here.is_one_way and work.has_two_sides:
        load = load.times(0.5)  # to the other nodes, and not back
    if not work.is_reduced:
        return load
    copied = Load(swept_bytes=2 * 4 * width * (work.buffers - 1) * rows.joined)
    return load + copied + (_dense(rows.joined, width, width) if number else Load())


def _between(rows: _Rows, work: Work, number: int) -> Load:
    """What is done with complete rows: what is carried is brought up to date, and columns are summed in pairs."""
    here = work.rounds[number]
    if work.keeps_total:  # and norms are taken, of all rows that are multiplied
        return Load(streamed_bytes=2 * 4 * work.kept * rows.joined if here.is_measured else 0)
    if not work.is_reduced:
        return Load(swept_bytes=2 * 4 * work.kept * rows.joined_home)
    if not here.is_one_way:
        summed = rows.joined_home
    elif work.has_two_sides:
        summed = rows.all
    else:
        summed = 2 * rows.joined  # of two different matrices, which takes twice as long
    # Read as float32, written and read as float64.
    return Load(double_flops=summed * here.width**2, swept_bytes=20 * summed * here.width)


def _decomposition(work: Work, number: int) -> Load:
    """The eigenpairs of a round's sums."""
    return Load(decomposed=work.rounds[number].width ** 3 if work.is_reduced else 0)


def _reduction(rows: _Rows, work: Work) -> Load:
    return _dense(rows.home, work.rounds[-1].width, work.dim)


def _dense(rows: float, width: int, columns: int) -> Load:
    """Rows times a matrix of width by columns."""
    return Load(single_flops=2 * rows * width * columns, swept_bytes=4 * rows * (width + columns))


def _waves_of_norms(cut: Cut, work: Work, shards: int) -> list[Wave]:
    """Return the waves that make what takes whole rows, of the columns that shards have left."""
    rows, entries, parts, measured = _Rows.of(cut, work), sum(cut.entries), cut.parts, work.measured
    over = _opened(cut, 1)
    sides = 2 if work.has_two_sides else 1
    swept = Load(entries=sides * entries / 2, opened_rows=2 * rows.all).times(measured)
    squares = Load(file_bytes=2 * measured * rows.all * 8 * groups_of(work.dim))
    made = [Wave(parts, over + swept + squares)]
    homes = cut.homes if parts > 1 else 0
    if homes:
        made.append(Wave(homes, over.times(homes / parts) + Load(slices=homes * parts * measured)))
    if work.keeps_total:
        holders = parts + homes
        summed = Load(file_bytes=(measured + 1) * 4 * rows.home * work.dim, tasks=holders * shards)
        made.append(Wave(holders * shards, summed))
    return made


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


def price(cut: Cut, work: Work, shards: int, engine: str, slots: int, slowness: float = 1.0) -> Price:
    """Price one alternative.

    Parameters
    ----------
    engine : "local" or "spark". slots : tasks that run at once.
    slowness : seconds of this machine over those of the machine that the model was fitted on.
    """
    shards, slots = shards_of(work, shards), max(slots, 1)
    found = waves(cut, work, shards)
    return Price(
        parts=cut.parts,
        shards=shards,
        task_bytes=task_bytes(cut, work, shards),
        floats_moved_per_node=floats_moved_per_node(cut, work),
        cpu_seconds=seconds_of(found, slots, slowness),
        wall_seconds=wall_of(found, engine, slots, slowness),
        tasks=sum(wave.tasks for wave in found),
        is_exact=cut.is_exact,
    )


@dataclass(frozen=True)
class Choice:
    """The chosen alternative of a cut, and why."""

    price: Price
    reason: str


def shard_counts(cut: Cut, work: Work, slots: int) -> list[int]:
    """Return the numbers of shards that are worth a thought, ascending: powers of two, and what fills the slots."""
    most = work.most_shards
    filling = math.ceil(slots / max(cut.parts, 1))
    counts = {1, most, filling, *(2**power for power in range(most.bit_length()))}
    return sorted(count for count in counts if 1 <= count <= most)


def choose_shards(
    cut: Cut,
    work: Work,
    max_bytes: int,
    engine: str,
    slots: int,
    slowness: float = 1.0,
    *,
    asked: int | None = None,
) -> Choice:
    """Choose how many tasks share the columns of a part: the least wall time among those that fit.

    Without an exchange no columns are shared out, nor are orthogonal ones. Fewer shards are taken where more save
    little time. If a task is too large even with the most shards, it is the fewest shards that come near the least
    memory.

    Parameters
    ----------
    asked : as many as the configuration says, if it says so.
    """
    if not work.exchanges:
        return Choice(price(cut, work, 1, engine, slots, slowness), "no rows are exchanged")
    if work.is_reduced:
        return Choice(price(cut, work, 1, engine, slots, slowness), "columns are made orthogonal to each other")
    if asked:
        return Choice(price(cut, work, asked, engine, slots, slowness), "as embedding.shards says")
    prices = [price(cut, work, count, engine, slots, slowness) for count in shard_counts(cut, work, slots)]
    fitting = [one for one in prices if one.task_bytes - _TASK_BYTES <= max_bytes]
    if not fitting:
        least = min(one.task_bytes for one in prices)
        near = next(one for one in prices if one.task_bytes <= (1 + _WORTH) * least)
        return Choice(near, "no number of shards fits partition.max_bytes: near the least memory")
    useful = [one for one in fitting if one.parts * one.shards <= _TASKS_A_SLOT * max(slots, one.parts)] or fitting[:1]
    best = min(one.wall_seconds for one in useful)
    chosen = next(one for one in useful if one.wall_seconds <= (1 + _WORTH) * best)
    if len(prices) == 1:
        return Choice(chosen, "the columns are one group")
    if prices[0] is chosen:
        return Choice(chosen, "more shards save less than a tenth of the time")
    if fitting[0] is chosen:
        return Choice(chosen, "fewer shards do not fit partition.max_bytes")
    return Choice(chosen, "the least time among those that fit partition.max_bytes")
