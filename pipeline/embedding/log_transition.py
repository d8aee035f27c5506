"""Factors of the logarithm of the transition matrix, for labels on large sparse graphs of one type.

    F_ij = ln(A_ij / d_i) - ln n_j where A_ij is not 0,    n_j = c_j^.75 / Σ c^.75,    c_j = Σ_i A_ij / d_i

The first round makes c, which goes along as a last column of the rows: so every part knows that of all neighbours. Then
products with F and its transpose take turns, each the other side's rows, and smoothing steps follow. Entries below 0
stay: they are few, and without them a node between hubs has no row.

Zhang, Dong, Wang, Tang & Ding, "ProNE: fast and scalable network representation learning", IJCAI 2019. Its band-pass
comes to little more than a smoothing step, at twenty products.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.blocks.arrays import Block
from pipeline.embedding.eigenvector_rows import reduce_rows, reduced_columns
from pipeline.embedding.fact_files import Facts
from pipeline.embedding.fold_in_recipes import one_step_at_row_norm
from pipeline.embedding.method_keys import EigenvaluePower, NormDegreePower, RowNorm, SubspaceKeys
from pipeline.embedding.method_spec import MethodSpec, cosines
from pipeline.embedding.momentum import add_momentum, next_momentum
from pipeline.embedding.products import Multiplier, step_of_nodes
from pipeline.embedding.rows import Rows
from pipeline.embedding.settings import Settings
from pipeline.embedding.sinks import Sink
from pipeline.embedding.spectral import Plain, raise_fading_rows
from pipeline.embedding.subspace_iteration import noise_share, sum_of
from pipeline.kernels.elementary import log, power_or_zero
from pipeline.kernels.random_projection import normal_projection
from pipeline.kernels.rows import add_scaled, row_norms, scale_rows, unit_or_zero_scales
from pipeline.kernels.subspace import combine_columns, gram, orthonormal_columns

_NOISE_POWER = 0.75  # as word2vec draws its negatives
_SHOWN = 32  # singular values that the report names


class LogTransitionKeys(SubspaceKeys):
    """Its keys."""

    name = "log_transition"

    eigenvalue_power: EigenvaluePower = 0.5
    norm_degree_power: NormDegreePower = 0.0
    row_norm: RowNorm = None
    smoothing: int = Field(
        1, ge=0, le=16, description="log_transition: steps to the mean of a node's row and those of its neighbours"
    )

    def with_derived_keys(self) -> Self:
        """Iterate long enough for the flat spectra of sparse graphs."""
        return self.with_defaults(iterations=9)

    def check(self, types: Any) -> None:
        """Refuse narrow rows: one of their columns is a logarithm's argument."""
        super().check(types)
        if self.boundary_dtype != "float32":
            raise ValueError(
                f"embedding.boundary_dtype is '{self.boundary_dtype}': rows of log_transition carry a node's share of "
                "the walks, whose logarithm every entry needs; use boundary_dtype = 'float32'"
            )


class LogTransition(Plain):
    """Rows U s^p of F = U s V^T, at norm d^q ``row_norm``, after ``smoothing`` steps."""

    def rounds(self, settings: Settings) -> int:
        """Return one for c, the products of the iteration and one that the factors are read off, and the smoothing."""
        return self._last_product(settings) + 1 + settings.embedding.smoothing

    def width(self, number: int, settings: Settings) -> int:
        """Return 1 of the round that makes c, then the columns of the subspace and c."""
        return 1 if number == 0 else settings.dim + settings.embedding.oversampling + 1

    def is_one_way(self, number: int, settings: Settings) -> bool:
        """Return False: factors are read off complete rows."""
        return False

    def start(self, block: Block, settings: Settings) -> NDArray[np.float32]:
        """Return 1 / d, of which c are the sums over neighbours."""
        return power_or_zero(block.strength, -1.0).astype(np.float32)[:, None]

    def carry_width(self, settings: Settings) -> int:
        return 2 * self.width(1, settings)

    def initial_carry(self, block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
        carried_rows = Rows.zeros(local.size, self.carry_width(settings))
        columns = self.width(1, settings) - 1
        carried_rows.values[:, :columns] = normal_projection(block.node_key[local], columns, settings.embedding.seed)
        return carried_rows

    def multiply(
        self, multiplier: Multiplier, x: NDArray[np.float32], number: int, settings: Settings, sink: Sink
    ) -> Rows:
        """Return the block's share of A (1 / d), of F z or F^T z, or of a smoothing step."""
        if number == 0:
            return step_of_nodes(multiplier, x)
        block = multiplier.block
        last = self._last_product(settings)
        if number > last:
            z = x if number > last + 1 else self._unit_rows(x, settings)
            product = step_of_nodes(multiplier, z)
            own = settings.graph.mean_weight  # a node counts among its neighbours, by an edge of the mean weight
            add_scaled(product.values, z, own * (block.home == block.part_id))
            scale_rows(product.values, power_or_zero(block.strength + own, -1.0), out=product.values)
            return product
        is_transposed = (last - number) % 2 == 1
        logs = log_entries(block, x[:, -1], float(settings.facts["noise_total"][0]), is_transposed=is_transposed)
        of_logs = replace(multiplier, block=replace(block, edge_weight=logs))
        return step_of_nodes(of_logs, combine_columns(x, settings.facts["transform"]))

    def carry(self, carried_rows: Rows, rows: Rows, number: int, settings: Settings) -> Rows:
        """Take momentum into the products, and put c behind every row that is multiplied by F next."""
        raise_fading_rows(rows.values)
        width, last = self.width(1, settings), self._last_product(settings)
        if number > last:
            return rows
        if number == 0:
            carried_rows.values[:, width - 1] = rows.values[:, 0]
            return Rows(carried_rows.values[:, :width].copy(), np.zeros(len(rows.values)))
        before = add_momentum(rows, carried_rows, settings.facts if number < last else {})
        rows.values[:, -1] = carried_rows.values[:, width - 1]
        carried_rows.values[:, :width], carried_rows.values[:, width:] = rows.values, before
        return rows

    def local_facts(self, rows: Rows, carried_rows: Rows, number: int, settings: Settings) -> Facts:
        if number > self._last_product(settings):
            return {}
        facts = {"gram": gram(np.ascontiguousarray(rows.values[:, :-1]))}
        if number == 0:
            noise = power_or_zero(rows.values[:, -1].astype(np.float64), _NOISE_POWER)
            facts["noise_total"] = np.array([noise.sum()])
        return facts

    def reduce_facts(self, number: int, local: Sequence[Facts], settings: Settings) -> Facts:
        """Return what makes the next rows orthonormal; after the last product, singular values and the factors."""
        last = self._last_product(settings)
        if number > last:
            return settings.facts
        sums = sum_of(local, "gram")
        basis = orthonormal_columns(sums, noise_share(len(sums), settings))
        if number == last:
            is_leading = np.arange(len(sums)) < settings.dim
            return {
                "eigenvalues": np.where(is_leading, basis.values, 0.0)[: settings.dim],
                "vectors": np.where(is_leading, basis.transform, 0.0)[:, : settings.dim],
                "left_out": np.where(is_leading, 0.0, basis.transform),
            }
        noise_total = sum_of(local, "noise_total") if number == 0 else settings.facts["noise_total"]
        transform = np.pad(basis.transform, (0, 1))  # c is no column of the subspace
        momentum = next_momentum(basis, settings.facts)
        return {"transform": transform, "momentum": momentum, "noise_total": noise_total}

    def report(self, settings: Settings) -> dict[str, Any]:
        values = settings.facts["eigenvalues"]
        return {
            "rank": int(np.count_nonzero(values)),
            "rank_asked": settings.dim,
            "singular_values": values[:_SHOWN].tolist(),
        }

    def reduce(self, rows: Rows, node_ix: NDArray[np.int64], settings: Settings, role: str = "rows") -> Rows:
        """Return U s^p, or what smoothing made of it."""
        if settings.embedding.smoothing:
            return Rows(np.ascontiguousarray(rows.values[:, : settings.dim]), np.zeros(len(rows.values)))
        return self._factors(rows.values, settings)

    def _last_product(self, settings: Settings) -> int:
        """Return the round of the product with F that the factors are read off."""
        return int(settings.embedding.iterations) + 1

    def _factors(self, x: NDArray[np.float32], settings: Settings) -> Rows:
        columns = reduced_columns(settings.facts["vectors"] * self.scales(settings), settings)
        out = Rows.zeros(len(x), settings.dim)
        reduce_rows(np.ascontiguousarray(x[:, :-1]), columns, settings, out)
        return out

    def _unit_rows(self, x: NDArray[np.float32], settings: Settings) -> NDArray[np.float32]:
        """Return the factors' rows at norm 1, with zeros in the columns that they don't need."""
        factors = self._factors(x, settings)
        scale_rows(
            factors.values, unit_or_zero_scales(row_norms(factors.values), factors.noise_scale), out=factors.values
        )
        z = Rows.zeros(*x.shape).values
        z[:, : settings.dim] = factors.values
        return z


def log_entries(
    block: Block, share: NDArray[np.float32], noise_total: float, *, is_transposed: bool
) -> NDArray[np.float32]:
    """Return F's entries, or those of its transpose, in the place of a block's edge weights.

    share : (n,) c of the local nodes. noise_total : Σ c^.75 of all nodes.
    """
    walks = -log(block.strength)
    noise = log(np.array([noise_total]))[0] - _NOISE_POWER * log(share.astype(np.float64))
    row = np.repeat(np.arange(block.node_ix.size), np.diff(block.indptr))
    start, stop = (block.neighbor, row) if is_transposed else (row, block.neighbor)
    entries = walks[start] + noise[stop]
    if block.edge_weight is not None:
        entries += log(block.edge_weight.astype(np.float64))
    return entries.astype(np.float32)


LOG_TRANSITION = MethodSpec(
    method="spectral",
    form="log_transition",
    choice="log_transition",
    sides=1,
    keys=LogTransitionKeys,
    rounds=LogTransition(),
    buffers=5,
    products=lambda _: cosines(
        "rows have one norm: a node's direction says which nodes walks from it meet more often than chance; a linear "
        "classifier takes the rows as they are"
    ),
    space=("iterations", "oversampling", "eigenvalue_power", "norm_degree_power", "row_norm", "smoothing"),
    needs_means=True,
    has_own_axes=True,
    fold_in=one_step_at_row_norm,
)
