"""Random rows that the rounds start from: a node's own, and what its attributes add.

A feature (a column and a value) has a random row as a node has, from another stream of the seed. The rows of a
node's features, times their values, make a row that nodes with equal attributes share: so they are alike before an
edge has been followed, and a node without edges has a row that means something to others.
"""

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block, Features
from pipeline.embedding.rows import Operand
from pipeline.embedding.settings import Settings
from pipeline.kernels.buffers import aligned_empty
from pipeline.kernels.csr import Csr
from pipeline.kernels.hashing import splitmix64
from pipeline.kernels.random_projection import WORD, normal_projection, very_sparse_projection, very_sparse_signs
from pipeline.kernels.rows import add_scaled, gather_rows, scatter_rows
from pipeline.kernels.spmm import spmm

_FEATURES_AT_ONCE = 32_768  # whose rows are held
_FEW_EMPTY = 0.01  # share of random rows without an entry up to which they stay so
_STREAM = 0x66656174757265  # "feature": what parts their rows from nodes' rows


def random_rows(
    node_key: NDArray[np.uint64], scale: NDArray[np.float64] | None, settings: Settings, seed: int | None = None
) -> NDArray[np.float32]:
    """Ω of some nodes, rows scaled; the columns that are computed."""
    embedding = settings.embedding
    width, first_col = settings.width, settings.first_column
    seed = embedding.seed if seed is None else seed
    if embedding.projection == "normal":
        return normal_projection(node_key, width, seed, scale=scale, first_col=first_col)
    of = settings.dim if are_often_empty(settings) else 0
    return very_sparse_projection(node_key, width, sparsity_of(settings), seed, scale=scale, first_col=first_col, of=of)


def sparsity_of(settings: Settings) -> float:
    """Return 1 / share of the entries of sparse random rows that are not zero."""
    sparsity = settings.embedding.sparsity
    # sqrt is exact to the last bit on every CPU, so every part draws the same rows.
    return math.sqrt(settings.graph.nodes) if isinstance(sparsity, str) else sparsity


def are_often_empty(settings: Settings) -> bool:
    """Return whether chance leaves more than 1 % of the random rows without an entry: then such rows get one."""
    sparsity = max(sparsity_of(settings), 1.0)
    return settings.embedding.projection == "sparse" and (1.0 - 1.0 / sparsity) ** settings.dim > _FEW_EMPTY


def start_rows(
    block: Block, local: NDArray[np.int64] | slice, scale: NDArray[np.float64] | None, settings: Settings
) -> NDArray[np.float32]:
    """What some local rows of a block start from: (1 - s) Ω_node + s Σ_f value_f Ω_f, over c, where there are features.

    s is ``attribute_share`` and c the root of (1 - s)**2 + s**2. The values of a node's features have squares that sum
    to 1 (at most: see `pipeline.ingest.attributes.features.features_of`), so both sums have the expected length of
    Ω_node, and they are independent: divided by c, so has the whole, and a node with attributes weighs as much in its
    neighbours' rows as one without. Nodes without features start from Ω_node alone.

    Parameters
    ----------
    local : which rows. scale : a factor for each, such as D^β.

    Returns
    -------
    (n, settings.width) float32. No bit depends on the other rows, on the other columns or on the block.
    """
    node_key = block.node_key[local]
    if block.features is None or settings.embedding.attribute_share == 0:
        return random_rows(node_key, scale, settings)
    index = np.arange(*local.indices(block.node_key.size)) if isinstance(local, slice) else local
    features = block.features.rows(index)
    own, of_features = _shares(settings)
    factor = np.ones(index.size) if scale is None else scale
    x = random_rows(node_key, np.where(features.counts > 0, own, 1.0) * factor, settings)
    _add_features(x, features, of_features * factor, settings)
    return x


def start_operand(
    block: Block, local: NDArray[np.int64] | slice, scale: NDArray[np.float64] | None, settings: Settings
) -> Operand:
    """Return the same to multiply by, and for nothing else: signs where rows are no more than that."""
    embedding = settings.embedding
    has_features = block.features is not None and embedding.attribute_share != 0
    is_of_signs = embedding.projection == "sparse" and not are_often_empty(settings) and not settings.width % WORD
    if has_features or not is_of_signs or not settings.width:
        return start_rows(block, local, scale, settings)
    return very_sparse_signs(
        block.node_key[local],
        settings.width,
        sparsity_of(settings),
        embedding.seed,
        scale=scale,
        first_col=settings.first_column,
    )


def start_noise_scales(
    block: Block, local: NDArray[np.int64], scale: NDArray[np.float64] | None, settings: Settings
) -> NDArray[np.float64]:
    """How long start rows would be if nothing in them cancelled: what their noise is judged by; 0 without features."""
    if block.features is None or settings.embedding.attribute_share == 0:
        return np.zeros(local.size)
    features = block.features.rows(local)
    own, of_features = _shares(settings)
    size = np.where(features.counts > 0, own + of_features * features.sizes, 0.0) * math.sqrt(settings.dim)
    return size if scale is None else size * scale


def _shares(settings: Settings) -> tuple[float, float]:
    share = settings.embedding.attribute_share
    length = math.sqrt((1 - share) ** 2 + share**2)
    return (1 - share) / length, share / length


def feature_rows(features: Features, settings: Settings) -> NDArray[np.float32]:
    """Σ_f value_f Ω_f of each row: (n, settings.width) float32, zero without features."""
    x = aligned_empty((len(features.counts), settings.width))
    x[:] = 0.0
    _add_features(x, features, np.ones(len(x)), settings)
    return x


def _add_features(x: NDArray[np.float32], features: Features, scale: NDArray[np.float64], settings: Settings) -> None:
    """Add the rows of features, times their values and a factor for each row of x, in place."""
    seed = int(splitmix64(np.array([settings.embedding.seed ^ _STREAM], np.uint64))[0])
    having = np.flatnonzero(features.counts)
    ends = np.cumsum(features.counts[having])
    first = 0
    while first < having.size:
        before = int(ends[first - 1]) if first else 0
        stop = max(first + 1, int(np.searchsorted(ends, before + _FEATURES_AT_ONCE, side="right")))
        index = having[first:stop]
        batch = features.rows(index)
        order = np.argsort(batch.key, kind="stable")
        is_first = np.ones(order.size, np.bool_)
        is_first[1:] = batch.key[order[1:]] != batch.key[order[:-1]]
        place = np.empty(order.size, np.int32)
        place[order] = np.cumsum(is_first) - 1
        feature_rows = random_rows(batch.key[order[is_first]], None, settings, seed)
        sums, rows = aligned_empty((index.size, x.shape[1])), aligned_empty((index.size, x.shape[1]))
        spmm(Csr(batch.indptr, place, batch.value), feature_rows, sums, start=0, stop=index.size)
        gather_rows(x, index, rows)
        add_scaled(rows, sums, scale[index])
        scatter_rows(rows, index, x)
        first = stop
