"""What answers restart sets: the walk index of a release, or its run's graph, exactly. Nodes are numbers of either."""

import contextlib
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graphquilt.errors import TableError
from graphquilt.locate import LocatedRelease
from pipeline.blocks.arrays import offsets_of, ranges
from pipeline.config.model import PipelineConfig
from pipeline.embedding.methods import CONFIG
from pipeline.embedding.ppr.list_request import ListRequest, candidates_for, candidates_of_sets
from pipeline.embedding.ppr.lists import CONFIDENCE, error_kind, pushed_top_k, threshold_of
from pipeline.embedding.ppr.walk_graph import NO_EDGES, WalkGraph
from pipeline.embedding.ppr.whole_graph import whole_graph
from pipeline.errors import ConfigError, InputError, MissingTableError
from pipeline.kernels.ppr_batch import batch_top_k, nodes_after
from pipeline.kernels.ppr_batch_passes import BatchRule
from pipeline.kernels.ppr_chebyshev import chebyshev_top_k
from pipeline.kernels.ppr_chebyshev_bounds import smallest_tolerance
from pipeline.kernels.ppr_top_k import Candidates, TopK
from pipeline.kernels.ranking import NO_ROW
from pipeline.kernels.transition import RestartSets, Transition, transition
from pipeline.locations import Location
from pipeline.queries.released_run import config_of, graph_is_gone, read_release, run_of
from pipeline.queries.walk_index import UNKNOWN, WalkIndex
from pipeline.release_tables.finished_rows import NodeIds, PublishedNodes
from pipeline.release_tables.walked_graph import WalkRequest
from pipeline.tasks import CachedRunner, TaskRunner
from pipeline.workspace import Workspace

_CACHE_BYTES = 1 << 28  # of decoded row groups


@dataclass(frozen=True)
class QueryOptions:
    """How a batch is answered. k : length of a list; None for the config's, as far as there are nodes.

    overrides : over the release's config. memory_bytes : for fingerprints; batches that need more are taken in halves,
    which read the index once each.
    """

    source_type: str | None = None
    target_type: str | None = None
    k: int | None = None
    rounds: int = 1
    drop_below: float = 0.0
    is_exact: bool = False
    overrides: tuple[str, ...] = ()
    memory_bytes: int = 4 << 30


class RestartSolver(Protocol):
    """Answers restart sets.

    config : of the release, with overrides. about : how scores are computed, for the metadata of the answers.
    types : by type its first number, and one past the last. id_type : of the ids.
    """

    config: PipelineConfig
    about: Mapping[str, Any]
    types: Mapping[str, tuple[int, int]]
    id_type: pa.DataType

    def find(self, ids: pa.Array, node_type: str) -> NDArray[np.int64]:
        """Return the numbers of nodes, `UNKNOWN` where there is none."""

    def have_edges(self, nodes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which nodes have edges; (n,) -> (n,)."""

    def ids_of(self, nodes: NDArray[np.int64]) -> pa.Array:
        """Return the ids of nodes of one type; (n,) -> (n,)."""

    def top_k(self, sets: RestartSets, targets: tuple[int, int], k: int) -> TopK:
        """Return the best nodes of a range for each set, whose own nodes, with edges, are left out."""


@contextlib.contextmanager
def open_solver(folder: Location, options: QueryOptions, runner: TaskRunner | None = None) -> Iterator[RestartSolver]:
    """Open what answers queries of a release; ``runner`` brings the parts of its run's graph together, if need be.

    Raises
    ------
    ConfigError : overrides that don't fit the release. InputError : no walk index in the release, or a damaged one.
    StorageError : the graph of its run is gone.
    """
    release = read_release(folder)
    config = config_of(release)
    if options.overrides:
        origin = f"the config of release {release['release']}"
        config = CONFIG.from_values(copy.deepcopy(release["config"]), options.overrides, origin)
    if options.is_exact:
        run = run_of(folder, release).with_tables()
        try:
            yield ExactSolver(config, run, runner or CachedRunner())
        except (MissingTableError, FileNotFoundError) as error:
            raise graph_is_gone(release, run, "--exact") from error
        return
    try:
        with WalkIndex(LocatedRelease(folder, release, None), _CACHE_BYTES) as index:
            yield IndexSolver(config, index, options)
    except FileNotFoundError as error:
        raise InputError(f"release {release['release']} was removed while it was read; ask again") from error
    except TableError as error:
        raise InputError(f"{error}; or give --exact") from error


class IndexSolver:
    """Answers from the walk index: rounds are taken exactly, and the walks of where they end close the answer.

    A node of whose neighbours some are left out of the release takes no part in rounds: its own walks close the answer,
    and these were there.

    Raises
    ------
    ConfigError : the index was made with other parameters than the config has.
    """

    def __init__(self, config: PipelineConfig, index: WalkIndex, options: QueryOptions) -> None:
        self.config, self._index, self._options = config, index, options
        request, index_metadata = WalkRequest.of(config), index.metadata
        for name, key in (("restart", "restart"), ("walks", "index_walks"), ("edge_degree_power", "edge_degree_power")):
            if index_metadata[name] != getattr(request, name):
                raise ConfigError(
                    f"ppr.{key} is {getattr(request, name)} and the walk index of release {index.release} was made "
                    f"with {index_metadata[name]}; leave it as it is, run with ppr.walk_index = true, or give --exact"
                )
        self.types, self.id_type = index.types, index.id_type
        self.find, self.ids_of = index.find, index.ids_of
        self.about: Mapping[str, Any] = {
            "error_kind": "confidence",
            "confidence": CONFIDENCE,
            "walks": request.walks,
            "rounds": options.rounds,
        }

    def have_edges(self, nodes: NDArray[np.int64]) -> NDArray[np.bool_]:
        ascending, place = np.unique(nodes, return_inverse=True)
        return self._index.neighbors(ascending).degree[place] > 0

    def top_k(self, sets: RestartSets, targets: tuple[int, int], k: int) -> TopK:
        graph = self._graph_around(sets.nodes)
        nodes = nodes_after(graph, sets.nodes, self._options.rounds)
        if len(sets) > 1 and self._index.bytes_for(nodes.size) > self._options.memory_bytes:
            half = len(sets) // 2
            halves = [self.top_k(sets.part(*span), targets, k) for span in ((0, half), (half, len(sets)))]
            return TopK(*(np.concatenate([getattr(p, name) for p in halves]) for name in ("nodes", "scores", "bound")))
        ppr, degree = self.config.ppr, np.zeros(graph.n, np.int64)
        if ppr.degree_correction:
            degree[slice(*targets)] = self._index.degrees_between(*targets)
        request = ListRequest(ppr, self.config.embedding.seed, targets)
        candidates = candidates_for(request, targets, degree, self._left_out(sets), len(sets))
        rule = BatchRule(ppr.restart, self._options.rounds, self._options.drop_below)
        return batch_top_k(graph, self._index.fingerprints(nodes), sets, rule, k, candidates, CONFIDENCE)

    def _graph_around(self, seeds: NDArray[np.int64]) -> Transition:
        """Return the graph with the rows that rounds go through."""
        nodes = np.unique(seeds)
        lists = self._index.neighbors(nodes)
        for _ in range(1, self._options.rounds):
            nodes = np.union1d(nodes, lists.neighbors)
            lists = self._index.neighbors(nodes)
        counts, lengths = np.zeros(len(self._index), np.int64), np.diff(lists.indptr)
        counts[nodes] = np.where(lists.are_whole, lengths, 0)
        is_entry = np.repeat(lists.are_whole, lengths)
        weights = None if lists.weights is None else lists.weights[is_entry]
        return transition(offsets_of(counts), lists.neighbors[is_entry], weights)

    def _left_out(self, sets: RestartSets) -> list[tuple[NDArray[np.int64], NDArray[np.integer]]]:
        """Return (set, node) pairs that lists must not hold: the sets' own nodes and, as asked, their neighbours."""
        source = np.repeat(np.arange(len(sets)), np.diff(sets.indptr))
        pairs: list[tuple[NDArray[np.int64], NDArray[np.integer]]] = [(source, sets.nodes)]
        if self.config.ppr.exclude_known:
            seeds, place = np.unique(sets.nodes, return_inverse=True)
            lists = self._index.neighbors(seeds)
            counts = np.diff(lists.indptr)[place]
            pairs.append((np.repeat(source, counts), lists.neighbors[ranges(lists.indptr[place], counts)]))
        return pairs


class ExactSolver:
    """Answers from the whole graph of the release's run: by push where the config names it, its threshold, or a
    tolerance that ``chebyshev`` can't certify.

    Raises
    ------
    MissingTableError : the run's tables are gone.
    """

    def __init__(self, config: PipelineConfig, run: Workspace, runner: TaskRunner) -> None:
        self.config = config
        self._published_nodes = PublishedNodes.of(config, run)
        self._ids, self.id_type = NodeIds(run.files("node_index")), self._published_nodes.id_type
        self._whole = WalkGraph.read(whole_graph(runner, config, run)[0], config.ppr.edge_degree_power)
        self.types: Mapping[str, tuple[int, int]] = {
            name: (int(first), int(stop)) for name, (first, stop) in self._published_nodes.types.items()
        }
        ppr = config.ppr
        is_set = ppr.solver == "push" or ppr.push_threshold is not None
        is_push = is_set or ppr.tolerance < smallest_tolerance(ppr.restart)
        self._ppr = ppr.model_copy(update={"solver": "push" if is_push else "chebyshev"})
        reach = {"tolerance": ppr.tolerance} if ppr.push_threshold is None else {"push_threshold": ppr.push_threshold}
        self.about: Mapping[str, Any] = {"error_kind": error_kind(self._ppr), **reach}

    def find(self, ids: pa.Array, node_type: str) -> NDArray[np.int64]:
        first, stop = self.types[node_type]
        number = pc.index_in(ids, value_set=self._ids.between(first, stop).cast(pa.string())).fill_null(UNKNOWN - first)
        is_excluded = self._published_nodes.find_excluded(node_type, ids)
        nodes: NDArray[np.int64] = first + number.to_numpy().astype(np.int64)
        return nodes if is_excluded is None else np.where(is_excluded, UNKNOWN, nodes)

    def have_edges(self, nodes: NDArray[np.int64]) -> NDArray[np.bool_]:
        return self._whole.rows_of(nodes) != NO_EDGES

    def ids_of(self, nodes: NDArray[np.int64]) -> pa.Array:
        if not nodes.size:
            return pa.array([], self.id_type)
        first, stop = next(span for span in self.types.values() if span[0] <= nodes[0] < span[1])
        return self._ids.between(first, stop).take(pa.array(nodes - first))

    def top_k(self, sets: RestartSets, targets: tuple[int, int], k: int) -> TopK:
        ppr, whole = self._ppr, self._whole
        rows = RestartSets(sets.indptr, whole.rows_of(sets.nodes), sets.shares)
        request = ListRequest(ppr, self.config.embedding.seed, targets)
        candidates = self._published_of(candidates_of_sets(request, whole, rows), targets)
        if ppr.solver == "chebyshev":
            lists = chebyshev_top_k(whole.graph, rows, ppr.restart, ppr.tolerance, k, candidates)
        else:
            threshold = threshold_of(ppr, float(whole.graph.degree.sum()))
            lists = pushed_top_k(whole.graph, rows, ppr, threshold, k, candidates)
        nodes = np.where(lists.nodes == NO_ROW, NO_ROW, whole.node_ix[lists.nodes])
        return TopK(nodes, lists.scores, lists.bound)

    def _published_of(self, candidates: Candidates, targets: tuple[int, int]) -> Candidates:
        """Return candidates whose score is 0 where their ids are left out of the release."""
        (node_type,) = (name for name, span in self.types.items() if span == targets)
        is_excluded = None
        if self._published_nodes.exclude_ids.get(node_type):
            is_excluded = self._published_nodes.find_excluded(node_type, self._ids.between(*targets))
        if is_excluded is None:
            return candidates
        rows = self._whole.rows_of(targets[0] + np.flatnonzero(is_excluded))
        factor = np.ones(self._whole.graph.n, np.float32) if candidates.factor is None else candidates.factor
        factor[rows[rows != NO_EDGES]] = 0
        return replace(candidates, factor=factor)
