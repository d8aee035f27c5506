"""A seeded graph like one of co-authors, with labels: many small communities, few edges a node, few labels.

    python tests/benchmarks/planted_coauthors.py FOLDER --nodes 50000 --communities 2000 --labels 60

Papers are cliques of two to five authors, who mostly come from one community, sometimes from another one of the same
label, rarely from anywhere. Communities have power-law sizes, authors power-law numbers of papers. A community has a
label; an author has that of its community, or with ``OWN_LABEL`` one of its own. FOLDER gets ``edges.parquet`` (src,
dst; each pair once) and ``labels.parquet`` (node, label; one or two a node).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

AUTHORS = (0.45, 0.35, 0.15, 0.05)  # shares of papers of two, three, four and five authors
SAME_LABEL, ANYWHERE = 0.04, 0.02  # shares of authors from another community
OWN_LABEL, SECOND_LABEL = 0.25, 0.1  # shares of authors with a label that isn't, or isn't only, their community's
EXPONENT = 3.0  # of the densities of community sizes and of papers an author


@dataclass(frozen=True, eq=False)
class Coauthors:
    """src, dst : (edges,) int64, each pair once, src below dst. node, label : (rows,) int64. community : (n,) int64."""

    src: np.ndarray
    dst: np.ndarray
    node: np.ndarray
    label: np.ndarray
    community: np.ndarray


def planted_coauthors(
    nodes: int = 50_000, communities: int = 2_000, labels: int = 60, mean_degree: float = 5.0, seed: int = 0
) -> Coauthors:
    """Draw the graph; nodes that no paper has are numbered too, and have labels."""
    rng = np.random.default_rng(seed)
    size = _power_law(rng, communities)
    community = rng.choice(communities, nodes, p=size / size.sum())
    label_size = _power_law(rng, labels)
    label_of = rng.choice(labels, communities, p=label_size / label_size.sum())
    pull = _power_law(rng, nodes)
    by_community = _Draws(community, pull, communities)
    by_label = _Draws(label_of[community], pull, labels)
    anywhere = _Draws(np.zeros(nodes, np.int64), pull, 1)
    wanted = int(mean_degree * nodes / 2)
    codes = np.empty(0, np.int64)
    while codes.size < wanted:
        papers = (wanted - codes.size) // 2 + 100
        lead = anywhere.draw(rng, np.zeros(papers, np.int64))
        if codes.size == 0:  # everybody has a paper
            lead = np.concatenate([rng.permutation(nodes), lead])[: max(papers, nodes)]
            papers = lead.size
        count = rng.choice(np.arange(2, 6), papers, p=AUTHORS)
        authors = np.full((papers, 5), -1, np.int64)
        authors[:, 0] = lead
        for column in range(1, 5):
            source = rng.random(papers)
            drawn = by_community.draw(rng, community[lead])
            drawn = np.where(source < SAME_LABEL, by_label.draw(rng, label_of[community[lead]]), drawn)
            drawn = np.where(source > 1.0 - ANYWHERE, anywhere.draw(rng, np.zeros(papers, np.int64)), drawn)
            authors[:, column] = np.where(column < count, drawn, -1)
        pairs = [authors[:, [i, j]] for i in range(5) for j in range(i)]
        pair = np.sort(np.concatenate([some[(some >= 0).all(axis=1)] for some in pairs]), axis=1)
        pair = pair[pair[:, 0] != pair[:, 1]]
        codes = np.unique(np.concatenate([codes, pair[:, 0] * nodes + pair[:, 1]]))
    src, dst = np.divmod(codes, nodes)
    is_own = rng.random(nodes) < OWN_LABEL
    first = np.where(is_own, rng.choice(labels, nodes, p=label_size / label_size.sum()), label_of[community])
    has_second = np.flatnonzero(rng.random(nodes) < SECOND_LABEL)
    second = rng.integers(0, labels, has_second.size)
    codes = np.unique(np.concatenate([np.arange(nodes) * labels + first, has_second * labels + second]))
    return Coauthors(src, dst, *np.divmod(codes, labels), community)


class _Draws:
    """Draws of members of groups, each as often as its pull says."""

    def __init__(self, group: np.ndarray, pull: np.ndarray, groups: int) -> None:
        self._order = np.argsort(group, kind="stable")
        self._sums = np.concatenate([[0.0], np.cumsum(pull[self._order])])
        self._bounds = np.searchsorted(group[self._order], np.arange(groups + 1))

    def draw(self, rng: np.random.Generator, group: np.ndarray) -> np.ndarray:
        """One member of each group; (m,) int64 -> (m,) int64."""
        low, high = self._sums[self._bounds[group]], self._sums[self._bounds[group + 1]]
        place = np.searchsorted(self._sums, low + rng.random(group.size) * (high - low), "right") - 1
        return self._order[np.clip(place, self._bounds[group], self._bounds[group + 1] - 1)]


def _power_law(rng: np.random.Generator, count: int) -> np.ndarray:
    """Positive values with density ~ value**-EXPONENT, none above a twentieth of their number."""
    return np.minimum((1.0 - rng.random(count)) ** (-1.0 / (EXPONENT - 1.0)), max(count / 20.0, 1.0))


def write(folder: Path, graph: Coauthors) -> None:
    """Write edges and labels."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"src": graph.src, "dst": graph.dst}), folder / "edges.parquet")
    pq.write_table(pa.table({"node": graph.node, "label": graph.label}), folder / "labels.parquet")


def main() -> None:
    """Read the command line and write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, value in (("nodes", 50_000), ("communities", 2_000), ("labels", 60), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--mean-degree", type=float, default=5.0)
    options = vars(parser.parse_args())
    write(options.pop("folder"), planted_coauthors(**options))


if __name__ == "__main__":
    main()
