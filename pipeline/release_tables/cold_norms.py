"""How long rows of cold nodes have to be for them to fill a share of lists, by the rows of the run itself."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import FeatureTable, NodeArrays
from pipeline.embedding.cold_rows import MOST_SOURCES
from pipeline.evaluation.position_lists import PositionLists
from pipeline.evaluation.sampling import sample_by_key
from pipeline.evaluation.top_k import top_k
from pipeline.locations import Location
from pipeline.release_tables.finished_rows import FinishedRows, RowSources, finished_rows
from pipeline.tasks import Attempt

#: Length of the lists.
LIST_LENGTH = 20
_PAIRS_AT_ONCE = 1_048_576


@dataclass(frozen=True)
class NormPayload:
    """Rows with cold ones at norm 1, the two types, files of the main relation's pairs, and the share wanted."""

    sources: RowSources
    source_type: str
    target_type: str
    pairs: tuple[Location, ...]
    list_share: float


def find_norm(payload: NormPayload, attempt: Attempt) -> float:  # noqa: ARG001
    """Task: the norm at which cold targets fill a share of list places, or what their number gives if that is less.

    The j-th best of a source's cold targets enters its list if its score, times the norm, is above that of the warm
    target at place ``LIST_LENGTH`` + 1 - j. So the places that are filled at any norm follow from one pass.
    """
    sources = payload.sources
    source_nodes, queries = _lists_of(payload)
    train = _train_pairs(payload, source_nodes)
    best = np.full((2, source_nodes.size, LIST_LENGTH), -np.inf)  # scores of warm and of cold targets
    counts = [0, 0]
    for group, is_cold in _groups(sources, payload.target_type):
        lists = _lists_between(train, source_nodes.size, group.first, group.stop)
        for place, index in enumerate((np.flatnonzero(group.degree > 0), np.flatnonzero(is_cold))):
            counts[place] += index.size
            if index.size:
                _, scores = top_k(queries, group.vectors[index], LIST_LENGTH, lists.among(index))
                best[place] = -np.sort(-np.hstack([best[place], scores]), axis=1)[:, :LIST_LENGTH]
    warm, cold = best
    share = min(payload.list_share, counts[1] / max(sum(counts), 1))
    return norm_for(warm, cold, share)


def norm_for(warm: NDArray[np.float64], cold: NDArray[np.float64], share: float) -> float:
    """Return the factor on scores of cold targets at which they fill a share of the places of all lists.

    warm, cold : (lists, k) scores, best first; -inf behind the end of a list.
    """
    worst_first = warm[:, ::-1]  # the last place is the first to go
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(cold > 0, np.where(worst_first > 0, cold / worst_first, np.inf), 0.0).reshape(-1)
    ratio = -np.sort(-ratio)
    places = round(share * ratio.size) - int(np.isinf(ratio).sum())  # what any norm lets in is in
    ratio = ratio[(ratio > 0) & np.isfinite(ratio)]
    if not ratio.size:
        return 1.0
    place = min(max(places, 0), ratio.size)
    bounds = np.concatenate([[2 * ratio[0]], ratio, [ratio[-1] / 2]])
    return float(2.0 / (bounds[place] + bounds[place + 1]))


def _groups(sources: RowSources, node_type: str) -> Iterator[tuple[FinishedRows, NDArray[np.bool_]]]:
    """Yield finished rows of a type, and which of them are those whose norm is looked for."""
    features = FeatureTable(sources.node_features)
    (cold_rows,) = sources.cold_rows
    for group in finished_rows(sources, sources.nodes.types[node_type]):
        of_group = features.take(np.arange(group.first, group.stop))
        yield group, cold_rows.are_of(group.vectors, group.degree, of_group)


def _lists_of(payload: NormPayload) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the sources that have lists, ascending, and their rows."""
    sources = payload.sources
    first, stop = sources.nodes.types[payload.source_type]
    with_edges = first + np.flatnonzero(sources.main_degree(np.arange(first, stop)) > 0)
    key = NodeArrays(sources.node_arrays).take("node_key", with_edges).view(np.uint64)
    node_ix = with_edges[sample_by_key(key, MOST_SOURCES, sources.settings.embedding.seed)]
    rows = np.empty((node_ix.size, sources.settings.dim), np.float32)
    for group in finished_rows(sources, (first, stop)):
        rows_of_group = slice(*np.searchsorted(node_ix, [group.first, group.stop]))
        rows[rows_of_group] = group.vectors[node_ix[rows_of_group] - group.first]
    return node_ix, rows


def _train_pairs(payload: NormPayload, sources: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (list, target node) of all pairs of the sources; on plain graphs from both ends, and each with itself."""
    is_plain = payload.source_type == payload.target_type
    pieces = [(np.arange(sources.size), sources)] if is_plain else []
    for batch in storage.read_batches(payload.pairs, ["src_ix", "dst_ix"], _PAIRS_AT_ONCE):
        src, dst = (batch[name].to_numpy() for name in ("src_ix", "dst_ix"))
        for ends, other_ends in ((src, dst), (dst, src))[: 1 + is_plain]:
            place = np.minimum(np.searchsorted(sources, ends), max(sources.size - 1, 0))
            is_asked = sources[place] == ends if sources.size else np.zeros(ends.size, np.bool_)
            pieces.append((place[is_asked], other_ends[is_asked]))
    query, target = ([np.empty(0, np.int64), *(piece[side] for piece in pieces)] for side in (0, 1))
    return np.concatenate(query), np.concatenate(target)


def _lists_between(
    train: tuple[NDArray[np.int64], NDArray[np.int64]], n_lists: int, first: int, stop: int
) -> PositionLists:
    """Return of each list the train targets in a range, counted from its first."""
    query, target = train
    is_here = (target >= first) & (target < stop)
    return PositionLists.from_pairs(query[is_here], target[is_here] - first, n_lists)
