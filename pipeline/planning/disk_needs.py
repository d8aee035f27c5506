"""What a stage needs on disk, from the sizes of the tables it reads, and the error of a stage that ran out of it."""

import contextlib
from collections.abc import Iterator

from pipeline import storage
from pipeline.config.model import PipelineConfig
from pipeline.errors import DiskFullError
from pipeline.ingest.figures import IndexFigures
from pipeline.partitioning.figures import LayoutFigures
from pipeline.planning.cuts import Cut, one_block
from pipeline.planning.sizes import GraphCounts, disk_bytes
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
    needed_bytes = bytes_needed(stage, config, workspace)
    with naming_bytes(stage, workspace, needed_bytes):
        free = storage.free_bytes(workspace.root)
        if needed_bytes is not None and free is not None and free < _CERTAIN * needed_bytes:
            raise DiskFullError("checked before it started")
        yield


@contextlib.contextmanager
def naming_bytes(stage: str, workspace: Workspace, needed_bytes: int | None) -> Iterator[None]:
    """Add what the stage needs to the error of a full disk, unless the error says so already."""
    try:
        yield
    except Exception as error:
        if not is_full(error) or getattr(error, "names_bytes", False):
            raise
        raise full(f"stage {stage} of {workspace.described_date}", workspace.root, needed_bytes, error) from error


def bytes_needed(stage: str, config: PipelineConfig, workspace: Workspace) -> int | None:
    """Return about how many bytes a stage adds; None of ``ingest``, which knows its input."""
    edges = workspace.find_manifest("edges")
    if edges is None or stage == "ingest":
        return None
    is_indexed = workspace.find_manifest("node_index") is not None
    nodes = workspace.figures("node_index", IndexFigures).nodes if is_indexed else 2 * edges.rows
    graph = GraphCounts(nodes, edges.rows, nodes, is_exact=is_indexed)
    cut = one_block(nodes, edges.rows)
    if workspace.find_manifest("block_nodes"):
        blocks = workspace.figures("block_nodes", LayoutFigures)
        cut = Cut([*blocks.rows.values()], [*blocks.entries.values()], copies=0, ghosts=0, homes=0)
    sizes = disk_bytes(config, graph, cut, input_rows=edges.rows)
    return sizes.get(stage, edges.bytes)  # evaluate: pairs that are new, of the edges' kind
