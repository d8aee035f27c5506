"""Draw a map of the sample's packages from its published table.

make demo
.venv/bin/python docs/pictures/package_map.py build/demo/published/debian docs/pictures/package_map.svg

The published rows are laid out in two dimensions by t-SNE. Colours and labels come from the packages' names, which the
embedding has never seen. Needs scikit-learn (extra ``dev``).
"""

from __future__ import annotations

import argparse
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graphquilt import EmbeddingTable

WIDTH, HEIGHT, MARGIN = 960, 640, 28
GREY = "#6b7692"


@dataclass(frozen=True)
class Family:
    """Packages that belong together by name."""

    label: str
    pattern: str
    colour: str


FAMILIES = (
    Family("Python", r"^python3?-", "#4ea8ff"),
    Family("Perl", r"^lib.*-perl$", "#b98cff"),
    Family("R", r"^r-(cran|bioc|other)-", "#2fd6c3"),
    Family("Haskell", r"^libghc-|^haskell-", "#ff6fd0"),
    Family("Rust", r"^librust-", "#ff8f4d"),
    Family("Go", r"^golang-.*-dev$", "#56d9f5"),
    Family("JavaScript", r"^(node|libjs)-", "#ffe066"),
    Family("Ruby", r"^ruby-", "#ff5d6c"),
    Family("Java", r"^lib.*-java$", "#e8a05c"),
    Family("PHP", r"^php", "#8f9bff"),
    Family("OCaml", r"^lib.*-ocaml(-dev)?$", "#ffb347"),
    Family("KDE", r"^(kde|plasma-|libkf5|kwin|akonadi|qml-module-org-kde)", "#5fd38d"),
    Family("GNOME", r"^(gnome-|gir1\.2-|libgtk)", "#a3e048"),
    Family("Emacs", r"^elpa-", "#d6a2e8"),
    Family("cross compilers", r"^(gcc|g\+\+|gfortran|gnat|gdc|gobjc|gccgo|cpp|binutils)-.*-linux-", "#c9b37e"),
    Family("LibreOffice", r"^libreoffice-", "#7ee0a1"),
    Family("dictionaries", r"^(hunspell|aspell|myspell|hyphen|mythes|dict|wordlist)-", "#f2b5a7"),
    Family("Lisp", r"^cl-", "#d9d36a"),
)


def choose_packages(degree: NDArray[np.int64], count: int, min_degree: int, seed: int) -> NDArray[np.intp]:
    """Return ``count`` rows, drawn at random from those with enough neighbours."""
    candidates = np.flatnonzero(degree >= min_degree)
    drawn = np.random.default_rng(seed).permutation(candidates)[:count]
    return np.sort(drawn)


def lay_out(rows: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """Return (n, 2) positions in which rows of high cosine are close."""
    from sklearn.manifold import TSNE

    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    _, _, axes = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    leading = (unit - unit.mean(axis=0)) @ axes[:50].T
    perplexity = min(40.0, (len(rows) - 1) / 3)
    return np.asarray(TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(leading), np.float64)


def fit_to_page(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale positions into the page. A few far points are moved to its edge."""
    low, high = np.percentile(positions, (0.15, 99.85), axis=0)
    share = np.clip((positions - low) / (high - low), 0.0, 1.0)
    return MARGIN + share * (np.array([WIDTH, HEIGHT]) - 2 * MARGIN)


def densest_point(points: NDArray[np.float64], radius: float = 40.0) -> NDArray[np.float64]:
    """Return the centre of the points around the one that has most points near it."""
    some = points[:: max(1, len(points) // 400)]
    near = ((points[None, :, :] - some[:, None, :]) ** 2).sum(axis=2) < radius**2
    return np.asarray(points[near[near.sum(axis=1).argmax()]].mean(axis=0))


def spread_labels(anchors: list[NDArray[np.float64]], labels: list[str]) -> list[NDArray[np.float64]]:
    """Move labels up or down until none covers another."""
    placed: list[tuple[float, float, float]] = []
    spread = []
    for anchor, label in zip(anchors, labels, strict=True):
        half = 4.6 * len(label) + 6
        x = float(np.clip(anchor[0], half + 4, WIDTH - half - 4))
        for step in (0, -20, 20, -40, 40, -60, 60):
            y = float(np.clip(anchor[1] + step, 20, HEIGHT - 10))
            if all(abs(x - other[0]) > half + other[2] or abs(y - other[1]) > 19 for other in placed):
                break
        placed.append((x, y, half))
        spread.append(np.array([x, y]))
    return spread


def dots(points: NDArray[np.float64], colour: str, size: float, opacity: float) -> str:
    """Return one path of round dots, which is far shorter than a circle for each."""
    moves = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
    return (
        f'<path d="{moves}" stroke="{colour}" stroke-width="{size}" stroke-linecap="round" '
        f'stroke-opacity="{opacity}" fill="none"/>'
    )


def draw(ids: Sequence[str], positions: NDArray[np.float64]) -> str:
    """Return the picture as SVG."""
    family = np.full(len(ids), -1)
    for number, one in enumerate(FAMILIES):
        matches = np.fromiter((re.search(one.pattern, name) is not None for name in ids), bool, len(ids))
        family[matches & (family < 0)] = number
    shown = [number for number in range(len(FAMILIES)) if (family == number).sum() >= 5]
    anchors = [densest_point(positions[family == number]) for number in shown]
    places = spread_labels(anchors, [FAMILIES[number].label for number in shown])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="Helvetica, Arial, sans-serif" font-size="15" font-weight="600">',
        f"<title>{len(ids):,} Debian packages, placed by their embeddings</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="14" fill="#11172b"/>',
        dots(positions[family < 0], GREY, 2.0, 0.75),
        *(dots(positions[family == number], FAMILIES[number].colour, 2.6, 0.8) for number in shown),
    ]
    for number, (x, y) in zip(shown, places, strict=True):
        label = html.escape(FAMILIES[number].label)
        text = f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="middle" dominant-baseline="middle"'
        parts.append(f'{text} stroke="#11172b" stroke-width="5" stroke-linejoin="round">{label}</text>')
        parts.append(f'{text} fill="{FAMILIES[number].colour}">{label}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main(argv: Sequence[str] | None = None) -> None:
    """Read the table, lay out some of its rows, write the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", help="WORKSPACE/published/NAME")
    parser.add_argument("out", type=Path, help="the SVG file")
    parser.add_argument("--packages", type=int, default=12_000, help="packages drawn (default: %(default)s)")
    parser.add_argument("--min-degree", type=int, default=3, help="fewest neighbours (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)

    with EmbeddingTable.open(options.table) as table:
        nodes = table.to_arrow(columns=["node_id", "degree"])
        chosen = choose_packages(nodes["degree"].to_numpy(), options.packages, options.min_degree, options.seed)
        ids = nodes["node_id"].take(chosen).to_pylist()
        rows, _ = table.lookup(ids, "package", missing="raise")
    options.out.write_text(draw(ids, fit_to_page(lay_out(rows, options.seed))), encoding="utf-8")


if __name__ == "__main__":
    main()
