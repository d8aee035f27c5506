"""Personalised PageRank of rank d: eigenpairs found in rounds, weighed by what walks make of an eigenvalue.

STRAP (Yin & Wei, KDD 2019, arXiv 1905.07245) and NRP (Yang et al., VLDB 2020, arXiv 1906.06826) factorise a sparse
or an iterated approximation of the matrix of all scores. Here its eigenpairs are those of the graph's own operator,
and the sum over all lengths of walks is taken in closed form. NRP's reweighting of nodes is left out.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.embedding.fold_in_recipes import fold_in_of_table, one_step_of_eigenvectors
from pipeline.embedding.method_keys import ItemNormPower, OneSidedEigenpairKeys, TwoSidedEigenpairKeys
from pipeline.embedding.method_spec import MethodSpec, cosines, dot_products
from pipeline.embedding.settings import Settings
from pipeline.embedding.spectral import Bipartite, Plain
from pipeline.embedding.spectral_specs import (
    BOTH_SIGNS,
    loses_small_weights,
    loses_what_no_walk_returns_to,
)


class FactorisedKeys(TwoSidedEigenpairKeys):
    """Keys of factorised PPR on two types."""

    name = "factorised"
    item_norm_power: ItemNormPower = 0.2


class PlainFactorisedKeys(OneSidedEigenpairKeys):
    """Keys of factorised PPR on one type."""

    name = "factorised"


class PlainFactorised(Plain):
    """Rows V |f(w)|^1/2 of S = (D + τ)^-1/2 A (D + τ)^-1/2, f(w) = c (1 - c) w / (1 - (1 - c) w), c the restart.

    With τ = 0 ``D^1/2 (Π - c I) D^-1/2 = Σ_k>0 c (1 - c)^k S^k = f(S)``, the walks of one step or more: before norms
    are set, products of rows of positive eigenvalues are those of Π but for the roots of degrees. The rest, c I, is of
    full rank and says nothing of two different nodes [with it, micro-F1 of BlogCatalog .316 in the place of .350, NDCG
    of musae-github .120 of .128, on validation splits].
    """

    def scales(self, settings: Settings) -> NDArray[np.float64]:
        """Return |f(w)|^1/2."""
        values = settings.facts["eigenvalues"]
        follow = 1.0 - settings.ppr.restart
        # S has no eigenvalue above 1, but rounding may.
        share = settings.ppr.restart * follow * values / (1.0 - follow * np.minimum(values, 1.0))
        return np.sqrt(np.abs(share))


class Factorised(Bipartite):
    """Users u = M V, items V f(w), with f(w) = c (1 - c) / (1 - (1 - c)^2 w / w_max) and c the restart.

    A walk from a user is at an item after an odd number of steps. With a = b = 1/2 and no_return = 0, where w_max is
    1, those of Π are ``D_U^1/2 Π D_I^-1/2 = Σ_k c (1 - c)^(2k+1) M (M^T M)^k = M f(P)``: before items are scaled,
    products of rows are those of Π but for the roots of degrees. With other powers, w_max takes the place of 1.
    """

    def scales(self, settings: Settings) -> NDArray[np.float64]:
        """Return f(w); 0 where there is no eigenpair."""
        values = settings.facts["eigenvalues"]
        follow = 1.0 - settings.ppr.restart
        share = values / max(float(values[:1].max(initial=0.0)), np.finfo(np.float64).tiny)
        return np.where(values > 0, settings.ppr.restart * follow / (1.0 - follow**2 * share), 0.0)


FACTORISED = MethodSpec(
    method="ppr",
    form="factorised",
    choice="factorised",
    sides=2,
    keys=FactorisedKeys,
    sums_rows=True,
    rounds=Factorised(),
    buffers=3,
    products=lambda _: dot_products(
        "before norms are set, a user's and an item's rows multiply to the chance of a walk from one to the "
        "other, but for powers of degrees; an item's norm is set by its degree and by item_row_power, so that the dot "
        "product is a ranking score; between nodes of one type norms say how popular or active they are, and cosine "
        "leaves them out"
    ),
    space=(
        *("rank", "reduction", "iterations", "oversampling", "no_return", "shift"),
        *("user_degree_power", "item_degree_power", "item_norm_power", "item_row_power"),
    ),
    later_keys={"rotated_row_power": 1.0},
    space_of_ppr=("restart",),
    needs_means=True,
    has_own_axes=True,
    fold_in=fold_in_of_table,
    zero_rows=loses_what_no_walk_returns_to,
)

_PRODUCTS_OF_ONE_SIDE = cosines(
    "rows have one norm; before it was set, two rows multiplied to the chance of a walk from one node to "
    "the other, but for the roots of degrees; a linear classifier takes the rows as they are"
)

PLAIN_FACTORISED = MethodSpec(
    method="ppr",
    form="plain_factorised",
    choice="factorised",
    sides=1,
    keys=PlainFactorisedKeys,
    rounds=PlainFactorised(),
    buffers=4,
    products=lambda embedding: BOTH_SIGNS if embedding.eigenvalues == "both" else _PRODUCTS_OF_ONE_SIDE,
    space=(
        *("rank", "reduction", "eigenvalues", "iterations", "oversampling", "shift"),
        *("degree_offset", "norm_degree_power"),
    ),
    later_keys={"accelerate": False, "row_norm": None},
    space_of_ppr=("restart",),
    needs_means=True,
    has_own_axes=True,
    fold_in=one_step_of_eigenvectors,
    zero_rows=loses_small_weights,
)
