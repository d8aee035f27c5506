"""node_features and finished rows -> attribute_map: a regression for each type whose cold nodes get rows by it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from pipeline import storage
from pipeline.blocks.arrays import FeatureTable
from pipeline.embedding.attribute_map import AttributeMap, write_map
from pipeline.embedding.run_settings import settings_of
from pipeline.embedding.settings import Settings
from pipeline.kernels.hashed_ridge import RidgeSums, hashed_features, ridge_coefficients
from pipeline.locations import Location
from pipeline.release_tables.compatibility import sources_of
from pipeline.release_tables.finished_rows import RowSources, finished_rows
from pipeline.release_tables.published_table import TableRun
from pipeline.tasks import Attempt, TaskRecord
from schemas.tables import ATTRIBUTE_MAP

log = logging.getLogger(__name__)

#: Nodes whose sums are one task's. Part of the result: sums of other ranges have other last bits.
RANGE_NODES = 1_048_576


@dataclass(frozen=True)
class AttributeMapFigures:
    """By type, the nodes that its map was fitted to."""

    fitted_nodes: Mapping[str, int]


@dataclass(frozen=True)
class SumsPayload:
    """Rows of a range of nodes of one type."""

    sources: RowSources
    bounds: tuple[int, int]


@dataclass(frozen=True)
class SumsResult:
    """How many nodes were summed, and the sum of their rows' lengths."""

    nodes: int
    length: float


@dataclass(frozen=True)
class FitPayload:
    """The files of the sums of a type, in the order of its nodes, and their lengths."""

    node_type: str
    sums: tuple[Location, ...]
    lengths: tuple[float, ...]
    ridge: float


@dataclass(frozen=True)
class FitResult:
    """How many columns have a coefficient."""

    columns: int


def sources_with_maps(run: TableRun, settings: Settings) -> RowSources:
    """Return what the rows of a run are made of, maps of attributes among it; they are fitted where they aren't yet."""
    sources = sources_of(run, settings)
    fitted, _ = fit_maps(run, sources)
    norm = run.config.cold_start.norm
    maps = tuple(AttributeMap(name, record.file(ATTRIBUTE_MAP.name), norm) for name, record in fitted.items())
    return replace(sources, maps=maps)


def write_maps(run: TableRun) -> tuple[list[TaskRecord[FitResult]], AttributeMapFigures, list[TaskRecord[SumsResult]]]:
    """Fit the map of every type that has one; return the records of the maps, figures, the records of the sums."""
    if not run.config.mapped_types:
        return [], AttributeMapFigures({}), []
    fitted, sums = fit_maps(run, sources_of(run, settings_of(run.config, run.workspace)))
    nodes = {name: sum(record.result.nodes for record in records) for name, records in sums.items()}
    return list(fitted.values()), AttributeMapFigures(nodes), [*chain.from_iterable(sums.values())]


def fit_maps(
    run: TableRun, sources: RowSources
) -> tuple[dict[str, TaskRecord[FitResult]], dict[str, Sequence[TaskRecord[SumsResult]]]]:
    """Return by type the record of its map, and those of its sums; types whose nodes all lack edges have no map."""
    sums: dict[str, Sequence[TaskRecord[SumsResult]]] = {}
    fitted: dict[str, TaskRecord[FitResult]] = {}
    for place, name in enumerate(run.config.mapped_types):
        first, stop = sources.nodes.types[name]
        ranges = [(start, min(start + RANGE_NODES, stop)) for start in range(first, stop, RANGE_NODES)]
        sums[name] = run.run_tasks(sum_rows, f"map-sums-{place}", [SumsPayload(sources, bounds) for bounds in ranges])
        if any(record.result.nodes for record in sums[name]):
            files = tuple(record.file("sums") for record in sums[name])
            lengths = tuple(record.result.length for record in sums[name])
            payload = FitPayload(name, files, lengths, run.config.cold_start.ridge)
            (fitted[name],) = run.run_tasks(fit_map, f"map-{place}", [payload])
        else:
            log.warning("stage=aggregate warning: no node of type %s has attributes and edges: it has no map", name)
    return fitted, sums


def sum_rows(payload: SumsPayload, attempt: Attempt) -> SumsResult:
    """Task: the sums of a regression over the nodes of a range that have attributes and a row of their own."""
    features = FeatureTable(payload.sources.node_features)
    sums, nodes = RidgeSums.zero(payload.sources.settings.dim), 0
    for group in finished_rows(payload.sources, payload.bounds):
        some = features.take(np.arange(group.first, group.stop))
        index = np.flatnonzero((group.degree > 0) & (some.counts > 0) & group.vectors.any(axis=1))
        some = some.rows(index)
        sums.add(hashed_features(some.indptr, some.key, some.value), group.vectors[index])
        nodes += index.size
    used = np.flatnonzero(np.diag(sums.gram))
    with attempt.path("sums", "npy").open("wb") as file:
        np.save(file, np.hstack([used[:, None], sums.gram[np.ix_(used, used)], sums.products[used]]))
    return SumsResult(nodes, sums.length)


def fit_map(payload: FitPayload, attempt: Attempt) -> FitResult:
    """Task: add up the sums of the ranges, in their order; the map that they give."""
    total: RidgeSums | None = None
    for path, length in zip(payload.sums, payload.lengths, strict=True):
        array = storage.load_array(path)
        used = array[:, 0].astype(np.int64)
        total = total or RidgeSums.zero(array.shape[1] - 1 - used.size)
        total.gram[np.ix_(used, used)] += array[:, 1 : 1 + used.size]
        total.products[used] += array[:, 1 + used.size :]
        total.length += length
    assert total is not None
    coefficients = ridge_coefficients(total, payload.ridge)
    write_map(attempt.path(ATTRIBUTE_MAP.name, "arrow"), payload.node_type, coefficients)
    return FitResult(int(coefficients.any(axis=1).sum()))
