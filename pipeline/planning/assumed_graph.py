"""A graph of which only counts are given: what a plan assumes of the rest, in numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import ConfigError
from pipeline.ingest.pieces import BYTES_PER_TASK, ROWS_PER_TASK
from pipeline.planning.input_size import InputSize
from pipeline.planning.sizes import GraphCounts

#: Of the nodes of a graph of two types, those that edges point to: items beside users.
_TARGET_SHARE = 0.3
#: Density of degrees ~ degree ** -2.2, from a least degree on: the tail of most graphs of people and things.
_EXPONENT = 2.2
#: Groups of nodes that such degrees are taken from.
_GROUPS = 64
#: Parquet files of two columns of ids, a byte of an int64 id compressing little; texts are taken as 16 letters.
_ROW_BYTES = {"int64": 10, "string": 24}
_ID_BYTES = {"int64": 8, "string": 16}


@dataclass(frozen=True)
class AssumedGraph:
    """Counts of a graph that nobody has seen, and the type of its ids.

    rows : of the input. targets : nodes that edges point to; of one type, all.
    """

    nodes: int
    edges: int
    rows: int
    targets: int
    id_type: str
    is_plain: bool

    @classmethod
    def of(
        cls, nodes: int, edges: int, rows: int | None, targets: int | None, id_type: str, *, is_plain: bool
    ) -> AssumedGraph:
        """Return the graph of some counts; without ``rows``, a row an edge, without ``targets``, a share of the nodes.

        Raises
        ------
        ConfigError : no graph has such counts.
        """
        if is_plain and targets is not None:
            raise ConfigError(
                f"--targets is {targets:,}, and both ends of an edge have one type here, so that edges point to any "
                "node: leave --targets out"
            )
        target_count = nodes if is_plain else targets or max(1, round(_TARGET_SHARE * nodes))
        if not is_plain and target_count >= nodes:
            raise ConfigError(
                f"--targets is {target_count:,} of {nodes:,} nodes, and edges start from the others: give fewer "
                "targets, or more --nodes"
            )
        if rows is not None and rows < edges:
            raise ConfigError(f"--rows is {rows:,}, and {edges:,} edges need a row each: give more, or leave it out")
        pairs = nodes * (nodes + 1) // 2 if is_plain else target_count * (nodes - target_count)
        if edges > pairs:
            raise ConfigError(
                f"--edges is {edges:,}, and {nodes:,} nodes have {pairs:,} pairs that an edge can join: check both "
                "counts (an edge counts once, however many rows it comes in)"
            )
        if nodes > 2 * edges:
            raise ConfigError(
                f"--nodes is {nodes:,}, and {edges:,} edges have {2 * edges:,} ends: check both counts (the smaller "
                "one usually is --nodes)"
            )
        return cls(nodes, edges, rows or edges, target_count, id_type, is_plain)

    @property
    def counts(self) -> GraphCounts:
        """The counts that everything follows from."""
        return GraphCounts(
            self.nodes,
            self.edges,
            self.targets,
            is_exact=True,
            id_bytes=_ID_BYTES[self.id_type],
            degrees=tuple(self._degrees()),
        )

    @property
    def input_size(self) -> InputSize:
        """An input in Parquet."""
        size = self.rows * _ROW_BYTES[self.id_type]
        tasks = math.ceil(max(size / BYTES_PER_TASK, self.rows / ROWS_PER_TASK))
        return InputSize(size, self.rows, is_exact=False, tasks=tasks)

    def describe(self) -> list[str]:
        """Return what is assumed, a sentence each."""
        kind = "one type" if self.is_plain else f"two types, {self.targets:,} nodes of the one that edges point to"
        return [
            f"{kind}; degrees fall with the power {_EXPONENT}",
            f"{self.id_type} ids: {_ROW_BYTES[self.id_type]} bytes a row of the input, in Parquet; "
            f"{self.rows / self.edges:.2g} rows an edge",
            "seconds are those of a core of a shared server of 2026",
            "a cut is as good as one drawn at random: fewer rows travel, and blocks are smaller, in most graphs",
        ]

    def _degrees(self) -> Sequence[tuple[float, int]]:
        """Return (degree, nodes) of targets, in groups of equal size: degrees of a power law with the graph's mean."""
        ends = 2 * self.edges if self.is_plain else self.edges
        least = ends / self.targets * (_EXPONENT - 2) / (_EXPONENT - 1)
        middles = [(group + 0.5) / _GROUPS for group in range(_GROUPS)]
        raw = [least * (1 - middle) ** (-1 / (_EXPONENT - 1)) for middle in middles]
        # The middle of the last group is far below its mean: what is missing to all ends is the hubs'.
        group_size = self.targets / _GROUPS
        raw[-1] += max(0.0, ends / group_size - sum(raw))
        return [(degree, math.ceil(group_size)) for degree in raw]
