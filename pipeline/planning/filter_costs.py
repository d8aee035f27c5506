"""What lists by a filter of the graph take: seconds of eigenvectors and of lists, and bytes of their tasks."""

import math
from dataclasses import dataclass

from pipeline.config.model import PipelineConfig
from pipeline.errors import ConfigError
from pipeline.kernels.ppr_chebyshev_bounds import BLOCK
from pipeline.planning.list_costs import list_seconds, pass_seconds
from pipeline.planning.sizes import GraphCounts

#: Seconds of one core of the machine that the tests run on: a multiply-add of float32 and of float64 matrices.
_MULTIPLY_ADD, _MULTIPLY_ADD_DOUBLE = 33e-12, 80e-12
#: Products with the graph, and of tall matrices with each other, that eigenvectors take.
_PRODUCTS, _GRAMS, _OVERSAMPLING = 4, 6, 16
#: Of a task: an entry as it is mapped, a node's own columns; rows of 128 sources; rows of eigenvectors, float32.
_ENTRY_BYTES, _NODE_BYTES, _ROW_BYTES = 8, 100, 512
_BASES, _SUBSPACES = 3, 4


@dataclass(frozen=True)
class FilterPlan:
    """Seconds of one core for the eigenvectors and for the lists, most bytes of a task, and a sentence about both."""

    basis_seconds: float
    list_seconds: float
    task_bytes: int
    reason: str


def plan_filter(config: PipelineConfig, graph: GraphCounts, sources: int) -> FilterPlan:
    """Return what the lists of so many sources take; ``graph.targets`` are the nodes listed.

    Raises
    ------
    ConfigError : a task would hold more than partition.worker_bytes.
    """
    lists, entries, columns = config.lists, 2 * graph.edges, graph.targets
    rank = min(lists.rank, columns) if lists.alpha else 0
    width = min(rank + _OVERSAMPLING, columns) if rank else 0
    degree = 1 if lists.filter == "linear" else lists.filter_degree
    basis_seconds = (
        _PRODUCTS * math.ceil(width / BLOCK) * pass_seconds(graph.nodes, entries, BLOCK)
        + _GRAMS * columns * width**2 * _MULTIPLY_ADD_DOUBLE
    )
    a_block = degree * pass_seconds(graph.nodes, entries, BLOCK) + columns * rank * BLOCK * _MULTIPLY_ADD
    seconds = math.ceil(sources / BLOCK) * a_block + list_seconds(graph.nodes, sources, lists.top_k)
    of_graph = entries * _ENTRY_BYTES + graph.nodes * _NODE_BYTES
    of_lists = (graph.nodes + columns) * _ROW_BYTES + _BASES * 4 * columns * rank
    if config.input.is_plain:
        of_lists += graph.nodes * _ROW_BYTES
    task_bytes = of_graph + max(of_lists, _SUBSPACES * 4 * graph.nodes * width)
    if task_bytes > config.partition.worker_bytes:
        raise ConfigError(
            f"lists.filter is '{lists.filter}', whose tasks hold the whole graph and {rank} eigenvectors, about "
            f"{task_bytes:,} bytes, and partition.worker_bytes is {config.partition.worker_bytes:,}: raise it, lower "
            "lists.rank, or set ppr.neighbors in the place of the filter, whose lists can be made part by part"
        )
    return FilterPlan(
        basis_seconds,
        seconds,
        task_bytes,
        f"{lists.filter} of degree {degree} with {rank} eigenvectors takes an estimated {basis_seconds:.3g} s of one "
        f"core for these and {seconds:.3g} s for the lists of {sources} sources on {entries} entries",
    )
