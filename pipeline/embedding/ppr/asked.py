"""What lists are asked for, in node numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config_ppr import PprConfig
from pipeline.kernels.ppr_top_k import Candidates, degree_factor


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


def candidates_for(
    asked: ListsAsked,
    span: tuple[int, int],
    degree: NDArray[np.int64],
    known_indptr: NDArray[np.int64],
    known: NDArray[np.int64],
) -> Candidates:
    """Return which rows lists may hold.

    Parameters
    ----------
    span : rows of the targets. degree : (rows,) neighbours.
    known_indptr, known : (sources + 1,) and (entries,) int64: rows left out of each source's list, ascending.
    """
    power = asked.ppr.degree_correction
    factor = degree_factor(degree.astype(np.float64), -power) if power else None
    return Candidates(*span, factor, known_indptr, known)
