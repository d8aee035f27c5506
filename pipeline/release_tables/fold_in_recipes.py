"""How readers make the row of a node that was not there, or has new edges, from its neighbours' rows."""

from __future__ import annotations

import math
from typing import Any

from pipeline.embedding.rows import Settings
from pipeline.embedding.spectral import reduction_of
from schemas.tables import FOLD_IN, NODE_EMBEDDINGS

#: Largest θ of i = V |V|^-θ d^q up to which V is taken from i: |V| is |i| to the power 1 / (1 - θ), which multiplies
#: what float32 rounding does to it.
_LARGEST_ROW_POWER = 0.9

#: Of graphs with one type: Σ w_j d_j^-1/2 l2(x_j), one step of the symmetric transition from rows of equal length
#: [musae-github, 600 nodes left out with all their edges, 80 % of these given back, Recall@20 of the others at d = 128
#: by the folded and by a full run's row: classic .108 / .101, with norm d^.3 .202 / .191; spectral of positive
#: eigenvalues with norm d^.3 .224 / .237; low_pass .099 / .100. With d^0 for d^-1/2: .094, .191, .209, .095].
_STEP_OF_ONE_TYPE = {"table": NODE_EMBEDDINGS, "norm_power": -1.0, "weight_power": -0.5, "is_exact": False}

_OF_EIGENVECTORS = ("plain", "plain_factorised")


def fold_in_of(settings: Settings, source_type: str, target_type: str, *, keeps_table: bool) -> dict[str, Any]:
    """Return, by type of new nodes, how their rows follow from their neighbours' published rows.

    A node with neighbours j at weights w_j, whose rows in ``table`` are x_j and whose total weights are d_j:

        row = Σ w_j |x_j|^norm_power d_j^weight_power x_j, times (Σ w_j)^own_weight_power
        or, where own_norm_power is there: at the norm own_norm (Σ w_j)^own_norm_power; 1 if own_norm isn't there

    ``is_exact``: of a node of the table and its own edges, this is its own row. Users are u = M x with
    M = D_U^-a B D_I^-b, whatever x, and the table ``fold_in`` holds D_I^-b x; items of methods that end in a product
    are l2(M^T u) d^q. Truncated spectral rows need no table: i = V |V|^-θ d^q is V but for a factor, which |i| and d
    give back. Rows of one type are sums of powers, or eigenvectors whose lengths are not published: for them one step
    from the neighbours is near enough to be of use.

    Parameters
    ----------
    keeps_table : whether the release has the table ``fold_in``.
    """
    embedding = settings.embedding
    if embedding.boundary != "exchange":  # rows of other modes leave edges out, or have more in them
        return {}
    if settings.form in ("hashed", "plain_hashed"):  # no logarithm of a sum is a sum of logarithms
        return {}
    if source_type == target_type:
        own = {"neighbors": source_type, "own_norm_power": embedding.norm_degree_power}
        own |= {"own_norm": math.sqrt(settings.dim) / 2} if settings.form in _OF_EIGENVECTORS else {}
        # A step turns columns of negative eigenvalues round, and standardised columns have lost their mean.
        is_turned = settings.form in _OF_EIGENVECTORS and embedding.eigenvalues == "both"
        return {} if embedding.standardize_columns or is_turned else {source_type: {**own, **_STEP_OF_ONE_TYPE}}
    if settings.form not in ("two_tower", "low_pass", "bipartite", "factorised"):
        return {}
    found: dict[str, Any] = {}
    user = {"neighbors": target_type, "own_weight_power": -embedding.user_degree_power, "is_exact": True}
    theta = embedding.item_row_power
    if keeps_table:
        found[source_type] = {**user, "table": FOLD_IN, "norm_power": 0.0, "weight_power": 0.0}
    elif settings.form == "bipartite" and _is_scaled_rows(settings) and theta <= _LARGEST_ROW_POWER:
        found[source_type] = {
            **user,
            "table": NODE_EMBEDDINGS,
            "norm_power": theta / (1.0 - theta),
            "weight_power": -settings.item_norm_power / (1.0 - theta) - embedding.item_degree_power,
        }
    if settings.form in ("two_tower", "low_pass"):
        found[target_type] = {
            "neighbors": source_type,
            "table": NODE_EMBEDDINGS,
            "norm_power": 0.0,
            "weight_power": -embedding.user_degree_power,
            "own_norm_power": settings.item_norm_power,
            "is_exact": True,
        }
    return found


def _is_scaled_rows(settings: Settings) -> bool:
    """Whether an item's published row is its row of V but for a factor."""
    return reduction_of(settings) == "truncate" and not settings.embedding.eigenvalue_power
