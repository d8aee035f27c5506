"""Compiled passes of random walks: their lengths, their paths, and the visits of each source's paths."""

from typing import NamedTuple

import numpy as np

from pipeline.kernels.alias_tables import AliasTables
from pipeline.kernels.array_types import In, Out, inner_kernel, kernel
from pipeline.kernels.hashing import mix
from pipeline.kernels.prefetch import prefetch_element

IN_FLIGHT = 64
"""Walks that take turns. Each has one request to memory under way; a core keeps some 10 to 50 of them."""

_START = np.uint64(1 << 63)  # the word that draws a walk's seed; steps count from 0


class WalkSources(NamedTuple):
    """Where the walks of each source begin, as in `RestartArrays`, by running sums of shares; and the sources' keys."""

    indptr: In[np.int64]
    nodes: In[np.int64]
    reach: In[np.float64]
    keys: In[np.uint64]


class _Flights(NamedTuple):
    """Walks under way; (IN_FLIGHT,) each."""

    node: Out[np.int64]
    word: Out[np.uint64]  # the next step's, before it is mixed
    put: Out[np.int64]  # where the next node of the path is written
    end: Out[np.int64]
    entry: Out[np.int64]  # the one that the next step picks, -1 at a node without any
    luck: Out[np.float32]


@kernel
def _steps(key: np.uint64, survive: Out[np.float64]) -> int:
    """Steps that a walk takes after its seed, by its word 0."""
    luck = np.float64(mix(key) >> np.uint64(11)) * 2.0**-53
    steps = 0
    while steps < survive.size and luck < survive[steps]:
        steps += 1
    return steps


@kernel
def _walk_key(source_key: np.uint64, walk: int) -> np.uint64:
    return np.uint64(mix(source_key + np.uint64(walk)))


@kernel
def find_starts(keys: In[np.uint64], walks: int, survive: Out[np.float64], starts: Out[np.int64]) -> None:
    """Where the path of each source starts."""
    put = 0
    for source in range(keys.size):
        starts[source] = put
        for walk in range(walks):
            put += 1 + _steps(_walk_key(keys[source], walk), survive)
    starts[keys.size] = put


@kernel
def running_shares(set_indptr: In[np.int64], shares: In[np.float64], reach: Out[np.float64]) -> None:
    """Running sums that begin anew with each set, so that their rounding does not depend on the sets before."""
    for source in range(set_indptr.size - 1):
        total = 0.0
        for e in range(set_indptr[source], set_indptr[source + 1]):
            total += shares[e]
            reach[e] = total


@kernel
def _seed_of(sources: WalkSources, source: int, key: np.uint64) -> int:
    """The node that a walk begins at."""
    indptr, nodes, reach, _ = sources
    low, high = indptr[source], indptr[source + 1] - 1
    if low == high:
        return int(nodes[low])
    luck = np.float64(mix(key + _START) >> np.uint64(11)) * 2.0**-53
    goal = luck * reach[high]
    while low < high:
        middle = (low + high) // 2
        if reach[middle] > goal:
            high = middle
        else:
            low = middle + 1
    return int(nodes[low])


@inner_kernel
def _pick_entries(
    indptr: In[np.int64], indices: In[np.int32], alias: AliasTables | None, flights: _Flights, flying: int
) -> None:
    """Pick the entry of each walk's next step, and ask for it."""
    node, word, _, _, entry, luck = flights
    for i in range(flying):
        begin = indptr[node[i]]
        count = indptr[node[i] + 1] - begin
        chance = np.float64(mix(word[i]) >> np.uint64(11)) * 2.0**-53 * count
        slot = np.int64(chance)
        luck[i] = chance - slot
        entry[i] = begin + slot if count > 0 else -1
        word[i] += np.uint64(1)
        if count > 0:
            prefetch_element(indices, begin + slot)
            if alias is not None:
                prefetch_element(alias.accept, begin + slot)
                prefetch_element(alias.other, begin + slot)


@inner_kernel
def _step(
    indptr: In[np.int64],
    indices: In[np.int32],
    alias: AliasTables | None,
    flights: _Flights,
    flying: int,
    path: Out[np.int32],
) -> int:
    """Move each walk to its next node; the number of those that are at their end."""
    node, _, put, end, entry, luck = flights
    finish_count = 0
    for i in range(flying):
        next_node = node[i]
        if entry[i] >= 0:
            next_node = np.int64(indices[entry[i]])
            if alias is not None:  # noqa: SIM102  (numba drops the branch of None, of one `and` it does not)
                if luck[i] >= alias.accept[entry[i]]:
                    next_node = np.int64(alias.other[entry[i]])
        path[put[i]] = next_node
        put[i] += 1
        node[i] = next_node
        prefetch_element(indptr, next_node)
        finish_count += put[i] == end[i]
    return finish_count


@inner_kernel
def _remove_landed(flights: _Flights, flying: int) -> int:
    """Move the walks that go on to the front; their number."""
    node, word, put, end, _, _ = flights
    still = 0
    for i in range(flying):
        if put[i] < end[i]:
            node[still] = node[i]
            word[still] = word[i]
            put[still] = put[i]
            end[still] = end[i]
            still += 1
    return still


@kernel
def write_paths(
    indptr: In[np.int64],
    indices: In[np.int32],
    alias: AliasTables | None,
    sources: WalkSources,
    walks: int,
    survive: Out[np.float64],
    path: Out[np.int32],
) -> None:
    """Write the nodes of all walks, one walk after the other, source after source."""
    flights = _Flights(
        np.empty(IN_FLIGHT, np.int64),
        np.empty(IN_FLIGHT, np.uint64),
        np.empty(IN_FLIGHT, np.int64),
        np.empty(IN_FLIGHT, np.int64),
        np.empty(IN_FLIGHT, np.int64),
        np.empty(IN_FLIGHT, np.float32),
    )
    node, word, put, end, _, _ = flights
    keys = sources.keys
    flying, source, walk, free = 0, 0, 0, 0
    while True:
        # Take off. Where a walk's path is written is known before it starts, so the order of steps does not matter.
        while flying < IN_FLIGHT and source < keys.size:
            key = _walk_key(keys[source], walk)
            steps = _steps(key, survive)
            first = _seed_of(sources, source, key)
            path[free] = first
            if steps > 0:
                node[flying] = first
                word[flying] = key + np.uint64(1)
                put[flying] = free + 1
                end[flying] = free + 1 + steps
                prefetch_element(indptr, first)
                flying += 1
            free += 1 + steps
            walk += 1
            if walk == walks:
                walk = 0
                source += 1
        if flying == 0:
            return
        _pick_entries(indptr, indices, alias, flights, flying)
        if _step(indptr, indices, alias, flights, flying, path) > 0:
            flying = _remove_landed(flights, flying)


@kernel
def count_visits(
    path: Out[np.int32],
    starts: Out[np.int64],
    counts: Out[np.int32],
    nodes_reached: Out[np.int32],
    nodes: Out[np.int32],
    visits: Out[np.int32],
    sizes: Out[np.int64],
) -> int:
    """Visits of each node of each source's path, in the order of the path; counts are left at 0."""
    put = 0
    for source in range(sizes.size):
        count = 0
        for at in range(starts[source], starts[source + 1]):
            prefetch_element(counts, np.int64(path[min(at + 16, starts[source + 1] - 1)]))
            node = path[at]
            if counts[node] == 0:
                nodes_reached[count] = node
                count += 1
            counts[node] += 1
        for i in range(count):
            nodes[put] = nodes_reached[i]
            visits[put] = counts[nodes_reached[i]]
            counts[nodes_reached[i]] = 0
            put += 1
        sizes[source] = count
    return put
