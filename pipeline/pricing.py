"""What embedding costs in so many parts and shards: memory of a task, rows that travel, seconds. Counts only.

An alternative is a cut of the graph and a number of shards. Of a cut that is made all counts are known, and what
travels follows to the byte; of one that isn't they are bounds. Seconds are estimates: see
:mod:`pipeline.time_model`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.config import PipelineConfig
from pipeline.cuts import Cut
from pipeline.kernels.narrow_rows import groups_of
from pipeline.time_model import Load, Wave, seconds_of, wall_of
from schemas.tables import ROW_BYTES, ROW_GROUP

#: What a task holds for each stored entry (a neighbour and a weight), for each stored row beside its columns
#: (the node's columns, row starts, strengths, magnitudes), and in any case (batches of files): measured.
_ENTRY_BYTES, _ROW_BYTES, _TASK_BYTES = 8, 80, 4 * 2**20
#: More shards than this many tasks a slot only add overhead.
_TASKS_A_SLOT = 8
#: Fewer shards are taken where more save less than this share of the time: a model of time is no better.
_WORTH = 0.10


@dataclass(frozen=True)
class Work:
    """What is computed, whatever the cut."""

    nodes: int  # of the graph, those without edges too
    is_two_tower: bool
    dim: int
    dtype: str  # of rows that travel
    rounds: int
    measured: int  # rounds whose magnitudes are asked for
    exchanges: bool = True  # else each part is embedded as if it were the whole graph

    @classmethod
    def of(cls, config: PipelineConfig, nodes: int) -> Work:
        """Read it off a configuration."""
        embedding = config.embedding
        if config.form == "two_tower":
            rounds, measured = embedding.powers + 1, 1
        else:
            added = [number for number, weight in enumerate(embedding.iteration_weights, start=1) if weight]
            rounds, measured = added[-1], len(added)
        return cls(
            nodes,
            config.form == "two_tower",
            embedding.dim,
            embedding.boundary_dtype,
            rounds,
            measured,
            embedding.boundary == "exchange",
        )

    def row_bytes(self, dtype: str) -> int:
        """Return the bytes of a row's entries and scales; shards share them out and add nothing."""
        narrow = 0 if dtype == "float32" else groups_of(self.dim)
        return self.dim * ROW_BYTES[dtype] + narrow

    @property
    def magnitude_bytes(self) -> int:
        """Bytes of the magnitude that travels with a partial row of a measured round."""
        return 8 if self.dtype == "float32" else 2


def shards_of(dim: int, shards: int) -> int:
    """Return how many shares of the columns there are at most so many of: fixed groups are never split."""
    return min(shards, groups_of(dim))


def _width(work: Work, shards: int) -> int:
    """Return the columns of the widest share."""
    count = shards_of(work.dim, shards)
    return work.dim if count == 1 else min(work.dim, ROW_GROUP * math.ceil(groups_of(work.dim) / count))


def moved_bytes(cut: Cut, work: Work) -> int:
    """Return the bytes of rows that go to another part: partial rows to homes, totals to whoever reads them.

    Each copy's partial row travels in all rounds, with its magnitude where that is asked for; totals go to copies
    and ghosts in all rounds but the last. Shards change nothing.
    """
    row = work.row_bytes(work.dtype)
    if not work.exchanges:
        return 0
    partials = cut.copies * (work.rounds * row + work.measured * work.magnitude_bytes)
    return partials + (work.rounds - 1) * (cut.copies + cut.ghosts) * row


def floats_moved_per_node(cut: Cut, work: Work) -> float:
    """Return the same in float32s a node."""
    return moved_bytes(cut, work) / 4 / work.nodes if work.nodes else 0.0


def task_bytes(cut: Cut, work: Work, shards: int) -> int:
    """Return the memory of the largest task, beside the process itself.

    two_tower holds one row of each node. classic holds what is multiplied and the product; in one block with all
    columns their sum over the rounds too.
    """
    is_alone = cut.parts == 1 or not work.exchanges
    buffers = 1 if work.is_two_tower else 3 if is_alone and shards_of(work.dim, shards) == 1 else 2
    row = buffers * 4 * _width(work, shards) + _ROW_BYTES
    parts = zip(cut.rows, cut.entries, strict=True)
    return max((n * row + entries * _ENTRY_BYTES for n, entries in parts), default=0) + _TASK_BYTES


def waves(cut: Cut, work: Work, shards: int) -> list[Wave]:
    """Return the waves of tasks, as :mod:`pipeline.embedding.rounds` makes them, with what each does."""
    shards, parts = shards_of(work.dim, shards), cut.parts
    width, is_shared = _width(work, shards), shards > 1
    rows, entries = sum(cut.rows), sum(cut.entries)
    home_bytes = (rows - cut.copies - cut.ghosts) * 4 * work.dim
    product = Load.product(cut.rows, cut.entries, work.dim, width, shards)
    opened = Load(opened_entries=shards * entries, opened_rows=shards * rows, tasks=parts * shards)
    added = Load(streamed_bytes=0 if work.is_two_tower else 2 * work.measured * rows * 4 * work.dim)
    kept = 0 if work.is_two_tower or not is_shared else work.measured  # powers in files until norms are known
    made: list[Wave] = []
    if parts == 1 or not work.exchanges:
        done = opened + product.times(work.rounds) + added
        made.append(Wave(parts * shards, done + Load(file_bytes=home_bytes * (kept or 1))))
    else:
        state, travelling = home_bytes * work.row_bytes(work.dtype) / (4 * work.dim), cut.copies + cut.ghosts
        totals = 0 if work.is_two_tower or is_shared else 1
        coded = 0 if work.dtype == "float32" else work.dim
        for number in range(work.rounds):
            is_last = number == work.rounds - 1
            partial = cut.copies * work.row_bytes(work.dtype)
            arrived = (travelling * work.row_bytes(work.dtype) + state) if number else 0
            left = home_bytes if is_last else state + totals * home_bytes + travelling * work.row_bytes(work.dtype)
            files = Load(
                file_bytes=partial + arrived + left,
                coded_floats=coded * (cut.copies + ((travelling + rows) if number else 0) + (0 if is_last else rows)),
                slices=parts * (parts - 1) * shards if number else 0,
            )
            made.append(Wave(parts * shards, opened + product + files + added.times(1 / work.rounds)))
            if cut.homes:
                share = cut.homes / parts
                inbox = Load(file_bytes=2 * partial, coded_floats=coded * cut.copies, slices=cut.homes * parts * shards)
                made.append(Wave(cut.homes * shards, opened.times(share) + inbox))
    if is_shared:
        over = Load(opened_entries=entries, opened_rows=rows, tasks=parts)
        swept = Load(entries=(2 if work.is_two_tower else 1) * entries / 2, opened_rows=2 * rows).times(work.measured)
        squares = Load(file_bytes=2 * work.measured * rows * 8 * groups_of(work.dim))
        made.append(Wave(parts, over + swept + squares))
        if cut.homes:
            made.append(Wave(cut.homes, over.times(cut.homes / parts) + Load(slices=cut.homes * parts * work.measured)))
        if kept:
            holders = parts + cut.homes
            summed = Load(file_bytes=(work.measured + 1) * home_bytes, tasks=holders * shards)
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
    shards, slots = shards_of(work.dim, shards), max(slots, 1)
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
    most = groups_of(work.dim)
    filling = math.ceil(slots / max(cut.parts, 1))
    counts = {1, most, filling, *(2**power for power in range(most.bit_length()))}
    return sorted(count for count in counts if 1 <= count <= most)


def choose_shards(cut: Cut, work: Work, max_bytes: int, engine: str, slots: int, slowness: float = 1.0) -> Choice:
    """Choose how many tasks share the columns of a part: the least wall time among those that fit.

    Without an exchange no columns are shared out. Fewer shards are taken where more save little time. If a task is
    too large even with the most shards, it is the fewest shards that come near the least memory.
    """
    if not work.exchanges:
        return Choice(price(cut, work, 1, engine, slots, slowness), "no rows are exchanged")
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
