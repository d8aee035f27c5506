"""Batches of restart sets -> the nodes nearest to each, in this process or by tasks that share the sets."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import offsets_of
from pipeline.config.model import PipelineConfig
from pipeline.embedding.ppr.lists import rounded_up, with_rounding
from pipeline.engine import Engine, Frame
from pipeline.errors import ConfigError, InputError
from pipeline.kernels.ppr_top_k import TopK
from pipeline.kernels.ranking import NO_ROW
from pipeline.kernels.transition import RestartSets, restart_sets
from pipeline.locations import Location
from pipeline.queries.released_run import workspace_of
from pipeline.queries.restart_batches import Batch
from pipeline.queries.restart_solvers import QueryOptions, RestartSolver, open_solver
from pipeline.queries.walk_index import UNKNOWN
from pipeline.tasks import Attempt, TaskFolder, TaskRunner
from schemas.published_tables import PPR_NEIGHBOR_LISTS

#: Of a task, at least, for what its start takes and what it reads that others read as well: of sets that take some
#: milliseconds each, solved exactly or in several rounds, and of others.
_SLOW_SETS, _QUICK_SETS = 128, 2_048


@dataclass(frozen=True)
class BatchPayload:
    """Input of the task that answers some sets of a batch."""

    release: Location
    batch: Location
    span: tuple[int, int]
    options: QueryOptions


def answer_batch(
    folder: Location, batch: Batch, options: QueryOptions, engine: Engine[Frame] | None = None
) -> pa.Table:
    """Return a row for each set, in order: ``query``, and the columns of the published ``ppr_neighbors``.

    ``node_type`` and ``node_id`` are null for sets of several nodes. Nodes of the set are never listed. A row depends
    on its set alone, so tasks change none. The metadata, as JSON under ``graphquilt``, say how the scores were computed
    and what bounds their error.

    Parameters
    ----------
    folder : of the release. engine : runs tasks where it has several slots; None: this process does it all.

    Raises
    ------
    ConfigError : an option names no type of the release. InputError : an empty batch, a node or type of it that the
    release does not have; no walk index in the release. StorageError : ``is_exact``, and the run's graph is gone.
    """
    if not batch.names:
        raise InputError("the batch is empty; give at least one id, or a --batch file with rows")
    least = _SLOW_SETS if options.is_exact or options.rounds > 1 else _QUICK_SETS
    tasks = 1 if engine is None else min(engine.slots, math.ceil(len(batch.names) / least))
    if engine is None or tasks == 1:
        return answer_sets(folder, batch, options, engine)
    if options.is_exact:
        with open_solver(folder, options, engine):
            pass  # the graph is brought together once, before tasks map it
    with _task_folder(folder, engine) as place:
        file = place / "batch.arrow"
        storage.write(file, batch.to_bytes())
        bounds = [len(batch.names) * number // tasks for number in range(tasks + 1)]
        payloads = [BatchPayload(folder, file, span, options) for span in pairwise(bounds)]
        records = TaskFolder(engine, place).run_each(answer_part, "answers", payloads)
        return pa.concat_tables([storage.map_arrow(record.file("answers")) for record in records]).combine_chunks()


@contextmanager
def _task_folder(release: Location, engine: Engine[Frame]) -> Iterator[Location]:
    """Yield a folder that workers share, which is removed afterwards: in the release's workspace, if they are afar."""
    if not engine.spans_machines:
        with TemporaryDirectory(prefix="graphquilt-batch-") as name:
            yield Path(name)
        return
    place = workspace_of(release) / f"batch-{uuid4().hex[:16]}"
    try:
        yield place
    finally:
        storage.remove_tree(place)


def answer_part(payload: BatchPayload, attempt: Attempt) -> None:
    """Task: the answers of a range of sets."""
    batch = Batch.from_bytes(storage.local_file(payload.batch).read_bytes()).part(*payload.span)
    storage.write_arrow(attempt.path("answers", "arrow"), answer_sets(payload.release, batch, payload.options))


def answer_sets(folder: Location, batch: Batch, options: QueryOptions, runner: TaskRunner | None = None) -> pa.Table:
    """Return what `answer_batch` does, in this process; ``runner`` as in `open_solver`."""
    with open_solver(folder, options, runner) as solver:
        types, config = solver.types, solver.config
        target = _require_type(
            options.target_type or config.ppr.target_type or config.input.target_type, types, "--target"
        )
        first, stop = types[target]
        k = min(options.k or config.ppr.top_k, stop - first)
        of_type = _types_of(batch, options, config, types)
        sets, mass = _sets(batch, _numbers(batch.node_id, of_type, solver), solver)
        lists = solver.top_k(sets, (first, stop), k)
        metadata = {
            "table": PPR_NEIGHBOR_LISTS.name,
            "method": "ppr",
            "release": folder.name,
            **solver.about,
            **config.ppr.model_dump(
                mode="json", include={"restart", "exclude_known", "degree_correction", "edge_degree_power"}
            ),
            "top_k": k,
            "target_type": target,
        }
        return _answers(batch, of_type, lists, mass, solver, metadata)


def _require_type(node_type: str, types: Mapping[str, Any], option: str) -> str:
    if node_type not in types:
        raise ConfigError(f"{option} is '{node_type}'; the release has nodes of type {', '.join(types)}")
    return node_type


def _types_of(batch: Batch, options: QueryOptions, config: PipelineConfig, types: Mapping[str, Any]) -> Sequence[str]:
    if batch.node_type is not None:
        if unknown := sorted(set(batch.node_type) - set(types)):
            raise InputError(
                f"a node_type of the batch is '{unknown[0]}'; the release has nodes of type {', '.join(types)}"
            )
        return batch.node_type
    node_type = options.source_type or config.ppr.source_type or (next(iter(types)) if len(types) == 1 else None)
    if node_type is None:
        raise ConfigError(f"--type is missing; the release has nodes of type {', '.join(types)}")
    return [_require_type(node_type, types, "--type")] * len(batch.node_id)


def _numbers(node_id: Sequence[str], of_type: Sequence[str], solver: RestartSolver) -> NDArray[np.int64]:
    """Return the number of each node."""
    nodes = np.empty(len(node_id), np.int64)
    all_ids, type_of = pa.array(node_id, pa.string()), np.array(of_type, object)
    for node_type in dict.fromkeys(of_type):
        places = np.flatnonzero(type_of == node_type)
        ids = all_ids.take(pa.array(places))
        nodes[places] = solver.find(ids, node_type)
        if (is_unknown := nodes[places] == UNKNOWN).any():
            unknown = pc.unique(ids.filter(pa.array(is_unknown))).to_pylist()
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            raise InputError(
                f"the release has no {node_type} with the id '{unknown[0]}'{more}; it may be outside the window of the "
                "input, left out by publish.exclude_ids, or spelt in another way upstream"
            )
    return nodes


def _sets(batch: Batch, nodes: NDArray[np.int64], solver: RestartSolver) -> tuple[RestartSets, NDArray[np.float64]]:
    """Return the sets of queries whose nodes have edges, and the share of each query's weight that those have.

    Nodes ascend within a set and are named once, so that shares don't depend on how a query was written.
    """
    query = np.repeat(np.arange(len(batch.names)), np.diff(batch.indptr))
    order = np.lexsort((batch.weight, nodes, query))
    query, nodes, weight = query[order], nodes[order], batch.weight[order]
    starts = np.flatnonzero((np.diff(query, prepend=-1) != 0) | (np.diff(nodes, prepend=-1) != 0))
    query, nodes, weight = query[starts], nodes[starts], np.add.reduceat(weight, starts)
    total, has_edges = np.bincount(query, weight, len(batch.names)), solver.have_edges(nodes)
    query, nodes, weight = query[has_edges], nodes[has_edges], weight[has_edges]
    mass = np.bincount(query, weight, len(batch.names)) / total
    sizes = np.bincount(query, minlength=len(batch.names))
    return restart_sets(offsets_of(sizes[sizes > 0]), nodes, weight), mass


def _answers(
    batch: Batch,
    of_type: Sequence[str],
    lists: TopK,
    mass: NDArray[np.float64],
    solver: RestartSolver,
    metadata: Mapping[str, Any],
) -> pa.Table:
    """Return the table of answers. Queries without a node that has edges have empty lists, and bound 0."""
    has_mass = mass > 0
    is_listed = lists.nodes != NO_ROW
    counts, bound = np.zeros(mass.size, np.int64), np.zeros(mass.size)
    counts[has_mass], bound[has_mass] = is_listed.sum(axis=1), lists.bound * mass[has_mass]
    scores = (lists.scores * mass[has_mass].astype(np.float32)[:, None])[is_listed]
    offsets = pa.array(offsets_of(counts).astype(np.int32))
    schema = PPR_NEIGHBOR_LISTS.schema_for(solver.id_type)
    # A set of one node is that node's own list.
    places = [
        int(start) if size == 1 else None for start, size in zip(batch.indptr, np.diff(batch.indptr), strict=False)
    ]
    node_id = pa.array([None if place is None else batch.node_id[place] for place in places], pa.string())
    neighbor_ids = solver.ids_of(lists.nodes[is_listed])
    columns = {
        "query": pa.array(batch.names, pa.string()),
        "node_type": pa.array([None if place is None else of_type[place] for place in places], pa.string()),
        "node_id": node_id.cast(solver.id_type),
        "neighbor_type": pa.array([metadata["target_type"]] * mass.size, pa.string()),
        "neighbor_ids": pa.ListArray.from_arrays(offsets, neighbor_ids, type=schema.field("neighbor_ids").type),
        "scores": pa.ListArray.from_arrays(offsets, pa.array(scores), type=schema.field("scores").type),
        "error_bound": pa.array(rounded_up(with_rounding(bound))),
    }
    text = json.dumps(dict(metadata), sort_keys=True, allow_nan=False)
    return pa.table(columns).replace_schema_metadata({"graphquilt": text})
