"""Link prediction: are known pairs scored above pairs that are none?

AUC against random pairs mostly measures degree (known pairs end in popular nodes, random ones do not:
scoring a pair by the product of its degrees alone often passes .9). So each figure stands beside
its twin against negatives of the same degree, and beside the degree product's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.position_lists import PositionLists
from pipeline.evaluation.ranking import Ranked, RankingMetrics, rank_items, unit_rows
from pipeline.evaluation.sampling import sample_by_key
from pipeline.kernels.hashing import hash_pairs, splitmix64
from pipeline.kernels.ranking import pair_scores

Similarity = Literal["dot", "cosine"]
Code = TypeVar("Code", bound=np.integer)

MAX_DRAWS = 32  # with half of all candidates known, one negative in 4e9 is given up
MIN_CANDIDATES = 64  # fewer nodes of one degree are joined with their neighbours in degree


@dataclass(frozen=True, eq=False)
class Nodes:
    """What negatives and scores need to know of each node; a position is a row of all arrays.

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


@dataclass(frozen=True, eq=False)
class Negatives:
    """For each positive, the node put in the place of its ``dst``; -1 where no draw was free."""

    dst: NDArray[np.int64]

    @property
    def dropped(self) -> int:
        """Positives without a negative; they are left out of the AUC."""
        return int((self.dst < 0).sum())


@dataclass(frozen=True)
class AgainstNegatives:
    """AUC of one kind of negatives; None where no positive has one.

    auc : of the table's scores. degree_auc : of the degree product, what popularity alone reaches.
    dropped : positives without a negative.
    """

    auc: float | None
    degree_auc: float | None
    dropped: int


@dataclass(frozen=True, eq=False)
class LinkPredictionMetrics:
    """Figures of ``link_prediction``."""

    positives: int
    similarity: Similarity
    random: AgainstNegatives
    degree_matched: AgainstNegatives
    ranking: RankingMetrics


def pair_codes(src: NDArray[np.int64], dst: NDArray[np.int64], n: int, *, undirected: bool) -> NDArray[np.int64]:
    """Sorted, distinct codes ``src * n + dst`` of pairs of positions; of both directions if undirected."""
    codes = src * n + dst
    return distinct(np.concatenate((codes, dst * n + src)) if undirected else codes)


def distinct(codes: NDArray[Code]) -> NDArray[Code]:
    """Sorted, distinct values; (n,) integers. numpy's unique hashes first, which costs ten times the sort."""
    ordered = np.sort(codes)
    is_new = np.ones(ordered.size, np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_new[1:])
    return ordered[is_new]


def random_negatives(
    src: NDArray[np.int64], dst: NDArray[np.int64], nodes: Nodes, known: NDArray[np.int64], seed: int
) -> Negatives:
    """Replace each ``dst`` by any node of its type that ``src`` is not known to be linked to.

    The draws of a pair are a hash of (seed, keys of its ends, number of the draw), and candidates are
    counted in the order of their keys: the result knows neither positions nor the order of the pairs.
    ``src`` itself and the ``dst`` replaced are never drawn.

    Parameters
    ----------
    src, dst : (pairs,) int64 positions.
    nodes : all nodes.
    known : (codes,) int64, sorted: ``pair_codes`` of every edge known, held out or not; on plain graphs
        in both directions.
    seed : any non-negative integer below 2**64.
    """
    return Negatives(_draw(src, dst, nodes, _dense(nodes.node_type), known, seed, stream=0))


def degree_matched_negatives(
    src: NDArray[np.int64], dst: NDArray[np.int64], nodes: Nodes, known: NDArray[np.int64], seed: int
) -> Negatives:
    """The same as ``random_negatives``, among nodes of the type and about the degree of ``dst``.

    "About" is one class of ``degree_classes``.
    """
    return Negatives(_draw(src, dst, nodes, degree_classes(nodes), known, seed, stream=1))


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
    ordered = np.sort(negative)
    below = int(np.searchsorted(ordered, positive, "left").sum())
    below_or_equal = int(np.searchsorted(ordered, positive, "right").sum())
    return (below + below_or_equal) / (2 * positive.size * negative.size)


def link_prediction(
    rows: NDArray[np.float32],
    nodes: Nodes,
    src: NDArray[np.int64],
    dst: NDArray[np.int64],
    known: NDArray[np.int64],
    similarity: Similarity,
    seed: int,
    *,
    ks: Sequence[int] = (20,),
    max_sources: int | None = None,
) -> LinkPredictionMetrics:
    """Score positives against two kinds of negatives, and rank them among all nodes.

    The AUCs use each positive once, from ``src``. The ranking is that of ``rank_items``: for each source
    with positives, all nodes of the other end's type, without itself and without its neighbours in
    ``known`` that are no positives; recall@k is the mean over sources of their share of positives found.
    On plain graphs (all nodes in question of one type) a positive counts from both of its ends.

    Parameters
    ----------
    rows : (n, dim) float32: the table, by position.
    nodes : all nodes.
    src, dst : (pairs,) int64 positions of the positives, each pair once; all ``src`` of one type and all
        ``dst`` of one type.
    known : sorted ``pair_codes`` of every edge, positives included; both directions on plain graphs.
    similarity : what the table's metadata names for retrieval.
    seed : of the negatives and of the sample of sources.
    ks : lengths of the ranking, ascending.
    max_sources : rank for so many sources, chosen by node key; None: for all.

    Raises
    ------
    ValueError : if the ends of one side have several types, ``known`` is not sorted, shapes differ, or the
        similarity is unknown.
    """
    is_plain = _check_positives(rows, nodes, src, dst, known, similarity)
    scored = unit_rows(rows) if similarity == "cosine" else np.ascontiguousarray(rows)
    random, degree_matched = against_negatives(scored, nodes, src, dst, known, seed)
    return LinkPredictionMetrics(
        positives=src.size,
        similarity=similarity,
        random=random,
        degree_matched=degree_matched,
        ranking=rank_positives(scored, nodes, src, dst, known, is_plain, seed, ks, max_sources).metrics,
    )


def against_negatives(
    rows: NDArray[np.float32],
    nodes: Nodes,
    src: NDArray[np.int64],
    dst: NDArray[np.int64],
    known: NDArray[np.int64],
    seed: int,
) -> tuple[AgainstNegatives, AgainstNegatives]:
    """AUC of positives against random and against degree-matched negatives, by the dot product of rows.

    Arguments as in `link_prediction`; for cosine, pass unit rows. ``known`` needs the pairs of ``src`` only.
    """
    return (
        against(random_negatives(src, dst, nodes, known, seed), rows, nodes, src, dst),
        against(degree_matched_negatives(src, dst, nodes, known, seed), rows, nodes, src, dst),
    )


def _draw(
    src: NDArray[np.int64],
    dst: NDArray[np.int64],
    nodes: Nodes,
    node_class: NDArray[np.int64],
    known: NDArray[np.int64],
    seed: int,
    stream: int,
) -> NDArray[np.int64]:
    """A node of the class of each ``dst``, as said in ``random_negatives``; -1 after ``MAX_DRAWS``."""
    by_class = np.lexsort((nodes.node_key, node_class))  # inside a class by key; equal keys by position
    members = np.bincount(node_class, minlength=1)
    first = np.cumsum(members) - members
    words = hash_pairs(nodes.node_key[src], nodes.node_key[dst], seed)
    drawn = np.full(src.size, -1, np.int64)
    left = np.arange(src.size)
    for attempt in range(MAX_DRAWS):
        if left.size == 0:
            break
        # Two streams of one pair never meet: even counters for one, odd ones for the other.
        word = splitmix64(words[left] + np.uint64(2 * attempt + stream))
        share = (word >> np.uint64(11)) * 2.0**-53  # in [0, 1), so its floor times n stays below n
        wanted = node_class[dst[left]]
        node = by_class[first[wanted] + (share * members[wanted]).astype(np.int64)]
        is_free = (node != src[left]) & (node != dst[left]) & ~contains(known, src[left] * nodes.n + node)
        drawn[left[is_free]] = node[is_free]
        left = left[~is_free]
    return drawn


def _degree_step(degree: NDArray[np.int64]) -> NDArray[np.int64]:
    """Quarters of powers of two, in integers: equal on every CPU, which log2 is not."""
    exponent = np.frexp(np.maximum(degree, 1).astype(np.float64))[1].astype(np.int64) - 1
    quarter = np.maximum(exponent - 2, 0)
    # Below 8 the shift is 0 and the step is the degree itself.
    return 4 * quarter + (degree >> quarter)


def against(
    negatives: Negatives,
    rows: NDArray[np.float32],
    nodes: Nodes,
    src: NDArray[np.int64],
    dst: NDArray[np.int64],
) -> AgainstNegatives:
    """AUC of positives against negatives already drawn; arguments as in ``against_negatives``."""
    has_one = negatives.dst >= 0
    src, dst, other = src[has_one], dst[has_one], negatives.dst[has_one]
    degree = nodes.degree.astype(np.float64)
    return AgainstNegatives(
        auc=auc(pair_scores(rows, src, rows, dst), pair_scores(rows, src, rows, other)),
        degree_auc=auc(degree[src] * degree[dst], degree[src] * degree[other]),
        dropped=negatives.dropped,
    )


def rank_positives(
    rows: NDArray[np.float32],
    nodes: Nodes,
    src: NDArray[np.int64],
    dst: NDArray[np.int64],
    known: NDArray[np.int64],
    is_plain: bool,
    seed: int,
    ks: Sequence[int],
    max_sources: int | None,
) -> Ranked:
    """Recall at ks and its kin of the positives, for all or ``max_sources`` sources."""
    positives = pair_codes(src, dst, nodes.n, undirected=is_plain)
    sources = distinct(positives // nodes.n)
    population = sources.size
    if max_sources is not None:
        sources = sources[sample_by_key(nodes.node_key[sources], max_sources, seed)]
    targets = np.flatnonzero(np.isin(nodes.node_type, nodes.node_type[dst[:1]]))

    test = _lists(positives, sources, targets, nodes.n)
    train_codes = known[~contains(positives, known)]
    known_dst = train_codes % nodes.n
    itself = sources[np.isin(sources, targets)]
    train_codes = np.union1d(train_codes, itself * nodes.n + itself)
    train = _lists(train_codes, sources, targets, nodes.n)
    metrics = rank_items(rows[sources], rows[targets], targets, train, test, ks, population=population)
    own = np.isin(sources, targets).astype(np.int64)  # itself is left out too, and is no neighbour
    item_degree = np.bincount(known_dst, minlength=nodes.n)[targets]
    return Ranked(metrics, sources, train.lengths - own, item_degree)


def _lists(codes: NDArray[np.int64], sources: NDArray[np.int64], targets: NDArray[np.int64], n: int) -> PositionLists:
    """The ends of coded pairs, as positions in ``targets``, for each of ``sources``; both ascending."""
    src, dst = np.divmod(codes, n)
    is_wanted = contains(sources, src) & contains(targets, dst)
    return PositionLists.from_pairs(
        np.searchsorted(sources, src[is_wanted]), np.searchsorted(targets, dst[is_wanted]), sources.size
    )


def contains(ordered: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which values occur in a sorted array."""
    if ordered.size == 0:
        return np.zeros(values.shape, np.bool_)
    at = np.minimum(np.searchsorted(ordered, values), ordered.size - 1)
    return np.asarray(ordered[at] == values)


def _dense(codes: NDArray[np.integer]) -> NDArray[np.int64]:
    return np.unique(codes, return_inverse=True)[1].astype(np.int64, copy=False)


def _check_positives(
    rows: NDArray[np.float32],
    nodes: Nodes,
    src: NDArray[np.int64],
    dst: NDArray[np.int64],
    known: NDArray[np.int64],
    similarity: str,
) -> bool:
    """Refuse what can't be scored; return whether both sides are of one type (a plain graph)."""
    if similarity not in ("dot", "cosine"):
        raise ValueError(f"similarity is {similarity!r}; choose 'dot' or 'cosine', as the metadata says")
    if rows.shape[0] != nodes.n or src.shape != dst.shape:
        raise ValueError(
            f"there are {rows.shape[0]} rows for {nodes.n} nodes, {src.size} src and {dst.size} dst; "
            "give every node a row and every src a dst"
        )
    if (np.diff(known) <= 0).any():
        raise ValueError("known is not sorted or holds a pair twice; make it with pair_codes")
    src_types, dst_types = distinct(nodes.node_type[src]), distinct(nodes.node_type[dst])
    if src_types.size > 1 or dst_types.size > 1:
        raise ValueError(
            f"positives lead from types {src_types.tolist()} to types {dst_types.tolist()}; "
            "score one pair of types at a time"
        )
    return bool((src_types == dst_types).all())
