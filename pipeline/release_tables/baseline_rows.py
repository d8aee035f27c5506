"""The baseline as the release whose coordinates a table is turned into: whether it is that, and its rows."""

from __future__ import annotations

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
from pipeline.publishing.listing import manifest_of
from pipeline.publishing.release import require_whole
from pipeline.release_tables.vector_space import family_of
from pipeline.workspace import Workspace, published_folder

_CACHE_BYTES = 2**28  # row groups of the baseline, of which neighbouring ranges ask for the same ones


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
