"""Link prediction: are known pairs scored above pairs that are none?

AUC against random pairs mostly measures degree (known pairs end in popular nodes, random ones do not:
scoring a pair by the product of its degrees alone often passes .9). So each figure stands beside
its twin against negatives of the same degree, and beside the degree product's own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.hashing import hash_pairs, splitmix64
from pipeline.kernels.ranking import pair_scores

Code = TypeVar("Code", bound=np.integer)

MAX_DRAWS = 32  # with half of all candidates known, one negative in 4e9 is given up
_SALT = 2**32  # keeps the draws of hard negatives apart from those of others of the same seed and pair
MIN_CANDIDATES = 64  # fewer nodes of one degree are joined with their neighbours in degree


@dataclass(frozen=True, eq=False)
class Nodes:
    """What negatives and scores need of each node; a position is a row of all arrays.

    node_key : (n,) uint64. node_type : (n,) integers, any codes. degree : (n,) int64 neighbours.
    """

    node_key: NDArray[np.uint64]
    node_type: NDArray[np.integer]
    degree: NDArray[np.int64]

    def __post_init__(self) -> None:
        n = self.node_key.size
        if self.node_type.shape != (n,) or self.degree.shape != (n,):
            raise ValueError(
                f"there are {n} node keys, {self.node_type.size} types and {self.degree.size} degrees; "
                "give one of each to every node"
            )
        if n >= 2**31:
            raise ValueError(f"{n} nodes: codes of pairs need n * n to fit int64: sample the graph first")

    @property
    def n(self) -> int:
        """Number of nodes."""
        return self.node_key.size


@dataclass(frozen=True)
class LinkAuc:
    """AUC against one kind of negatives; None where no positive has one.

    auc : of the table's scores. auc_by_degree_alone : of the degree product, what popularity alone reaches.
    without_negative : positives that have no negative; they are left out.
    """

    auc: float | None
    auc_by_degree_alone: float | None
    without_negative: int


def pair_codes(src: NDArray[np.int64], dst: NDArray[np.int64], n: int, *, is_undirected: bool) -> NDArray[np.int64]:
    """Sorted, distinct codes ``src * n + dst`` of pairs of positions; of both directions if undirected."""
    codes = src * n + dst
    return distinct(np.concatenate((codes, dst * n + src)) if is_undirected else codes)


def distinct(codes: NDArray[Code]) -> NDArray[Code]:
    """Sorted, distinct values; (n,) integers. numpy's unique hashes first, which costs ten times the sort."""
    ascending = np.sort(codes)
    is_new = np.ones(ascending.size, np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=is_new[1:])
    return ascending[is_new]


def random_negatives(
    src: NDArray[np.int64], dst: NDArray[np.int64], nodes: Nodes, edge_codes: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """Replace each ``dst`` by any node of its type that ``src`` is not known to be linked to.

    The draws of a pair are a hash of (seed, keys of its ends, number of the draw), and candidates are
    counted in the order of their keys: the result depends neither on positions nor on the order of the pairs.

    Parameters
    ----------
    src, dst : (pairs,) int64 positions.
    nodes : all nodes.
    edge_codes : (codes,) int64, sorted: ``pair_codes`` of every edge known, held out or not; on plain graphs
        in both directions.
    seed : any non-negative integer below 2**64.

    Returns
    -------
    (pairs,) int64 positions; -1 where no draw was free.
    """
    node_type = np.unique(nodes.node_type, return_inverse=True)[1].astype(np.int64, copy=False)
    return _draw_from_classes(src, dst, nodes, node_type, edge_codes, seed, stream=0)


def degree_matched_negatives(
    src: NDArray[np.int64], dst: NDArray[np.int64], nodes: Nodes, edge_codes: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """The same as ``random_negatives``, among nodes of the type and about the degree of ``dst``.

    "About" is one class of ``degree_classes``.
    """
    return _draw_from_classes(src, dst, nodes, degree_classes(nodes), edge_codes, seed, stream=1)


def draw_negatives(
    src: NDArray[np.int64],
    dst: NDArray[np.int64],
    n: int,
    edge_codes: NDArray[np.int64],
    propose: Callable[[NDArray[np.int64], int], NDArray[np.int64]],
) -> NDArray[np.int64]:
    """Return the first node proposed for each pair that is no end of it and not known to be linked to ``src``.

    propose : of the pairs at some positions and the number of the draw, a node for each pair.

    Returns
    -------
    (pairs,) int64; -1 where ``MAX_DRAWS`` draws gave none.
    """
    negative = np.full(src.size, -1, np.int64)
    left = np.arange(src.size)
    for attempt in range(MAX_DRAWS):
        if left.size == 0:
            break
        node = propose(left, attempt)
        is_free = (node != src[left]) & (node != dst[left]) & ~contains(edge_codes, src[left] * n + node)
        negative[left[is_free]] = node[is_free]
        left = left[~is_free]
    return negative


def unit_interval(word: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Numbers in [0, 1) from the top 53 bits of hashes, so that the floor of one times n is below n."""
    return (word >> np.uint64(11)).astype(np.float64) * 2.0**-53


def degree_classes(nodes: Nodes) -> NDArray[np.int64]:
    """Number the classes of nodes with equal type and similar degree; (n,) int64.

    Degrees below 8 are told apart exactly, larger ones by quarters of a power of two (8-9, 10-11,
    12-13, 14-15, 16-19, ...): at most a factor 1.25. From the largest degree down, a class of fewer than
    ``MIN_CANDIDATES`` nodes takes in the next smaller degrees, since a few hubs would know each other
    all; what is left over at the bottom joins the class above it.
    """
    step = _degree_step(nodes.degree)
    classes = np.empty(nodes.n, np.int64)
    n_classes = 0
    for node_type in distinct(nodes.node_type):
        of_type = np.flatnonzero(nodes.node_type == node_type)
        counts = np.bincount(step[of_type])
        class_of_step = np.full(counts.size, n_classes, np.int64)
        members = 0
        for at in range(counts.size - 1, -1, -1):
            class_of_step[at] = n_classes
            members += int(counts[at])
            if members >= MIN_CANDIDATES and counts[:at].sum() >= MIN_CANDIDATES:
                n_classes, members = n_classes + 1, 0
        classes[of_type] = class_of_step[step[of_type]]
        n_classes += 1
    return classes


def auc(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float | None:
    """Chance that a positive scores above a negative, a tie counting half; None if either is empty.

    Equal to the area under the ROC curve by midranks, from whole counts: exact to one rounding.
    """
    if positive.size == 0 or negative.size == 0:
        return None
    ascending = np.sort(negative)
    below = int(np.searchsorted(ascending, positive, "left").sum())
    below_or_equal = int(np.searchsorted(ascending, positive, "right").sum())
    return (below + below_or_equal) / (2 * positive.size * negative.size)


def measure_auc(
    rows: NDArray[np.float32],
    nodes: Nodes,
    src: NDArray[np.int64],
    dst: NDArray[np.int64],
    negative: NDArray[np.int64],
) -> LinkAuc:
    """AUC of positives (src, dst) against negatives (src, negative), by the dot product of rows.

    rows : (n, dim) float32; for cosine, pass unit rows. negative : (pairs,) int64; -1 where a positive has none.
    """
    has_one = negative >= 0
    src, dst, negative_end = src[has_one], dst[has_one], negative[has_one]
    degree = nodes.degree.astype(np.float64)
    return LinkAuc(
        auc=auc(pair_scores(rows, src, rows, dst), pair_scores(rows, src, rows, negative_end)),
        auc_by_degree_alone=auc(degree[src] * degree[dst], degree[src] * degree[negative_end]),
        without_negative=int((~has_one).sum()),
    )


def contains(ascending: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which values occur in a sorted array."""
    if ascending.size == 0:
        return np.zeros(values.shape, np.bool_)
    at = np.minimum(np.searchsorted(ascending, values), ascending.size - 1)
    return np.asarray(ascending[at] == values)


def _draw_from_classes(
    src: NDArray[np.int64],
    dst: NDArray[np.int64],
    nodes: Nodes,
    node_class: NDArray[np.int64],
    edge_codes: NDArray[np.int64],
    seed: int,
    stream: int,
) -> NDArray[np.int64]:
    """A node of the class of each ``dst``, as said in ``random_negatives``."""
    by_class = np.lexsort((nodes.node_key, node_class))  # inside a class by key; equal keys by position
    members = np.bincount(node_class, minlength=1)
    first = np.cumsum(members) - members
    words = hash_pairs(nodes.node_key[src], nodes.node_key[dst], seed)

    def propose(pairs: NDArray[np.int64], attempt: int) -> NDArray[np.int64]:
        # Two streams of one pair never meet: even counters for one, odd ones for the other.
        share = unit_interval(splitmix64(words[pairs] + np.uint64(2 * attempt + stream)))
        of_dst = node_class[dst[pairs]]
        return by_class[first[of_dst] + (share * members[of_dst]).astype(np.int64)]

    return draw_negatives(src, dst, nodes.n, edge_codes, propose)


def _degree_step(degree: NDArray[np.int64]) -> NDArray[np.int64]:
    """Quarters of powers of two, in integers: equal on every CPU, which log2 is not."""
    exponent = np.frexp(np.maximum(degree, 1).astype(np.float64))[1].astype(np.int64) - 1
    quarter = np.maximum(exponent - 2, 0)
    # Below 8 the shift is 0 and the step is the degree itself.
    return 4 * quarter + (degree >> quarter)


def hard_negatives(
    src: NDArray[np.int64],
    dst: NDArray[np.int64],
    nodes: Nodes,
    train: NDArray[np.int64],
    edge_codes: NDArray[np.int64],
    seed: int,
) -> NDArray[np.int64]:
    """Replace each ``dst`` by the end of a short random walk from ``src`` that it is not known to be linked to.

    A walk takes the fewest steps that lead past the neighbours to nodes of the type of ``dst``: two on a plain
    graph, three between two types (what else do those like who like what I like?). Each step goes to one of the
    neighbours with equal chance, so nodes with many ways to them are drawn more often: they are the harder
    ones. Draws are hashes of (seed, keys of the pair, number of the draw), and neighbours are counted in the
    order of their keys: the result depends neither on positions nor on the order of the pairs. ``src`` itself,
    ``dst`` and ends of another type are never negatives.

    train : (codes,) int64, sorted: ``pair_codes`` of the edges to walk along, in both directions. The other arguments,
        and what is returned, are those of ``random_negatives``.
    """
    start, end = np.divmod(train, nodes.n)
    by_key = np.argsort(nodes.node_key, kind="stable")
    place = np.empty(nodes.n, np.int64)
    place[by_key] = np.arange(nodes.n)
    neighbor = by_key[np.sort(start * nodes.n + place[end]) % nodes.n]
    degree = np.bincount(start, minlength=nodes.n)
    first = np.cumsum(degree) - degree
    steps = 2 if src.size == 0 or nodes.node_type[src[0]] == nodes.node_type[dst[0]] else 3

    has_walk = degree[src] > 0
    negative = np.full(src.size, -1, np.int64)
    src, dst = src[has_walk], dst[has_walk]
    words = splitmix64(hash_pairs(nodes.node_key[src], nodes.node_key[dst], seed) + np.uint64(_SALT))

    def walk(pairs: NDArray[np.int64], attempt: int) -> NDArray[np.int64]:
        at = src[pairs]
        for step in range(steps):
            share = unit_interval(splitmix64(words[pairs] + np.uint64(attempt * steps + step)))
            at = neighbor[first[at] + (share * degree[at]).astype(np.int64)]
        # A walk that ends in another type counts as one back to its start, which is never a negative.
        return np.where(nodes.node_type[at] == nodes.node_type[dst[pairs]], at, src[pairs])

    negative[has_walk] = draw_negatives(src, dst, nodes.n, edge_codes, walk)
    return negative
