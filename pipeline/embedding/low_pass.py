"""FastRP's low-pass forms: random rows through a polynomial that keeps the graph's leading eigenvectors.

The rows are what a spectral embedding of many columns would be after a random rotation into few, without any
orthonormalisation: columns never meet, and can be shared out. See Ramasamy & Madhow, "Compressive spectral
embedding", NeurIPS 2015 (arXiv 1509.08360).
"""

from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.blocks.arrays import Block
from pipeline.config.sections import InputConfig
from pipeline.embedding.fastrp import TwoTower
from pipeline.embedding.fold_in_recipes import one_step, two_sided_products
from pipeline.embedding.method_keys import (
    ItemNormPower,
    NormDegreePower,
    RandomRowKeys,
    Rank,
    Transition,
    TwoSidedKeys,
    refuse_cuts,
)
from pipeline.embedding.method_spec import MethodSpec, cosines, dot_products
from pipeline.embedding.products import set_norms
from pipeline.embedding.rows import ColumnSums, RowNodes, Rows
from pipeline.embedding.settings import Settings
from pipeline.embedding.spectrum import (
    LARGEST,
    PLAIN_SPECTRUM,
    SPECTRUM,
    StepsOfNodes,
    factors_of_items,
    initial_terms,
)
from pipeline.embedding.start_rows import start_rows
from pipeline.kernels.elementary import power_or_zero
from pipeline.kernels.low_pass import next_term, step_coefficients


class FilterKeys(RandomRowKeys):
    """Keys of the polynomial."""

    rank: Rank = None
    filter_degree: int = Field(16, ge=1, le=64, description="low_pass: degree of the Chebyshev-Jackson polynomial")
    cut: float | None = Field(
        None, gt=0, lt=1, description="low_pass: eigenvalues above this share of the largest pass; unset: those of rank"
    )

    def with_derived_keys(self) -> Self:
        """Let pass four eigenvectors a column."""
        return self.with_defaults(rank=4 * self.dim)

    def check(self, types: InputConfig) -> None:
        """Refuse parts of the graph."""
        refuse_cuts(self, "low_pass")


class LowPassKeys(FilterKeys, TwoSidedKeys):
    """The same on two types."""

    item_norm_power: ItemNormPower = 0.2


class PlainLowPassKeys(FilterKeys):
    """The same on one type."""

    transition: Transition = "symmetric"
    norm_degree_power: NormDegreePower = 0.0


class LowPass(TwoTower):
    """Users u = M h(P) Ω, items i = l2(P h(P) Ω) d^q, with h a damped Chebyshev step of degree ``filter_degree``."""

    def rounds(self, settings: Settings) -> int:
        """Return a round for each degree, and the last of two_tower."""
        return settings.embedding.filter_degree + 1

    def prelude(self, settings: Settings) -> Settings | None:
        """Return the settings of what finds the largest eigenvalue and, where the cut isn't set, the cut."""
        spec = SPECTRUM if settings.embedding.cut is None else LARGEST
        return small_settings(settings, spec.form)

    def factors(self, number: int, settings: Settings) -> tuple[float, float, float]:
        return factors_of_items(number, settings)

    def cut(self, settings: Settings) -> float:
        """Return where the step is, with the spectrum mapped to [-1, 1]."""
        cut = settings.embedding.cut
        return float(settings.facts["cut"][0]) if cut is None else 2.0 * cut - 1.0

    def carry_width(self, settings: Settings) -> int:
        """Return the columns of the sum, T_k and T_k-1."""
        return 3 * settings.width

    def initial_carry(self, block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
        return initial_terms(start_rows(block, local, None, settings))

    def carry(self, carried_rows: Rows, rows: Rows, number: int, settings: Settings) -> Rows:
        """Turn P T_k into T_k+1 and add it to the sum, which goes on after the last degree."""
        degree = settings.embedding.filter_degree
        if number < degree:
            weights = step_coefficients(degree, self.cut(settings))
            factors = self.factors(number, settings)
            next_term(
                rows.values, carried_rows.values, factors, (weights[0] if number == 0 else 0.0, weights[number + 1])
            )
            if number == degree - 1:
                rows.values[:] = carried_rows.values[:, : settings.width]
        self.round_entries(rows, number, settings)
        return rows

    def report(self, settings: Settings) -> dict[str, Any]:
        return {"cut": (self.cut(settings) + 1.0) / 2.0, "largest_eigenvalue": float(settings.facts["largest"][0])}


class PlainLowPass(StepsOfNodes, LowPass):
    """Rows of h(A') Ω at norm d^q, A' = D^-1/2 A D^-1/2 = S or D^-1 A = D^-1/2 S D^1/2.

    The second is the first with its random rows scaled by D^1/2: what D^-1/2 does to whole rows, norms undo.
    """

    def rounds(self, settings: Settings) -> int:
        return settings.embedding.filter_degree

    def needs_noise_scales(self, number: int, settings: Settings) -> bool:
        """Return False: a sum of bounded terms, whose rows are no longer than what went in."""
        return False

    def prelude(self, settings: Settings) -> Settings | None:
        """Return the settings of what finds the cut, where it isn't set."""
        return small_settings(settings, PLAIN_SPECTRUM.form) if settings.embedding.cut is None else None

    def start(self, block: Block, settings: Settings) -> NDArray[np.float32]:
        return self._first_rows(block, slice(None), settings)

    def initial_carry(self, block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
        return initial_terms(self._first_rows(block, local, settings))

    def _first_rows(self, block: Block, local: NDArray[np.int64] | slice, settings: Settings) -> NDArray[np.float32]:
        walks = settings.embedding.transition == "random_walk"
        return start_rows(block, local, power_or_zero(block.strength[local], 0.5) if walks else None, settings)

    def cut(self, settings: Settings) -> float:
        """Return where the step is: the largest eigenvalue is 1."""
        cut = settings.embedding.cut
        return float(settings.facts["cut"][0]) if cut is None else cut

    def report(self, settings: Settings) -> dict[str, Any]:
        return {"cut": self.cut(settings)}

    def finish(self, rows: Rows, nodes: RowNodes, sums: ColumnSums | None, settings: Settings) -> None:
        set_norms(rows, power_or_zero(nodes.strength, settings.embedding.norm_degree_power))


def small_settings(settings: Settings, form: str) -> Settings:
    """Return the settings of a small run before the run: all columns in one task, rows as they are."""
    changes = {"shards": 1, "boundary_dtype": "float32", "compute": "float32"}
    embedding = settings.embedding.model_copy(update=changes)
    return replace(settings, embedding=embedding, form=form, columns=None, keeps_fold_in=False)


LOW_PASS = MethodSpec(
    method="fastrp",
    form="low_pass",
    choice="low_pass",
    sides=2,
    keys=LowPassKeys,
    sums_rows=True,
    rounds=LowPass(),
    buffers=1,
    products=lambda _: dot_products(
        "an item's norm is its degree to a small power, so that the dot product of a user and an item is a "
        "ranking score; between nodes of one type the norm says how popular or active they are, and cosine leaves it "
        "out; columns are random mixtures of eigenvectors, and a linear classifier needs all of them"
    ),
    space=(
        *("projection", "sparsity", "filter_degree", "cut", "rank"),
        *("user_degree_power", "item_degree_power", "item_norm_power"),
    ),
    attributes_of="targets",
    fold_in=two_sided_products,
)

PLAIN_LOW_PASS = MethodSpec(
    method="fastrp",
    form="plain_low_pass",
    choice="low_pass",
    sides=1,
    keys=PlainLowPassKeys,
    rounds=PlainLowPass(),
    buffers=2,
    products=lambda _: cosines(
        "rows are random mixtures of the leading eigenvectors, at norm 1: a node's direction says where in the "
        "graph it is, and its length there mostly its degree; a linear classifier takes the rows as they are"
    ),
    space=("projection", "sparsity", "filter_degree", "cut", "rank", "transition", "norm_degree_power"),
    attributes_of="all",
    fold_in=one_step,
)
