"""The matrix that tells which products of columns are edges: fitted on the finished rows of a sample, by three waves.

One task chooses pairs and nodes by hash, tasks gather their finished rows range by range, and one fits. Sums are over
the sample in the order of its nodes and pairs, so that they depend on no part and no range.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

from pipeline import storage
from pipeline.blocks.arrays import NodeArrays
from pipeline.embedding.compatibility import FitSample, choose_pairs, sample_around
from pipeline.embedding.settings import Settings
from pipeline.ingest.figures import IndexFigures
from pipeline.locations import Location
from pipeline.release_tables.finished_rows import RowSources, finished_rows, row_sources
from pipeline.release_tables.published_table import TableRun
from pipeline.tasks import Attempt, TaskFolder

_PAIRS_AT_ONCE = 1 << 20
_ARRAYS = tuple(field.name for field in fields(FitSample))


@dataclass(frozen=True)
class PairsPayload:
    """The pairs, the arrays of all nodes, the ranges in which ends are, and the seed of the choice."""

    sides: tuple[tuple[int, int], tuple[int, int]]
    seed: int
    edges: tuple[Location, ...]
    node_arrays: tuple[Location, ...]


@dataclass(frozen=True)
class SampledRowsPayload:
    """A range of finished rows, and the file of the nodes whose rows are gathered."""

    sources: RowSources
    bounds: tuple[int, int]
    node_ix: Location


@dataclass(frozen=True)
class MatrixPayload:
    """The arrays of the sample by name, and its rows, in the order of the nodes."""

    settings: Settings
    arrays: Mapping[str, Location]
    rows: tuple[Location, ...]


def sources_of(run: TableRun, settings: Settings) -> RowSources:
    """Return what the rows of a run are made of, with the matrix that is folded into them, if one is."""
    sources = row_sources(run, settings)
    if settings.embedding.compatibility is None:
        return sources
    types = run.workspace.figures("node_index", IndexFigures).types
    main = {name: types[name] for name in (run.config.input.source_type, run.config.input.target_type)}
    folder = TaskFolder(run.engine, run.folder)
    pairs = PairsPayload(
        sides=(main[run.config.input.source_type], main[run.config.input.target_type]),
        seed=settings.embedding.seed,
        edges=tuple(run.workspace.files_by_relation("indexed_edges")[0]),
        node_arrays=tuple(run.workspace.graph_files("node_arrays")),
    )
    sample = folder.run(write_sample, "compatibility-pairs", pairs)
    of_main = replace(sources, nodes=replace(sources.nodes, types=main))  # whichever types are published
    payloads = [SampledRowsPayload(of_main, bounds, sample.file("node_ix")) for bounds in run.ranges]
    of_ranges = run.run_tasks(gather_rows, "compatibility-rows", payloads)
    arrays = {name: sample.file(name) for name in _ARRAYS}
    fit = MatrixPayload(settings, arrays, tuple(record.file("rows") for record in of_ranges))
    return replace(sources, compatibility=folder.run(write_matrix, "compatibility", fit).file("matrix"))


def write_sample(payload: PairsPayload, attempt: Attempt) -> None:
    """Task: choose the pairs and the nodes."""
    sides, seed = payload.sides, payload.seed
    nodes = NodeArrays(payload.node_arrays)
    node_key, all_pairs = nodes.all("node_key").view(np.uint64), storage.rows_in(payload.edges)
    ends_of_sample = [[np.empty(0, np.int64)], [np.empty(0, np.int64)]]
    for batch in storage.read_batches(payload.edges, ["src_ix", "dst_ix"], _PAIRS_AT_ONCE):
        pair = batch["src_ix"].to_numpy(), batch["dst_ix"].to_numpy()
        if sides[0] == sides[1]:
            pair = np.minimum(*pair), np.maximum(*pair)
        is_chosen = choose_pairs(pair, all_pairs, node_key, seed)
        for ends, end in zip(ends_of_sample, pair, strict=True):
            ends.append(end[is_chosen])
    src, dst = map(np.concatenate, ends_of_sample)
    sample = sample_around((src, dst), node_key, nodes.all("degree"), sides, seed)
    for name in _ARRAYS:
        np.save(attempt.path(name, "npy"), getattr(sample, name))


def gather_rows(payload: SampledRowsPayload, attempt: Attempt) -> None:
    """Task: the finished rows of those nodes of a range that were chosen."""
    node_ix = storage.load_array(payload.node_ix)
    rows = [np.empty((0, payload.sources.settings.dim), np.float32)]
    for group in finished_rows(payload.sources, payload.bounds):
        first, stop = np.searchsorted(node_ix, (group.first, group.stop))
        rows.append(group.vectors[node_ix[first:stop] - group.first])
    np.save(attempt.path("rows", "npy"), np.concatenate(rows))


def write_matrix(payload: MatrixPayload, attempt: Attempt) -> None:
    """Task: fit the matrix."""
    sample = FitSample(**{name: storage.load_array(file) for name, file in payload.arrays.items()})
    matrix = sample.fit(np.concatenate([storage.load_array(file) for file in payload.rows]), payload.settings)
    np.save(attempt.path("matrix", "npy"), matrix)
