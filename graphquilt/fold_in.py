"""Compute the row of a node that is new, or has new edges, from the rows of its neighbours.

The metadata of a table hold a recipe for each type of new nodes, under ``fold_in``. A node with neighbours j at weights
w_j, whose rows are x_j and whose total weights are d_j, has the row

    Σ w_j |x_j|^norm_power d_j^weight_power x_j  times  (Σ w_j)^own_weight_power,

or the same direction at the norm own_norm (Σ w_j)^own_norm_power; with ``compatibility``, the direction of H times
that, H the matrix of the metadata's ``compatibility``. No method is known here.
"""

import base64
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphquilt.errors import UnknownNodeError
from graphquilt.locate import FOLD_IN
from graphquilt.row_groups import RowGroups
from graphquilt.row_lookup import as_matrix, find_rows

Neighbors = Mapping[Any, float] | Iterable[Any]


def parse_weights(neighbors: Neighbors) -> tuple[list[Any], NDArray[np.float64]]:
    """Return ids and weights; an id without a weight counts 1 each time.

    Raises
    ------
    ValueError : no neighbours, or a weight that is not above zero and finite.
    """
    if isinstance(neighbors, Mapping):
        ids, weights = list(neighbors), np.array([float(weight) for weight in neighbors.values()])
    else:
        ids = neighbors.tolist() if isinstance(neighbors, np.ndarray) else list(neighbors)
        weights = np.ones(len(ids))
    if not ids:
        raise ValueError("no neighbours are given; a node without any has no row")
    is_bad = ~(np.isfinite(weights) & (weights > 0))
    if is_bad.any():
        raise ValueError(f"the weight of a neighbour is {weights[is_bad][0]}; it must be above zero and finite")
    return ids, weights


def fold_in_row(
    recipe: Mapping[str, Any],
    main: RowGroups,
    sidecar: RowGroups | None,
    neighbors: Neighbors,
    compatibility: Mapping[str, Any] | None = None,
) -> NDArray[np.float32]:
    """Return the row of a new node, by the recipe of its type; neighbours that the table lacks do not count.

    Parameters
    ----------
    main, sidecar : the tables ``node_embeddings`` and, if a recipe names it, ``fold_in``.
    compatibility : of the table's metadata.

    Raises
    ------
    UnknownNodeError : none of the neighbours is known.
    """
    ids, weights = parse_weights(neighbors)
    rows, strength, is_known = _rows_of(recipe, main, sidecar, ids)
    if not is_known.any():
        raise UnknownNodeError(f"none of the {len(ids)} neighbours is known as '{recipe['neighbors']}'")
    factor = weights * is_known
    own_weight = float(factor.sum())
    if recipe["norm_power"]:
        factor *= _power_or_zero(np.linalg.norm(rows, axis=1), recipe["norm_power"])
    if recipe["weight_power"]:
        factor *= _power_or_zero(strength, recipe["weight_power"])
    row = factor @ rows
    own_norm_power = recipe.get("own_norm_power")
    if own_norm_power is None:
        return (row * own_weight ** recipe["own_weight_power"]).astype(np.float32)
    if recipe.get("compatibility") and compatibility is not None:
        matrix = np.frombuffer(base64.b64decode(compatibility["matrix"]), "<f4").reshape(row.size, row.size)
        row = matrix.astype(np.float64) @ row
    length = math.sqrt(float(row @ row))
    own_norm = recipe.get("own_norm", 1.0) * own_weight**own_norm_power
    return (row * (own_norm / length if length else 0.0)).astype(np.float32)


def _power_or_zero(x: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """x**power where x is above 0, else 0: a neighbour with a zero row adds nothing."""
    return np.power(x, power, out=np.zeros(x.size), where=x > 0)


def _rows_of(
    recipe: Mapping[str, Any], main: RowGroups, sidecar: RowGroups | None, ids: list[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return the rows of ids in float64, their total weights if the recipe needs them, and which ids are known."""
    groups, column = (main, "embedding") if sidecar is None or recipe["table"] != FOLD_IN else (sidecar, "row")
    matches = find_rows(groups, ids, recipe["neighbors"])
    rows = np.zeros((len(ids), groups.schema.field(column).type.list_size))
    strength = np.zeros(len(ids))
    names = [column, "weight"] if recipe["weight_power"] else [column]
    for group, columns in groups.columns(list(matches.hits), names):
        position, row = matches.hits[group]
        rows[position] = as_matrix(columns[column])[row]
        if recipe["weight_power"]:
            strength[position] = columns["weight"].to_numpy()[row]
    return rows, strength, matches.is_known
