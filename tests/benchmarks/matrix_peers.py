"""ALS and EASE on small dense data, as rows that are ranked by their dot products: peers for the method table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

#: Every combination is tried on the validation split.
GRIDS: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "EASE": {"ridge": (30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0)},
    "ALS": {"factors": (16, 32, 64), "confidence": (1.0, 10.0), "ridge": (1.0, 10.0, 100.0)},
}
_ALS_ROUNDS = 8


#: Rows of users and rows of items: what ranks is their dot product.
Rows = tuple[NDArray[np.float32], NDArray[np.float32]]


def ease(pairs: sparse.csr_array, ridge: float, seed: int = 0) -> Rows:
    """Rows whose products are EASE's scores; as many columns as there are items. It has no use for a seed.

    Source: Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019.
    """
    gram = (pairs.T @ pairs).toarray()
    gram[np.diag_indices_from(gram)] += ridge
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return pairs.toarray().astype(np.float32), np.ascontiguousarray(weights.T, np.float32)


def als(pairs: sparse.csr_array, factors: int, confidence: float, ridge: float, seed: int = 0) -> Rows:
    """Rows of users and items by alternating least squares with confidence 1 + c a pair.

    Source: Hu, Koren & Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008.
    """
    rng = np.random.default_rng(seed)
    items = rng.normal(0.0, 0.1, (pairs.shape[1], factors))
    back = sparse.csr_array(pairs.T)
    for _ in range(_ALS_ROUNDS):
        users = _solved(pairs, items, confidence, ridge)
        items = _solved(back, users, confidence, ridge)
    return users.astype(np.float32), items.astype(np.float32)


def _solved(
    pairs: sparse.csr_array, others: NDArray[np.float64], confidence: float, ridge: float
) -> NDArray[np.float64]:
    factors = others.shape[1]
    common = others.T @ others + ridge * np.eye(factors)
    rows = np.zeros((pairs.shape[0], factors))
    for row in range(pairs.shape[0]):
        first, stop = pairs.indptr[row], pairs.indptr[row + 1]
        if first == stop:
            continue
        mine, weight = others[pairs.indices[first:stop]], confidence * pairs.data[first:stop]
        rows[row] = np.linalg.solve(common + (mine * weight[:, None]).T @ mine, (1.0 + weight) @ mine)
    return rows


METHODS: Mapping[str, Callable[..., Rows]] = {"EASE": ease, "ALS": als}


def settings_of(name: str) -> Iterator[dict[str, Any]]:
    """Yield every combination of a method's grid."""
    grid = GRIDS[name]
    for values in np.stack(np.meshgrid(*grid.values(), indexing="ij"), axis=-1).reshape(-1, len(grid)):
        yield {key: int(value) if key == "factors" else float(value) for key, value in zip(grid, values, strict=True)}
