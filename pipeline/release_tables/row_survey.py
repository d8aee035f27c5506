"""What must be known of all published rows before the first is written: their means, and their parent's rows.

Every file states the means of the whole table, and rows are turned into their parent's coordinates as they are written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.codec import Vector
from pipeline.kernels.procrustes import CrossSums
from pipeline.release_tables.finished_rows import NodeIds, RowSources, finished_rows
from pipeline.release_tables.parent_rows import ParentRows
from pipeline.tasks import Attempt


@dataclass(frozen=True)
class SurveyPayload:
    """A range of the published rows, before they are rotated, and the folder of their parent's release."""

    sources: RowSources
    bounds: tuple[int, int]
    parent: Path | None


@dataclass(frozen=True)
class TypeSums:
    """The number of rows of a type, and their sum."""

    rows: int
    sums: Vector


@dataclass(frozen=True)
class CommonRows:
    """How many nodes of a type have a row here and in the parent, and the sums of squares of both rows."""

    own_squares: float
    parent_squares: float
    rows: int


@dataclass(frozen=True)
class SurveyResult:
    """Sums by type; those of rows that the parent has as well come with a file of products, a matrix for each type."""

    sums: Mapping[str, TypeSums]
    common: Mapping[str, CommonRows] | None


def survey_rows(payload: SurveyPayload, attempt: Attempt) -> SurveyResult:
    """Task: sums of the published rows of one range, by type; and of their products with the parent's rows."""
    nodes = payload.sources.nodes
    rows: dict[str, int] = {}
    sums: dict[str, NDArray[np.float64]] = {}
    ids = NodeIds(nodes.node_index) if nodes.exclude_ids or payload.parent else None
    parent = ParentRows(payload.parent) if payload.parent else None
    common: dict[str, CrossSums] = {}
    for group in finished_rows(payload.sources, payload.bounds):
        node_type, vectors = group.node_type, group.vectors
        node_id = ids.between(group.first, group.stop) if ids else pa.array([], pa.string())
        is_excluded = nodes.find_excluded(node_type, node_id)
        if is_excluded is not None:
            node_id, vectors = node_id.filter(pa.array(~is_excluded)), vectors[~is_excluded]
        rows[node_type] = rows.get(node_type, 0) + len(vectors)
        total = vectors.sum(axis=0, dtype=np.float64)
        sums[node_type] = sums[node_type] + total if node_type in sums else total
        if parent:
            products = parent.products_with(node_type, node_id, vectors)
            common[node_type] = common[node_type] + products if node_type in common else products
    by_type = {name: TypeSums(rows[name], sums[name]) for name in sorted(sums)}
    return SurveyResult(by_type, _write_products(attempt, common) if parent else None)


def _write_products(attempt: Attempt, groups: Mapping[str, CrossSums]) -> dict[str, CommonRows]:
    """Write the products of a range, a matrix for each type in the order of their names."""
    names = sorted(groups)
    with attempt.path("products", "npy").open("wb") as file:
        np.save(file, np.stack([groups[name].products for name in names]))
    return {name: CommonRows(groups[name].own_squares, groups[name].other_squares, groups[name].rows) for name in names}


def mean_vectors(results: Sequence[SurveyResult], rotation: Path | None) -> dict[str, list[float]]:
    """Return the mean row of each type, turned by the matrix in a file."""
    rows: dict[str, int] = {}
    sums: dict[str, NDArray[np.float64]] = {}
    for result in results:
        for node_type, one in result.sums.items():
            rows[node_type] = rows.get(node_type, 0) + one.rows
            sums[node_type] = sums[node_type] + one.sums if node_type in sums else one.sums
    means = {name: sums[name] / max(1, rows[name]) for name in sorted(sums)}
    if rotation is not None:
        storage.check_sealed(rotation)
        matrix = np.load(rotation)
        # The mean of rotated rows is the rotated mean. Not by BLAS: the driver's has as many threads as it likes.
        means = {name: np.einsum("i,ij->j", mean, matrix) for name, mean in means.items()}
    return {name: mean.tolist() for name, mean in means.items()}
