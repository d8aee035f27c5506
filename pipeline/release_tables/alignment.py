"""Rows of a spectral table -> the coordinates of the baseline: by which rotation, and how well.

Eigenvectors come out of each run in axes of their own. One orthogonal matrix for all rows takes them to where the
baseline's rows are; it changes no dot product and no cosine. It follows from a survey of the rows that both tables
have. A survey also comes first where a table has several files, each of which states the means of all rows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graphquilt.errors import TableError
from graphquilt.pointers import RELEASES
from graphquilt.releases import read_manifest
from graphquilt.table import EmbeddingTable
from pipeline import storage
from pipeline.codec import Vector
from pipeline.config.model import PipelineConfig
from pipeline.embedding.methods import METHODS
from pipeline.embedding.run_settings import settings_of
from pipeline.errors import StorageError
from pipeline.kernels.procrustes import CrossSums, cross_sums, rotation_to
from pipeline.locations import Location
from pipeline.publishing.listing import manifest_of
from pipeline.publishing.release import require_whole
from pipeline.release_tables.cold_fits import sources_with_cold_rows
from pipeline.release_tables.finished_rows import NodeIds, RowSources, finished_rows
from pipeline.release_tables.published_table import TableRun
from pipeline.release_tables.vector_space import family_of
from pipeline.tasks import Attempt, TaskFolder, TaskRecord
from pipeline.workspace import Workspace, published_folder

log = logging.getLogger(__name__)

#: Largest residual at which a table stays in the baseline's space: a row and its former self then have a cosine of
#: 1 - .5^2 / 2 = .875 on average, weighted by squared length, and a model trained on the former still means the same
#: by each column [1 % of the pairs new: .03 on Gowalla, .19 on MovieLens-100k, 5 %: .07 and .30, 20 %: .14 and .53;
#: d = 64]. Rows that have nothing to do with each other come to 1.41 where there are many; as many rows as columns
#: are fitted to .7 by chance, half as many to .5: with no fewer rows than columns chance stays above the bound.
LARGEST_RESIDUAL = 0.5

_CACHE_BYTES = 2**28  # row groups of the baseline, of which neighbouring ranges ask for the same ones
_NEW_SPACE = (
    f'new reason="residual above {LARGEST_RESIDUAL}, or fewer common rows than columns" next="models trained on the '
    "baseline's vectors must be trained again\""
)


@dataclass(frozen=True)
class SurveyPayload:
    """A range of the published rows, before they are rotated, and the folder of the baseline."""

    sources: RowSources
    bounds: tuple[int, int]
    baseline: Location | None


@dataclass(frozen=True)
class TypeSums:
    """The number of rows of a type, and their sum."""

    rows: int
    sums: Vector

    @classmethod
    def of(cls, rows: NDArray[np.float32]) -> TypeSums:
        """Add rows up in float64, in their order."""
        return cls(len(rows), rows.sum(axis=0, dtype=np.float64))

    def __add__(self, other: TypeSums) -> TypeSums:
        return TypeSums(self.rows + other.rows, self.sums + other.sums)


@dataclass(frozen=True)
class CommonRows:
    """How many nodes of a type have a row here and in the baseline, and the sums of squares of both rows."""

    own_squares: float
    baseline_squares: float
    rows: int


@dataclass(frozen=True)
class SurveyResult:
    """Sums by type; those of rows that the baseline has too come with a file of products, a matrix for each type."""

    sums: Mapping[str, TypeSums]
    common: Mapping[str, CommonRows] | None


def survey_rows(payload: SurveyPayload, attempt: Attempt) -> SurveyResult:
    """Task: sums of the published rows of one range, by type; and of their products with the baseline's rows."""
    nodes = payload.sources.nodes
    sums: dict[str, TypeSums] = {}
    ids = NodeIds(nodes.node_index) if nodes.exclude_ids or payload.baseline else None
    baseline = BaselineRows(payload.baseline) if payload.baseline else None
    common: dict[str, CrossSums] = {}
    for group in finished_rows(payload.sources, payload.bounds):
        node_type, vectors = group.node_type, group.vectors
        node_id = ids.between(group.first, group.stop) if ids else pa.array([], pa.string())
        is_excluded = nodes.find_excluded(node_type, node_id)
        if is_excluded is not None:
            node_id, vectors = node_id.filter(pa.array(~is_excluded)), vectors[~is_excluded]
        add_sums(sums, {node_type: TypeSums.of(vectors)})
        if baseline:
            products = baseline.products_with(node_type, node_id, vectors)
            common[node_type] = common[node_type] + products if node_type in common else products
    return SurveyResult(sums, _write_products(attempt, common) if baseline else None)


def _write_products(attempt: Attempt, groups: Mapping[str, CrossSums]) -> dict[str, CommonRows]:
    """Write the products of a range, a matrix for each type in the order of their names."""
    names = sorted(groups)
    np.save(attempt.path("products", "npy"), np.stack([groups[name].products for name in names]))
    return {name: CommonRows(groups[name].own_squares, groups[name].other_squares, groups[name].rows) for name in names}


def add_sums(total: dict[str, TypeSums], sums: Mapping[str, TypeSums]) -> None:
    """Add sums to those of the same types, in place."""
    for name, sums_of_type in sums.items():
        total[name] = total[name] + sums_of_type if name in total else sums_of_type


def mean_vectors(sums: Iterable[Mapping[str, TypeSums]], rotation: Location | None) -> dict[str, list[float]]:
    """Return the mean row of each type by the sums of each range, turned by the matrix in a file."""
    total: dict[str, TypeSums] = {}
    for sums_of_range in sums:
        add_sums(total, sums_of_range)
    means = {name: total[name].sums / max(1, total[name].rows) for name in sorted(total)}
    if rotation is not None:
        storage.check_sealed(rotation)
        matrix = storage.load_array(rotation)
        # The mean of rotated rows is the rotated mean. Not by BLAS: the driver's has as many threads as it likes.
        means = {name: np.einsum("i,ij->j", mean, matrix) for name, mean in means.items()}
    return {name: mean.tolist() for name, mean in means.items()}


@dataclass(frozen=True)
class RotationResult:
    """How well the rotation fits: of the rows that both releases have, and by type. Without any, there is none."""

    common_rows: int
    residual: float | None
    residuals: Mapping[str, float]
    rotated: bool


@dataclass(frozen=True)
class RotationPayload:
    """The file of products and the sums of each range, in their order."""

    ranges: tuple[tuple[Location, Mapping[str, CommonRows]], ...]
    dim: int


@dataclass(frozen=True)
class Alignment:
    """What became of a table's coordinates: what it was turned to, the fit, the file of the matrix, tasks' records."""

    baseline: str | None
    fit: RotationResult
    baseline_metadata: Mapping[str, Any] | None = None
    matrix: Location | None = None
    surveys: Sequence[TaskRecord[SurveyResult]] = ()
    records: Sequence[TaskRecord[Any]] = ()

    def stays_in_space(self, dim: int) -> bool:
        """Whether vectors of the table and of the baseline may be compared; logged where there is a rotation."""
        residual = self.fit.residual
        if not self.fit.rotated or residual is None:
            return False
        stays = residual <= LARGEST_RESIDUAL and self.fit.common_rows >= dim
        log.log(
            logging.INFO if stays else logging.WARNING,
            "stage=aggregate baseline=%s common_rows=%d residual=%.4f space=%s",
            *(self.baseline, self.fit.common_rows, residual),
            "kept" if stays else _NEW_SPACE,
        )
        return stays


def survey(run: TableRun, sources: RowSources, baseline: Location | None) -> list[TaskRecord[SurveyResult]]:
    """Survey all rows, by range."""
    return run.run_tasks(survey_rows, "means", [SurveyPayload(sources, bounds, baseline) for bounds in run.ranges])


def align(run: TableRun, sources: RowSources, dim: int) -> Alignment:
    """Survey the rows that the baseline has, too, and return the rotation into its coordinates; none without one.

    Tables that share the rotation each call this: the tasks run once, and their records answer then.
    """
    baseline = find_alignment_base(run.config, run.workspace)
    if baseline is None:
        return Alignment(None, RotationResult(0, None, {}, rotated=False))
    surveys = survey(run, sources, baseline)
    ranges = tuple((record.file("products"), record.result.common or {}) for record in surveys)
    record = TaskFolder(run.engine, run.folder).run(find_rotation, "rotation", RotationPayload(ranges, dim))
    matrix = record.file("matrix") if record.result.rotated else None
    metadata = read_manifest(baseline)["metadata"]
    return Alignment(baseline.name, record.result, metadata, matrix, surveys, [*surveys, record])


def rotation_file(run: TableRun) -> Location | None:
    """Return the file of the matrix that turns rows into the published coordinates; None: nothing turns them."""
    settings = settings_of(run.config, run.workspace)
    return align(run, sources_with_cold_rows(run, settings), settings.dim).matrix


def find_rotation(payload: RotationPayload, attempt: Attempt) -> RotationResult:
    """Task: add up the ranges' sums, in their order; the rotation that they give."""
    groups: dict[str, CrossSums] = {}
    for path, common in payload.ranges:
        for name, products in zip(sorted(common), storage.load_array(path), strict=True):
            rows_of_type = common[name]
            sums = CrossSums(products, rows_of_type.own_squares, rows_of_type.baseline_squares, rows_of_type.rows)
            groups[name] = groups.get(name, CrossSums.zero(payload.dim)) + sums
    rotation = rotation_to(groups, payload.dim)
    rows = sum(sums.rows for sums in groups.values())
    if not rotation.residuals:
        return RotationResult(rows, None, {}, rotated=False)
    np.save(attempt.path("matrix", "npy"), rotation.matrix)
    return RotationResult(rows, rotation.residual, dict(rotation.residuals), rotated=True)


def find_alignment_base(config: PipelineConfig, workspace: Workspace) -> Location | None:
    """Return the folder of the baseline if this run's table is turned into its coordinates; it is whole.

    That is, if the axes are the data's own and the baseline's vectors are of the same family.

    Raises
    ------
    StorageError : it is damaged and can't be restored.
    """
    release = workspace.inputs.baseline
    if release is None or not METHODS[config.form].has_own_axes or not config.embedding.align:
        return None
    root = config.publish.root(workspace.root)
    folder = published_folder(root, config.publish.name) / RELEASES / release
    alignment = (manifest_of(folder).get("metadata") or {}).get("alignment") or {}
    if alignment.get("family") != family_of(config):
        return None
    require_whole(root, config.publish.name, release)
    return folder


class BaselineRows:
    """The baseline's rows by id: the row groups that hold some of the ids are read, never the whole table.

    Raises
    ------
    StorageError : the release can't be read any more.
    """

    def __init__(self, folder: Location) -> None:
        try:
            self._table = EmbeddingTable.open(folder, cache_bytes=_CACHE_BYTES)
        except TableError as error:
            raise StorageError(
                f"the release that this table is to be aligned to can't be read: {error}. Restore it, or remove its "
                "folder: a new run then takes an earlier one; or set embedding.align = false"
            ) from error

    def products_with(self, node_type: str, node_id: pa.Array, vectors: NDArray[np.float32]) -> CrossSums:
        """Return the sums over the rows of those ids that the baseline has as well."""
        if node_type not in self._table.node_types:
            return CrossSums.zero(vectors.shape[1])
        baseline_vectors, is_in_baseline = self._table.lookup(node_id, node_type)
        # A zero row on one side says nothing about directions; its node was or is without usable edges.
        both = is_in_baseline & baseline_vectors.any(axis=1) & vectors.any(axis=1)
        return cross_sums(vectors[both], baseline_vectors[both])
