"""What a stage needs on disk, from the sizes of what was made before it; and the error of one that found no room."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from pipeline.config.model import PipelineConfig
from pipeline.errors import DiskFullError
from pipeline.planning.sizes import Graph, Stored, disk_bytes
from pipeline.storage.disk_space import full, is_full
from pipeline.workspace import Workspace

#: Sizes are estimates that leave compression aside: a stage that has less than this share of them can't end well.
_CERTAIN = 0.5


@contextlib.contextmanager
def room_for(stage: str, config: PipelineConfig, workspace: Workspace) -> Iterator[None]:
    """Run a stage; refuse it before it starts where the disk can't hold what it makes.

    Raises
    ------
    DiskFullError : there is too little room, or the stage ended for the lack of it; bytes needed and free are named.
    """
    needed = bytes_needed(stage, config, workspace)
    with naming_bytes(stage, workspace, needed):
        if needed is not None and shutil.disk_usage(workspace.root).free < _CERTAIN * needed:
            raise DiskFullError("checked before it started")
        yield


@contextlib.contextmanager
def naming_bytes(stage: str, workspace: Workspace, needed: int | None) -> Iterator[None]:
    """Say of a full disk what the stage needs; who knows it better has said so already."""
    try:
        yield
    except Exception as error:
        if not is_full(error) or getattr(error, "names_bytes", False):
            raise
        raise full(f"stage {stage} of {workspace.date}", workspace.root, needed, error) from error


def bytes_needed(stage: str, config: PipelineConfig, workspace: Workspace) -> int | None:
    """Return about how many bytes a stage adds; None of ``ingest``, which knows its input."""
    edges = workspace.finished("edges")
    if edges is None or stage == "ingest":
        return None
    index, blocks = workspace.finished("node_index"), workspace.finished("block_nodes")
    nodes = index.figures["nodes"] if index else 2 * edges.rows
    graph = Graph(nodes, edges.rows, nodes, is_exact=index is not None)
    rows = sum(blocks.figures["rows"].values()) if blocks else nodes
    entries = sum(blocks.figures["entries"].values()) if blocks else 2 * edges.rows
    parts = len(blocks.figures["rows"]) if blocks else 1
    sizes = disk_bytes(config, graph, 0, edges.rows, Stored(parts, rows, entries, kept_bytes=0))
    return sizes.get(stage, edges.bytes)  # evaluate: pairs that are new, of the edges' kind
