"""Forward push on one part of a cut graph: mass that crosses the cut is handed out and taken in, and none is lost."""

from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.array_types import read_only
from pipeline.kernels.ppr_part_passes import (
    ArrivedMass,
    HeldLists,
    HeldMass,
    PartScratch,
    PartWalk,
    PushRule,
    SentLists,
    push_sources,
    settle_sources,
    weigh_rows,
)
from pipeline.kernels.ppr_top_k import SparseScores

_Lists = TypeVar("_Lists", HeldLists, SentLists)


class PushResult(NamedTuple):
    """What a push leaves: the home rows that changed, what is sent, and the number of entries walked."""

    held: HeldLists
    sent: SentLists
    entries: int


def push_part(
    walk: PartWalk,
    restart: float,
    threshold: float,
    held_mass: HeldMass,
    arrivals: ArrivedMass,
    scratch: PartScratch,
) -> PushResult:
    """Push on one part until no home row has more waiting than ``threshold * strength``.

    As `pipeline.kernels.ppr_push`: a home row with more keeps ``restart`` of it and sends the rest on by weight; what
    goes along edges stored elsewhere is sent there as one number, the flow per unit of weight. All that reaches an
    away row is added up and sent home. So at any time and for every source, over all parts and what is on its way,
    ``exact = settled + sum of waiting(u) exact_u``.

    Parameters
    ----------
    restart : in (0, 1). threshold : above 0, in units of score per weighted degree.
    held_mass, arrivals : of the same sources. A source starts as mass 1 that arrives at its node's home; one for which
        nothing arrives is left as it is.
    scratch : of the walk's rows; zero again on return.

    Returns
    -------
    The same for a source whatever other sources are there.

    Cost
    ----
    The strengths of all pushes of a source, over all parts and calls, add up to ``1 / (threshold * restart)`` at most.
    """
    count = arrivals.bounds.shape[0]
    # A guess; a source that does not fit is done again with twice the room.
    room = max(1024, 2 * (held_mass.row.size + arrivals.row.size))
    new_held = HeldLists(np.zeros(count + 1, np.int64), np.empty(room, np.int32), np.empty(room), np.empty(room))
    sent_lists = SentLists(
        np.zeros(count + 1, np.int64), np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room)
    )
    inputs = read_only(held_mass), read_only(arrivals), scratch
    walk, rule = read_only(walk), PushRule(restart, threshold)
    source, entries = push_sources(walk, rule, 0, *inputs, new_held, sent_lists)
    while source < count:
        room *= 2
        new_held, sent_lists = _resize(new_held, room), _resize(sent_lists, room)
        source, more = push_sources(walk, rule, source, *inputs, new_held, sent_lists)
        entries += more
    return PushResult(_resize(new_held, new_held.indptr[-1]), _resize(sent_lists, sent_lists.indptr[-1]), entries)


def _resize(lists: _Lists, entries: int) -> _Lists:
    """Return lists with room for so many entries; shorter ones are views."""
    columns: list[Any] = [
        column[:entries] if entries <= column.size else np.resize(column, entries) for column in lists[1:]
    ]
    return type(lists)(lists[0], *columns)


def settle_part(restart: float, held_mass: HeldMass, scratch: PartScratch) -> SparseScores:
    """Return each home row's score once rounds have ended; what is missing is that of this part alone.

    A walk from a row counts itself first, so that ``restart`` of what waits at home belongs to the row in any case.
    """
    sources = held_mass.bounds.shape[0]
    indptr, missing = np.zeros(sources + 1, np.int64), np.zeros(sources)
    rows, scores = np.empty(held_mass.row.size, np.int32), np.empty(held_mass.row.size)
    settle_sources(restart, read_only(held_mass), scratch, indptr, rows, scores, missing)
    return SparseScores(indptr, rows[: indptr[-1]], scores[: indptr[-1]], missing)


def weight_of_rows(indptr: NDArray[np.int64], weights: NDArray[np.float32] | None) -> NDArray[np.float64]:
    """What the entries stored here of each row weigh, added as float64; (rows,)."""
    if weights is None:
        return np.diff(indptr).astype(np.float64)
    total = np.zeros(indptr.size - 1)
    weigh_rows(indptr, weights, total)
    return total
