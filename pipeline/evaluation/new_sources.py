"""Sources that a table doesn't have: are the nodes that each of them chose more alike than chance makes them?

What new users do can't be foretold; but people choose things that go together, and what robots, a broken join or a
shuffled file give them doesn't.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.link_prediction import (
    LinkAuc,
    Nodes,
    contains,
    degree_matched_negatives,
    distinct,
    measure_auc,
)
from pipeline.evaluation.table import Pairs, Table
from pipeline.evaluation.top_k import unit_rows
from pipeline.kernels.hashing import hash_nodes

LONGEST = 100  # pairs of one source: no single one makes the figure


@dataclass(frozen=True)
class NewSourceMetrics:
    """Figures of the sources that a table doesn't have.

    test_pairs : of new sources. sources : those with two such pairs and more.
    positives : pairs of nodes that one of them chose, at most ``LONGEST`` a source. auc_degree_matched : None without.
    """

    test_pairs: int
    sources: int
    positives: int
    auc_degree_matched: float | None


def score_new_sources(table: Table, test: Pairs, seed: int) -> NewSourceMetrics:
    """Pair nodes that one new source chose, and take the AUC of their cosines against others of their degree.

    The nodes of a source, in the order of their hashes, make a chain; a negative is none of them. On a plain graph both
    ends of a test pair may be new.
    """
    source, target = test.src, test.dst
    if table.is_plain:  # unknown ends are numbered on each side by itself
        new_target = np.where(test.dst < 0, test.dst + min(0, int(test.src.min(initial=0))), test.dst)
        source, target = np.concatenate([test.src, new_target]), np.concatenate([test.dst, test.src])
    is_of_new = (source < 0) & (target >= 0)
    n = len(table.rows)
    source, target = np.divmod(distinct(-source[is_of_new] * n + target[is_of_new]), n)
    codes = source * n + target
    order = np.lexsort((hash_nodes(table.node_key, seed)[target], source))
    source, target = source[order], target[order]
    place = np.arange(source.size) - np.searchsorted(source, source)  # of each node in its source's chain
    is_pair = (place[1:] > 0) & (place[1:] <= LONGEST)
    source, first, second = source[1:][is_pair], target[:-1][is_pair], target[1:][is_pair]
    candidate = degree_matched_negatives(first, second, table.nodes, np.zeros(0, np.int64), seed)
    negative = np.where(contains(codes, source * n + candidate), -1, candidate)
    link_auc = _auc_of_cosines(table, first, second, negative)
    return NewSourceMetrics(
        test_pairs=codes.size,
        sources=distinct(source).size,
        positives=first.size - link_auc.without_negative,
        auc_degree_matched=link_auc.auc,
    )


def _auc_of_cosines(
    table: Table, first: NDArray[np.int64], second: NDArray[np.int64], negative: NDArray[np.int64]
) -> LinkAuc:
    """Take the AUC of some pairs by the cosines of their rows, of which only these are scaled."""
    node = distinct(np.concatenate((first, second, negative[negative >= 0])))
    nodes = table.nodes
    sample = Nodes(nodes.node_key[node], nodes.node_type[node], nodes.degree[node])
    row = [np.where(ends >= 0, np.searchsorted(node, ends), -1) for ends in (first, second, negative)]
    return measure_auc(unit_rows(table.rows[node]), sample, *row)
