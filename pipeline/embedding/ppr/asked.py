"""What lists are asked for, in node numbers, and which rows of a graph they may hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import neighbors_of
from pipeline.config.ppr import PprConfig
from pipeline.embedding.ppr.walk_graph import WalkGraph
from pipeline.kernels.ppr_top_k import Candidates, degree_factor
from pipeline.kernels.transition import RestartSets


@dataclass(frozen=True)
class ListsAsked:
    """The parameters of lists, and whose and of whom they are, as ranges of node numbers.

    ppr : its ``solver`` is decided, no longer "auto". seed : of walks. nodes : of the graph, those without edges too.
    targets : (first, stop), the nodes that lists may hold.
    """

    ppr: PprConfig
    seed: int
    nodes: int
    targets: tuple[int, int]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, for a task. Shards are left out: they set no result."""
        return {
            "ppr": self.ppr.model_dump(mode="json", exclude={"shards"}),
            "seed": self.seed,
            "nodes": self.nodes,
            "targets": list(self.targets),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> ListsAsked:
        """Read what :meth:`to_json` made."""
        first, stop = raw["targets"]
        return cls(PprConfig.model_validate(raw["ppr"]), int(raw["seed"]), int(raw["nodes"]), (first, stop))


def candidates_of_sets(asked: ListsAsked, walks: WalkGraph, sets: RestartSets) -> Candidates:
    """Return the targets, without the sets' own nodes and, where asked, without what these are joined to."""
    source = np.repeat(np.arange(len(sets)), np.diff(sets.indptr))
    left_out = [(source, sets.nodes)]
    if asked.ppr.exclude_known:
        left_out.append(neighbors_of(walks.graph.indptr, walks.graph.indices, source, sets.nodes))
    return candidates_for(asked, walks.rows_between(*asked.targets), walks.degree, left_out, len(sets))


def candidates_for(
    asked: ListsAsked,
    span: tuple[int, int],
    degree: NDArray[np.int64],
    left_out: Sequence[tuple[NDArray[np.int64], NDArray[np.integer]]],
    sources: int,
) -> Candidates:
    """Return which rows lists may hold.

    Parameters
    ----------
    span : rows of the targets. degree : (rows,) neighbours.
    left_out : (source, row) pairs in arrays, in any order: rows that the list of a source, of so many, doesn't hold.
    """
    source = np.concatenate([source for source, _ in left_out])
    row = np.concatenate([row.astype(np.int64) for _, row in left_out])
    order = np.lexsort((row, source))
    indptr = np.searchsorted(source[order], np.arange(sources + 1)).astype(np.int64)
    power = asked.ppr.degree_correction
    factor = degree_factor(degree.astype(np.float64), -power) if power else None
    return Candidates(*span, factor, indptr, row[order])
