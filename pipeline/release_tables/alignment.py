"""Rows of a spectral table -> the coordinates of an earlier release: which one, by which rotation, how well.

Eigenvectors come out of each run in axes of their own. One orthogonal matrix for all rows takes them to where their
parent's rows are; it changes no dot product and no cosine.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from graphquilt.errors import TableError
from graphquilt.pointers import RELEASES
from graphquilt.releases import read_manifest
from graphquilt.table import EmbeddingTable
from pipeline.config.model import PipelineConfig
from pipeline.embedding.methods import METHODS
from pipeline.embedding.rows import Settings
from pipeline.engine import Engine, Frame
from pipeline.errors import StorageError
from pipeline.kernels.procrustes import CrossSums, Rotation, cross_sums, rotation_to
from pipeline.publishing.listing import Release, earlier_releases
from pipeline.publishing.release import require_whole
from pipeline.release_tables.vector_space import family_of
from pipeline.tasks import Attempt, Task, TaskRecord, run_missing
from pipeline.workspace import Workspace, published_folder

log = logging.getLogger(__name__)

#: Largest residual at which a table stays in its parent's space: a row and its former self then have a cosine of
#: 1 - .5^2 / 2 = .875 on average, weighted by squared length, and a model trained on the parent still means the same
#: by each column [1 % of the pairs new: .03 on Gowalla, .19 on MovieLens-100k, 5 %: .07 and .30, 20 %: .14 and .53;
#: d = 64]. Rows that have nothing to do with each other come to 1.41 where there are many; as many rows as columns
#: are fitted to .7 by chance, half as many to .5: with no fewer rows than columns chance stays above the bound.
LARGEST_RESIDUAL = 0.5

_NEW_SPACE = (
    f'new reason="residual above {LARGEST_RESIDUAL}, or fewer common rows than columns" next="models trained on the '
    "parent's vectors must be trained again\""
)
_CACHE_BYTES = 2**28  # row groups of the parent, of which neighbouring ranges ask for the same ones


@dataclass(frozen=True)
class Alignment:
    """What became of a table's coordinates: the file of the matrix, what readers are told, the tasks' records."""

    matrix: Path | None
    facts: Mapping[str, Any]
    parent: Mapping[str, Any] | None = None  # metadata of the parent's table
    records: Sequence[TaskRecord[Any]] = ()

    def stays_in_space(self, dim: int) -> bool:
        """Whether vectors of the table and of its parent may be compared; logged where there is a parent."""
        if not self.facts["rotated"]:
            return False
        stays = bool(self.facts["residual"] <= LARGEST_RESIDUAL and self.facts["common_rows"] >= dim)
        log.log(
            logging.INFO if stays else logging.WARNING,
            "stage=aggregate parent=%s common_rows=%d residual=%.4f space=%s",
            *(self.facts["parent"], self.facts["common_rows"], self.facts["residual"]),
            "kept" if stays else _NEW_SPACE,
        )
        return stays


def find_parent(root: Path, config: PipelineConfig, date: dt.date) -> Release | None:
    """Return the release whose coordinates a table is turned into: the newest of an earlier date and equal family.

    Raises
    ------
    StorageError : it may be a release that is damaged.
    """
    if not METHODS[config.form].has_own_axes or not config.embedding.align:
        return None
    family = family_of(config)
    return next(
        (
            release
            for release in earlier_releases(root, config.publish.name, date)
            if ((release.manifest.get("metadata") or {}).get("alignment") or {}).get("family") == family
        ),
        None,
    )


def parent_folder(config: PipelineConfig, workspace: Workspace) -> Path | None:
    """Return the folder of the release that this run's fingerprints name as the parent, once it is seen to be whole.

    Raises
    ------
    StorageError : it is damaged and can't be restored.
    """
    if workspace.inputs.parent is None:
        return None
    require_whole(workspace.root, config.publish.name, workspace.inputs.parent)
    return published_folder(workspace.root, config.publish.name) / RELEASES / workspace.inputs.parent


class ParentRows:
    """The parent's rows by id: the row groups that hold some of the ids are read, never the whole table.

    Raises
    ------
    StorageError : the release can't be read any more.
    """

    def __init__(self, folder: str) -> None:
        try:
            self._table = EmbeddingTable.open(folder, cache_bytes=_CACHE_BYTES)
        except TableError as error:
            raise StorageError(
                f"the release that this table is to be aligned to can't be read: {error}. Restore it, or remove its "
                "folder: the run then takes an earlier one; or set embedding.align = false"
            ) from error

    def products_with(self, node_type: str, node_id: pa.Array, vectors: Any) -> CrossSums:
        """Return the sums over the rows of those ids that the parent knows as well."""
        if node_type not in self._table.node_types:
            return CrossSums.zero(vectors.shape[1])
        former, found = self._table.lookup(node_id, node_type)
        # A zero row on one side says nothing about directions; its node was or is without usable edges.
        both = found & former.any(axis=1) & vectors.any(axis=1)
        return cross_sums(vectors[both], former[both])


def write_products(attempt: Attempt, groups: Mapping[str, CrossSums]) -> dict[str, Any]:
    """Write the sums of a range by type; return what goes into the task's record."""
    path = attempt.path("products", "npy")
    names = sorted(groups)
    with path.open("wb") as file:
        np.save(file, np.stack([groups[name].products for name in names]))
    return {name: [groups[name].own_squares, groups[name].other_squares, groups[name].rows] for name in names}


def align(
    engine: Engine[Frame], place: Path, settings: Settings, parent: Path | None, surveyed: Sequence[TaskRecord[Any]]
) -> Alignment:
    """Return the rotation into the parent's coordinates, from the sums of all ranges."""
    if parent is None:
        return Alignment(None, {"parent": None, "common_rows": 0, "residual": None, "residuals": {}, "rotated": False})
    about = read_manifest(parent)["metadata"]
    ranges = [[str(record.file("products")), record.result["common"]] for record in surveyed]
    (record,) = run_missing(engine, find_rotation, [Task("rotation", place, {"ranges": ranges, "dim": settings.dim})])
    found = record.result
    matrix = record.file("matrix") if found["rotated"] else None
    return Alignment(matrix, {"parent": parent.name, **found}, about, [record])


def find_rotation(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: add up the ranges' sums, in their order; the rotation that they give."""
    dim = int(payload["dim"])
    groups: dict[str, CrossSums] = {}
    for file, common in payload["ranges"]:
        for name, products in zip(sorted(common), np.load(file), strict=True):
            groups[name] = groups.get(name, CrossSums.zero(dim)) + CrossSums(products, *common[name])
    rotation = rotation_to(groups, dim)
    rows = sum(sums.rows for sums in groups.values())
    if not rotation.residuals:
        return {"common_rows": rows, "residual": None, "residuals": {}, "rotated": False}
    with attempt.path("matrix", "npy").open("wb") as file:
        np.save(file, rotation.matrix)
    return {"common_rows": rows, **_said(rotation), "rotated": True}


def _said(rotation: Rotation) -> dict[str, Any]:
    return {"residual": rotation.residual, "residuals": dict(rotation.residuals)}
