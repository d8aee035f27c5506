"""The release whose coordinates a table is turned into: which one it is, and its rows."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graphquilt.errors import TableError
from graphquilt.pointers import RELEASES
from graphquilt.table import EmbeddingTable
from pipeline.config.model import PipelineConfig
from pipeline.embedding.methods import METHODS
from pipeline.errors import StorageError
from pipeline.kernels.procrustes import CrossSums, cross_sums
from pipeline.locations import Location
from pipeline.publishing.listing import Release, earlier_releases
from pipeline.publishing.release import require_whole
from pipeline.release_tables.vector_space import family_of
from pipeline.workspace import Workspace, published_folder

_CACHE_BYTES = 2**28  # row groups of the parent, of which neighbouring ranges ask for the same ones


def find_parent(root: Location, config: PipelineConfig, date: dt.date) -> Release | None:
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
            for release in earlier_releases(config.publish.root(root), config.publish.name, date)
            if ((release.manifest.get("metadata") or {}).get("alignment") or {}).get("family") == family
        ),
        None,
    )


def parent_folder(config: PipelineConfig, workspace: Workspace) -> Location | None:
    """Return the folder of the release that this run's fingerprints name as the parent, once it is seen to be whole.

    Raises
    ------
    StorageError : it is damaged and can't be restored.
    """
    if workspace.inputs.parent is None:
        return None
    root = config.publish.root(workspace.root)
    require_whole(root, config.publish.name, workspace.inputs.parent)
    return published_folder(root, config.publish.name) / RELEASES / workspace.inputs.parent


class ParentRows:
    """The parent's rows by id: the row groups that hold some of the ids are read, never the whole table.

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
                "folder: the run then takes an earlier one; or set embedding.align = false"
            ) from error

    def products_with(self, node_type: str, node_id: pa.Array, vectors: NDArray[np.float32]) -> CrossSums:
        """Return the sums over the rows of those ids that the parent has as well."""
        if node_type not in self._table.node_types:
            return CrossSums.zero(vectors.shape[1])
        parent_vectors, is_in_parent = self._table.lookup(node_id, node_type)
        # A zero row on one side says nothing about directions; its node was or is without usable edges.
        both = is_in_parent & parent_vectors.any(axis=1) & vectors.any(axis=1)
        return cross_sums(vectors[both], parent_vectors[both])
