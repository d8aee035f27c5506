"""Compiled passes of forward push on a part of a cut graph, source after source."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.kernels.array_types import In, InCube, Out, inner_kernel, kernel
from pipeline.kernels.csr import weight_of

#: Bit flags of a row: it is in the queue; it is among the rows reached; its mass changed.
_QUEUED, _REACHED, _CHANGED = 1, 2, 4


class PartWalk(NamedTuple):
    """What a part stores of a walk over the whole graph, by local row.

    A row is at home here, or *away*: at home in another part, and here because edges that touch it are. Every entry
    of the whole adjacency matrix is stored in exactly one part. *Part indices* count the parts from 0; the rows that
    two parts share are numbered by *position*, the same in both.
    """

    indptr: In[np.int64]  # (rows + 1,)
    indices: In[np.int32]  # (entries,)
    weights: In[np.float32] | None  # (entries,), or None for 1
    strength: In[np.float64]  # (rows,) sum of a row's weights over all parts; infinite for away rows: they never push
    home: In[np.int32]  # (rows,) part index of an away row's home, -1 for a row at home here
    position: In[np.int32]  # (rows,) of an away row
    copy_indptr: In[np.int64]  # (rows + 1,) of the parts that store more edges of a home row
    copy_part: In[np.int32]  # (copies,)
    copy_position: In[np.int32]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.strength.size


class HeldMass(NamedTuple):
    """What home rows hold of each source's mass, as a log: of several entries of a row, that of the last list counts.

    bounds (sources, lists, 2): where each list begins and ends.
    """

    bounds: InCube[np.int64]
    row: In[np.int32]  # (entries,)
    reserve: In[np.float64]
    waiting: In[np.float64]


class ArrivedMass(NamedTuple):
    """Mass that comes in, source by source and, of each, list by list.

    bounds as in `HeldMass`. row: a row at home here that receives mass, or ``~row`` of an away row that was pushed at
    its home: then mass is what each unit of weight of its edges here carries on.
    """

    bounds: InCube[np.int64]
    row: In[np.int32]  # (entries,)
    mass: In[np.float64]


class PartScratch(NamedTuple):
    """State of one source, a value a row; zero between sources."""

    reserve: Out[np.float64]
    waiting: Out[np.float64]
    flow: Out[np.float64]
    marks: Out[np.uint8]
    queue: Out[np.int32]
    rows_reached: Out[np.int32]

    @classmethod
    def of(cls, rows: int) -> PartScratch:
        """Zeros for so many rows."""
        floats = np.zeros(rows), np.zeros(rows), np.zeros(rows)
        return cls(*floats, np.zeros(rows, np.uint8), np.empty(rows, np.int32), np.empty(rows, np.int32))


class HeldLists(NamedTuple):
    """What a push changes at home rows, to be read as `HeldMass`: source i's entries are ``indptr[i]`` to the next."""

    indptr: Out[np.int64]  # (sources + 1,)
    row: Out[np.int32]
    reserve: Out[np.float64]
    waiting: Out[np.float64]


class SentLists(NamedTuple):
    """What a push sends, to be read as `ArrivedMass` there: ``~position`` of a row pushed here that has edges there."""

    indptr: Out[np.int64]  # (sources + 1,)
    part_index: Out[np.int32]
    position: Out[np.int32]
    mass: Out[np.float64]


@inner_kernel
def _recall(log: HeldMass, source: int, state: PartScratch) -> int:
    """Put what a source's rows hold into the state; the number of rows reached."""
    count = 0
    for at in range(log.bounds.shape[1]):
        for e in range(log.bounds[source, at, 0], log.bounds[source, at, 1]):
            row = np.int64(log.row[e])
            state.reserve[row] = log.reserve[e]
            state.waiting[row] = log.waiting[e]
            if state.marks[row] == 0:
                state.marks[row] = _REACHED
                state.rows_reached[count] = row
                count += 1
    return count


@inner_kernel
def _spread(
    walk: PartWalk, restart: float, threshold: float, arrivals: ArrivedMass, source: int, state: PartScratch, count: int
) -> tuple[int, int]:
    """Take in what arrived and push until nothing is queued; the number of rows reached, and of entries walked."""
    indptr, indices, weights, strength = walk.indptr, walk.indices, walk.weights, walk.strength
    bounds, rows, masses = arrivals
    reserve, waiting, flow, marks, queue, rows_reached = state
    ring = strength.size
    head, tail, length, entries_walked = 0, 0, 0, 0
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
                entries_walked += end - begin
        elif list_at < bounds.shape[1]:
            e_in, stop_in = bounds[source, list_at, 0], bounds[source, list_at, 1]
            list_at += 1
        elif length > 0:
            row = np.int64(queue[head])
            head = head + 1 if head + 1 < ring else 0
            length -= 1
            marks[row] ^= _QUEUED
            reserve[row] += restart * waiting[row]
            per_weight = (1 - restart) * waiting[row] / strength[row]
            waiting[row] = 0.0
            flow[row] += per_weight
            begin, end = indptr[row], indptr[row + 1]
            entries_walked += end - begin
        else:
            return count, entries_walked
        for e in range(begin, end):
            if target >= 0:
                near = target
                waiting[near] += per_weight
            else:
                near = np.int64(indices[e])
                waiting[near] += per_weight * weight_of(weights, e)
            if marks[near] & _CHANGED == 0:
                if marks[near] == 0:
                    rows_reached[count] = near
                    count += 1
                marks[near] |= _REACHED | _CHANGED
            if waiting[near] > threshold * strength[near] and marks[near] & _QUEUED == 0:
                marks[near] |= _QUEUED
                queue[tail] = near
                tail = tail + 1 if tail + 1 < ring else 0
                length += 1


@inner_kernel
def _hand_out(
    walk: PartWalk, source: int, state: PartScratch, count: int, held_lists: HeldLists, sent_lists: SentLists
) -> tuple[int, int]:
    """Write what home rows hold and what is sent, as far as there is room, and leave the state at 0.

    Returns where both would end with room for all.
    """
    held_put, sent_put = held_lists.indptr[source], sent_lists.indptr[source]
    for at in range(count):
        row = np.int64(state.rows_reached[at])
        if state.marks[row] & _CHANGED:
            if walk.home[row] >= 0:
                if sent_put < sent_lists.mass.size:
                    sent_lists.part_index[sent_put] = walk.home[row]
                    sent_lists.position[sent_put] = walk.position[row]
                    sent_lists.mass[sent_put] = state.waiting[row]
                sent_put += 1
            else:
                if state.flow[row] > 0:
                    for c in range(walk.copy_indptr[row], walk.copy_indptr[row + 1]):
                        if sent_put < sent_lists.mass.size:
                            sent_lists.part_index[sent_put] = walk.copy_part[c]
                            sent_lists.position[sent_put] = ~walk.copy_position[c]
                            sent_lists.mass[sent_put] = state.flow[row]
                        sent_put += 1
                if held_put < held_lists.row.size:
                    held_lists.row[held_put] = row
                    held_lists.reserve[held_put] = state.reserve[row]
                    held_lists.waiting[held_put] = state.waiting[row]
                held_put += 1
        state.reserve[row] = 0.0
        state.waiting[row] = 0.0
        state.flow[row] = 0.0
        state.marks[row] = 0
    return held_put, sent_put


class PushRule(NamedTuple):
    """How mass is pushed: restart in (0, 1); threshold above 0, in units of score per weighted degree."""

    restart: float
    threshold: float


@kernel
def push_sources(
    walk: PartWalk,
    rule: PushRule,
    first_source: int,
    log: HeldMass,
    arrivals: ArrivedMass,
    state: PartScratch,
    held_lists: HeldLists,
    sent_lists: SentLists,
) -> tuple[int, int]:
    """Push for the sources from ``first_source`` on.

    Returns the first source whose result did not fit, or their number; and the number of entries walked until there.
    """
    bounds = arrivals.bounds
    entries_walked = 0
    for source in range(first_source, bounds.shape[0]):
        is_quiet = True
        for at in range(bounds.shape[1]):
            is_quiet = is_quiet and bounds[source, at, 0] == bounds[source, at, 1]
        if is_quiet:
            held_lists.indptr[source + 1] = held_lists.indptr[source]
            sent_lists.indptr[source + 1] = sent_lists.indptr[source]
            continue
        count = _recall(log, source, state)
        count, entries = _spread(walk, rule.restart, rule.threshold, arrivals, source, state, count)
        held_put, sent_put = _hand_out(walk, source, state, count, held_lists, sent_lists)
        if held_put > held_lists.row.size or sent_put > sent_lists.mass.size:
            return source, entries_walked
        held_lists.indptr[source + 1] = held_put
        sent_lists.indptr[source + 1] = sent_put
        entries_walked += entries
    return bounds.shape[0], entries_walked


@kernel
def settle_sources(
    restart: float,
    log: HeldMass,
    state: PartScratch,
    indptr: Out[np.int64],
    rows: Out[np.int32],
    scores: Out[np.float64],
    missing: Out[np.float64],
) -> None:
    """Write each source's rows with scores above 0, and what is missing, as `settle_part` returns them."""
    put = 0
    for source in range(missing.size):
        count = _recall(log, source, state)
        total = 0.0
        for at in range(count):
            row = np.int64(state.rows_reached[at])
            score = state.reserve[row] + restart * state.waiting[row]
            total += (1 - restart) * state.waiting[row]
            if score > 0:
                rows[put] = row
                scores[put] = score
                put += 1
            state.reserve[row] = 0.0
            state.waiting[row] = 0.0
            state.marks[row] = 0
        indptr[source + 1] = put
        missing[source] = total


@kernel
def weigh_rows(indptr: In[np.int64], weights: In[np.float32], total: Out[np.float64]) -> None:
    """Add the weights of each row's entries to its total."""
    for row in range(indptr.size - 1):
        for e in range(indptr[row], indptr[row + 1]):
            total[row] += np.float64(weights[e])
