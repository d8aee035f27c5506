"""Rows of eigenvectors, from those of a subspace: the leading columns, or all rotated, and what none reaches."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.embedding.rows import Rows
from pipeline.embedding.settings import Settings
from pipeline.kernels.random_projection import normal_projection
from pipeline.kernels.rows import ZERO_BELOW, row_norms
from pipeline.kernels.subspace import combine_columns

_ROWS_AT_ONCE = 2_048
_OTHERS = np.uint64(2**63)  # what parts the rows of their mixture from those of the rotation


def reduced_columns(vectors: NDArray[np.float64], settings: Settings) -> NDArray[np.float64]:
    """(l, rank) -> (l, dim): the leading columns, or all of them by a random rotation directions from the seed.

    The rotation has orthonormal columns: independent normal entries would add noise of their own, as much as
    dim / rank of what the rotation itself makes.
    """
    rank = vectors.shape[1]
    if settings.embedding.reduction == "rotate" and rank > settings.dim:
        keys = np.arange(rank, dtype=np.uint64)
        directions = normal_projection(keys, settings.dim, settings.embedding.seed).astype(np.float64)
        rotation, triangle = np.linalg.qr(directions)
        return vectors @ (rotation * np.sign(np.diag(triangle)) * math.sqrt(rank / settings.dim))
    columns = np.zeros((len(vectors), settings.dim))
    count = min(rank, settings.dim)
    columns[:, :count] = vectors[:, :count]
    return columns


def reduce_rows(rows: NDArray[np.float32], columns: NDArray[np.float64], settings: Settings, out: Rows) -> None:
    """``rows @ columns``; a row outside of the leading eigenvectors, by the other eigenvectors.

    So a component whose eigenvalues are too small, or one too many, gets rows: in columns of their own where there
    are enough, else in a hashed mixture, to which other rows are nearly orthogonal. Ends of an edge are alike.
    """
    combine_columns(rows, columns, out=out.values)
    out.noise_scale[:] = noise_scales(rows, columns)
    norms, out_norms = row_norms(rows), row_norms(out.values)
    # A row may be short because its columns are: so the vectors themselves decide, for the few shortest rows.
    short = np.flatnonzero(out_norms <= ZERO_BELOW * np.maximum(out.noise_scale, norms * np.linalg.norm(columns)))
    in_leading = row_norms(combine_columns(rows[short], settings.facts["vectors"]))
    is_noise = out_norms[short] <= ZERO_BELOW * out.noise_scale[short]
    outside = short[(in_leading <= ZERO_BELOW * norms[short]) | is_noise]
    if outside.size:
        trailing = _columns_left_out(settings)
        out.values[outside] = combine_columns(rows[outside], trailing)
        out.noise_scale[outside] = noise_scales(rows[outside], trailing)


def all_eigenvectors(rows: Rows, settings: Settings) -> Rows:
    """Return Z V of all columns, the leading ones first: an orthonormal basis of what was iterated."""
    vectors = settings.facts["left_out"].copy()
    leading = settings.facts["vectors"]
    vectors[:, : leading.shape[1]] += leading
    return Rows(combine_columns(rows.values, vectors), np.zeros(len(rows.values)))


def _columns_left_out(settings: Settings) -> NDArray[np.float64]:
    """(l, l) -> (l, dim): the vectors that are no leading ones, behind these or mixed."""
    vectors, dim = settings.facts["left_out"], settings.dim
    if len(vectors) <= dim:
        return np.pad(vectors, ((0, 0), (0, dim - len(vectors))))
    keys = np.arange(len(vectors), dtype=np.uint64) ^ _OTHERS
    return vectors @ normal_projection(keys, dim, settings.embedding.seed).astype(np.float64) / math.sqrt(dim)


def noise_scales(rows: NDArray[np.float32], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """What goes into each row of ``rows @ columns``: the sum of |entry| times the norm of what it multiplies."""
    norms = np.sqrt((columns * columns).sum(axis=1)).astype(np.float32)
    scales = np.empty(len(rows))
    for first in range(0, len(rows), _ROWS_AT_ONCE):  # which a cache holds
        batch = slice(first, first + _ROWS_AT_ONCE)
        scales[batch] = np.abs(rows[batch]) @ norms
    return scales
