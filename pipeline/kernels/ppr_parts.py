"""Forward push on one part of a cut graph: mass that crosses the cut is handed out and taken in, and none is lost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.ppr_part_passes import (
    LogArrays,
    MassArrays,
    RowArrays,
    StateArrays,
    push_sources,
    settle_sources,
    weigh_rows,
)


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

    @property
    def as_tuple(self) -> RowArrays:
        """All but the weights, for a pass."""
        return (
            *(self.indptr, self.indices, self.strength, self.home, self.position),
            *(self.copy_indptr, self.copy_place, self.copy_position),
        )


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

    @property
    def as_tuple(self) -> LogArrays:
        """The arrays, for a pass."""
        return self.bounds, self.row, self.settled, self.waiting


@dataclass(frozen=True)
class Arrived:
    """Mass that comes in, source by source and, of each, list by list.

    bounds as in `Held`. row (entries,) int32: a row at home here that receives mass, or ``~row`` of an away row that
    was pushed at its home: then mass (entries,) float64 is what each unit of weight of its edges here carries on.
    """

    bounds: NDArray[np.int64]
    row: NDArray[np.int32]
    mass: NDArray[np.float64]

    @property
    def as_tuple(self) -> MassArrays:
        """The arrays, for a pass."""
        return self.bounds, self.row, self.mass


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

    @property
    def as_tuple(self) -> StateArrays:
        """The arrays, for a pass."""
        return self.settled, self.waiting, self.flow, self.marks, self.queue, self.reached


def push_part(
    walk: PartWalk,
    restart: float,
    threshold: float,
    held: Held,
    arrived: Arrived,
    scratch: PartScratch,
) -> Pushed:
    """Push on one part until no home row has more waiting than ``threshold * strength``.

    As `pipeline.kernels.ppr_push`: a home row with more keeps ``restart`` of it and sends the rest on by weight; what
    goes along edges stored elsewhere is sent there as one number, the flow per unit of weight. All that reaches an
    away row is added up and sent home. So at any time and for every source, over all parts and what is on its way,
    ``exact = settled + sum of waiting(u) exact_u``.

    Parameters
    ----------
    restart : in (0, 1). threshold : above 0, in units of score per weighted degree.
    held, arrived : of the same sources. A source starts as mass 1 that arrives at its node's home; one for which
        nothing arrives is left as it is.
    scratch : of the walk's rows; zero again on return.

    Returns
    -------
    The same for a source whatever other sources are there.

    Cost
    ----
    The strengths of all pushes of a source, over all parts and calls, add up to ``1 / (threshold * restart)`` at most.
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
        done = push_sources(
            walk.as_tuple, walk.weights, restart, threshold, done, held.as_tuple, arrived.as_tuple, scratch.as_tuple,
            (held_indptr, held_row, held_settled, held_waiting),
            (sent_indptr, sent_place, sent_position, sent_mass), walked,
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
    settle_sources(restart, held.as_tuple, scratch.as_tuple, indptr, rows, scores, missing)
    return indptr, rows[: indptr[-1]], scores[: indptr[-1]], missing


def weight_of_rows(indptr: NDArray[np.int64], weights: NDArray[np.float32] | None) -> NDArray[np.float64]:
    """What the entries stored here of each row weigh, added as float64; (rows,)."""
    if weights is None:
        return np.diff(indptr).astype(np.float64)
    total = np.zeros(indptr.size - 1)
    weigh_rows(indptr, weights, total)
    return total
