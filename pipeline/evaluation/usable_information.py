"""How many bits about edges a linear model can use of a block of columns, and NetInfoF's score of the same."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.link_prediction import degree_matched_negatives
from pipeline.evaluation.table import Pairs, Table
from pipeline.kernels.hashing import hash_pairs
from pipeline.kernels.logistic_regression import log_loss, logistic_regressions

BLOCKS = 8
SAMPLE = 20_000
_STRENGTH = 1.0  # columns are scaled to deviation 1 first, so that it means the same for any table
_SALT = 2**33
_BINS = 16  # of a model's score: few enough that hundreds of pairs are in each


@dataclass(frozen=True)
class BlockBits:
    """Usable bits a pair of a block of columns, from the first to before the last, and their standard error.

    netinfof_score : 2^-H(Y | X), X the model's score in bins: 1 where it tells all, 0.5 where it tells nothing.
    """

    columns: tuple[int, int]
    bits: float
    standard_error: float
    netinfof_score: float


@dataclass(frozen=True)
class UsableInformation:
    """Bits of blocks of columns, of the first columns together, and of the score alone.

    pairs : pairs looked at, of ``population``; as many negatives stand beside them.
    """

    pairs: int
    population: int
    is_sampled: bool
    blocks: tuple[BlockBits, ...]
    prefixes: tuple[BlockBits, ...]
    score_alone: BlockBits


def usable_information(
    table: Table, pairs: Pairs, edge_codes: NDArray[np.int64], seed: int, sample: int | None = SAMPLE
) -> UsableInformation | None:
    """Predictive V-information about "is it an edge?" in the products u_c * v_c of some columns c.

    Half of the pairs are edges, half have an end replaced by a node of the same degree, so that without columns
    a pair is worth one bit of doubt. V is the family of logistic regressions on the products: with the true
    weights, the dot product is one of them. A model is fitted on the pairs whose hash is even (an edge and its
    negative stay together) and judged on the others:

        I_V = H_V(Y) - H_V(Y | columns) = 1 - (mean of -log2 of the chance given to the truth)

    1 means that edges are certain, 0 that the columns say nothing that a linear model can use; fitting noise costs
    a little below 0. Blocks are equal slices of the columns: equal in a table of random features, falling where
    columns are ordered. Prefixes (16, 32, 64, ... columns) say what a narrower table would keep, if columns are
    ordered. The score is the dot product alone, one weight: what a reader gets who only takes products.

    NetInfoF's score asks less of the same model: only its order of the pairs counts, not the chances that it gives.

    Parameters
    ----------
    pairs : the edges, each once, with rows.
    edge_codes : sorted ``pair_codes`` of pairs that are no negatives.
    sample : edges looked at, chosen by hash of their ends; None: all.

    Returns
    -------
    None where fewer than two edges with a negative are left on either side.

    Source
    ------
    Xu et al., "A theory of usable information under computational constraints", ICLR 2020 (V-information);
    Lee et al., "NetInfoF", ICLR 2024 (arXiv 2402.07999: probes of an embedding's parts by linear models, 2^-H(Y | X)).
    """
    rows, nodes = table.rows_for(table.similarity), table.nodes
    word = hash_pairs(nodes.node_key[pairs.src], nodes.node_key[pairs.dst], seed)
    sample_pairs = np.argsort(word, kind="stable")[:sample]
    src, dst = pairs.src[sample_pairs], pairs.dst[sample_pairs]
    negative = degree_matched_negatives(src, dst, nodes, edge_codes, seed ^ _SALT)
    has_one = negative >= 0
    src, dst, negative = src[has_one], dst[has_one], negative[has_one]
    is_train = (word[sample_pairs][has_one] & np.uint64(1)) == 0
    if min(is_train.sum(), (~is_train).sum()) < 2:
        return None
    left = rows[src].astype(np.float64)
    probe = _Probe(np.concatenate((left * rows[dst], left * rows[negative])), is_train)
    dim = rows.shape[1]
    edges = np.linspace(0, dim, min(BLOCKS, dim) + 1).astype(np.int64).tolist()
    widths = [width for power in range(4, 31) if (width := 2**power) < dim]
    return UsableInformation(
        pairs=src.size,
        population=pairs.src.size,
        is_sampled=src.size < pairs.src.size,
        blocks=tuple(probe.measure(*columns) for columns in itertools.pairwise(edges)),
        prefixes=tuple(probe.measure(0, width) for width in [*widths, dim]),
        score_alone=probe.measure_score(),
    )


@dataclass(frozen=True, eq=False)
class _Probe:
    """Models on the products of columns, fitted on one half of the pairs and judged on the other.

    products : (2 * pairs, dim) float64, first of the edges, then of their negatives. is_train : (pairs,) bool.
    """

    products: NDArray[np.float64]
    is_train: NDArray[np.bool_]

    def measure(self, first: int, stop: int) -> BlockBits:
        """Bits of the columns from ``first`` to before ``stop``."""
        return BlockBits((first, stop), *self._bits(self.products[:, first:stop]))

    def measure_score(self) -> BlockBits:
        """Bits of the sum of all products."""
        return BlockBits((0, self.products.shape[1]), *self._bits(self.products.sum(axis=1, keepdims=True)))

    def _bits(self, features: NDArray[np.float64]) -> tuple[float, float, float]:
        """Bits on the half that is judged, the standard error of their mean, and NetInfoF's score."""
        truth = np.repeat([True, False], self.is_train.size)
        is_train = np.tile(self.is_train, 2)
        mean, deviation = features[is_train].mean(axis=0), features[is_train].std(axis=0)
        deviation[deviation == 0] = 1.0
        standard_features = (features - mean) / deviation
        weights, intercepts = logistic_regressions(standard_features[is_train], truth[is_train][:, None], _STRENGTH)
        scores = standard_features @ weights[:, 0] + intercepts[0]
        doubt = log_loss(scores[~is_train], truth[~is_train]) / math.log(2.0)
        # An edge and its negative share an end, so they count as one draw: half their number is independent.
        error = float(doubt.std() / math.sqrt(doubt.size / 2))
        edges = np.quantile(scores[is_train], np.arange(1, _BINS) / _BINS)
        return 1.0 - float(doubt.mean()), error, binned_score(scores[~is_train], truth[~is_train], edges)


def binned_score(scores: NDArray[np.float64], truth: NDArray[np.bool_], edges: NDArray[np.float64]) -> float:
    """2^-H(Y | X) with H in bits, X the bin of a pair's score between ascending ``edges``; (n,), (n,), (bins - 1,)."""
    place = np.searchsorted(edges, scores, "right")
    pairs, true = np.bincount(place, minlength=edges.size + 1), np.bincount(place[truth], minlength=edges.size + 1)
    share = true[pairs > 0] / pairs[pairs > 0]
    doubt = np.zeros(share.size)
    for chance in (share, 1.0 - share):
        doubt -= chance * np.log2(chance, out=np.zeros(share.size), where=chance > 0)
    return float(2.0 ** -(pairs[pairs > 0] @ doubt / pairs.sum()))
