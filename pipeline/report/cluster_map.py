"""A map of nodes in two dimensions: near means alike. Clusters are found in all columns, and named on the map."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.report.charts import COLOURS
from pipeline.report.svg import drawing, element, words

WIDTH, HEIGHT, MARGIN = 1140.0, 620.0, 26.0
#: Width of a letter of a label, about.
_LETTER = 7.2
_LINE = 15.0


@dataclass(frozen=True, eq=False)
class MappedNodes:
    """What the map shows of each node. ``label`` : what people may read of it. ``name`` : what a cluster is named by.

    rows : (n, dim) float32 unit rows. degree : (n,) int64. kind : (n,) int: number of its type.
    name : "" where a node is not to be named.
    """

    rows: NDArray[np.float32]
    degree: NDArray[np.int64]
    kind: NDArray[np.int64]
    label: Sequence[str]
    name: Sequence[str]


def draw_map(nodes: MappedNodes, seed: int = 0) -> tuple[Markup, int]:
    """Return the map and the number of its clusters."""
    place = lay_out(nodes.rows, seed)
    cluster = find_clusters(nodes.rows, seed)
    low, high = np.quantile(place, 0.005, axis=0), np.quantile(place, 0.995, axis=0)
    share = np.clip((place - low) / np.maximum(high - low, 1e-9), -0.02, 1.02)
    xy = MARGIN + share * (np.array([WIDTH, HEIGHT]) - 2 * MARGIN)
    radius = 2.2 + 1.5 * np.log10(1.0 + nodes.degree)
    # Small ones last, so that none is hidden below a large one.
    shapes = []
    for at in np.argsort(-radius, kind="stable").tolist():
        kind = f"node k{min(int(nodes.kind[at]), 1)} m{int(cluster[at]) % COLOURS}"
        title = element("title", nodes.label[at])
        size = {"cx": float(xy[at, 0]), "cy": float(xy[at, 1]), "r": float(radius[at])}
        shapes.append(element("circle", title, class_=kind, **size))
    shapes += _labels(nodes, xy, cluster)
    count = int(cluster.max()) + 1
    return drawing(WIDTH, HEIGHT, shapes, f"map of {len(xy)} nodes in {count} clusters", "chart map"), count


def _labels(nodes: MappedNodes, xy: NDArray[np.float64], cluster: NDArray[np.int64]) -> list[Markup]:
    """Return a label for each cluster that has room for one, large clusters first."""
    boxes: list[tuple[float, float, float, float]] = []
    shapes = []
    for number in np.argsort(-np.bincount(cluster), kind="stable").tolist():
        members = np.flatnonzero(cluster == number)
        with_name = [at for at in members[np.argsort(-nodes.degree[members], kind="stable")].tolist() if nodes.name[at]]
        if with_name:
            best = nodes.name[with_name[0]]
            label = best if len(best) <= 24 else f"{best[:23]}…"
        else:
            label = f"{members.size / cluster.size:.0%} of nodes"
        half = len(label) * _LETTER / 2
        middle = np.median(xy[members], axis=0)
        x = float(np.clip(middle[0], half + 2, WIDTH - half - 2))
        for shift in (0, -1, 1, -2, 2, -3, 3):
            y = float(np.clip(middle[1] + shift * _LINE, _LINE, HEIGHT - 4))
            box = (x - half, y - _LINE, x + half, y + 3)
            if not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in boxes):
                boxes.append(box)
                shapes.append(words(x, y, label, "map-label", "middle"))
                break
    return shapes


def find_clusters(rows: NDArray[np.float32], seed: int) -> NDArray[np.int64]:
    """Return a cluster number of each row, (n,) int64, the largest first: k-means of unit rows."""
    clusters = int(np.clip(len(rows) // 45, 2, 20))
    centre = rows[np.random.default_rng(seed).permutation(len(rows))[:clusters]].astype(np.float64)
    for _ in range(25):
        label = np.argmax(rows @ centre.T - np.einsum("ij,ij->i", centre, centre) / 2, axis=1)
        size = np.bincount(label, minlength=len(centre))
        sums = (label == np.arange(len(centre))[:, None]).astype(np.float64) @ rows
        centre = sums[size > 0] / size[size > 0, None]  # one that loses all its rows is none
    _, label, size = np.unique(label, return_inverse=True, return_counts=True)
    number = np.empty(size.size, np.int64)
    number[np.argsort(-size, kind="stable")] = np.arange(size.size)
    return number[label]


def lay_out(rows: NDArray[np.float32], seed: int, perplexity: float = 25.0, steps: int = 250) -> NDArray[np.float64]:
    """Return places in the plane, (n, 2), in which neighbours of the full space are neighbours: t-SNE, exact.

    Cost
    ----
    ``steps`` times a few passes over an (n, n) float32 array: about a second for a thousand rows.

    Source
    ------
    van der Maaten & Hinton, "Visualizing data using t-SNE", JMLR 2008.
    """
    n = len(rows)
    likeness = _likeness(rows, min(perplexity, max((n - 1) / 3, 1.0)))
    deviations = rows - rows.mean(axis=0)
    left, scale, _ = np.linalg.svd(deviations, full_matrices=False)
    place = np.zeros((n, 2), np.float32)
    place[:, : min(2, scale.size)] = (left * scale)[:, :2]
    place += np.random.default_rng(seed).normal(0, 1e-4, place.shape).astype(np.float32)
    place *= 1e-2 / max(float(place.std()), 1e-12)
    velocity, gain = np.zeros_like(place), np.ones_like(place)
    rate = max(n / 12.0, 50.0)
    buffers = np.empty((2, n, n), np.float32)  # pages of new matrices would cost more than their entries
    for step in range(steps):
        gradient = _gradient(place, likeness, 12.0 if step < 75 else 1.0, buffers)
        agrees = np.sign(gradient) == np.sign(velocity)
        gain = np.maximum(np.where(agrees, gain * 0.8, gain + 0.2), 0.01)
        velocity = (0.5 if step < 75 else 0.8) * velocity - rate * gain * gradient
        place = place + velocity
        place -= place.mean(axis=0)
    return place.astype(np.float64)


def _gradient(
    place: NDArray[np.float32], likeness: NDArray[np.float32], pull: float, buffers: NDArray[np.float32]
) -> NDArray[np.float32]:
    kernel, force = buffers
    square, ones = np.einsum("ij,ij->i", place, place)[:, None], np.ones((len(place), 1), np.float32)
    with_one = np.hstack([place, ones])
    np.matmul(np.hstack([-2.0 * place, square + 1.0, ones]), np.hstack([with_one, square]).T, out=kernel)
    np.reciprocal(kernel, out=kernel)
    np.fill_diagonal(kernel, 0.0)
    total = max(float(kernel.sum()), 1e-12)
    # Sums of forces and of forces times places, in one product each.
    sums = pull * (np.multiply(likeness, kernel, out=force) @ with_one)
    sums -= (np.multiply(kernel, kernel, out=force) @ with_one) / total
    return 4.0 * (sums[:, 2:] * place - sums[:, :2])


def _likeness(rows: NDArray[np.float32], perplexity: float) -> NDArray[np.float32]:
    """Return joint probabilities of pairs of rows, (n, n) float32 of sum 1: a row has ``perplexity`` neighbours."""
    n = len(rows)
    distance = np.maximum(2.0 - 2.0 * (rows @ rows.T), 0.0).astype(np.float32)
    np.fill_diagonal(distance, 1e9)  # so far away that it has no weight
    distance -= distance.min(axis=1, keepdims=True)
    low, high, beta = np.zeros(n, np.float32), np.full(n, np.inf, np.float32), np.full(n, 10.0, np.float32)
    weight = np.empty_like(distance)
    for _ in range(24):
        np.exp(np.multiply(distance, -beta[:, None], out=weight), out=weight)
        total = weight.sum(axis=1)
        entropy = np.log(total) + beta * np.einsum("ij,ij->i", weight, distance) / total
        is_wide = entropy > np.log(perplexity)
        low, high = np.where(is_wide, beta, low), np.where(is_wide, high, beta)
        beta = np.where(np.isinf(high), beta * 2, (low + high) / 2).astype(np.float32)
    share = weight / total[:, None]
    joint = share + share.T
    return np.maximum(joint / joint.sum(), 1e-12).astype(np.float32)
