"""node_features and finished rows -> attribute_map, and the norms of cold rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.blocks.arrays import FeatureTable
from pipeline.embedding.cold_rows import ColdRows, read_map, write_map
from pipeline.embedding.run_settings import settings_of
from pipeline.embedding.settings import Settings
from pipeline.kernels.hashed_ridge import RidgeSums, hashed_features, ridge_coefficients
from pipeline.locations import Location
from pipeline.release_tables.cold_norms import NormPayload, find_norm
from pipeline.release_tables.compatibility import sources_of
from pipeline.release_tables.finished_rows import RowRange, RowSources, finished_rows
from pipeline.release_tables.published_table import TableRun
from pipeline.tasks import Attempt, TaskRecord
from schemas.tables import ATTRIBUTE_MAP

log = logging.getLogger(__name__)

#: Nodes whose sums are one task's. Part of the result: sums of other ranges have other last bits.
RANGE_NODES = 1_048_576


@dataclass(frozen=True)
class ColdRowFigures:
    """The nodes that each type's map was fitted to, and the norm of its cold rows."""

    fitted_nodes: Mapping[str, int]
    norms: Mapping[str, float]


@dataclass(frozen=True)
class FittedRows:
    """Cold rows by type; the records of the tasks that wrote maps, and of all others."""

    rows: tuple[ColdRows, ...]
    figures: ColdRowFigures
    files: Sequence[TaskRecord[Any]]
    records: Sequence[TaskRecord[Any]]


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
class TurnPayload:
    """The map of a type, and the matrix that turns its rows."""

    node_type: str
    map: Location
    rotation: Location


def turn_maps(run: TableRun, fits: FittedRows, rotation: Location | None) -> Sequence[TaskRecord[Any]]:
    """Return the records of maps to rows in the published coordinates, into which ``rotation`` turns them."""
    if rotation is None:
        return fits.files
    payloads = [TurnPayload(cold_rows.node_type, cold_rows.file, rotation) for cold_rows in fits.rows if cold_rows.file]
    return run.run_tasks(turn_map, "map-turned", payloads)


def turn_map(payload: TurnPayload, attempt: Attempt) -> None:
    """Task: the map whose rows are those of a map, turned."""
    coefficients = read_map(payload.map) @ storage.load_array(payload.rotation)
    write_map(attempt.path(ATTRIBUTE_MAP.name, "arrow"), payload.node_type, coefficients)


def sources_with_cold_rows(run: TableRun, settings: Settings) -> RowSources:
    """Return what the rows of a run are made of, cold rows among it; they are fitted where they aren't yet."""
    sources = sources_of(run, settings)
    return replace(sources, cold_rows=_fit(run, sources).rows)


def fit_cold_rows(run: TableRun) -> FittedRows:
    """Fit the cold rows of every type that has some."""
    if not run.config.cold_types:
        return FittedRows((), ColdRowFigures({}, {}), (), ())
    return _fit(run, sources_of(run, settings_of(run.config, run.workspace)))


def _fit(run: TableRun, sources: RowSources) -> FittedRows:
    keys, target_type = run.config.cold_start, run.config.input.target_type
    rows: list[ColdRows] = []
    fitted_nodes: dict[str, int] = {}
    files: list[TaskRecord[Any]] = []
    records: list[TaskRecord[Any]] = []
    for place, name in enumerate(run.config.cold_types):
        cold_rows = ColdRows(name, None, keys.norm or 1.0)
        if keys.rows == "map":
            fitted_nodes[name], sums, map_files = _fit_map(run, sources, name, place)
            files, records = [*files, *map_files], [*records, *sums]
            if not map_files:
                log.warning("stage=aggregate warning: no node of type %s has attributes and edges: it has no map", name)
                continue
            cold_rows = replace(cold_rows, file=map_files[0].file(ATTRIBUTE_MAP.name))
        if keys.norm is None and name == target_type:
            pairs = tuple(run.workspace.files_by_relation("indexed_edges")[0])
            with_one = replace(sources, cold_rows=(cold_rows,))
            payload = NormPayload(with_one, run.config.input.source_type, name, pairs, keys.list_share)
            (norm_record,) = run.run_tasks(find_norm, "cold-norm", [payload])
            cold_rows = replace(cold_rows, norm=norm_record.result)
            records.append(norm_record)
        rows.append(cold_rows)
    figures = ColdRowFigures(fitted_nodes, {type_rows.node_type: type_rows.norm for type_rows in rows})
    return FittedRows(tuple(rows), figures, files, records)


def _fit_map(
    run: TableRun, sources: RowSources, name: str, place: int
) -> tuple[int, list[TaskRecord[SumsResult]], list[TaskRecord[None]]]:
    """Return how many nodes a type's map was fitted to, the records of the sums, and the map's where there are any."""
    first, stop = sources.nodes.types[name]
    ranges = [(start, min(start + RANGE_NODES, stop)) for start in range(first, stop, RANGE_NODES)]
    sums = run.run_tasks(sum_rows, f"map-sums-{place}", [RowRange(sources, bounds) for bounds in ranges])
    nodes = sum(record.result.nodes for record in sums)
    if not nodes:
        return 0, sums, []
    of_sums = tuple(record.file("sums") for record in sums)
    payload = FitPayload(name, of_sums, tuple(record.result.length for record in sums), run.config.cold_start.ridge)
    return nodes, sums, run.run_tasks(fit_map, f"map-{place}", [payload])


def sum_rows(payload: RowRange, attempt: Attempt) -> SumsResult:
    """Task: the sums of a regression over the nodes of a range that have attributes and a row of their own."""
    features = FeatureTable(payload.sources.node_features)
    sums, nodes = RidgeSums.zero(payload.sources.settings.dim), 0
    for group in finished_rows(payload.sources, payload.bounds):
        of_group = features.take(np.arange(group.first, group.stop))
        index = np.flatnonzero((group.degree > 0) & (of_group.counts > 0) & group.vectors.any(axis=1))
        of_group = of_group.rows(index)
        sums.add(hashed_features(of_group.indptr, of_group.key, of_group.value), group.vectors[index])
        nodes += index.size
    columns = np.flatnonzero(np.diag(sums.gram))
    column_sums = np.hstack([columns[:, None], sums.gram[np.ix_(columns, columns)], sums.products[columns]])
    np.save(attempt.path("sums", "npy"), column_sums)
    return SumsResult(nodes, sums.length)


def fit_map(payload: FitPayload, attempt: Attempt) -> None:
    """Task: add up the sums of the ranges, in their order; the map that they give."""
    total: RidgeSums | None = None
    for path, length in zip(payload.sums, payload.lengths, strict=True):
        array = storage.load_array(path)
        columns = array[:, 0].astype(np.int64)
        total = total or RidgeSums.zero(array.shape[1] - 1 - columns.size)
        total.gram[np.ix_(columns, columns)] += array[:, 1 : 1 + columns.size]
        total.products[columns] += array[:, 1 + columns.size :]
        total.length += length
    assert total is not None
    coefficients = ridge_coefficients(total, payload.ridge)
    write_map(attempt.path(ATTRIBUTE_MAP.name, "arrow"), payload.node_type, coefficients)
