"""The row of one node, computed again from its run's graph alone: no other row is read or made."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.blocks.arrays import NodeArrays
from pipeline.config.model import PipelineConfig
from pipeline.embedding.compatibility import fold_in_place
from pipeline.embedding.methods import METHODS, method_for
from pipeline.embedding.ppr.walk_graph import NO_EDGES, WalkGraph
from pipeline.embedding.ppr.whole_graph import whole_graph
from pipeline.embedding.rows import RowNodes, Rows
from pipeline.embedding.run_settings import settings_of
from pipeline.errors import ConfigError, InputError, MissingTableError
from pipeline.locations import Location
from pipeline.queries.released_run import config_of, graph_is_gone, other_version, read_release, run_of
from pipeline.release_tables.finished_rows import NodeIds
from pipeline.release_tables.vector_space import published_space, read_matrix
from pipeline.tasks import CachedRunner
from pipeline.workspace import Workspace
from schemas.tables import WEIGHT_UNIT


def row_alone(folder: Location, node_type: str, node_id: str | int) -> NDArray[np.float32]:
    """Return the published row of a node, by a walk from this node alone; (dim,) float32.

    Parameters
    ----------
    folder : of the release. node_id : as published, or its text.

    Raises
    ------
    ConfigError : the release's rows are made of other nodes' rows, or another version made them.
    InputError : no such node. StorageError : the graph of its run is gone.

    Cost
    ----
    One pass over the graph's entries to open it, and one push.
    """
    release = read_release(folder)
    config = config_of(release)
    make_rows = METHODS[config.form].whole_graph_rows
    if make_rows is None:
        able = next(spec for spec in METHODS.values() if spec.whole_graph_rows)
        raise ConfigError(
            f"release {release['release']} has embedding.method '{config.embedding.method}', form '{config.form}': its "
            "rows are made of other nodes' rows, so that none can be made alone; leave --alone out to look the row up, "
            f"or embed with method = '{able.method}', form = '{able.choice}'"
        )
    run = run_of(folder, release).with_tables()
    try:
        settings = settings_of(config, run)
        if published_space(settings, run, release["metadata"]) != release["metadata"]["space_id"]:
            raise other_version(release)
        node_ix = _number_of(run, config, node_type, node_id)
        files, _ = whole_graph(CachedRunner(), config, run)
        strength = NodeArrays(run.graph_files("node_arrays")).take("weight", np.array([node_ix])) * WEIGHT_UNIT
    except (MissingTableError, FileNotFoundError) as error:
        raise graph_is_gone(release, run, "--alone") from error
    walks = WalkGraph.read(files)
    (row,) = walks.rows_of(np.array([node_ix]))
    rows = Rows.zeros(1, settings.dim)
    if row != NO_EDGES:
        rows.values[:] = make_rows(walks, int(row), int(row) + 1, settings)
    method_for(settings).finish(rows, RowNodes(np.array([node_ix]), strength), None, settings)
    matrix = read_matrix(release["metadata"])
    if matrix is not None:
        fold_in_place(rows.values, np.array([node_ix]), matrix, settings.graph)
    return rows.values[0]


def _number_of(run: Workspace, config: PipelineConfig, node_type: str, node_id: str | int) -> int:
    """Return the number of a node that is in the release."""
    types = run.manifest("node_index").figures["types"]
    first, stop = types.get(node_type, (0, 0))
    row = -1
    if stop > first:
        ids = NodeIds(run.files("node_index")).between(first, stop)
        row = pc.index(ids.cast(pa.string()), str(node_id)).as_py()  # as a text: "007" is not 7
    if row < 0 or str(node_id) in map(str, config.publish.exclude_ids.get(node_type, ())):
        raise InputError(
            f"the release of {run.date} has no {node_type} with the id '{node_id}'; its types are {sorted(types)}"
        )
    return int(first) + int(row)
