"""The forms of spectral embeddings: of which operator eigenvectors are found, and what rows are made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block
from pipeline.embedding.eigenvector_rows import all_eigenvectors, reduce_rows, reduced_columns
from pipeline.embedding.products import Multiplier, TwoSides, set_norms
from pipeline.embedding.rows import FOLD_IN, SUBSPACE, ColumnSums, RowNodes, Rows
from pipeline.embedding.settings import Settings
from pipeline.embedding.sinks import Sink
from pipeline.embedding.subspace_iteration import SubspaceIteration
from pipeline.kernels.buffers import aligned_empty
from pipeline.kernels.csr import Csr
from pipeline.kernels.elementary import power_or_zero
from pipeline.kernels.rows import ZERO_BELOW, add_scaled, row_norms, scale_rows
from pipeline.kernels.subspace import cross_sums, gram, weighted_square_sums

_FADING, _RAISED = 2.0**-100, 60  # the norm below which a row is scaled up, and by how many powers of two


class Bipartite(SubspaceIteration):
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
        users = sides.users_of(multiplier, scale_rows(z, sides.to_item, out), sides.to_user**2).values
        items = multiplier.multiply(users, out, sides.items[0], sides.users[0], sides.to_item)
        multiplier.buffers.give(users)
        own = shift_of_items(settings) * (block.home[slice(*sides.items)] == block.part_id)
        if settings.no_return:
            own -= settings.no_return * diagonal_of(block, sides)
        add_scaled(items.values, z, own)
        return items

    def close(
        self, multiplier: Multiplier, z: NDArray[np.float32], out: NDArray[np.float32], settings: Settings, sink: Sink
    ) -> None:
        """Emit M Z and Z; report Z^T (P - γ diag(P)) Z."""
        block = multiplier.block
        sides = TwoSides.of(block, settings)
        scaled_rows = scale_rows(z, sides.to_item, out)
        users = sides.users_of(multiplier, scaled_rows)
        operator = gram(users.values)
        size = np.trace(operator) / len(operator)
        if settings.no_return:
            operator -= settings.no_return * gram(z, diagonal_of(block, sides))
        sink.report_facts({"operator": operator, "size": np.array([size])})
        sink.emit(sides.users[0], users)
        sink.emit(sides.items[0], Rows(z, np.zeros(len(z))))
        sink.emit(sides.items[0], Rows(scaled_rows, np.zeros(len(z))), FOLD_IN)
        sink.emit(sides.items[0], Rows(z, np.zeros(len(z))), SUBSPACE)

    def report(self, settings: Settings) -> dict[str, Any]:
        """Return the rank and the largest eigenvalues; and γ, where it isn't as asked."""
        is_as_asked = settings.no_return == settings.embedding.no_return
        return super().report(settings) | ({} if is_as_asked else {"no_return": settings.no_return})

    def reduce(self, rows: Rows, node_ix: NDArray[np.int64], settings: Settings, role: str = "rows") -> Rows:
        """Return U V and Z V w^p, or their rotations; what users' rows are sums of is reduced as these are."""
        if role == SUBSPACE:
            return all_eigenvectors(rows, settings)
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


class Plain(SubspaceIteration):
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

    def carry(self, carried_rows: Rows, rows: Rows, number: int, settings: Settings) -> Rows:
        """Scale up rows that would fade away, before momentum is taken."""
        raise_fading_rows(rows.values)
        return super().carry(carried_rows, rows, number, settings)

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
            return all_eigenvectors(rows, settings)
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
        scaled_rows = scale_rows(z, to_root, multiplier.buffers.take(z.shape))
        product = multiplier.multiply(scaled_rows, out, 0, 0, to_root)
        multiplier.buffers.give(scaled_rows)
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
