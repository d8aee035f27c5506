"""Spectral embeddings in rounds: subspace iteration, each round one product and one small sum over all rows.

Round r multiplies Z_r, orthonormal columns, by the graph's operator A: Y_r = A Z_r. The sums Y^T Y over the rows at
home in each part go to the driver, whose answer makes Y orthonormal when it is next read; the last round asks for
Z^T A Z instead (Rayleigh-Ritz) and sends nothing on. See Halko, Martinsson & Tropp, SIAM Review 53 (2011). With
``accelerate`` the products take momentum, which homes carry: see momentum.py.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block
from pipeline.embedding.fact_files import Facts
from pipeline.embedding.method import Method
from pipeline.embedding.momentum import add_momentum, next_momentum
from pipeline.embedding.products import Multiplier, TwoSides, set_norms
from pipeline.embedding.rows import FOLD_IN, SUBSPACE, ColumnSums, RowNodes, Rows
from pipeline.embedding.settings import Settings
from pipeline.embedding.sinks import Sink
from pipeline.kernels.buffers import aligned_empty
from pipeline.kernels.csr import Csr
from pipeline.kernels.elementary import power_or_zero
from pipeline.kernels.random_projection import normal_projection
from pipeline.kernels.rows import ZERO_BELOW, add_scaled, row_norms, scale_rows
from pipeline.kernels.subspace import (
    combine_columns,
    cross_sums,
    eigenpairs,
    gram,
    orthonormal_columns,
    weighted_square_sums,
)

#: Values at or below this share of the largest are rounding of the rows that hold them. Rounding to
#: float32 adds up over the columns at worst; that to float16 and int8 is far larger, but nearly independent.
_NOISE_A_COLUMN = 2.0**-23
_FEW = 16  # columns: of fewer, the roundings of one entry are what counts
_NOISE_OF_DTYPE = {"float32": 0.0, "float16": 2.0**-13, "int8": 2.0**-9}
_FADING, _RAISED = 2.0**-100, 60  # the norm below which a row is scaled up, and by how many powers of two
_SHOWN = 32  # eigenvalues that the report names
_OTHERS = np.uint64(2**63)  # what parts the rows of their mixture from those of the rotation


class _Spectral(Method):
    """Subspace iteration; what A is belongs to the forms."""

    def rounds(self, settings: Settings) -> int:
        """Return the products of the iteration and one for Rayleigh-Ritz; the rows of an earlier night take one."""
        return (1 if settings.earlier else settings.embedding.iterations) + 1

    def width(self, number: int, settings: Settings) -> int:
        """Return rank + oversampling columns, but no more than there are exchanged rows."""
        first, stop = settings.graph.target
        return max(1, min(settings.embedding.rank + settings.embedding.oversampling, stop - first))

    def is_one_way(self, number: int, settings: Settings) -> bool:
        """Return whether this is the last round."""
        return number == self.rounds(settings) - 1

    def exchanged_range(self, block: Block, settings: Settings) -> tuple[int, int]:
        """Return the rows of the nodes that A joins: items, or all."""
        return block.rows_between(*settings.graph.target)

    def start(self, block: Block, settings: Settings) -> NDArray[np.float32]:
        """Hashed random rows; normal, since of a few sparse ones some are zero, and some graphs have few nodes."""
        first, stop = self.exchanged_range(block, settings)
        return normal_projection(block.node_key[first:stop], self.width(0, settings), settings.embedding.seed)

    def carry_width(self, settings: Settings) -> int:
        """Return the columns of the last two rounds' rows, where products take momentum."""
        return 2 * self.width(0, settings) if settings.embedding.accelerate else 0

    def initial_carry(self, block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
        """Return the random rows, and nothing before them."""
        carried = Rows.zeros(local.size, self.carry_width(settings))
        if settings.embedding.accelerate:
            width = self.width(0, settings)
            carried.values[:, :width] = normal_projection(block.node_key[local], width, settings.embedding.seed)
        return carried

    def carry(self, carried: Rows, rows: Rows, number: int, settings: Settings) -> Rows:
        """Take momentum into the product, but into the last one, which Rayleigh-Ritz and its figures are of."""
        if not settings.embedding.accelerate:
            return super().carry(carried, rows, number, settings)
        before = add_momentum(rows, carried, {} if self.is_one_way(number + 1, settings) else settings.facts)
        self.round_entries(rows, number, settings)
        width = rows.values.shape[1]
        carried.values[:, :width], carried.values[:, width:] = rows.values, before
        return rows

    def multiply(
        self, multiplier: Multiplier, x: NDArray[np.float32], number: int, settings: Settings, sink: Sink
    ) -> Rows:
        """A Z, with Z the rows of the last round made orthonormal."""
        block, z, out = multiplier.block, x, multiplier.buffers.take(x.shape)
        if number:
            z, out = combine_columns(x, settings.facts["transform"], out), x
        if self.is_one_way(number, settings):
            self.close(multiplier, z, out, settings, sink)
            return Rows.zeros(0, z.shape[1])
        product = self.apply(multiplier, z, out, settings)
        if settings.keeps_subspace and self.is_one_way(number + 1, settings):
            is_own = block.home[slice(*self.exchanged_range(block, settings))] == block.part_id
            sink.report_facts({"cross": cross_sums(z, product.values), "start": gram(z, is_own.astype(np.float64))})
        if z is not x:
            multiplier.buffers.give(z)
        return product

    @abstractmethod
    def apply(
        self, multiplier: Multiplier, z: NDArray[np.float32], out: NDArray[np.float32], settings: Settings
    ) -> Rows:
        """Return the block's share of A z, in ``out``."""

    @abstractmethod
    def close(
        self, multiplier: Multiplier, z: NDArray[np.float32], out: NDArray[np.float32], settings: Settings, sink: Sink
    ) -> None:
        """Emit the rows that will be reduced, and report the block's share of Z^T A Z; ``out`` is to work in."""

    def local_facts(self, rows: Rows, carried: Rows, number: int, settings: Settings) -> Facts:
        """Return Y^T Y of some rows."""
        return {"gram": gram(rows.values)}

    def reduce_facts(self, number: int, local: Sequence[Facts], settings: Settings) -> Facts:
        """Return how the columns of the next round follow from those of this one."""
        if self.is_one_way(number, settings):
            reduction = self._reduction(sum_of(local, "operator"), float(sum_of(local, "size")[0]), settings)
            return reduction | ({"residual": settings.facts["residual"]} if settings.keeps_subspace else {})
        sums = sum_of(local, "gram")
        basis = orthonormal_columns(sums, noise_share(len(sums), settings))
        facts = {"transform": basis.transform}
        if settings.embedding.accelerate:
            facts["momentum"] = next_momentum(basis, settings.facts)
        if settings.keeps_subspace and self.is_one_way(number + 1, settings):
            facts["residual"] = np.array(
                [self._residual(sum_of(local, "start"), sum_of(local, "cross"), sums, settings)]
            )
        return facts

    def reduced_width(self, settings: Settings) -> int:
        """Return the embedding's columns."""
        return settings.dim

    def report(self, settings: Settings) -> dict[str, Any]:
        """Return the rank and the largest eigenvalues."""
        eigenvalues = settings.facts["eigenvalues"]
        return {
            "rank": int(np.count_nonzero(eigenvalues)),
            "rank_asked": settings.embedding.rank,
            "reduction": settings.embedding.reduction,
            "eigenvalues": eigenvalues[:_SHOWN].tolist(),
            **self._start_figures(settings),
        }

    def _start_figures(self, settings: Settings) -> dict[str, Any]:
        """Return how many products came before Rayleigh-Ritz's, and how far off the last of them started."""
        if not settings.keeps_subspace:
            return {}
        return {"products": self.rounds(settings) - 1, "residual": float(settings.facts["residual"][0])}

    def _residual(
        self, start: NDArray[np.float64], cross: NDArray[np.float64], sums: NDArray[np.float64], settings: Settings
    ) -> float:
        """Return how far the leading eigenpairs on the span of Z are from A's: the root of Σ ‖A v - w v‖² / Σ w².

        Of Z^T Z, Z^T Y and Y^T Y, with Y = A Z: what the last product but that of Rayleigh-Ritz started from.
        """
        to_orthonormal = orthonormal_columns(start, noise_share(len(start), settings)).transform
        cross, sums = (to_orthonormal.T @ matrix @ to_orthonormal for matrix in (cross, sums))
        values, vectors = eigenpairs(cross, by_magnitude=self.takes_both_signs(settings))
        values, vectors = (array[..., : settings.embedding.rank] for array in (values, vectors))
        off = np.einsum("ij,ik,kj->", vectors, sums, vectors) - (values**2).sum()
        return math.sqrt(max(off, 0.0) / max((values**2).sum(), np.finfo(np.float64).tiny))

    def _reduction(
        self, operator: NDArray[np.float64], size: float, settings: Settings
    ) -> dict[str, NDArray[np.float64]]:
        """Return the leading eigenpairs in the coordinates of Z; of too small eigenvalues, zero columns.

        ``size`` is the mean of what the eigenvalues are before anything was taken off: next to it, they may be noise.
        """
        rank = min(settings.embedding.rank, len(operator))
        has_both_signs = self.takes_both_signs(settings)
        share = noise_share(len(operator), settings)
        values, vectors = eigenpairs(operator, by_magnitude=has_both_signs, slack=share)
        noise = share * np.abs(values).max(initial=size)
        is_left_out = (np.abs(values) if has_both_signs else values) <= noise
        is_left_out[rank:] = True
        return {
            "eigenvalues": np.where(is_left_out, 0.0, values)[:rank],
            "vectors": np.where(is_left_out, 0.0, vectors)[:, :rank].copy(),
            "left_out": np.where(is_left_out, vectors, 0.0),
        }

    def takes_both_signs(self, settings: Settings) -> bool:
        """Return whether negative eigenvalues count by their magnitude; else they are left out."""
        return False

    def scales(self, settings: Settings) -> NDArray[np.float64]:
        """Return what the columns of eigenvectors are scaled by, of two types the items' alone: |w|^p, 0 where w is."""
        values = np.abs(settings.facts["eigenvalues"])
        return np.where(values > 0, power_or_zero(values, settings.embedding.eigenvalue_power), 0.0)


class Bipartite(_Spectral):
    """Users u = M V, items i = V |V|^-θ d^q: V leading eigenvectors of P - γ diag(P), P = M^T M, M = D_U^-a B D_I^-b.

    With the identity times ``shift`` added while iterating, since P - γ diag(P) has negative ends; it grows with the
    mean weight of an edge as P does, so that weights in other units change nothing. diag(P) stands for walks from an
    item to a user and straight back: they model what a user has, not what comes next. Where no user has two items
    there are no others, and γ = 1 would leave nothing: it is 0 then. The items' columns may be scaled by w^p first, w
    the eigenvalues. Rotated, all of V is used: u = M V Ω', i = R |R|^-θ d^q with R = V w^p Ω', θ = 1 unless another is
    set, and Ω' the orthonormal columns of a hashed matrix.
    """

    def apply(
        self, multiplier: Multiplier, z: NDArray[np.float32], out: NDArray[np.float32], settings: Settings
    ) -> Rows:
        """(P - γ diag(P) + shift) z, of the users and the edges stored here."""
        block = multiplier.block
        sides = TwoSides.of(block, settings)
        users = sides.users_of(multiplier, scale_rows(z, sides.to_item, out))
        items = sides.items_of(multiplier, users, out, sides.to_item)
        own = shift_of_items(settings) * (block.home[slice(*sides.items)] == block.part_id)
        add_scaled(items.values, z, own - settings.no_return * diagonal_of(block, sides))
        return items

    def close(
        self, multiplier: Multiplier, z: NDArray[np.float32], out: NDArray[np.float32], settings: Settings, sink: Sink
    ) -> None:
        """Emit M Z and Z; report Z^T (P - γ diag(P)) Z."""
        block = multiplier.block
        sides = TwoSides.of(block, settings)
        scaled = scale_rows(z, sides.to_item, out)
        users = sides.users_of(multiplier, scaled)
        operator = gram(users.values)
        size = np.trace(operator) / len(operator)
        if settings.no_return:
            operator -= settings.no_return * gram(z, diagonal_of(block, sides))
        sink.report_facts({"operator": operator, "size": np.array([size])})
        sink.emit(sides.users[0], users)
        sink.emit(sides.items[0], Rows(z, np.zeros(len(z))))
        sink.emit(sides.items[0], Rows(scaled, np.zeros(len(z))), FOLD_IN)
        sink.emit(sides.items[0], Rows(z, np.zeros(len(z))), SUBSPACE)

    def report(self, settings: Settings) -> dict[str, Any]:
        """Return the rank and the largest eigenvalues; and γ, where it isn't as asked."""
        is_as_asked = settings.no_return == settings.embedding.no_return
        return super().report(settings) | ({} if is_as_asked else {"no_return": settings.no_return})

    def reduce(self, rows: Rows, node_ix: NDArray[np.int64], settings: Settings, role: str = "rows") -> Rows:
        """Return U V and Z V w^p, or their rotations; what users' rows are sums of is reduced as these are."""
        if role == SUBSPACE:
            return _all_eigenvectors(rows, settings)
        first, stop = np.searchsorted(node_ix, settings.graph.target)
        vectors = settings.facts["vectors"]
        of_users = of_items = reduced_columns(vectors, settings)
        if role != FOLD_IN:
            of_items = reduced_columns(vectors * self.scales(settings), settings)
        out = Rows(aligned_empty((len(rows.values), settings.dim)), np.zeros(len(rows.values)))
        for start, end, columns in ((0, first, of_users), (first, stop, of_items), (stop, len(node_ix), of_users)):
            if start < end:
                reduce_rows(rows.values[start:end], columns, settings, out[start:end])
        return out

    def finish(self, rows: Rows, nodes: RowNodes, sums: ColumnSums | None, settings: Settings) -> None:
        """Scale items: |V|^-θ d^q; users are as they are."""
        first, stop = np.searchsorted(nodes.node_ix, settings.graph.target)
        items = rows[first:stop]
        norms = power_or_zero(nodes.strength[first:stop], settings.embedding.item_norm_power)
        is_rotated = settings.embedding.reduction == "rotate"
        theta = settings.embedding.rotated_row_power if is_rotated else settings.embedding.item_row_power
        if is_rotated and theta == 1:
            set_norms(items, norms)
        else:
            length = row_norms(items.values)
            length[length <= ZERO_BELOW * items.noise_scale] = 0.0
            scale = power_or_zero(length, -theta)
            scale_rows(items.values, scale * norms, out=items.values)


class Plain(_Spectral):
    """Rows of eigenvectors V |w|^p of S = (D + τ)^-1/2 A (D + τ)^-1/2, at norm d^q ``row_norm``.

    τ is ``degree_offset`` mean degrees: without it the leading pairs sit on tiny pieces that hang by a thread (Qin &
    Rohe, "Regularized spectral clustering", NeurIPS 2013). Eigenvalues of both signs describe a node best; a dot
    product would count the negative ones with the wrong sign, so that who is near is a matter of the positive ones.
    With q = 0 entries are about 1 / 2, whatever dim is, unless the norm is set: a penalty of a linear model means the
    same for all widths.
    """

    def takes_both_signs(self, settings: Settings) -> bool:
        """Return what the config asks for."""
        return settings.embedding.eigenvalues == "both"

    def apply(
        self, multiplier: Multiplier, z: NDArray[np.float32], out: NDArray[np.float32], settings: Settings
    ) -> Rows:
        """(S + shift) z, of the entries stored here."""
        block, product = multiplier.block, self._product(multiplier, z, out, settings)
        add_scaled(product.values, z, settings.embedding.shift * (block.home == block.part_id))
        return product

    def carry(self, carried: Rows, rows: Rows, number: int, settings: Settings) -> Rows:
        """Scale up rows that would fade away, before momentum is taken."""
        raise_fading_rows(rows.values)
        return super().carry(carried, rows, number, settings)

    def close(
        self, multiplier: Multiplier, z: NDArray[np.float32], out: NDArray[np.float32], settings: Settings, sink: Sink
    ) -> None:
        """Emit Z; report Z^T S Z."""
        operator = cross_sums(z, self._product(multiplier, z, out, settings).values)
        sink.report_facts({"operator": operator, "size": np.zeros(1)})
        for role in ("rows", SUBSPACE):
            sink.emit(0, Rows(z, np.zeros(len(z))), role)

    def reduce(self, rows: Rows, node_ix: NDArray[np.int64], settings: Settings, role: str = "rows") -> Rows:
        """Return Z V |w|^p, or its rotation."""
        if role == SUBSPACE:
            return _all_eigenvectors(rows, settings)
        columns = reduced_columns(settings.facts["vectors"] * self.scales(settings), settings)
        out = Rows(aligned_empty((len(rows.values), settings.dim)), np.zeros(len(rows.values)))
        reduce_rows(rows.values, columns, settings, out)
        return out

    def finish(self, rows: Rows, nodes: RowNodes, sums: ColumnSums | None, settings: Settings) -> None:
        """Set norms."""
        set_norms(rows, settings.row_norm * power_or_zero(nodes.strength, settings.embedding.norm_degree_power))

    def _product(
        self, multiplier: Multiplier, z: NDArray[np.float32], out: NDArray[np.float32], settings: Settings
    ) -> Rows:
        offset = settings.embedding.degree_offset * settings.graph.mean_strength
        to_root = power_or_zero(multiplier.block.strength + offset, -0.5)
        scaled = scale_rows(z, to_root, multiplier.buffers.take(z.shape))
        product = multiplier.multiply(scaled, out, 0, 0, to_root)
        multiplier.buffers.give(scaled)
        return product


def raise_fading_rows(x: NDArray[np.float32]) -> None:
    """Scale up rows that would fade away, in place.

    A component of small weights shrinks with each product, until float32 has no number for its rows. Next to the
    others they are nothing in any sum: some powers of two more keep their direction and change no other row.
    """
    size = row_norms(x)
    fading = np.flatnonzero((size > 0) & (size < _FADING))
    if fading.size:
        x[fading] = np.ldexp(x[fading], _RAISED)


def diagonal_of(block: Block, sides: TwoSides) -> NDArray[np.float64]:
    """diag(P), of the edges stored here."""
    matrix = Csr(block.indptr, block.neighbor, block.edge_weight)
    return weighted_square_sums(matrix, sides.to_user, *sides.items, sides.users[0]) * sides.to_item**2


def shift_of_items(settings: Settings) -> float:
    """Return the multiple of the identity that is added to P, in the units of P's eigenvalues."""
    embedding = settings.embedding
    power = 2.0 - 2.0 * (embedding.user_degree_power + embedding.item_degree_power)
    return embedding.shift * float(power_or_zero(np.array([settings.graph.mean_weight]), power)[0])


def reduced_columns(vectors: NDArray[np.float64], settings: Settings) -> NDArray[np.float64]:
    """(l, rank) -> (l, dim): the leading columns, or all of them by a random rotation drawn from the seed.

    The rotation has orthonormal columns: independent normal entries would add noise of their own, as much as
    dim / rank of what the rotation itself makes.
    """
    rank = vectors.shape[1]
    if settings.embedding.reduction == "rotate" and rank > settings.dim:
        keys = np.arange(rank, dtype=np.uint64)
        drawn = normal_projection(keys, settings.dim, settings.embedding.seed).astype(np.float64)
        rotation, triangle = np.linalg.qr(drawn)
        return vectors @ (rotation * np.sign(np.diag(triangle)) * math.sqrt(rank / settings.dim))
    columns = np.zeros((len(vectors), settings.dim))
    count = min(rank, settings.dim)
    columns[:, :count] = vectors[:, :count]
    return columns


def reduce_rows(rows: NDArray[np.float32], columns: NDArray[np.float64], settings: Settings, out: Rows) -> None:
    """``rows @ columns``; a row outside of the leading eigenvectors, by the other eigenvectors.

    So a component whose eigenvalues are too small, or one too many, gets rows: in columns of their own where there
    are enough, else in a hashed mixture, to which other rows are nearly orthogonal. Ends of an edge are alike.
    """
    combine_columns(rows, columns, out=out.values)
    out.noise_scale[:] = noise_scales(rows, columns)
    norms, out_norms = row_norms(rows), row_norms(out.values)
    # A row may be short because its columns are: so the vectors themselves decide, for the few shortest rows.
    short = np.flatnonzero(out_norms <= ZERO_BELOW * np.maximum(out.noise_scale, norms * np.linalg.norm(columns)))
    in_leading = row_norms(combine_columns(rows[short], settings.facts["vectors"]))
    is_noise = out_norms[short] <= ZERO_BELOW * out.noise_scale[short]
    outside = short[(in_leading <= ZERO_BELOW * norms[short]) | is_noise]
    if outside.size:
        others = _columns_left_out(settings)
        out.values[outside] = combine_columns(rows[outside], others)
        out.noise_scale[outside] = noise_scales(rows[outside], others)


def _all_eigenvectors(rows: Rows, settings: Settings) -> Rows:
    """Return Z V of all columns, the leading ones first: an orthonormal basis of what was iterated."""
    vectors = settings.facts["left_out"].copy()
    leading = settings.facts["vectors"]
    vectors[:, : leading.shape[1]] += leading
    return Rows(combine_columns(rows.values, vectors), np.zeros(len(rows.values)))


def _columns_left_out(settings: Settings) -> NDArray[np.float64]:
    """(l, l) -> (l, dim): the vectors that are no leading ones, behind these or mixed."""
    vectors, dim = settings.facts["left_out"], settings.dim
    if len(vectors) <= dim:
        return np.pad(vectors, ((0, 0), (0, dim - len(vectors))))
    keys = np.arange(len(vectors), dtype=np.uint64) ^ _OTHERS
    return vectors @ normal_projection(keys, dim, settings.embedding.seed).astype(np.float64) / math.sqrt(dim)


def noise_scales(rows: NDArray[np.float32], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """What goes into each row of ``rows @ columns``: the sum of |entry| times the norm of what it multiplies."""
    norms = np.sqrt((columns * columns).sum(axis=1))
    return combine_columns(np.abs(rows), norms[:, None])[:, 0].astype(np.float64)


def noise_share(columns: int, settings: Settings) -> float:
    """Return the share of the largest singular value up to which others are rounding of so many columns."""
    return max(max(columns, _FEW) * _NOISE_A_COLUMN, _NOISE_OF_DTYPE[settings.embedding.boundary_dtype])


def sum_of(local: Sequence[Facts], name: str) -> NDArray[np.float64]:
    """Add up a fact of the tasks that report it, in their order."""
    first, *others = (facts[name] for facts in local if name in facts)
    total = first + 0.0  # no zero is negative
    for one in others:
        total = total + one
    return total
