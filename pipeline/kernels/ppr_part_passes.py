"""Compiled passes of forward push on a part of a cut graph, source after source."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, InCube, Out, kernel

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


@kernel
def _recall(
    log: tuple[InCube[np.int64], In[np.int32], In[np.float64], In[np.float64]],
    source: int,
    state: tuple[Out[np.float64], Out[np.float64], Out[np.float64], Out[np.uint8], Out[np.int32], Out[np.int32]],
) -> int:
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


@kernel
def _spread(
    walk: tuple[
        In[np.int64], In[np.int32], In[np.float64], In[np.int32], In[np.int32], In[np.int64], In[np.int32], In[np.int32]
    ],
    weights: In[np.float32] | None,
    restart: float,
    threshold: float,
    arrived: tuple[InCube[np.int64], In[np.int32], In[np.float64]],
    source: int,
    state: tuple[Out[np.float64], Out[np.float64], Out[np.float64], Out[np.uint8], Out[np.int32], Out[np.int32]],
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


@kernel
def _hand_out(
    walk: tuple[
        In[np.int64], In[np.int32], In[np.float64], In[np.int32], In[np.int32], In[np.int64], In[np.int32], In[np.int32]
    ],
    source: int,
    state: tuple[Out[np.float64], Out[np.float64], Out[np.float64], Out[np.uint8], Out[np.int32], Out[np.int32]],
    count: int,
    held: tuple[Out[np.int64], Out[np.int32], Out[np.float64], Out[np.float64]],
    sent: tuple[Out[np.int64], Out[np.int32], Out[np.int32], Out[np.float64]],
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


@kernel
def push_sources(
    walk: tuple[
        In[np.int64], In[np.int32], In[np.float64], In[np.int32], In[np.int32], In[np.int64], In[np.int32], In[np.int32]
    ],
    weights: In[np.float32] | None,
    restart: float,
    threshold: float,
    first_source: int,
    log: tuple[InCube[np.int64], In[np.int32], In[np.float64], In[np.float64]],
    arrived: tuple[InCube[np.int64], In[np.int32], In[np.float64]],
    state: tuple[Out[np.float64], Out[np.float64], Out[np.float64], Out[np.uint8], Out[np.int32], Out[np.int32]],
    held: tuple[Out[np.int64], Out[np.int32], Out[np.float64], Out[np.float64]],
    sent: tuple[Out[np.int64], Out[np.int32], Out[np.int32], Out[np.float64]],
    walked: Out[np.int64],
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


@kernel
def settle_sources(
    restart: float,
    log: tuple[InCube[np.int64], In[np.int32], In[np.float64], In[np.float64]],
    state: tuple[Out[np.float64], Out[np.float64], Out[np.float64], Out[np.uint8], Out[np.int32], Out[np.int32]],
    indptr: Out[np.int64],
    rows: Out[np.int32],
    scores: Out[np.float64],
    missing: Out[np.float64],
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


@kernel
def weigh_rows(indptr: In[np.int64], weights: In[np.float32], total: Out[np.float64]) -> None:
    """Add the weights of each row's entries to its total."""
    for row in range(indptr.size - 1):
        for e in range(indptr[row], indptr[row + 1]):
            total[row] += np.float64(weights[e])
