"""FastRP: random rows carried over the graph's edges a few times, then scaled.

Chen, Sultan, Tian, Chen & Skiena, "Fast and accurate network embeddings via very sparse random projection",
CIKM 2019 (arXiv 1908.11512), for the classic form. The two-tower form puts random rows on one side only.
"""

from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from pipeline.blocks.arrays import Block
from pipeline.config.embedding import EmbeddingConfig
from pipeline.config.sections import InputConfig
from pipeline.embedding.fold_in_recipes import one_step, two_sided_products
from pipeline.embedding.method import Method
from pipeline.embedding.method_keys import ItemNormPower, NormDegreePower, RandomRowKeys, Transition, TwoSidedKeys
from pipeline.embedding.method_spec import MethodSpec, cosines, dot_products, random_rows_cancel
from pipeline.embedding.products import Multiplier, PowerSum, scale_operand, set_norms, step_of_items, step_of_nodes
from pipeline.embedding.rows import ColumnSums, KnownNorms, Operand, RowNodes, Rows
from pipeline.embedding.settings import Settings
from pipeline.embedding.sinks import Sink
from pipeline.embedding.start_rows import start_noise_scales, start_operand, start_rows
from pipeline.kernels.elementary import power_or_zero
from pipeline.kernels.rows import add_scaled, row_norms, scale_rows, unit_or_zero_scales

_STANDARDIZED_AT_ONCE = 8_192  # rows, in float64
_DRAWN_AT_ONCE = 8_192  # rows, of all columns


class TwoTowerKeys(RandomRowKeys, TwoSidedKeys):
    """Keys of two towers."""

    powers: int = Field(1, ge=1, le=64, description="two_tower: steps of P between the random rows and the users' rows")
    item_norm_power: ItemNormPower = 0.12


def _some_power_counts(value: tuple[float, ...]) -> tuple[float, ...]:
    if not any(value):
        raise ValueError("every weight is 0: the table would be zero")
    return value


class ClassicKeys(RandomRowKeys):
    """Keys of a sum of powers."""

    iteration_weights: Annotated[tuple[float, ...], AfterValidator(_some_power_counts)] = Field(
        (0.0, 1.0, 1.0), min_length=1, max_length=64, description="classic: weight of each power, the first for X_1"
    )
    degree_power: float = Field(
        0.0,
        ge=-4,
        le=4,
        description="classic: β, random rows are scaled by degree to this power (normalizationStrength)",
    )
    transition: Transition = "random_walk"
    normalize_powers: bool = Field(True, description="classic: rows of each power have norm 1 before they are added")
    standardize_columns: bool = Field(False, description="classic: columns of the sum get mean 0 and variance 1")
    norm_degree_power: NormDegreePower = 0.0
    normalize_rows: bool = Field(False, description="classic: rows of the result have norm 1")
    self_influence: float = Field(0.0, ge=0, description="classic: weight of a node's own start row in the sum")

    def check(self, types: InputConfig) -> None:
        """Refuse weights that keep two types apart."""
        weights = self.iteration_weights
        if not types.is_plain and not (any(weights[::2]) and any(weights[1::2])):
            raise ValueError(
                f"embedding.iteration_weights is {list(weights)}: on two types even powers hold one side and odd "
                "powers the other, so products between the sides would be noise; weigh at least one of each"
            )


class TwoTower(Method):
    """Users u = M P^p Ω, items i = l2(P^(p+1) Ω) d^q, with M = D_U^-a B D_I^-b and P = M^T M.

    B is users x items (source x target), Ω random rows for items, D weighted degrees, p = ``powers``. Round r
    holds Z_r = P^r Ω: the product goes to the users and back, so that users' rows are never exchanged.
    """

    def rounds(self, settings: Settings) -> int:
        """Return p + 1: the users' rows come out of the last product, half-way."""
        return settings.embedding.powers + 1

    def needs_noise_scales(self, number: int, settings: Settings) -> bool:
        """Return whether this is the last round: only its rows are held against their noise scales."""
        return number == self.rounds(settings) - 1

    def exchanged_range(self, block: Block, settings: Settings) -> tuple[int, int]:
        return block.rows_between(*settings.graph.target)

    def start(self, block: Block, settings: Settings) -> Operand:
        draw = start_rows if self.needs_noise_scales(0, settings) else start_operand
        return draw(block, slice(*self.exchanged_range(block, settings)), None, settings)

    def multiply(self, multiplier: Multiplier, x: Operand, number: int, settings: Settings, sink: Sink) -> Rows:
        """One step of P, less the items' own last scaling: B^T D_U^-2a B D_I^-b x."""
        is_last = number == self.rounds(settings) - 1
        return step_of_items(multiplier, x, settings, sink if is_last else None)

    def row_scales(self, strength: NDArray[np.float64], settings: Settings) -> NDArray[np.float64]:
        """D_I^-b: items scaled by it are rows of P^(number + 1) Ω."""
        return power_or_zero(strength, -settings.embedding.item_degree_power)

    def finish(self, rows: Rows, nodes: RowNodes, sums: ColumnSums | None, settings: Settings) -> None:
        """Give items the norm d^q; users keep theirs, since a factor a user does not move its ranking."""
        first, stop = np.searchsorted(nodes.node_ix, settings.graph.target)
        set_norms(rows[first:stop], power_or_zero(nodes.strength[first:stop], settings.embedding.item_norm_power))


class Classic(Method):
    """N = s f(X_0) + Σ w_r f(X_r), X_r = A' X_(r-1), X_0 = D^β Ω, A' = D^-1 A or D^-1/2 A D^-1/2, f = l2 or identity.

    s is ``self_influence``, Ω the start rows. As in Neo4j's Graph Data Science (nodeSelfInfluence).
    """

    keeps_total: bool = True

    def rounds(self, settings: Settings) -> int:
        """Return the number of weights, trailing zeros left out: what nobody adds needs no product."""
        weights = settings.embedding.iteration_weights
        return max(number for number, weight in enumerate(weights, start=1) if weight)

    def needs_noise_scales(self, number: int, settings: Settings) -> bool:
        return settings.embedding.iteration_weights[number] != 0

    def start(self, block: Block, settings: Settings) -> Operand:
        draw = start_rows if self.needs_noise_scales(0, settings) else start_operand
        return draw(block, slice(None), _start_scale(block, slice(None), settings), settings)

    def multiply(self, multiplier: Multiplier, x: Operand, number: int, settings: Settings, sink: Sink) -> Rows:
        """A x or, for the symmetric transition, A D^-1/2 x."""
        if settings.embedding.transition == "symmetric":
            x = scale_operand(x, power_or_zero(multiplier.block.strength, -0.5))
        return step_of_nodes(multiplier, x)

    def row_scales(self, strength: NDArray[np.float64], settings: Settings) -> NDArray[np.float64]:
        return power_or_zero(strength, -1.0 if settings.embedding.transition == "random_walk" else -0.5)

    def weigh(
        self, rows: Rows, number: int, settings: Settings, norms: KnownNorms
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return w / ‖x‖ or, without f, w; what is added is as long as that times the row or its noise scale."""
        weight = settings.embedding.iteration_weights[number]
        if not settings.embedding.normalize_powers:
            return np.full(len(rows.values), weight), abs(weight) * rows.noise_scale
        scale = unit_or_zero_scales(norms(rows.values), rows.noise_scale)
        return weight * scale, np.where(scale > 0, abs(weight), 0.0)

    def carry_width(self, settings: Settings) -> int:
        """Return the columns of N; what some columns add can't be told before the norms of all are known."""
        return 0 if settings.is_shard else settings.width

    def initial_total(self, block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
        """Return s f(X_0) of some local rows: norms are those of all columns, which anyone can draw."""
        weight = settings.embedding.self_influence
        total = Rows.zeros(local.size, settings.width)
        for first in range(0, local.size if weight else 0, _DRAWN_AT_ONCE):
            batch = slice(first, first + _DRAWN_AT_ONCE)
            start_scale = _start_scale(block, local[batch], settings)
            whole = start_rows(block, local[batch], start_scale, replace(settings, columns=None))
            norms = row_norms(whole)
            noise_scales = start_noise_scales(block, local[batch], start_scale, settings)
            if settings.embedding.normalize_powers:
                scale = weight * unit_or_zero_scales(norms, noise_scales)
                total.noise_scale[batch] = np.where(scale > 0, weight, 0.0)
            else:
                scale = np.full(len(norms), weight)
                total.noise_scale[batch] = weight * np.maximum(norms, noise_scales)
            columns = whole[:, settings.first_column : settings.first_column + settings.width]
            add_scaled(total.values[batch], np.ascontiguousarray(columns), scale)
        return total

    def initial_carry(self, block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
        return Rows.zeros(local.size, 0) if settings.is_shard else self.initial_total(block, local, settings)

    def power_sum(self, carried_rows: Rows, number: int, settings: Settings) -> PowerSum | None:
        """Return N where X_(number + 1) is, as it is made, what is added and what the next round multiplies."""
        embedding, is_last = settings.embedding, number == self.rounds(settings) - 1
        if settings.is_shard or embedding.boundary_dtype != "float32" or embedding.transition != "random_walk":
            return None
        weights = embedding.iteration_weights
        is_first = not any(weights[:number]) and not embedding.self_influence
        return PowerSum(carried_rows, weights[number], embedding.normalize_powers, is_first, is_last)

    def carry(self, carried_rows: Rows, rows: Rows, number: int, settings: Settings) -> Rows:
        """Add X_(number + 1) to N, where all columns are here; N is the result."""
        self.round_entries(rows, number, settings)
        if settings.is_shard:
            return rows
        if self.needs_noise_scales(number, settings):
            factor, growth = self.weigh(rows, number, settings, row_norms)
            add_scaled(carried_rows.values, rows.values, factor)
            carried_rows.noise_scale[:] += growth
        return carried_rows if number == self.rounds(settings) - 1 else rows

    def rows_of_attributes(self, rows: Rows, settings: Settings) -> Rows:
        """Return w f(x), with f as for powers and w = ``self_influence``, or 1 where that is 0."""
        weight = settings.embedding.self_influence or 1.0
        scale, noise_scale = np.ones(len(rows.values)), rows.noise_scale
        if settings.embedding.normalize_powers:
            scale = unit_or_zero_scales(row_norms(rows.values), noise_scale)
            noise_scale = np.where(scale > 0, 1.0, 0.0)
        return Rows(scale_rows(rows.values, weight * scale), weight * noise_scale)

    def finish(self, rows: Rows, nodes: RowNodes, sums: ColumnSums | None, settings: Settings) -> None:
        """Standardise columns, set norms: as asked, in this order."""
        embedding = settings.embedding
        if embedding.standardize_columns and sums is not None and sums.count:
            mean = sums.sums / sums.count
            # A constant column keeps its scale: its deviation is only noise.
            deviation = np.sqrt(np.maximum(sums.squares / sums.count - mean * mean, 0.0))
            deviation[deviation == 0.0] = 1.0
            has_edges = nodes.strength > 0
            _standardize(rows.values, has_edges, mean, deviation)
            # The noise scale of a standardised row is its own norm: the mean was taken off on purpose.
            rows.noise_scale[:] = row_norms(rows.values)
        if embedding.norm_degree_power:
            set_norms(rows, power_or_zero(nodes.strength, embedding.norm_degree_power))
        elif embedding.normalize_rows:
            set_norms(rows, np.ones(len(nodes.strength)))


def _start_scale(block: Block, local: NDArray[np.int64] | slice, settings: Settings) -> NDArray[np.float64] | None:
    power = settings.embedding.degree_power
    return power_or_zero(block.strength[local], power) if power else None


def _standardize(
    values: NDArray[np.float32],
    is_counted: NDArray[np.bool_],
    mean: NDArray[np.float64],
    deviation: NDArray[np.float64],
) -> None:
    for first in range(0, len(values), _STANDARDIZED_AT_ONCE):
        batch = values[first : first + _STANDARDIZED_AT_ONCE]
        is_in = is_counted[first : first + _STANDARDIZED_AT_ONCE]
        batch[is_in] = (batch[is_in] - mean) / deviation  # in float64, rounded once


def _powers_cancel(embedding: EmbeddingConfig) -> str:
    if embedding.standardize_columns:
        return "all they are is the mean that is taken off; set embedding.standardize_columns = false"
    if min(embedding.iteration_weights) < 0:
        return "powers cancel; set embedding.iteration_weights to weights that are not below 0"
    return random_rows_cancel(embedding)


TWO_TOWER = MethodSpec(
    method="fastrp",
    form="two_tower",
    choice="two_tower",
    sides=2,
    keys=TwoTowerKeys,
    sums_rows=True,
    rounds=TwoTower(),
    buffers=1,  # the product takes the place of what is multiplied
    products=lambda _: dot_products(
        "an item's norm is its degree to a small power, so that the dot product of a user and an item is a "
        "ranking score; between nodes of one type the norm says how popular they are, and cosine leaves it out"
    ),
    space=("projection", "sparsity", "powers", "user_degree_power", "item_degree_power", "item_norm_power"),
    attributes_of="targets",
    fold_in=two_sided_products,
)

CLASSIC = MethodSpec(
    method="fastrp",
    form="classic",
    choice="classic",
    sides=1,
    keys=ClassicKeys,
    rounds=Classic(),
    buffers=2,
    products=lambda _: cosines(
        "rows are sums of powers of the transition matrix; their norms say how many powers agree, not how "
        "near two nodes are; a linear classifier takes the rows as they are"
    ),
    space=(
        *("projection", "sparsity", "iteration_weights", "degree_power", "transition", "normalize_powers"),
        *("standardize_columns", "norm_degree_power", "normalize_rows"),
    ),
    later_keys={"self_influence": 0.0},
    attributes_of="all",
    fold_in=one_step,
    zero_rows=_powers_cancel,
    hides_degree=lambda embedding: embedding.normalize_powers,
)
