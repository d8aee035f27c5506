"""What the embedding method of a configuration computes, whatever the cut: the counts that its price is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from pipeline.config.model import PipelineConfig
from pipeline.embedding.in_memory import block_from_edges
from pipeline.embedding.methods import method_for, spec_for
from pipeline.embedding.settings import GraphSummary, Settings
from pipeline.kernels.narrow_rows import groups_of
from schemas.tables import ROW_BYTES, ROW_GROUP, WEIGHT_UNIT


@dataclass(frozen=True)
class RoundWork:
    """A product with the graph."""

    width: int  # columns that are multiplied
    needs_noise_scales: bool = False  # whether a later step reads the noise scales of its rows
    is_one_way: bool = False  # whether its partial products are not summed: nothing is exchanged after it


@dataclass(frozen=True)
class Work:
    """What is computed, whatever the cut."""

    nodes: int  # of the graph, those without edges too
    joined_nodes: int  # nodes whose rows go from round to round; others' come and go within one
    dim: int
    rounds: tuple[RoundWork, ...]
    dtype: str = "float32"  # of exchanged rows
    extra_columns: int = 0  # columns that a row's home carries from round to round beside the row
    keeps_total: bool = False  # whether that is a sum over rounds; shards make it from files of these
    is_reduced: bool = False  # whether columns are made orthogonal each round, and reduced to dim after the last
    buffers: float = 1  # copies of joined rows that a task holds while it multiplies
    exchanges: bool = True  # else each part is embedded as if it were the whole graph
    preludes: tuple[Work, ...] = ()  # what is computed before, in this order, for what it says of the graph

    @property
    def noise_scale_rounds(self) -> int:
        """Number of rounds that need noise scales."""
        return sum(round_work.needs_noise_scales for round_work in self.rounds)

    @property
    def most_shards(self) -> int:
        """The most shares of the columns: fixed groups are never split, and orthogonal columns never part."""
        return 1 if self.is_reduced or not self.exchanges else groups_of(self.dim)

    @property
    def has_two_sides(self) -> bool:
        """Whether a product goes to nodes that are not joined and back."""
        return self.joined_nodes < self.nodes

    @property
    def noise_scale_bytes(self) -> int:
        """Bytes of the noise scale of a partial row, in a round that needs it."""
        return 8 if self.dtype == "float32" else 2

    def row_bytes(self, width: int) -> int:
        """Return the bytes of an exchanged row's entries and scales; shards share them out and add nothing."""
        scales = 0 if self.dtype == "float32" else groups_of(width)
        return width * ROW_BYTES[self.dtype] + scales

    def shards(self, most: int) -> int:
        """Return how many shares of the columns there are: at most so many, and as many as there may be."""
        return min(most, self.most_shards)

    def columns_of_shard(self, width: int, shards: int) -> int:
        """Return the columns of the widest share of so many."""
        count = self.shards(shards)
        return width if count == 1 else min(width, ROW_GROUP * math.ceil(groups_of(width) / count))

    def carried_columns(self, shards: int) -> int:
        """Return the columns that homes carry, of all shares: a sum of what has norms can't be shared out."""
        return 0 if self.keeps_total and self.shards(shards) > 1 else self.extra_columns


_ONE = round(1 / WEIGHT_UNIT)


def work_for(config: PipelineConfig, nodes: int, targets: int) -> Work:
    """Return what embedding a graph takes.

    Parameters
    ----------
    targets : nodes of the type that edges point to; of one type, all.
    """
    if config.embedding.method == "none":
        return Work(nodes=nodes, joined_nodes=nodes, dim=1, rounds=(), exchanges=False)
    source, target = (targets, nodes), (0, targets)
    if config.input.is_plain:
        source = target = (0, nodes)
    return _work(Settings(GraphSummary(nodes, source, target), config.embedding, config.form))


def _work(settings: Settings) -> Work:
    method, embedding = method_for(settings), settings.embedding
    exchanges = embedding.boundary == "exchange"
    rounds = [
        RoundWork(
            method.width(number, settings),
            needs_noise_scales=method.needs_noise_scales(number, settings),
            is_one_way=method.is_one_way(number, settings),
        )
        for number in range(method.rounds(settings))
    ]
    small = method.prelude(settings) if exchanges else None
    before = None if small is None else _work(small)
    return Work(
        nodes=settings.graph.nodes,
        joined_nodes=_count_joined(settings),
        dim=settings.dim,
        rounds=tuple(rounds),
        dtype=embedding.boundary_dtype,
        extra_columns=method.carry_width(settings),
        keeps_total=method.keeps_total,
        is_reduced=method.reduced_width(settings) > 0,
        buffers=spec_for(settings).buffers + settings.reads_halves / 2,
        exchanges=exchanges,
        preludes=() if before is None else (*before.preludes, replace(before, preludes=())),
    )


def _count_joined(settings: Settings) -> int:
    """Return how many nodes' rows go from round to round: by what the method takes of a graph of a single edge."""
    graph = settings.graph
    two_nodes = GraphSummary(2, (0, 2), (0, 2)) if graph.is_plain else GraphSummary(2, (1, 2), (0, 1))
    pair = replace(settings, graph=two_nodes)
    edge = block_from_edges(np.arange(2, dtype=np.uint64), *(np.array([value]) for value in (1, 0, _ONE)))
    first, stop = method_for(pair).exchanged_range(edge, pair)
    return graph.nodes if stop - first == 2 else graph.target[1] - graph.target[0]
