"""Compiled passes of random walks: their lengths, their paths, and the visits of each source's paths."""

from __future__ import annotations

import numpy as np

from pipeline.kernels.array_types import In, Out, kernel
from pipeline.kernels.hashing import mix
from pipeline.kernels.prefetch import prefetch_element

IN_FLIGHT = 64
"""Walks that take turns. Each has one request to memory under way; a core keeps some 10 to 50 of them."""

_START = np.uint64(1 << 63)  # the word that draws a walk's seed; steps count from 0


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
def _seed_of(
    set_indptr: In[np.int64], set_nodes: In[np.int64], reach: In[np.float64], source: int, key: np.uint64
) -> int:
    """The node that a walk begins at; ``reach`` is the running sum of each set's shares."""
    low, high = set_indptr[source], set_indptr[source + 1] - 1
    if low == high:
        return int(set_nodes[low])
    luck = np.float64(mix(key + _START) >> np.uint64(11)) * 2.0**-53
    wanted = luck * reach[high]
    while low < high:
        middle = (low + high) // 2
        if reach[middle] > wanted:
            high = middle
        else:
            low = middle + 1
    return int(set_nodes[low])


@kernel
def write_paths(
    indptr: In[np.int64],
    indices: In[np.int32],
    accept: In[np.float32] | None,
    other: In[np.int32] | None,
    set_indptr: In[np.int64],
    set_nodes: In[np.int64],
    reach: In[np.float64],
    keys: In[np.uint64],
    walks: int,
    survive: Out[np.float64],
    path: Out[np.int32],
) -> None:
    """Write the nodes of all walks, one walk after the other, source after source."""
    node = np.empty(IN_FLIGHT, np.int64)
    word = np.empty(IN_FLIGHT, np.uint64)  # the next step's, before it is mixed
    put = np.empty(IN_FLIGHT, np.int64)
    end = np.empty(IN_FLIGHT, np.int64)
    entry = np.empty(IN_FLIGHT, np.int64)
    luck = np.empty(IN_FLIGHT, np.float32)
    flying, source, walk, free = 0, 0, 0, 0
    while True:
        # Take off. Where a walk's path is written is known before it starts, so the order of steps does not matter.
        while flying < IN_FLIGHT and source < keys.size:
            key = _walk_key(keys[source], walk)
            steps = _steps(key, survive)
            first = _seed_of(set_indptr, set_nodes, reach, source, key)
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
                if accept is not None and other is not None:
                    prefetch_element(accept, begin + slot)
                    prefetch_element(other, begin + slot)
        landed = 0
        for i in range(flying):
            here = node[i]
            if entry[i] >= 0:
                here = np.int64(indices[entry[i]])
                if accept is not None and other is not None:  # noqa: SIM102  (numba drops the branch of None, of one `and` it does not)
                    if luck[i] >= accept[entry[i]]:
                        here = np.int64(other[entry[i]])
            path[put[i]] = here
            put[i] += 1
            node[i] = here
            prefetch_element(indptr, here)
            landed += put[i] == end[i]
        if landed > 0:
            still = 0
            for i in range(flying):
                if put[i] < end[i]:
                    node[still] = node[i]
                    word[still] = word[i]
                    put[still] = put[i]
                    end[still] = end[i]
                    still += 1
            flying = still


@kernel
def count_visits(
    path: Out[np.int32],
    starts: Out[np.int64],
    counts: Out[np.int32],
    reached: Out[np.int32],
    nodes: Out[np.int32],
    visits: Out[np.int32],
    sizes: Out[np.int64],
) -> int:
    """Visits of each node of each source's path, in the order of the path; counts are left at 0."""
    put = 0
    for source in range(sizes.size):
        found = 0
        for at in range(starts[source], starts[source + 1]):
            prefetch_element(counts, np.int64(path[min(at + 16, starts[source + 1] - 1)]))
            node = path[at]
            if counts[node] == 0:
                reached[found] = node
                found += 1
            counts[node] += 1
        for i in range(found):
            nodes[put] = reached[i]
            visits[put] = counts[reached[i]]
            counts[reached[i]] = 0
            put += 1
        sizes[source] = found
    return put
