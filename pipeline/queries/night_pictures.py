"""The pictures of a report: what a night's tables and metrics show, as far as they are kept."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.evaluation.position_lists import PositionLists
from pipeline.evaluation.sampling import sample_by_key
from pipeline.evaluation.top_k import top_k, unit_rows
from pipeline.kernels.ranking import NO_ROW, row_lengths
from pipeline.metrics.scored_tables import ScoredTable, VectorFiles, read_sampled_table
from pipeline.queries.night_charts import draw_partition, draw_quality
from pipeline.queries.night_run import NightRun, files_of_release
from pipeline.report import charts
from pipeline.report.amounts import count, describe_sample
from pipeline.report.charts import degree_curves, histograms
from pipeline.report.cluster_map import MappedNodes, draw_map
from pipeline.report.compared_neighbors import ComparedNeighbors, show_neighbors
from pipeline.report.pictures import Picture
from schemas.published_tables import NODE_EMBEDDINGS

log = logging.getLogger(__name__)

#: Rows of a type that are read into memory; of a larger type, as many by hash.
SAMPLE = 50_000
#: Nodes on the map: t-SNE takes their square.
_ON_MAP, _FEWEST_ON_MAP = 500, 12
#: Of those, the best known ones, which name the clusters.
_WELL_KNOWN = 50
#: Nodes with their neighbours, and how many.
_NODES, _NEIGHBORS = 10, 8
#: A larger table is not read for pictures: it would take minutes.
_MOST_BYTES = 16 * 2**30


def draw_pictures(night: NightRun, *, shows_persons: bool = False) -> list[Picture]:
    """Return the pictures that can be drawn of a night; of one that can't, a line of the log says why.

    Cost
    ----
    Reads the table once, and the one before; memory: 50,000 rows of each type of both.
    """
    rows = _SampledRows(night, shows_persons=shows_persons)
    pictures: list[Picture] = []
    drawers: Sequence[Callable[[], Iterator[Picture]]] = (
        rows.draw_map,
        rows.draw_neighbors,
        lambda: draw_quality(night.metrics),
        rows.draw_distributions,
        lambda: draw_partition(night),
    )
    for draw in drawers:
        try:
            pictures += draw()
        except Exception as error:  # the others are still worth having
            log.warning("report: a picture is left out: %s: %s", type(error).__name__, error)
    return pictures


@dataclass(frozen=True, eq=False)
class _SampledRows:
    """Rows of tonight and of the release it is compared with, and who may be named."""

    night: NightRun
    shows_persons: bool

    @cached_property
    def tonight(self) -> ScoredTable | None:
        """Rows of tonight; None of a night without vectors, or with too many of them."""
        return _read(self.night.vector_files, self.night.metadata)

    @cached_property
    def before(self) -> ScoredTable | None:
        """Rows of the release that tonight is compared with; None where there is none."""
        manifest = self.night.other_manifest
        if not manifest:
            return None
        return _read(files_of_release(self.night.other_folder, NODE_EMBEDDINGS), manifest.get("metadata"))

    @cached_property
    def named_types(self) -> frozenset[str]:
        """Types whose nodes may be named."""
        if self.tonight is None:
            return frozenset()
        types = set(self.tonight.table.ranges)
        if self.shows_persons:
            return frozenset(types)
        persons = (self.night.config or {}).get("publish", {}).get("person_types")
        return frozenset(types - set([self.tonight.table.source] if persons is None else persons))

    def name(self, node_type: str, at: int) -> str:
        """Return what people may read of a node, by its position."""
        assert self.tonight is not None
        return _name(self.tonight, node_type, at) if node_type in self.named_types else ""

    def words_on_sample(self, *node_types: str) -> str:
        """Return what to say below pictures of rows of some types, where there were too many to read them all."""
        assert self.tonight is not None
        counts = self.night.stages.get("index", {}).get("figures", {}).get("types", {})
        parts = []
        for node_type in node_types or self.tonight.table.ranges:
            (first, stop), of_graph = self.tonight.table.ranges[node_type], counts.get(node_type, (0, 0))
            if stop - first >= SAMPLE:
                parts.append(describe_sample(stop - first, of_graph[1] - of_graph[0], f"{node_type} nodes"))
        return f" Of {' and '.join(filter(None, parts))}." if any(parts) else ""

    def draw_map(self) -> Iterator[Picture]:
        """Yield the map of the clusters."""
        scored_table = self.tonight
        if scored_table is None:
            return
        table = scored_table.table
        nodes_by_type: list[NDArray[np.int64]] = []
        for first, stop in table.ranges.values():
            at = first + np.flatnonzero(np.any(table.rows[first:stop], axis=1))
            best_linked = at[np.argsort(-table.degree[at], kind="stable")[:_WELL_KNOWN]]
            sample = at[sample_by_key(table.node_key[at], max(_ON_MAP // len(table.ranges), 1), 0)] if at.size else at
            nodes_by_type.append(np.union1d(best_linked, sample))
        nodes = np.concatenate(nodes_by_type)
        if nodes.size < _FEWEST_ON_MAP:
            return
        types = list(table.ranges)
        kind = np.concatenate([np.full(of_type.size, number) for number, of_type in enumerate(nodes_by_type)])
        names = [self.name(types[number], at) for number, at in zip(kind.tolist(), nodes.tolist(), strict=True)]
        labels = [
            f"{name or types[number]}, {count(int(table.degree[at]))} neighbours"
            for name, number, at in zip(names, kind.tolist(), nodes.tolist(), strict=True)
        ]
        body, clusters = draw_map(MappedNodes(unit_rows(table.rows[nodes]), table.degree[nodes], kind, labels, names))
        person_types = sorted(set(types) - self.named_types)
        caption = (
            f"{count(nodes.size)} of {count(len(table.rows))} nodes: the best known ones, and others by hash. Near "
            f"means alike (t-SNE of unit rows). Colours are {clusters} clusters of k-means in all columns, named by "
            f"their best known node. Larger dots have more neighbours.{self.words_on_sample()}"
        )
        if person_types:
            persons = ", ".join(person_types)
            caption += (
                f" Nodes of type {persons} count as persons and are not named (--show-ids, publish.person_types)."
            )
        shapes = [(f"shape{min(number, 1)}", name) for number, name in enumerate(types)] if len(types) > 1 else []
        yield Picture("Map of the clusters", caption, body, share="whole", legend=shapes)

    def draw_neighbors(self) -> Iterator[Picture]:
        """Yield some nodes with their neighbours."""
        scored_table = self.tonight
        if scored_table is None:
            return
        table = scored_table.table
        node_type = table.target
        first, stop = table.ranges.get(node_type, (0, 0))
        degree = table.degree[first:stop]
        if node_type not in self.named_types or stop - first < 2 or not degree.any():
            return
        # From well-known ones down, so that a change at either end is seen.
        order = np.argsort(-degree, kind="stable")[: int((degree > 0).sum())]
        last = max(order.size // 4, min(order.size, _NODES))
        ranks = np.unique(np.geomspace(1, last, 5 * _NODES).astype(np.int64)) - 1
        ranks = ranks[np.unique(np.linspace(0, ranks.size - 1, _NODES).astype(np.int64))]
        at = first + order[ranks]
        ids = scored_table.ids[node_type]
        before = self.before if self.before is not None and node_type in self.before.table.ranges else None
        now = _nearest(scored_table, node_type, at)
        then: Mapping[int, list[tuple[int, float]]] = {}
        old_at = before.find(ids.take(np.asarray(at - first)), node_type) if before else np.full(at.size, -1)
        if before is not None:
            old_positions = old_at[old_at >= 0]
            then = dict(zip(old_positions.tolist(), _nearest(before, node_type, old_positions), strict=True))

        def names(scores: Sequence[tuple[int, float]], of: ScoredTable) -> list[tuple[str, float]]:
            return [(_name(of, node_type, position), score) for position, score in scores]

        lists = [
            ComparedNeighbors(
                _name(scored_table, node_type, position),
                f"{count(int(table.degree[position]))} neighbours",
                names(nearest, scored_table),
                names(then[old], before) if before is not None and old >= 0 else None,
            )
            for position, nearest, old in zip(at.tolist(), now, old_at.tolist(), strict=True)
        ]
        caption = f"The {_NEIGHBORS} nearest {node_type} nodes by cosine"
        caption += (
            f", of {count(stop - first)}." if before is None else f", beside those in {self.night.other_release}."
        )
        caption += self.words_on_sample(node_type)
        yield Picture("Ten nodes and their neighbours", caption, show_neighbors(lists), share="whole")

    def draw_distributions(self) -> Iterator[Picture]:
        """Yield the distributions of degrees and norms."""
        scored_table = self.tonight
        if scored_table is None:
            return
        table = scored_table.table
        degrees = {name: table.degree[first:stop] for name, (first, stop) in table.ranges.items()}
        legend = [(f"f{number % charts.COLOURS}", name) for number, name in enumerate(degrees)]
        yield Picture(
            "Degrees",
            "Share of nodes with at least as many neighbours. A straight line is a power law; a cliff on the right is "
            f"a cap upstream.{self.words_on_sample()}",
            degree_curves(degrees),
            legend=legend,
        )
        norms = {name: row_lengths(table.rows[first:stop]) for name, (first, stop) in table.ranges.items()}
        zeros = sum(int((norm == 0).sum()) for norm in norms.values())
        caption = "Length of the rows as published; the longest thousandth is in the last bin."
        caption += self.words_on_sample()
        yield Picture(
            "Norms",
            f"{caption} {count(zeros)} rows are zero." if zeros else caption,
            histograms(norms, "norm"),
            legend=legend,
        )


def _read(files: Sequence[Any], metadata: Mapping[str, Any] | None) -> ScoredTable | None:
    if not files or not metadata or sum(storage.size(file) or 0 for file in files) > _MOST_BYTES:
        return None
    return read_sampled_table(VectorFiles.of(files, metadata), SAMPLE, 0)


def _name(scored_table: ScoredTable, node_type: str, at: int) -> str:
    return str(scored_table.ids[node_type][at - scored_table.table.ranges[node_type][0]].as_py())


def _nearest(scored_table: ScoredTable, node_type: str, at: NDArray[np.int64]) -> list[list[tuple[int, float]]]:
    """Return, for some nodes, the positions and cosines of the nearest ones of their type, best first."""
    first, stop = scored_table.table.ranges[node_type]
    rows = unit_rows(scored_table.table.rows[first:stop])
    own = PositionLists.from_pairs(np.arange(at.size), at - first, at.size)
    position, score = top_k(rows[at - first], rows, _NEIGHBORS, own)
    return [
        [(first + int(row), float(cosine)) for row, cosine in zip(nearest, cosines, strict=True) if row != NO_ROW]
        for nearest, cosines in zip(position, score, strict=True)
    ]
