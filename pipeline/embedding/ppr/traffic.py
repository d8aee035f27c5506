"""What lists across workers read and move, from counts alone, before anything is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.kernels.transition import check_restart, check_tolerance

#: Bytes of a block's files: of a node, and of an entry (an edge has two): a neighbour and a weight.
_NODE_BYTES, _ENTRY_BYTES = 45, 8
#: Of the theorem's bound on the strength of all pushes, what pushes come to: .02 to .07 on five graphs of 4 k to
#: 100 k nodes, at restarts .15 and .5 and errors of 1e-2 to 1e-4, as long as that is less than one sweep.
_OF_BOUND = 0.05
#: Pairs of node and source that are sent a pushed entry that crosses the cut: .43 to .74 in the same range on Gowalla
#: in 16 parts, multilevel and hash, since what goes to one node in one round is added up.
_SENT_A_CROSSING = 0.6
#: Of such a pair: position and mass, and its share of what says whose it is.
_SENT_BYTES = 14
#: A message alone in its list.
_LARGEST_SENT_BYTES = 20
#: What stays on disk of each pair of node and source that changed in a round, and how many there are a pushed entry.
_HELD_BYTES, _HELD_AN_ENTRY = 20, 0.5


@dataclass(frozen=True)
class ComposedTraffic:
    """Estimates for lists across parts; see `composed_traffic` for how far they may be off.

    moved_bytes : written for other parts. held_bytes : kept on disk until lists are made. entries : edge ends pushed.
    most_moved_bytes : a bound instead of an estimate.
    """

    moved_bytes: int
    held_bytes: int
    entries: int
    most_moved_bytes: int


def sharded_read_bytes(nodes: int, entries: int, tasks: int) -> int:
    """Bytes that tasks over sources map of the graph: all of it each.

    Parameters
    ----------
    nodes : with edges. entries : edge ends, two an edge. tasks : 1 a slot and wave; tasks of one machine find the
        pages that another has read in memory, so that a disk delivers them once a machine.

    Exact but for file headers. Push touches only the entries it walks: then it is an upper bound on what is read,
    apart from the one pass over the entries that checks them.
    """
    return tasks * (nodes * _NODE_BYTES + entries * _ENTRY_BYTES)


def pushed_entries(sources: int, mean_strength: float, error: float, restart: float) -> float:
    """Estimate the edge ends that forward push walks for some sources.

    The theorem's bound is ``mean_strength / (error * restart)`` a source, for weights of 1; what pushes come to
    is about .05 of it, .03 to .07 on the graphs it was fitted to. Where that is more than all entries of the graph,
    pushes are sweeps, and it may be five times as much.

    Parameters
    ----------
    mean_strength : weighted degree of a node with edges, on average. error : the largest at a node of that strength,
        push's threshold times it.
    """
    check_restart(restart)
    check_tolerance(error)
    return sources * max(mean_strength, _OF_BOUND * mean_strength / (error * restart))


def composed_traffic(
    sources: int, mean_strength: float, error: float, restart: float, crossing: float, parts: int
) -> ComposedTraffic:
    """Estimate what lists across parts move.

    Parameters
    ----------
    sources, mean_strength, error, restart : as in `pushed_entries`.
    crossing : share of edge ends whose other end is at home in another part; ``1 - 1 / parts`` for homes by chance.
    parts : all of them.

    Returns
    -------
    Sums over all sources and rounds. Within a factor of two of what was measured on Gowalla in 16 parts, both cuts;
    a graph whose mass spreads otherwise may be off by three. ``most_moved_bytes`` follows from the theorem: each unit
    of strength pushed sends a message along its edge and shares one to its part, at most (weights of 1; headers of
    batches apart, some 400 bytes for each round, part, receiver and batch).
    """
    if parts == 1:
        crossing = 0.0
    entries = pushed_entries(sources, mean_strength, error, restart)
    most = sources * mean_strength / (error * restart)
    return ComposedTraffic(
        moved_bytes=math.ceil(entries * crossing * _SENT_A_CROSSING * _SENT_BYTES),
        held_bytes=math.ceil(entries * _HELD_AN_ENTRY * _HELD_BYTES),
        entries=math.ceil(entries),
        most_moved_bytes=math.ceil(2 * most * _LARGEST_SENT_BYTES) if parts > 1 else 0,
    )
