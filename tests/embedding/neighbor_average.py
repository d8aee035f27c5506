"""Means of neighbours' random rows, one or two steps away: a whole method in one file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.blocks.arrays import Block
from pipeline.embedding.method import Method
from pipeline.embedding.method_keys import RandomRowKeys
from pipeline.embedding.method_spec import MethodSpec, cosines
from pipeline.embedding.products import Multiplier, set_norms, step_of_nodes
from pipeline.embedding.rows import ColumnSums, RowNodes, Rows
from pipeline.embedding.settings import Settings
from pipeline.embedding.sinks import Sink
from pipeline.embedding.start_rows import start_rows
from pipeline.kernels.elementary import power_or_zero


class NeighborAverageKeys(RandomRowKeys):
    """Its keys in [embedding], beside those of all methods and of random rows."""

    hops: int = Field(2, ge=1, le=2, description="neighbor_average: steps from the random rows")


class NeighborAverage(Method):
    """Rows of (D^-1 A)^hops Ω at norm 1, with Ω random rows, A the weights of edges and D a node's total weight."""

    def rounds(self, settings: Settings) -> int:
        """Return a round for each hop."""
        return settings.embedding.hops

    def needs_noise_scales(self, number: int, settings: Settings) -> bool:
        """Return whether this is the last round, whose rows get norms."""
        return number == self.rounds(settings) - 1

    def start(self, block: Block, settings: Settings) -> NDArray[np.float32]:
        """Ω."""
        return start_rows(block, slice(None), None, settings)

    def multiply(
        self, multiplier: Multiplier, x: NDArray[np.float32], number: int, settings: Settings, sink: Sink
    ) -> Rows:
        """A x, of the entries stored here."""
        return step_of_nodes(multiplier, x)

    def row_scales(self, strength: NDArray[np.float64], settings: Settings) -> NDArray[np.float64]:
        """Return what makes means of sums."""
        return power_or_zero(strength, -1.0)

    def finish(self, rows: Rows, nodes: RowNodes, sums: ColumnSums | None, settings: Settings) -> None:
        """Set norms."""
        set_norms(rows, np.ones(len(nodes.strength)))


NEIGHBOR_AVERAGE = MethodSpec(
    method="neighbor_average",
    form="neighbor_average",
    sides=1,
    keys=NeighborAverageKeys,
    rounds=NeighborAverage(),
    buffers=2,  # what is multiplied, and the product
    products=lambda _: cosines("rows have norm 1; two are alike where the nodes reach the same others"),
    space=("projection", "sparsity", "hops"),
    attributes_of="all",
)
