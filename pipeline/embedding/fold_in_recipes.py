"""How readers make the row of a node that was not there, or has new edges, from its neighbours' rows.

A recipe stands by the type of the new node. A node with neighbours j at weights w_j, whose rows in ``table`` are x_j
and whose total weights are d_j:

    row = Σ w_j |x_j|^norm_power d_j^weight_power x_j, times (Σ w_j)^own_weight_power
    or, where own_norm_power is there: at the norm own_norm (Σ w_j)^own_norm_power; 1 if own_norm isn't there

``is_exact``: of a node of the table and its own edges, this is its own row.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.embedding.method_spec import FoldInTypes
from pipeline.embedding.settings import Settings
from schemas.published_tables import FOLD_IN, NODE_EMBEDDINGS

#: Largest θ of i = V |V|^-θ d^q up to which V is taken from i: |V| is |i| to the power 1 / (1 - θ), which multiplies
#: what float32 rounding does to it.
_LARGEST_ROW_POWER = 0.9

#: Of graphs with one type: Σ w_j d_j^-1/2 l2(x_j), one step of the symmetric transition from rows of equal length
#: [musae-github, 600 nodes left out with all their edges, 80 % of these given back, Recall@20 of the others at d = 128
#: by the folded and by a full run's row: classic .108 / .101, with norm d^.3 .202 / .191; spectral of positive
#: eigenvalues with norm d^.3 .224 / .237; low_pass .099 / .100. With d^0 for d^-1/2: .094, .191, .209, .095].
_STEP_OF_ONE_TYPE = {"table": NODE_EMBEDDINGS, "norm_power": -1.0, "weight_power": -0.5, "is_exact": False}


def one_step(settings: Settings, types: FoldInTypes) -> dict[str, Any]:
    """Fold a node of one type in by one step from its neighbours: near enough to be of use.

    Rows of one type are sums of powers, or eigenvectors whose lengths are not published.
    """
    return _step(settings, types, {})


def one_step_of_eigenvectors(settings: Settings, types: FoldInTypes) -> dict[str, Any]:
    """Fold in by one step, at the norm of rows of eigenvectors."""
    if settings.embedding.eigenvalues == "both":  # a step turns columns of negative eigenvalues round
        return {}
    return one_step_at_row_norm(settings, types)


def one_step_at_row_norm(settings: Settings, types: FoldInTypes) -> dict[str, Any]:
    """Fold in by one step, at the norm that rows of the table have."""
    return _step(settings, types, {"own_norm": settings.row_norm})


def fold_in_of_table(settings: Settings, types: FoldInTypes) -> dict[str, Any]:
    """Fold sources in by the table ``fold_in``, where the release has it.

    They are u = M x with M = D_U^-a B D_I^-b, whatever x, and the table holds D_I^-b x.
    """
    if not types.keeps_table:
        return {}
    recipe = {"table": FOLD_IN, "norm_power": 0.0, "weight_power": 0.0}
    return {types.source: {**_of_sources(settings, types), **recipe}}


def fold_in_of_eigenvectors(settings: Settings, types: FoldInTypes) -> dict[str, Any]:
    """Fold sources in by the table ``fold_in``; truncated rows need none.

    Their i = V |V|^-θ d^q is V but for a factor, which |i| and d give back.
    """
    theta = settings.embedding.item_row_power
    if types.keeps_table or not _is_scaled_rows(settings) or theta > _LARGEST_ROW_POWER:
        return fold_in_of_table(settings, types)
    return {
        types.source: {
            **_of_sources(settings, types),
            "table": NODE_EMBEDDINGS,
            "norm_power": theta / (1.0 - theta),
            "weight_power": -settings.embedding.item_norm_power / (1.0 - theta) - settings.embedding.item_degree_power,
        }
    }


def two_sided_products(settings: Settings, types: FoldInTypes) -> dict[str, Any]:
    """Fold in both sides of a method that ends in a product: its targets are l2(M^T u) d^q."""
    targets = {
        "neighbors": types.source,
        "table": NODE_EMBEDDINGS,
        "norm_power": 0.0,
        "weight_power": -settings.embedding.user_degree_power,
        "own_norm_power": settings.embedding.item_norm_power,
        "is_exact": True,
    }
    return {**fold_in_of_table(settings, types), types.target: targets}


def _step(settings: Settings, types: FoldInTypes, own_norm: Mapping[str, float]) -> dict[str, Any]:
    # Standardised columns have lost their mean.
    if types.source != types.target or settings.embedding.standardize_columns:
        return {}
    own = {"neighbors": types.source, "own_norm_power": settings.embedding.norm_degree_power, **own_norm}
    return {types.source: {**own, **_STEP_OF_ONE_TYPE}}


def _of_sources(settings: Settings, types: FoldInTypes) -> dict[str, Any]:
    return {
        "neighbors": types.target,
        "own_weight_power": -settings.embedding.user_degree_power,
        "is_exact": True,
    }


def _is_scaled_rows(settings: Settings) -> bool:
    """Whether an item's published row is its row of V but for a factor."""
    return settings.embedding.reduction == "truncate" and not settings.embedding.eigenvalue_power
