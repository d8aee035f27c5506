"""Which training pairs to hide, so that parameters can be chosen without a look at the test pairs.

A split is a mask over pairs, drawn from hashes of the nodes' keys or from times: the same pairs are hidden in
whatever order they come.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.hashing import hash_pairs

#: Turns a seed into one of this module's own: pairs that are held out for a test are drawn from the same keys, and
#: with the same words none of those that are left would be small.
_STREAM = 0x74756E65
MIN_PAIRS = 5  # users with fewer pairs keep them all, as in the hold-out of a run


class CoarseTimesError(ValueError):
    """No moment parts the pairs into an earlier and a later share of useful sizes."""


@dataclass(frozen=True)
class TimeCut:
    """Pairs last seen at ``moment`` or later are hidden: (pairs,) bool, and microseconds UTC."""

    is_hidden: NDArray[np.bool_]
    moment: int


def hide_per_user(
    src: NDArray[np.int64], dst: NDArray[np.int64], node_key: NDArray[np.uint64], share: float, seed: int
) -> NDArray[np.bool_]:
    """Hide a share of the pairs of every user, as the common test sets are made.

    A user with c pairs has ``share * c`` of them hidden, rounded, at least one and never all: those whose hashes of
    (seed, keys of both ends) are smallest. Users with fewer than ``MIN_PAIRS`` pairs give none.

    All users give some, even where few are ranked: hiding pairs of a sample of users leaves items their degrees,
    and then favours tables that leave popular items aside [Gowalla, two_tower: the best norm of items is
    d^.06 on the pairs of 5,000 users, d^.1 on those of all, d^.13 on the test pairs].

    Parameters
    ----------
    src, dst : (pairs,) int64 positions in ``node_key``, each pair once; ``src`` are the users.
    node_key : (n,) uint64.
    share : of a user's pairs, above 0 and below 1.
    seed : any non-negative integer below 2**64.

    Returns
    -------
    (pairs,) bool; none where no user has enough pairs.
    """
    _check_share(share)
    pairs = np.bincount(src, minlength=node_key.size)
    word = hash_pairs(node_key[src], node_key[dst], seed ^ _STREAM)
    # Equal words are equal keys: the position of the item decides, as it does among equal scores.
    order = np.lexsort((dst, word, src))
    user = src[order]
    place = np.arange(user.size) - (np.cumsum(pairs) - pairs)[user]
    hidden_counts = np.clip(np.floor(share * pairs + 0.5).astype(np.int64), 1, np.maximum(pairs - 1, 1))
    is_hidden = np.zeros(src.size, np.bool_)
    is_hidden[order] = (place < hidden_counts[user]) & (pairs[user] >= MIN_PAIRS)
    return is_hidden


def hide_edges(
    src: NDArray[np.int64], dst: NDArray[np.int64], node_key: NDArray[np.uint64], share: float, seed: int
) -> NDArray[np.bool_]:
    """Hide a share of the undirected edges of a plain graph, drawn edge by edge; loops stay.

    The draw is a hash of (seed, smaller key, larger key): an edge has no direction. Arguments as in
    ``hide_per_user``; (edges,) bool.
    """
    _check_share(share)
    left, right = node_key[src], node_key[dst]
    word = hash_pairs(np.minimum(left, right), np.maximum(left, right), seed ^ _STREAM)
    return (word < np.uint64(int(share * 2**64))) & (src != dst)


def hide_latest(last_us: NDArray[np.int64], share: float) -> TimeCut:
    """Hide the latest pairs: one moment for all users, as a test set that lies in the future has it.

    Pairs of one moment are never parted, so that nothing that is left was seen at or after any hidden pair's
    last event. The moment whose hidden share is nearest to ``share`` is taken.

    Parameters
    ----------
    last_us : (pairs,) int64: last event of each pair.
    share : of all pairs, above 0 and below 1.

    Raises
    ------
    CoarseTimesError : if that would hide none, or more than twice the share.
    """
    _check_share(share)
    times = np.sort(last_us)
    at = min(int((1.0 - share) * times.size), times.size - 1) if times.size else 0
    if times.size == 0 or times[0] == times[-1]:
        raise CoarseTimesError("all pairs were last seen at one moment")
    before = int(np.searchsorted(times, times[at], "left"))
    after = int(np.searchsorted(times, times[at], "right"))
    starts = [start for start in (before, after) if 0 < start < times.size]
    start = min(starts, key=lambda first: abs(times.size - first - share * times.size))
    hidden_share = (times.size - start) / times.size
    if hidden_share > 2 * share:
        raise CoarseTimesError(
            f"times are so coarse that the latest {hidden_share:.0%} of the pairs can only be hidden together; "
            f"{share:.0%} are wanted"
        )
    moment = int(times[start])
    return TimeCut(last_us >= moment, moment)


def _check_share(share: float) -> None:
    if not 0.0 < share < 1.0:
        raise ValueError(f"the share hidden is {share}; it must lie between 0 and 1")
