"""Every mode that exchanges no rows, as dense algebra in float64 on the edges it keeps, for any tree.

Written from the modes' description: which edges each part sees, whose rows it gives, and how vectors become one.
Degrees and strengths are those of the whole graph throughout. Errors bound what float32 may be off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.kernels.node_keys import node_keys
from tests.oracles.dense_powers import UNIT, Dense, dense_powers
from tests.oracles.simulator import ZERO_BELOW, Graph, Parameters


@dataclass
class Made:
    """Rows before the last step: (n, dim), (n,) noise scales, (n,) bounds on both, (n,) which nodes have a row."""

    rows: np.ndarray
    noise_scale: np.ndarray
    error: np.ndarray
    noise_scale_error: np.ndarray
    is_made: np.ndarray
    in_doubt: bool  # the zero of some power may have gone either way


def drop(graph: Graph, home: np.ndarray, parameters: Parameters) -> Made:
    """FastRP on the edges whose ends are at home in one part."""
    dense, kept = _on(graph, home[graph.src] == home[graph.dst], parameters)
    return _made(dense, kept > 0)


def halo(graph: Graph, home: np.ndarray, parameters: Parameters, hops: int) -> Made:
    """Each part by itself on all edges among the nodes within ``hops`` of its own; only its own rows count."""
    n = home.size
    made = Made(np.zeros((n, parameters.dim)), *np.zeros((3, n)), home >= 0, in_doubt=False)
    near: dict[int, set[int]] = {v: {v} for v in range(n)}
    for a, b in zip(graph.src.tolist(), graph.dst.tolist(), strict=True):
        near[a].add(b)
        near[b].add(a)
    for part in sorted(set(home[home >= 0].tolist())):
        inside = set(np.flatnonzero(home == part).tolist())
        for _ in range(hops):
            inside |= {other for v in inside for other in near[v]}
        is_inside = np.isin(np.arange(n), sorted(inside))
        dense, _ = _on(graph, is_inside[graph.src] & is_inside[graph.dst], parameters)
        here = home == part
        for name in ("rows", "noise_scale", "error", "noise_scale_error"):
            getattr(made, name)[here] = getattr(dense, name)[here]
        made.in_doubt |= _in_doubt(dense)
    return made


def border(
    graph: Graph, levels: Sequence[np.ndarray], parameters: Parameters, widths: Sequence[int], join: str
) -> Made:
    """Inner rows, then those of each border graph, side by side or added.

    Parameters
    ----------
    levels : for the graph and each border graph, the part of every node that is in it.
    widths : columns of each level; all of them if rows are added.
    """
    n = graph.node_key.size
    total = Made(np.zeros((n, parameters.dim)), *np.zeros((3, n)), np.zeros(n, bool), in_doubt=False)
    left = np.ones(graph.src.size, bool)
    column = 0
    for number, (home, width) in enumerate(zip(levels, widths, strict=True)):
        is_inside = left & (home[graph.src] == home[graph.dst])
        left &= ~is_inside
        if not width or not is_inside.any():
            column += width
            continue
        seed = parameters.seed + number if join == "concatenate" else parameters.seed
        dense, kept = _on(graph, is_inside, replace(parameters, dim=width, seed=seed))
        share = np.ones(n)
        if parameters.form == "classic" and parameters.normalize_powers:
            share = np.divide(kept, graph.strength, out=np.zeros(n), where=graph.strength > 0)
        if join == "concatenate":
            total.rows[:, column : column + width] = share[:, None] * dense.rows
            column += width
        else:
            total.rows += share[:, None] * dense.rows
        total.noise_scale += share * dense.noise_scale
        total.noise_scale_error += share * dense.noise_scale_error
        total.error += share * dense.error + 2 * UNIT * np.linalg.norm(total.rows, axis=1)
        total.is_made |= kept > 0
        total.in_doubt |= _in_doubt(dense)
    return total


def quotient(graph: Graph, home: np.ndarray, paths: Mapping[int, str], parameters: Parameters, weight: float) -> Made:
    """The induced row, and the unit vector of the part by the share of the node's weight that was cut."""
    made = drop(graph, home, parameters)
    _, kept = _on(graph, home[graph.src] == home[graph.dst], parameters)
    dense = dense_powers(*parts_graph(graph, home, paths, parameters))
    norm = np.linalg.norm(dense.rows, axis=1)
    is_sound = norm > ZERO_BELOW * dense.noise_scale
    unit = np.where(is_sound, 1 / np.where(is_sound, norm, 1), 0)[:, None] * dense.rows
    unit_error = np.where(is_sound, 2 * dense.error / np.where(is_sound, norm, 1), 0)
    place = {part: number for number, part in enumerate(sorted(paths))}
    for v in np.flatnonzero(home >= 0).tolist():
        length = np.linalg.norm(made.rows[v])
        is_row = kept[v] > 0
        lost = 1 - kept[v] / graph.strength[v]
        scale = weight * lost * (length if is_row else 1.0)
        of_part = place[int(home[v])]
        made.rows[v] += scale * unit[of_part]
        # The row's length is off by its error at most; 1 - s is a difference of float64s here, of integers there.
        made.noise_scale_error[v] += weight * lost * made.error[v] + 1e-15 * weight * length
        made.error[v] += weight * lost * made.error[v] + 1e-15 * weight * length
        made.error[v] += scale * unit_error[of_part] + 2 * UNIT * np.linalg.norm(made.rows[v])
        made.noise_scale[v] += scale * bool(is_sound[of_part])
    made.in_doubt |= _in_doubt(dense)
    made.is_made = home >= 0
    return made


def parts_graph(
    graph: Graph, home: np.ndarray, paths: Mapping[int, str], parameters: Parameters
) -> tuple[Graph, Parameters]:
    """Parts as nodes, joined by the weight of the edges between them; and how they are embedded."""
    place = {part: number for number, part in enumerate(sorted(paths))}
    joined: dict[tuple[int, int], float] = {}
    for a, b, w in zip(home[graph.src].tolist(), home[graph.dst].tolist(), graph.weight.tolist(), strict=True):
        if a != b:
            pair = (min(place[a], place[b]), max(place[a], place[b]))
            joined[pair] = joined.get(pair, 0.0) + w
    ends = np.array(sorted(joined), np.int64).reshape(-1, 2)
    keys = node_keys("part", [paths[part].encode() for part in sorted(paths)])
    weights = np.array([joined[pair] for pair in sorted(joined)])
    parts = Graph(keys, ends[:, 0], ends[:, 1], weights, np.zeros(keys.size, bool))
    asked = Parameters("classic", parameters.dim, parameters.seed, parameters.sparsity, iteration_weights=(1.0, 1.0))
    return parts, asked


def _on(graph: Graph, is_kept: np.ndarray, parameters: Parameters) -> tuple[Dense, np.ndarray]:
    """Dense algebra on some edges, with everybody's own strength; and the strength that these edges make."""
    some = Graph(graph.node_key, graph.src[is_kept], graph.dst[is_kept], graph.weight[is_kept], graph.is_target)
    kept = some.strength
    some.strength = graph.strength
    return dense_powers(some, parameters), kept


def _made(dense: Dense, is_made: np.ndarray) -> Made:
    bounds = dense.error.copy(), dense.noise_scale_error.copy()
    return Made(dense.rows.copy(), dense.noise_scale.copy(), *bounds, is_made, _in_doubt(dense))


def _in_doubt(dense: Dense) -> bool:
    return bool(dense.clearness.min(initial=1.0) <= 4 * ZERO_BELOW)
