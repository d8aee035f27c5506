"""Forward push on one part of a cut graph: mass that crosses the cut is handed out and taken in, and none is lost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from pipeline.kernels.array_types import reads, writes

_QUEUED, _REACHED, _CHANGED = 1, 2, 4


@dataclass(frozen=True)
class PartWalk:
    """What a part stores of a walk over the whole graph, by local row.

    A row is at home here, or *away*: at home in another part, and here because edges that touch it are. Every entry
    of the whole adjacency matrix is stored in exactly one part. Parts are numbered by *place*, 0 to the last; the
    rows that two parts share are numbered by *position*, the same in both.

    indptr (rows + 1,) int64, indices (entries,) int32, weights (entries,) float32 or None for 1.
    strength (rows,) float64: sum of a row's weights over all parts; infinite for away rows, which never push.
    home (rows,) int32: place of an away row's home, -1 for a row at home here. position (rows,) int32: of an away row.
    copy_indptr (rows + 1,) int64, copy_place, copy_position (copies,) int32: parts that store more edges of a home row.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    weights: NDArray[np.float32] | None
    strength: NDArray[np.float64]
    home: NDArray[np.int32]
    position: NDArray[np.int32]
    copy_indptr: NDArray[np.int64]
    copy_place: NDArray[np.int32]
    copy_position: NDArray[np.int32]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.strength.size


@dataclass(frozen=True)
class Held:
    """What home rows hold of each source's mass, as a log: of several entries of a row, that of the last list counts.

    bounds (sources, lists, 2) int64: where each list begins and ends. row (entries,) int32, settled and waiting
    (entries,) float64.
    """

    bounds: NDArray[np.int64]
    row: NDArray[np.int32]
    settled: NDArray[np.float64]
    waiting: NDArray[np.float64]


@dataclass(frozen=True)
class Arrived:
    """Mass that comes in, source by source and, of each, list by list.

    bounds as in `Held`. row (entries,) int32: a row at home here that receives mass, or ``~row`` of an away row that
    was pushed at its home: then mass (entries,) float64 is what each unit of weight of its edges here carries on.
    """

    bounds: NDArray[np.int64]
    row: NDArray[np.int32]
    mass: NDArray[np.float64]


@dataclass(frozen=True)
class Pushed:
    """What a push leaves, as lists by source: ``x_indptr[i]`` to ``x_indptr[i + 1]``.

    held_*: the home rows that changed. sent_*: for which place, position (``~position`` of a row pushed here that has
    edges there) and mass, as `Arrived` reads them there. entries: those walked.
    """

    held_indptr: NDArray[np.int64]
    held_row: NDArray[np.int32]
    held_settled: NDArray[np.float64]
    held_waiting: NDArray[np.float64]
    sent_indptr: NDArray[np.int64]
    sent_place: NDArray[np.int32]
    sent_position: NDArray[np.int32]
    sent_mass: NDArray[np.float64]
    entries: int


@dataclass(frozen=True)
class PartScratch:
    """State of one source, a value a row; zero between sources."""

    settled: NDArray[np.float64]
    waiting: NDArray[np.float64]
    flow: NDArray[np.float64]
    marks: NDArray[np.uint8]
    queue: NDArray[np.int32]
    reached: NDArray[np.int32]

    @classmethod
    def of(cls, rows: int) -> PartScratch:
        """Zeros for so many rows."""
        floats = np.zeros(rows), np.zeros(rows), np.zeros(rows)
        return cls(*floats, np.zeros(rows, np.uint8), np.empty(rows, np.int32), np.empty(rows, np.int32))


def push_part(
    walk: PartWalk,
    restart: float,
    tolerance: float,
    held: Held,
    arrived: Arrived,
    scratch: PartScratch,
) -> Pushed:
    """Push on one part until no home row has more waiting than ``tolerance * strength``.

    As `pipeline.kernels.ppr_push`: a home row with more keeps ``restart`` of it and sends the rest on by weight; what
    goes along edges stored elsewhere is sent there as one number, the flow per unit of weight. All that reaches an
    away row is added up and sent home. So at any time and for every source, over all parts and what is on its way,
    ``exact = settled + sum of waiting(u) exact_u``.

    Parameters
    ----------
    restart : in (0, 1). tolerance : above 0, in units of score per weighted degree.
    held, arrived : of the same sources. A source starts as mass 1 that arrives at its node's home; one for which
        nothing arrives is left as it is.
    scratch : of the walk's rows; zero again on return.

    Returns
    -------
    The same for a source whatever other sources are there.

    Cost
    ----
    The strengths of all pushes of a source, over all parts and calls, add up to ``1 / (tolerance * restart)`` at most.
    """
    count = arrived.bounds.shape[0]
    held_indptr, sent_indptr = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    walked = np.zeros(1, np.int64)
    # A guess; a source that does not fit is done again with twice the room.
    room = max(1024, 2 * (held.row.size + arrived.row.size))
    held_row, held_settled, held_waiting = np.empty(room, np.int32), np.empty(room), np.empty(room)
    sent_place, sent_position, sent_mass = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room)
    done = 0
    while True:
        done = _push_sources(
            walk.indptr, walk.indices, walk.weights, walk.strength, walk.home, walk.position,
            walk.copy_indptr, walk.copy_place, walk.copy_position, restart, tolerance, done,
            held.bounds, held.row, held.settled, held.waiting, arrived.bounds, arrived.row, arrived.mass,
            scratch.settled, scratch.waiting, scratch.flow, scratch.marks, scratch.queue, scratch.reached,
            held_indptr, held_row, held_settled, held_waiting,
            sent_indptr, sent_place, sent_position, sent_mass, walked,
        )  # fmt: skip
        if done == count:
            break
        room *= 2
        held_row, held_settled = np.resize(held_row, room), np.resize(held_settled, room)
        held_waiting, sent_mass = np.resize(held_waiting, room), np.resize(sent_mass, room)
        sent_place, sent_position = np.resize(sent_place, room), np.resize(sent_position, room)
    held_size, sent_size = int(held_indptr[-1]), int(sent_indptr[-1])
    return Pushed(
        held_indptr,
        held_row[:held_size],
        held_settled[:held_size],
        held_waiting[:held_size],
        sent_indptr,
        sent_place[:sent_size],
        sent_position[:sent_size],
        sent_mass[:sent_size],
        int(walked[0]),
    )


def settle_part(
    restart: float, held: Held, scratch: PartScratch
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """Each home row's score once rounds have ended, and what is missing here of each source's mass.

    A walk from a row counts itself first, so that ``restart`` of what waits at home belongs to the row in any case.

    Returns
    -------
    indptr (sources + 1,) int64, rows (entries,) int32 each once a source, scores (entries,) float64 above 0,
    missing (sources,) float64.
    """
    sources = held.bounds.shape[0]
    indptr, missing = np.zeros(sources + 1, np.int64), np.zeros(sources)
    rows, scores = np.empty(held.row.size, np.int32), np.empty(held.row.size)
    _settle(
        restart, held.bounds, held.row, held.settled, held.waiting,
        scratch.settled, scratch.waiting, scratch.marks, scratch.reached, indptr, rows, scores, missing,
    )  # fmt: skip
    return indptr, rows[: indptr[-1]], scores[: indptr[-1]], missing


def weight_of_rows(indptr: NDArray[np.int64], weights: NDArray[np.float32] | None) -> NDArray[np.float64]:
    """What the entries stored here of each row weigh, added as float64; (rows,)."""
    if weights is None:
        return np.diff(indptr).astype(np.float64)
    leaving = np.zeros(indptr.size - 1)
    _weigh(indptr, weights, leaving)
    return leaving


_I64, _I32, _F64 = reads(types.int64), reads(types.int32), reads(types.float64)
_BOUNDS = reads(types.int64, 3)
_DENSE = (writes(types.float64),) * 3 + (writes(types.uint8),) + (writes(types.int32),) * 2


@njit(
    [
        types.int64(
            _I64, _I32, weights, _F64, _I32, _I32, _I64, _I32, _I32, types.float64, types.float64, types.int64,
            _BOUNDS, _I32, _F64, _F64, _BOUNDS, _I32, _F64,
            *_DENSE,
            writes(types.int64), writes(types.int32), writes(types.float64), writes(types.float64),
            writes(types.int64), writes(types.int32), writes(types.int32), writes(types.float64),
            writes(types.int64),
        )
        for weights in (reads(types.float32), types.none)
    ],
    nogil=True,
    cache=True,
)  # fmt: skip
def _push_sources(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    weights: NDArray[np.float32] | None,
    strength: NDArray[np.float64],
    home: NDArray[np.int32],
    position: NDArray[np.int32],
    copy_indptr: NDArray[np.int64],
    copy_place: NDArray[np.int32],
    copy_position: NDArray[np.int32],
    restart: float,
    tolerance: float,
    first_source: int,
    log_bounds: NDArray[np.int64],
    log_row: NDArray[np.int32],
    log_settled: NDArray[np.float64],
    log_waiting: NDArray[np.float64],
    in_bounds: NDArray[np.int64],
    in_row: NDArray[np.int32],
    in_mass: NDArray[np.float64],
    settled: NDArray[np.float64],
    waiting: NDArray[np.float64],
    flow: NDArray[np.float64],
    marks: NDArray[np.uint8],
    queue: NDArray[np.int32],
    reached: NDArray[np.int32],
    held_indptr: NDArray[np.int64],
    held_row: NDArray[np.int32],
    held_settled: NDArray[np.float64],
    held_waiting: NDArray[np.float64],
    sent_indptr: NDArray[np.int64],
    sent_place: NDArray[np.int32],
    sent_position: NDArray[np.int32],
    sent_mass: NDArray[np.float64],
    walked: NDArray[np.int64],
) -> int:
    """Sources from ``first_source`` on; the first whose result did not fit, or their number."""
    ring = strength.size
    for source in range(first_source, in_bounds.shape[0]):
        count, head, tail, length, entries = 0, 0, 0, 0, 0
        is_quiet = True
        for at in range(in_bounds.shape[1]):
            is_quiet = is_quiet and in_bounds[source, at, 0] == in_bounds[source, at, 1]
        held_put, sent_put = held_indptr[source], sent_indptr[source]
        if is_quiet:
            held_indptr[source + 1] = held_put
            sent_indptr[source + 1] = sent_put
            continue
        for at in range(log_bounds.shape[1]):
            for e in range(log_bounds[source, at, 0], log_bounds[source, at, 1]):
                row = np.int64(log_row[e])
                settled[row] = log_settled[e]
                waiting[row] = log_waiting[e]
                if marks[row] == 0:
                    marks[row] = _REACHED
                    reached[count] = row
                    count += 1
        # Mass arrives at a row, along the edges of a row pushed elsewhere, and along those of a row pushed here.
        list_at, e_in, stop_in = 0, 0, 0
        while True:
            begin, end, per_weight = 0, 0, 0.0
            target, mass = np.int64(-1), 0.0
            if e_in < stop_in:
                target, mass = np.int64(in_row[e_in]), in_mass[e_in]
                e_in += 1
                if target < 0:
                    begin, end, per_weight = indptr[~target], indptr[~target + 1], mass
            elif list_at < in_bounds.shape[1]:
                e_in, stop_in = in_bounds[source, list_at, 0], in_bounds[source, list_at, 1]
                list_at += 1
            elif length > 0:
                row = np.int64(queue[head])
                head = head + 1 if head + 1 < ring else 0
                length -= 1
                marks[row] ^= _QUEUED
                settled[row] += restart * waiting[row]
                per_weight = (1 - restart) * waiting[row] / strength[row]
                waiting[row] = 0.0
                flow[row] += per_weight
                begin, end = indptr[row], indptr[row + 1]
            else:
                break
            if target >= 0:
                waiting[target] += mass
                if marks[target] & _CHANGED == 0:
                    if marks[target] == 0:
                        reached[count] = target
                        count += 1
                    marks[target] |= _REACHED | _CHANGED
                if waiting[target] > tolerance * strength[target] and marks[target] & _QUEUED == 0:
                    marks[target] |= _QUEUED
                    queue[tail] = target
                    tail = tail + 1 if tail + 1 < ring else 0
                    length += 1
            for e in range(begin, end):
                near = np.int64(indices[e])
                if weights is None:
                    waiting[near] += per_weight
                else:
                    waiting[near] += per_weight * np.float64(weights[e])
                if marks[near] & _CHANGED == 0:
                    if marks[near] == 0:
                        reached[count] = near
                        count += 1
                    marks[near] |= _REACHED | _CHANGED
                if waiting[near] > tolerance * strength[near] and marks[near] & _QUEUED == 0:
                    marks[near] |= _QUEUED
                    queue[tail] = near
                    tail = tail + 1 if tail + 1 < ring else 0
                    length += 1
            entries += end - begin
        for at in range(count):
            row = np.int64(reached[at])
            if marks[row] & _CHANGED:
                if home[row] >= 0:
                    if sent_put < sent_mass.size:
                        sent_place[sent_put] = home[row]
                        sent_position[sent_put] = position[row]
                        sent_mass[sent_put] = waiting[row]
                    sent_put += 1
                elif flow[row] > 0:
                    for c in range(copy_indptr[row], copy_indptr[row + 1]):
                        if sent_put < sent_mass.size:
                            sent_place[sent_put] = copy_place[c]
                            sent_position[sent_put] = ~copy_position[c]
                            sent_mass[sent_put] = flow[row]
                        sent_put += 1
                if home[row] < 0:
                    if held_put < held_row.size:
                        held_row[held_put] = row
                        held_settled[held_put] = settled[row]
                        held_waiting[held_put] = waiting[row]
                    held_put += 1
            settled[row] = 0.0
            waiting[row] = 0.0
            flow[row] = 0.0
            marks[row] = 0
        if held_put > held_row.size or sent_put > sent_mass.size:
            return source
        held_indptr[source + 1] = held_put
        sent_indptr[source + 1] = sent_put
        walked[0] += entries
    return int(in_bounds.shape[0])


@njit(
    types.void(
        types.float64, _BOUNDS, _I32, _F64, _F64,
        writes(types.float64), writes(types.float64), writes(types.uint8), writes(types.int32),
        writes(types.int64), writes(types.int32), writes(types.float64), writes(types.float64),
    ),
    nogil=True,
    cache=True,
)  # fmt: skip
def _settle(
    restart: float,
    bounds: NDArray[np.int64],
    log_row: NDArray[np.int32],
    log_settled: NDArray[np.float64],
    log_waiting: NDArray[np.float64],
    settled: NDArray[np.float64],
    waiting: NDArray[np.float64],
    marks: NDArray[np.uint8],
    reached: NDArray[np.int32],
    indptr: NDArray[np.int64],
    rows: NDArray[np.int32],
    scores: NDArray[np.float64],
    missing: NDArray[np.float64],
) -> None:
    put = 0
    for source in range(bounds.shape[0]):
        count = 0
        for at in range(bounds.shape[1]):
            for e in range(bounds[source, at, 0], bounds[source, at, 1]):
                row = np.int64(log_row[e])
                settled[row] = log_settled[e]
                waiting[row] = log_waiting[e]
                if marks[row] == 0:
                    marks[row] = _REACHED
                    reached[count] = row
                    count += 1
        total = 0.0
        for at in range(count):
            row = np.int64(reached[at])
            score = settled[row] + restart * waiting[row]
            total += (1 - restart) * waiting[row]
            if score > 0:
                rows[put] = row
                scores[put] = score
                put += 1
            settled[row] = 0.0
            waiting[row] = 0.0
            marks[row] = 0
        indptr[source + 1] = put
        missing[source] = total


@njit(types.void(_I64, reads(types.float32), writes(types.float64)), nogil=True, cache=True)
def _weigh(indptr: NDArray[np.int64], weights: NDArray[np.float32], leaving: NDArray[np.float64]) -> None:
    for row in range(indptr.size - 1):
        for e in range(indptr[row], indptr[row + 1]):
            leaving[row] += np.float64(weights[e])
