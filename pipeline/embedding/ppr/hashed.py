"""Personalised PageRank of single nodes, hashed into rows: each needs the graph and no other row."""

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block
from pipeline.config.embedding import EmbeddingConfig
from pipeline.config.sections import InputConfig
from pipeline.embedding.method import Method
from pipeline.embedding.method_keys import ItemNormPower, NormDegreePower
from pipeline.embedding.method_spec import MethodSpec, cosines, dot_products
from pipeline.embedding.ppr.walk_graph import WalkGraph
from pipeline.embedding.products import Multiplier, set_norms
from pipeline.embedding.rows import ColumnSums, RowNodes, Rows
from pipeline.embedding.settings import Settings
from pipeline.embedding.sinks import Sink
from pipeline.kernels.elementary import power_or_zero
from pipeline.kernels.hashed_logs import hashed_logs, hashed_logs_of_columns
from pipeline.kernels.hashing import hash_nodes
from pipeline.kernels.ppr_chebyshev import chebyshev_columns
from pipeline.kernels.ppr_chebyshev_bounds import chebyshev_passes
from pipeline.kernels.ppr_push import push_scores
from pipeline.kernels.ppr_top_k import SparseScores
from pipeline.kernels.transition import single_seeds

_AT_ONCE = 256  # sources whose sparse scores are held
#: Error of a score at a node of mean strength, unless it is set: what a walk that knows nothing finds there, 1 / nodes,
#: but no finer than this, which bounds the work of a node on graphs of any size.
_FINEST = 1e-5
_LEAST_OF_FLOAT32 = 1e-6  # of that error, which rounding is a small part of
#: Entries that passes take for a column, in the time that one is pushed in: 2 to 8 ns against .2 to .5.
_PASSED = 10.0


class _WalkKeys(EmbeddingConfig):
    def check(self, types: InputConfig) -> None:
        """Refuse rows of parts of the graph, and columns shared out."""
        if self.boundary != "exchange":
            raise ValueError(
                f"embedding.boundary is '{self.boundary}': hashed walks through the whole graph, which each task maps; "
                "use boundary = 'exchange'"
            )
        if (self.shards or 1) > 1:
            raise ValueError(
                f"embedding.shards is {self.shards}: hashed makes all columns of a row at once; leave shards out "
                "(ppr.shards deals the nodes out to tasks)"
            )


class HashedKeys(_WalkKeys):
    """Keys of hashed PPR on two types."""

    item_norm_power: ItemNormPower = 0.3


class PlainHashedKeys(_WalkKeys):
    """Keys of hashed PPR on one type."""

    norm_degree_power: NormDegreePower = 0.0


def error_share(settings: Settings) -> float:
    """Return the largest error of a score at a node of mean strength."""
    if settings.ppr.push_threshold is not None:
        return settings.ppr.push_threshold * settings.graph.mean_strength
    return max(1.0 / max(settings.graph.nodes, 1), _FINEST)


def threshold_for(settings: Settings) -> float:
    """Return the largest error of a score for each unit of its node's strength; the mean strength must be known."""
    if settings.ppr.push_threshold is not None:
        return settings.ppr.push_threshold
    return error_share(settings) / settings.graph.mean_strength


def reads_blocks(settings: Settings, entries: int, *, is_bipartite: bool) -> bool:
    """Return whether whole blocks of sources are solved in float32, which takes less than a push from each of them.

    It depends on the graph and the keys alone, so that a row is the same alone and among others.
    """
    passes = chebyshev_passes(settings.ppr.restart, error_share(settings), is_bipartite=is_bipartite)
    return error_share(settings) >= _LEAST_OF_FLOAT32 and passes * entries < _PASSED * pushed_entries(settings, entries)


def pushed_entries(settings: Settings, entries: int) -> float:
    """Return the most entries that a push from one node touches."""
    return entries / max(settings.graph.nodes, 1) / (error_share(settings) * settings.ppr.restart)


def hashed_rows(walks: WalkGraph, first: int, stop: int, settings: Settings) -> NDArray[np.float32]:
    """Rows of the nodes ``walks.node_ix[first:stop]`` before norms are set; (stop - first, dim) float32.

    Scores are found by forward push, each within the threshold times its node's strength, or many at once by block
    Chebyshev, with float32's rounding besides (`chebyshev_columns`); one that isn't larger than the threshold's is left
    out. A row depends on the graph and on its node alone. Where nothing is left, as of a hub whose strength is about
    restart over threshold or more, or in a graph of few nodes, and where what is left cancels, the row is that of a
    walk that stays: the node's own place, by itself.

    Cost
    ----
    A push from each node: the hashes take a hundredth of it at the finest threshold, a tenth at a hundred times that.
    Memory beside the graph: 44 bytes a node, and the scores of 256 nodes. Or the passes of 128 nodes at a time, and
    1,024 bytes a node (1,536 on one type).
    """
    rows = np.empty((stop - first, settings.dim), np.float32)
    if first == stop:
        return rows
    threshold = threshold_for(settings)
    graph, ppr = walks.graph, settings.ppr
    bound, word = threshold * graph.degree, hash_nodes(walks.node_key, settings.embedding.seed)
    if graph.is_undirected and reads_blocks(settings, graph.indices.size, is_bipartite=graph.left is not None):
        for block_rows, z, _ in chebyshev_columns(graph, single_seeds(np.arange(first, stop)), ppr.restart, threshold):
            of_some = np.empty((block_rows.size, settings.dim), np.float32)
            hashed_logs_of_columns(z, graph.degree, word, threshold, settings.graph.nodes, ppr.hash_columns, of_some)
            rows[block_rows] = of_some
    else:
        for start in range(first, stop, _AT_ONCE):
            end = min(start + _AT_ONCE, stop)
            scores = push_scores(graph, single_seeds(np.arange(start, end)), ppr.restart, threshold)
            rows[start - first : end - first] = hashed_logs(
                scores, word, bound, settings.graph.nodes, ppr.hash_columns, settings.dim
            )
    empty = np.flatnonzero(~rows.any(axis=1))
    rows[empty] = _own_places(empty + first, word, settings.dim)
    return rows


def _own_places(nodes: NDArray[np.int64], word: NDArray[np.uint64], dim: int) -> NDArray[np.float32]:
    """Return rows of walks that stay where they are: one place, which can't cancel."""
    indptr, score = np.arange(nodes.size + 1, dtype=np.int64), np.full(nodes.size, math.e)
    stays = SparseScores(indptr, nodes.astype(np.int32), score, np.zeros(nodes.size))
    return hashed_logs(stays, word, np.zeros(word.size), nodes=1, columns=1, dim=dim)


class PlainHashed(Method):
    """Rows whose products stand for those of the logarithms of PPR, at norm d^q sqrt(dim) / 2.

    There are no rounds between parts: what stands for one is all work on a block that holds the whole graph.
    """

    def rounds(self, settings: Settings) -> int:
        return 1

    def is_one_way(self, number: int, settings: Settings) -> bool:
        return True

    def start(self, block: Block, settings: Settings) -> NDArray[np.float32]:
        return np.empty((block.node_ix.size, 0), np.float32)

    def multiply(
        self, multiplier: Multiplier, x: NDArray[np.float32], number: int, settings: Settings, sink: Sink
    ) -> Rows:
        """Emit the rows of all nodes of a block that is the whole graph."""
        graph = settings.graph
        border = None if graph.source == graph.target else max(graph.source[0], graph.target[0])
        rows = hashed_rows(WalkGraph.of(multiplier.block, border), 0, len(x), settings)
        sink.emit(0, Rows(rows, np.zeros(len(rows))))
        return Rows.zeros(0, settings.dim)

    def finish(self, rows: Rows, nodes: RowNodes, sums: ColumnSums | None, settings: Settings) -> None:
        set_norms(rows, self.norms(nodes, settings))

    def norms(self, nodes: RowNodes, settings: Settings) -> NDArray[np.float64]:
        return math.sqrt(settings.dim) / 2 * power_or_zero(nodes.strength, settings.embedding.norm_degree_power)


class Hashed(PlainHashed):
    """The same on two types: users at norm 1, items at norm d^q."""

    def norms(self, nodes: RowNodes, settings: Settings) -> NDArray[np.float64]:
        is_item = (nodes.node_ix >= settings.graph.target[0]) & (nodes.node_ix < settings.graph.target[1])
        return np.where(is_item, power_or_zero(nodes.strength, settings.embedding.item_norm_power), 1.0)


_KEYS_OF_SPACE = ("restart", "push_threshold", "hash_columns")

HASHED = MethodSpec(
    method="ppr",
    form="hashed",
    choice="hashed",
    sides=2,
    keys=HashedKeys,
    rounds=Hashed(),
    buffers=1,  # the rows themselves
    products=lambda _: dot_products(
        "rows are hashed logarithms of where walks from a node are, and two rows multiply to how much these "
        "agree, with the noise of the hashes; an item's norm is its degree to a small power, so that the dot product "
        "of a user and an item is a ranking score; between nodes of one type cosine leaves the norm out"
    ),
    space=("item_norm_power",),
    space_of_ppr=_KEYS_OF_SPACE,
    space_has_nodes=True,  # the logarithms of hashed scores stand on it
    needs_means=True,
    whole_graph_rows=hashed_rows,
)

PLAIN_HASHED = MethodSpec(
    method="ppr",
    form="plain_hashed",
    choice="hashed",
    sides=1,
    keys=PlainHashedKeys,
    rounds=PlainHashed(),
    buffers=1,
    products=lambda _: cosines(
        "rows are hashed logarithms of where walks from a node are, at one norm: two rows multiply to how much "
        "these agree, with the noise of the hashes; a linear classifier takes the rows as they are"
    ),
    space=("norm_degree_power",),
    space_of_ppr=_KEYS_OF_SPACE,
    space_has_nodes=True,  # the logarithms of hashed scores stand on it
    needs_means=True,
    whole_graph_rows=hashed_rows,
)
