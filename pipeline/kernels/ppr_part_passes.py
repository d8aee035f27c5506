"""Compiled passes of forward push on a part of a cut graph, source after source."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from pipeline.kernels.array_types import reads, writes

_QUEUED, _REACHED, _CHANGED = 1, 2, 4

RowArrays = tuple[
    NDArray[np.int64],
    NDArray[np.int32],
    NDArray[np.float64],
    NDArray[np.int32],
    NDArray[np.int32],
    NDArray[np.int64],
    NDArray[np.int32],
    NDArray[np.int32],
]
"""indptr, indices, strength, home, position, copy_indptr, copy_place, copy_position as in `PartWalk`."""

LogArrays = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]
"""bounds, row, settled, waiting as in `Held`."""

MassArrays = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]
"""bounds, row, mass as in `Arrived`."""

StateArrays = tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.uint8],
    NDArray[np.int32],
    NDArray[np.int32],
]
"""settled, waiting, flow, marks, queue, reached as in `PartScratch`; written."""

HeldArrays = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]
"""held_indptr, held_row, held_settled, held_waiting as in `Pushed`; written."""

SentArrays = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]
"""sent_indptr, sent_place, sent_position, sent_mass as in `Pushed`; written."""

_tuple: Any = types.Tuple  # numba's own constructors have no annotations
_I64, _I32, _F64 = reads(types.int64), reads(types.int32), reads(types.float64)
_WEIGHTS = (reads(types.float32), types.none)
_BOUNDS = reads(types.int64, 3)
_ROWS = _tuple((_I64, _I32, _F64, _I32, _I32, _I64, _I32, _I32))
_LOG = _tuple((_BOUNDS, _I32, _F64, _F64))
_MASS = _tuple((_BOUNDS, _I32, _F64))
_STATE = _tuple((*(writes(types.float64),) * 3, writes(types.uint8), *(writes(types.int32),) * 2))
_HELD = _tuple((writes(types.int64), writes(types.int32), writes(types.float64), writes(types.float64)))
_SENT = _tuple((writes(types.int64), writes(types.int32), writes(types.int32), writes(types.float64)))


@njit(types.int64(_LOG, types.int64, _STATE), nogil=True, cache=True)
def _recall(log: LogArrays, source: int, state: StateArrays) -> int:
    """Put what a source's rows hold into the state; the number of rows reached."""
    bounds, rows, settled_then, waiting_then = log
    settled, waiting, _, marks, _, reached = state
    count = 0
    for at in range(bounds.shape[1]):
        for e in range(bounds[source, at, 0], bounds[source, at, 1]):
            row = np.int64(rows[e])
            settled[row] = settled_then[e]
            waiting[row] = waiting_then[e]
            if marks[row] == 0:
                marks[row] = _REACHED
                reached[count] = row
                count += 1
    return count


@njit(
    [
        _tuple((types.int64, types.int64))(
            _ROWS, weights, types.float64, types.float64, _MASS, types.int64, _STATE, types.int64
        )
        for weights in _WEIGHTS
    ],
    nogil=True,
    cache=True,
)
def _spread(
    walk: RowArrays,
    weights: NDArray[np.float32] | None,
    restart: float,
    threshold: float,
    arrived: MassArrays,
    source: int,
    state: StateArrays,
    count: int,
) -> tuple[int, int]:
    """Take in what arrived and push until nothing is queued; the number of rows reached, and of entries walked."""
    indptr, indices, strength, _, _, _, _, _ = walk
    bounds, rows, masses = arrived
    settled, waiting, flow, marks, queue, reached = state
    ring = strength.size
    head, tail, length, walked = 0, 0, 0, 0
    # Mass arrives at a row, along the edges of a row pushed elsewhere, and along those of a row pushed here.
    list_at, e_in, stop_in = 0, 0, 0
    while True:
        begin, end, per_weight = 0, 0, 0.0
        target = np.int64(-1)
        if e_in < stop_in:
            target, mass = np.int64(rows[e_in]), masses[e_in]
            e_in += 1
            if target >= 0:
                # As a single edge of weight 1: one loop for all three, since a call an entry would double its time.
                begin, end, per_weight = 0, 1, mass
            else:
                begin, end, per_weight = indptr[~target], indptr[~target + 1], mass
                walked += end - begin
        elif list_at < bounds.shape[1]:
            e_in, stop_in = bounds[source, list_at, 0], bounds[source, list_at, 1]
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
            walked += end - begin
        else:
            return count, walked
        for e in range(begin, end):
            if target >= 0:
                near = target
                waiting[near] += per_weight
            else:
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
            if waiting[near] > threshold * strength[near] and marks[near] & _QUEUED == 0:
                marks[near] |= _QUEUED
                queue[tail] = near
                tail = tail + 1 if tail + 1 < ring else 0
                length += 1


@njit(_tuple((types.int64, types.int64))(_ROWS, types.int64, _STATE, types.int64, _HELD, _SENT), nogil=True, cache=True)
def _hand_out(
    walk: RowArrays, source: int, state: StateArrays, count: int, held: HeldArrays, sent: SentArrays
) -> tuple[int, int]:
    """Write what home rows hold and what is sent, as far as there is room, and leave the state at 0.

    Returns where both would end with room for all.
    """
    _, _, _, home, position, copy_indptr, copy_place, copy_position = walk
    settled, waiting, flow, marks, _, reached = state
    held_indptr, held_row, held_settled, held_waiting = held
    sent_indptr, sent_place, sent_position, sent_mass = sent
    held_put, sent_put = held_indptr[source], sent_indptr[source]
    for at in range(count):
        row = np.int64(reached[at])
        if marks[row] & _CHANGED:
            if home[row] >= 0:
                if sent_put < sent_mass.size:
                    sent_place[sent_put] = home[row]
                    sent_position[sent_put] = position[row]
                    sent_mass[sent_put] = waiting[row]
                sent_put += 1
            else:
                if flow[row] > 0:
                    for c in range(copy_indptr[row], copy_indptr[row + 1]):
                        if sent_put < sent_mass.size:
                            sent_place[sent_put] = copy_place[c]
                            sent_position[sent_put] = ~copy_position[c]
                            sent_mass[sent_put] = flow[row]
                        sent_put += 1
                if held_put < held_row.size:
                    held_row[held_put] = row
                    held_settled[held_put] = settled[row]
                    held_waiting[held_put] = waiting[row]
                held_put += 1
        settled[row] = 0.0
        waiting[row] = 0.0
        flow[row] = 0.0
        marks[row] = 0
    return held_put, sent_put


@njit(
    [
        types.int64(
            _ROWS, weights, types.float64, types.float64, types.int64, _LOG, _MASS, _STATE, _HELD, _SENT,
            writes(types.int64),
        )
        for weights in _WEIGHTS
    ],
    nogil=True,
    cache=True,
)  # fmt: skip
def push_sources(
    walk: RowArrays,
    weights: NDArray[np.float32] | None,
    restart: float,
    threshold: float,
    first_source: int,
    log: LogArrays,
    arrived: MassArrays,
    state: StateArrays,
    held: HeldArrays,
    sent: SentArrays,
    walked: NDArray[np.int64],
) -> int:
    """Push for the sources from ``first_source`` on; the first one whose result did not fit, or their number.

    walked : (1,), entries are added to it.
    """
    bounds, held_indptr, sent_indptr = arrived[0], held[0], sent[0]
    for source in range(first_source, bounds.shape[0]):
        is_quiet = True
        for at in range(bounds.shape[1]):
            is_quiet = is_quiet and bounds[source, at, 0] == bounds[source, at, 1]
        if is_quiet:
            held_indptr[source + 1] = held_indptr[source]
            sent_indptr[source + 1] = sent_indptr[source]
            continue
        count = _recall(log, source, state)
        count, entries = _spread(walk, weights, restart, threshold, arrived, source, state, count)
        held_put, sent_put = _hand_out(walk, source, state, count, held, sent)
        if held_put > held[1].size or sent_put > sent[3].size:
            return source
        held_indptr[source + 1] = held_put
        sent_indptr[source + 1] = sent_put
        walked[0] += entries
    return int(bounds.shape[0])


@njit(
    types.void(
        types.float64, _LOG, _STATE,
        writes(types.int64), writes(types.int32), writes(types.float64), writes(types.float64),
    ),
    nogil=True,
    cache=True,
)  # fmt: skip
def settle_sources(
    restart: float,
    log: LogArrays,
    state: StateArrays,
    indptr: NDArray[np.int64],
    rows: NDArray[np.int32],
    scores: NDArray[np.float64],
    missing: NDArray[np.float64],
) -> None:
    """Write each source's rows with scores above 0, and what is missing, as `settle_part` returns them."""
    settled, waiting, _, marks, _, reached = state
    put = 0
    for source in range(missing.size):
        count = _recall(log, source, state)
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
def weigh_rows(indptr: NDArray[np.int64], weights: NDArray[np.float32], total: NDArray[np.float64]) -> None:
    """Add the weights of each row's entries to its total."""
    for row in range(indptr.size - 1):
        for e in range(indptr[row], indptr[row + 1]):
            total[row] += np.float64(weights[e])
