"""Contenders: products of the graph's matrix with dense rows, and embeddings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds

from pipeline.blocks.arrays import Block
from pipeline.embedding.in_memory import block_from_edges, embed_in_memory
from pipeline.embedding.methods import EMBEDDING
from pipeline.embedding.products import Multiplier, step_of_nodes
from pipeline.embedding.settings import GraphSummary, Settings
from pipeline.kernels.buffers import aligned_empty
from pipeline.kernels.hashing import splitmix64
from schemas.tables import WEIGHT_UNIT
from tests.benchmarks.speed.contender import Pairs, Prepared, contender

DIM = 128
POWERS = 4
SINGULAR_VECTORS = 64


def biadjacency(pairs: Pairs) -> sparse.csr_array:
    """(users, items) float32."""
    matrix = sparse.csr_array((np.ones(pairs.user.size, np.float32), (pairs.user, pairs.item)))
    matrix.sort_indices()
    return matrix


def adjacency(pairs: Pairs) -> sparse.csr_array:
    """(users + items) squared, float32."""
    b = biadjacency(pairs)
    matrix = sparse.csr_array(sparse.block_array([[None, b], [b.T, None]], format="csr"))
    matrix.sort_indices()
    return matrix


def block_of(pairs: Pairs) -> tuple[Block, GraphSummary]:
    """Return the block that a run would make of the pairs."""
    users, nodes = pairs.users, pairs.users + pairs.items
    weight = np.full(pairs.user.size, round(1 / WEIGHT_UNIT), np.int64)
    block = block_from_edges(splitmix64(np.arange(nodes, dtype=np.uint64)), pairs.user, users + pairs.item, weight)
    return block, GraphSummary(nodes, (0, users), (users, nodes))


def random_rows(pairs: Pairs) -> NDArray[np.float32]:
    """(users + items, DIM), standard normal."""
    rows = aligned_empty((pairs.users + pairs.items, DIM))
    rows[:] = np.random.default_rng(0).standard_normal(rows.shape, np.float32)
    return rows


def _no_norms(_: NDArray[np.float32]) -> None:
    return None


def _product(pairs: Pairs, multiply: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> Prepared:
    rows = random_rows(pairs)

    def figures(product: NDArray[np.float32]) -> Mapping[str, float]:
        matrix = adjacency(pairs)
        some = np.linspace(0, matrix.shape[0] - 1, 200).astype(np.int64)
        exact = matrix[some].astype(np.float64) @ rows.astype(np.float64)
        root = np.sqrt(np.maximum(np.diff(matrix.indptr)[some], 1))
        return {
            "largest error over the root of the degree": float((np.abs(product[some] - exact) / root[:, None]).max())
        }

    return Prepared(lambda: multiply(rows), figures)


@contender("product", "graphquilt")
def own_product(pairs: Pairs) -> Prepared:
    block, _ = block_of(pairs)
    return _product(pairs, lambda rows: step_of_nodes(Multiplier(block, _no_norms), rows).values)


@contender("product", "MKL")
def mkl_product(pairs: Pairs) -> Prepared:
    # The wheel's library stands where the loader doesn't look.
    os.environ.setdefault("MKL_RT", str(next(Path(sys.prefix, "lib").glob("libmkl_rt.so*"))))
    from sparse_dot_mkl import dot_product_mkl

    matrix = sparse.csr_matrix(adjacency(pairs))
    return _product(pairs, lambda rows: dot_product_mkl(matrix, rows))


@contender("product", "scipy")
def scipy_product(pairs: Pairs) -> Prepared:
    matrix = adjacency(pairs)
    return _product(pairs, lambda rows: matrix @ rows)


@contender("product", "graphquilt, half")
def own_product_of_halves(pairs: Pairs) -> Prepared:
    multiplier = Multiplier(block_of(pairs)[0], _no_norms, reads_halves=True)
    return _product(pairs, lambda rows: step_of_nodes(multiplier, rows).values)


def _embedding(pairs: Pairs, form: str, **keys: Any) -> Prepared:
    block, graph = block_of(pairs)
    settings = Settings(graph, EMBEDDING.model_validate({"dim": DIM, **keys}), form)
    return Prepared(lambda: embed_in_memory(block, settings))


@contender("fastrp", "graphquilt")
def own_fastrp(pairs: Pairs) -> Prepared:
    return _embedding(pairs, "classic", method="fastrp", iteration_weights=[0.0] + [1.0] * (POWERS - 1))


@contender("fastrp", "graphquilt, half")
def own_fastrp_of_halves(pairs: Pairs) -> Prepared:
    weights = [0.0] + [1.0] * (POWERS - 1)
    return _embedding(pairs, "classic", method="fastrp", iteration_weights=weights, compute="half")


@contender("fastrp", "products alone")
def products_of_fastrp(pairs: Pairs) -> Prepared:
    block, _ = block_of(pairs)
    rows = random_rows(pairs)
    product, multiplier = np.zeros_like(rows), Multiplier(block, _no_norms)

    def call() -> None:
        for _ in range(POWERS):
            multiplier.multiply(rows, product, 0, 0, None)

    return Prepared(call)


@contender("fastrp", "pycleora")
def pycleora_embed(pairs: Pairs) -> Prepared:
    import pycleora

    graph = cleora_graph(pairs)
    return Prepared(lambda: pycleora.embed(graph, feature_dim=DIM, num_iterations=POWERS, whiten=False, num_workers=1))


@contender("fastrp", "scikit-network")
def scikit_network_projection(pairs: Pairs) -> Prepared:
    from sknetwork.embedding import RandomProjection

    matrix = sparse.csr_matrix(adjacency(pairs))
    return Prepared(lambda: RandomProjection(DIM, n_iter=POWERS, random_state=0).fit_transform(matrix))


def cleora_graph(pairs: Pairs) -> Any:
    """Return pycleora's graph: a pair is a hyperedge of two nodes of one column, fed without a list of lines."""
    import pycleora

    lines = (f"u{user} i{item}" for user, item in zip(pairs.user.tolist(), pairs.item.tolist(), strict=True))
    return pycleora.SparseMatrix.from_iterator(lines, "complex::reflexive::node")


@contender("two_tower", "graphquilt")
def own_two_tower(pairs: Pairs) -> Prepared:
    return _embedding(pairs, "two_tower", method="fastrp")


@contender("two_tower", "products alone")
def products_of_two_tower(pairs: Pairs) -> Prepared:
    block, graph = block_of(pairs)
    users, rows, multiplier = graph.source[1], random_rows(pairs), Multiplier(block, _no_norms)
    of_users, of_items = rows[:users], rows[users:]

    def call() -> None:
        for _ in range(2):
            multiplier.multiply(of_items, of_users, 0, users, None)
            multiplier.multiply(of_users, of_items, users, 0, None)

    return Prepared(call)


def _normalized(pairs: Pairs) -> sparse.csr_array:
    """D_U^-1/2 B D_I^-1/2, float32."""
    b = biadjacency(pairs)
    scales = [1 / np.sqrt(np.maximum(np.bincount(ends), 1)) for ends in (pairs.user, pairs.item)]
    matrix = sparse.csr_array(sparse.diags_array(scales[0]) @ b @ sparse.diags_array(scales[1])).astype(np.float32)
    matrix.sort_indices()
    return matrix


def _captured(pairs: Pairs, of_items: NDArray[np.floating]) -> Mapping[str, float]:
    """‖M Q‖² of an orthonormal basis Q of what the columns span: the sum of squares of the best singular values."""
    basis, _ = np.linalg.qr(of_items.astype(np.float64))
    return {"sum of squared singular values": float(np.square(_normalized(pairs) @ basis).sum())}


@contender("spectral", "graphquilt")
def own_spectral(pairs: Pairs) -> Prepared:
    # As many iterations as reach the peers' sum within .1 %.
    keys = {"iterations": 8, "user_degree_power": 0.5, "item_degree_power": 0.5, "no_return": 0.0}
    ours = _embedding(pairs, "bipartite", method="spectral", dim=SINGULAR_VECTORS, **keys)

    def figures(rows: NDArray[np.float32]) -> Mapping[str, float]:
        # A published item is a row of the singular vectors, rotated and at a length of its own: M^T times the users'
        # rows spans the same.
        return _captured(pairs, _normalized(pairs).T @ rows[: pairs.users].astype(np.float64))

    return Prepared(ours.call, figures)


def _decomposition(pairs: Pairs, item_vectors: Callable[[], NDArray[np.floating]]) -> Prepared:
    return Prepared(item_vectors, lambda vectors: _captured(pairs, vectors), warms=False)


@contender("spectral", "scipy svds")
def scipy_svds(pairs: Pairs) -> Prepared:
    matrix = _normalized(pairs)
    return Prepared(
        lambda: svds(matrix, SINGULAR_VECTORS, rng=0)[2].T, lambda vectors: _captured(pairs, vectors), warms=False
    )


@contender("spectral", "scikit-learn randomized_svd")
def scikit_learn_svd(pairs: Pairs) -> Prepared:
    from sklearn.utils.extmath import randomized_svd

    matrix = _normalized(pairs)
    return Prepared(
        lambda: randomized_svd(matrix, SINGULAR_VECTORS, random_state=0)[2].T, lambda vectors: _captured(pairs, vectors)
    )
