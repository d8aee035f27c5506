"""What codes take: of the graph, one task that holds all of it and the graphs of its clusters; of vectors, cells."""

from typing import Any

from pipeline.codes.row_cells import count_cells
from pipeline.config.model import PipelineConfig
from pipeline.errors import ConfigError

#: Of an entry: as it is mapped, and in the graphs of clusters, the first of which has at most as many and is copied
#: once. Of a node: its row of sums, its labels, places in the queue and degrees.
_ENTRY_BYTES, _NODE_BYTES = 8 + 3 * 8, 120
#: CPU seconds of an entry in all reads of one resolution, how many are tried, and merging from the bottom up [Gowalla,
#: a machine of two cores].
_ENTRY_SECONDS, _TRIALS, _MERGED_ENTRY_SECONDS = 2.4e-7, 2, 9e-7
#: Of an edge in the sums of interests: bytes, and CPU seconds; and resolutions tried.
_INTEREST_BYTES, _INTEREST_SECONDS, _INTEREST_TRIALS = 90, 5e-7, 4


#: Of vectors: bytes that a cell's task holds, next to its rows, and of a node while clusters are numbered; CPU seconds
#: of a float32 operation and of a row [a cell of 262,144 rows, d = 128: 16 seconds for a quarter as many clusters, 7
#: for a hundredth; Gowalla: 2.5].
_CELL_COPIES, _NUMBERED_BYTES, _CELL_FLOP, _CELL_ROW = 4, 40, 5.3e-11, 1.4e-5
#: Groups that a row is compared with: rounds in which a group is split, and clusters of groups in rounds of moves.
_SPLIT_ROUNDS, _MOVE_GROUPS = 8, 24


def code_bytes(nodes: int, edges: int) -> int:
    """Return the bytes that the task holds at most."""
    return 2 * edges * _ENTRY_BYTES + nodes * _NODE_BYTES


def code_facts(config: PipelineConfig, nodes: int, edges: int) -> dict[str, Any] | None:
    """Return what codes take, for the plan; None where a run makes none."""
    if config.codes.of_vectors:
        seconds, task_bytes = vector_code_seconds(config, nodes), vector_code_bytes(config, nodes)
        return {"source": "vectors", "cpu_seconds": seconds, "task_bytes": task_bytes}
    if not config.codes.enabled:
        return None
    return {"source": "graph", "cpu_seconds": code_seconds(edges), "task_bytes": code_bytes(nodes, edges)}


def code_seconds(edges: int) -> float:
    """Estimate the CPU seconds of the task."""
    return 2 * edges * (_TRIALS * _ENTRY_SECONDS + _MERGED_ENTRY_SECONDS)


def vector_code_seconds(config: PipelineConfig, nodes: int) -> float:
    """Estimate the CPU seconds of codes of vectors: recursive splits, and moves to nearer clusters, a codebook."""
    codes, dim = config.codes, config.embedding.dim
    books, levels = (codes.levels, 2) if codes.source == "residuals" else (1, max(codes.levels, 2))
    clusters = codes.share / books * nodes / count_cells(nodes, dim)
    children = clusters ** (1 / levels)
    comparisons = (levels * _SPLIT_ROUNDS + _MOVE_GROUPS) * children + clusters / children
    return nodes * books * (_CELL_ROW + 2 * dim * comparisons * _CELL_FLOP)


def vector_code_bytes(config: PipelineConfig, nodes: int) -> int:
    """Return the bytes that a task of codes of vectors holds at most."""
    of_cell = -(-nodes // count_cells(nodes, config.embedding.dim)) * config.embedding.dim * 4
    return max(_CELL_COPIES * of_cell, _NUMBERED_BYTES * nodes)


def interest_facts(config: PipelineConfig, nodes: int, edges: int) -> dict[str, Any] | None:
    """Return what the clusters of interests take, for the plan; None where a run makes none."""
    if not config.interests.clusters:
        return None
    return {"source": "graph", "cpu_seconds": interest_seconds(edges), "task_bytes": interest_bytes(nodes, edges)}


def interest_bytes(nodes: int, edges: int) -> int:
    """Return the bytes that the task which finds clusters of interests holds at most."""
    return code_bytes(nodes, edges) + edges * _INTEREST_BYTES


def interest_seconds(edges: int) -> float:
    """Estimate the CPU seconds of the task: clusters without a hierarchy, and what sources are interested in."""
    return 2 * edges * _INTEREST_TRIALS * _ENTRY_SECONDS + edges * _INTEREST_SECONDS


def check_codes_fit(config: PipelineConfig, nodes: int, edges: int) -> None:
    """Refuse a graph that does not fit a worker.

    Raises
    ------
    ConfigError : naming the bytes needed and the bytes allowed.
    """
    _check_fits(config, code_bytes(nodes, edges), "codes.enabled is true", "codes.enabled = false")


def check_interests_fit(config: PipelineConfig, nodes: int, edges: int) -> None:
    """Refuse a graph that does not fit a worker; raises as :func:`check_codes_fit`."""
    why = f"interests.clusters is {config.interests.clusters}"
    _check_fits(config, interest_bytes(nodes, edges), why, "interests.clusters = 0")


def _check_fits(config: PipelineConfig, task_bytes: int, why: str, remedy: str) -> None:
    most = config.partition.worker_bytes
    if task_bytes > most:
        raise ConfigError(
            f"{why}, and the task that finds clusters of the whole graph holds {task_bytes:,} bytes, more than "
            f"partition.worker_bytes, {most:,}: raise that if a worker has the memory, or set {remedy}"
        )
