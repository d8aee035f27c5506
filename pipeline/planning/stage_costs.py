"""What each stage takes: CPU seconds, time, and the memory of its processes, from counts alone.

A few terms of physical meaning with measured constants; ``tests/benchmarks/planned_runs.py`` says how far off they are.
``embed`` is priced by :mod:`pipeline.planning.pricing`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from pipeline.config.model import PipelineConfig
from pipeline.embedding.cold_rows import MOST_SOURCES
from pipeline.embedding.compatibility import MOST_NODES, MOST_PAIRS
from pipeline.ingest.held_pairs import MOST_SLOTS
from pipeline.kernels.hashed_ridge import COLUMNS as HASHED_COLUMNS
from pipeline.partitioning.wide.node_blocks import blocks_of_cut
from pipeline.partitioning.wide.top_levels import cut_bytes
from pipeline.planning.alternatives import Alternatives
from pipeline.planning.code_costs import vector_code_bytes, vector_code_seconds
from pipeline.planning.input_size import InputSize
from pipeline.planning.sizes import GraphCounts, expected_levels, interest_rows, is_cut_wide, published_bytes
from pipeline.planning.time_model import CACHE_BYTES
from pipeline.planning.walk_costs import walk_cost

#: CPU seconds of one core: to open a stage, with its manifests and the first use of what it computes with.
_OPENED_STAGE = MappingProxyType({"local": 0.04, "spark": 0.2})
#: To read and check a row of the input and add it to its pair; the same of text ids.
_ROW, _TEXT_ROW = 4.0e-7, 7.6e-7
#: The same where one task adds up the pairs that it has read, of integers and of texts; a distinct text of these.
_HELD_ROW, _HELD_TEXT_ROW, _HELD_TEXT = 1.15e-7, 3.5e-7, 1e-6
#: A pair and a node where one task numbers them; the same of texts.
_PAIR_AND_NODE, _TEXT_PAIR_AND_NODE = (5e-8, 2e-7), (6e-8, 6e-7)
#: Bytes of a row, of a pair, and of a text beside its own, that such a task holds.
_HELD_ROW_BYTES, _PLACED_PAIR_BYTES, _HELD_TEXT_BYTES = 32, 8, 90
#: An edge whose ends are counted and numbered, with ids; more where the tables of nodes that ends are looked up in lie
#: in memory, so many bytes a node; a node that is sorted in and numbered.
_NUMBERED_EDGE, _FAR_NUMBERED_EDGE, _NUMBERED_NODE, _LOOKED_UP_NODE_BYTES = 2.6e-7, 3e-7, 1.2e-6, 40
#: Of a holdout: an edge that is written, read and dealt out once more.
_SPLIT_EDGE = 2.4e-7
#: Text ids next to integers, as they are compared and joined.
_TEXT = 1.3
#: Shuffled by Spark, next to one process: rows are encoded, written, read and decoded on their way. Of rows that are
#: added up, and of edges that are numbered; each of integers, and of texts.
_SHUFFLED_ROWS, _SHUFFLED_EDGES = (2.0, 2.4), (1.2, 2.2)
#: An edge in one level of a cut in one task, whose passes look up a label and a volume some twenty times; more where
#: these lie in memory, so many bytes a node.
_CUT_EDGE, _FAR_CUT_EDGE, _LABEL_BYTES = 4e-7, 4.6e-7, 12
#: An entry (an edge has two) of a cut by many tasks: brought to its range of nodes, counted for parts and homes; in a
#: level that clusters, contracts and refines; more where labels lie in memory; entries that a level leaves, of all.
_RANGED_ENTRY, _LEVEL_ENTRY, _FAR_ENTRY, _ENTRIES_LEFT = 5.2e-7, 6.5e-7, 4e-7, 0.6
#: An edge end that is sorted into its block, where the nodes' tables fit the nearest caches and where not; a row.
_LAID_ENTRY_NEAR, _LAID_ENTRY, _LAID_ROW = 2e-8, 2.2e-8, 2.2e-7
#: Edges that are dealt out to blocks first, next to those of one block; a node whose degree and key are copied for each
#: file of edges, which they are where they lie in several files.
_DEALT, _COPIED_NODE = 1.4, 2e-8
_NEAR_NODES = 131_072
#: A published row beside its vector, and a byte of the vector: combined, finished, written, hashed; a row that is
#: brought into order from the files of several parts; and one whose id is a text.
_PUBLISHED_ROW, _PUBLISHED_BYTE, _GATHERED_ROW, _PUBLISHED_TEXT = 4e-7, 1e-9, 1e-7, 5e-7
#: An entry that gets its code, and its place in the dictionary of the file.
_COMPACT_ENTRY = 4.4e-8
#: A pair or a node that a compatibility matrix is fitted on, by the square of the columns.
_FITTED_FLOP = 1.3e-10
#: A byte of a release that is copied and hashed.
_COPIED_BYTE = 1.25e-9
#: RankMe of a type: as many rows, by the square of their columns.
_SAMPLED_ROWS, _SAMPLED_FLOP = 25_600, 2.5e-10
#: A float32 operation of a full ranking; an edge and a row that evaluation reads.
_RANKED_FLOP, _READ_EDGE, _READ_ROW = 5e-12, 4e-7, 2.5e-7
#: Sources that next_day ranks, of all: those with new pairs.
_SOURCES_WITH_NEW_PAIRS = 0.2

#: Bytes that the local engine's own process holds, beside ids: a row that waits to be added up (its weight, events,
#: time and hash) and the sums of a pair; an end of an edge that waits so (its degree, weight and hash, with room).
_WAITING_ROW_BYTES, _PAIR_SUM_BYTES, _WAITING_END_BYTES = 32, 69, 28
#: A node whose sums are sorted, or that edges look up in a table of hashes.
_NUMBERED_NODE_BYTES = 120
#: Rows that it adds up at a time, where keys hardly repeat and where they do (``pipeline.engines.local``), and CPU
#: seconds to read a row, or an end, for another share: its columns, and a hash of its keys.
_SUMMED_ROWS, _REPEATING_ROWS = 32_000_000, 96_000_000
_ROW_READ_AGAIN, _END_READ_AGAIN = 3.5e-8, 2e-8
#: Of a task: rows that it parses; what it adds up and joins on its way to others; an edge of a file that is parted into
#: edges and held out pairs; a node of a file that gets its number, and how many such a file has.
_PARSED_BYTES, _MOVED_BYTES, _SPLIT_EDGE_BYTES = 200 * 2**20, 320 * 2**20, 70
_NODE_FILE_BYTES, _FILE_NODES = 160, 1_000_000
#: An edge of a block that is laid out, and of a file that is dealt out to blocks, and how many a file has at most; a
#: node's degree and key while that is done, which are joined where they lie in several files; an edge of a graph that
#: is cut in one task.
_LAID_EDGE_BYTES, _DEALT_EDGE_BYTES, _FILE_EDGES, _COPIED_NODE_BYTES, _CUT_EDGE_BYTES = 42, 145, 4_000_000, 16, 40
#: Row groups of a published table, with their ids and sums, and with their codes; pages of a copy.
_PUBLISHED_GROUPS, _COMPACT_GROUPS, _GROUP_ROWS, _COPY_BYTES = 2, 9, 65_536, 80 * 2**20
#: Of interests: CPU seconds of an edge beside its row, and of a byte of a row or a query; row groups of queries, and
#: bytes of an edge of their sources, that a task holds.
_INTEREST_EDGE, _INTEREST_BYTE, _INTEREST_GROUPS, _INTEREST_EDGE_BYTES = 6e-7, 2e-9, 6, 120
#: Sources whose lists by interests are scored at most, and lengths of such lists.
_INTEREST_SOURCES, _INTEREST_LENGTHS = 2_000, 2
#: A row that evaluation knows of, beside its vector, which is in a file; an edge of a source that is scored.
_SCORED_ROW_BYTES, _SCORED_EDGE_BYTES, _SCORING_BYTES = 150, 60, 150 * 2**20


@dataclass(frozen=True)
class StageCost:
    """What a stage takes.

    tasks : that may run at once. task_bytes : memory of the largest. driver_bytes : memory of the process that runs the
    stage, beside its tasks. Both are beside Python itself.
    """

    cpu_seconds: float
    tasks: int
    task_bytes: int = 0
    driver_bytes: int = 0
    wall_seconds: float | None = None

    def seconds_on(self, slots: int) -> float:
        """Return how long it takes where so many tasks run at once."""
        if self.wall_seconds is not None:
            return self.wall_seconds
        rounds = math.ceil(self.tasks / max(slots, 1))
        return self.cpu_seconds * rounds / max(self.tasks, 1)


@dataclass(frozen=True)
class RunCounts:
    """What the costs of a run follow from.

    is_text : whether ids are texts. engine : "local" or "spark". has_release : whether there is an earlier one, which
    next_day scores. more_seconds, more_bytes : of what embed makes beside rows: lists of neighbours, codes.
    """

    graph: GraphCounts
    size: InputSize
    prices: Alternatives
    engine: str
    slots: int
    is_text: bool
    has_release: bool
    more_seconds: float = 0.0
    more_bytes: int = 0


def stage_costs(config: PipelineConfig, run: RunCounts) -> Mapping[str, StageCost]:
    """Return the cost of each stage."""
    by_stage = {
        "ingest": _ingest(config, run),
        "index": _index(config, run),
        "partition": _partition(config, run),
        "layout": _layout(run),
        "embed": _embed(run),
        "aggregate": _aggregate(config, run),
        "evaluate": _evaluate(config, run),
        "publish": StageCost(_COPIED_BYTE * published_bytes(config, run.graph), _files(config, run.graph), _COPY_BYTES),
    }
    opening = _OPENED_STAGE[run.engine]
    return {name: replace(cost, cpu_seconds=cost.cpu_seconds + opening) for name, cost in by_stage.items()}


def _text_bytes(run: RunCounts) -> int:
    """Return what one task holds of the distinct ids that are texts: as they came, and in order."""
    return run.graph.nodes * (_HELD_TEXT_BYTES + 2 * run.graph.id_bytes) if run.is_text else 0


def _parsed_bytes(run: RunCounts) -> int:
    """Return what one task holds that adds up the pairs of all rows."""
    return run.size.rows * _HELD_ROW_BYTES + _text_bytes(run)


def _takes_one_task(config: PipelineConfig, run: RunCounts) -> bool:
    """Whether ingest adds up pairs in the task that reads them, so that index can number them in one."""
    adds_days = config.lineage.full_every > 1
    return run.slots <= MOST_SLOTS and not adds_days and _parsed_bytes(run) <= config.partition.worker_bytes


def _ingest(config: PipelineConfig, run: RunCounts) -> StageCost:
    if _takes_one_task(config, run):
        seconds = run.size.rows * _HELD_ROW
        if run.is_text:
            seconds = run.size.rows * _HELD_TEXT_ROW + run.graph.nodes * _HELD_TEXT
        return StageCost(seconds, 1, max(_PARSED_BYTES, _parsed_bytes(run)))
    seconds = run.size.rows * (_TEXT_ROW if run.is_text else _ROW)
    if run.engine == "spark":
        return StageCost(_SHUFFLED_ROWS[run.is_text] * seconds, run.size.tasks, max(_PARSED_BYTES, _MOVED_BYTES))
    # Rows are added up by threads of one process, so many at a time, and read for each share. Polars lets all rows of a
    # share wait before it adds them up.
    shares = max(1, math.ceil(run.size.rows / _SUMMED_ROWS))
    seconds += (shares - 1) * run.size.rows * _ROW_READ_AGAIN
    ids = 2 * run.graph.id_bytes
    shuffle_bytes = run.size.rows * (_WAITING_ROW_BYTES + ids) + run.graph.edges * (_PAIR_SUM_BYTES + ids)
    return StageCost(seconds, max(run.size.tasks, run.slots), _PARSED_BYTES, math.ceil(shuffle_bytes / shares))


def _index(config: PipelineConfig, run: RunCounts) -> StageCost:
    graph = run.graph
    if _takes_one_task(config, run) and not config.has_relations and not config.attributes:
        pair, node = _TEXT_PAIR_AND_NODE if run.is_text else _PAIR_AND_NODE
        seconds = graph.edges * pair + graph.nodes * node
        task_bytes = graph.edges * _PLACED_PAIR_BYTES + graph.nodes * _NUMBERED_NODE_BYTES + _text_bytes(run)
        task_bytes = max(_PARSED_BYTES, task_bytes, min(graph.nodes, _FILE_NODES) * _NODE_FILE_BYTES)
        if config.evaluate.source == "holdout":
            seconds += graph.edges * _SPLIT_EDGE
            task_bytes = max(task_bytes, min(graph.edges, _FILE_EDGES) * _SPLIT_EDGE_BYTES)
        return StageCost(seconds, 1, task_bytes)
    far = _FAR_NUMBERED_EDGE * _share_in_memory(graph.nodes, _LOOKED_UP_NODE_BYTES)
    seconds = graph.edges * (_NUMBERED_EDGE + far) + graph.nodes * _NUMBERED_NODE
    if config.evaluate.source == "holdout":
        seconds += graph.edges * _SPLIT_EDGE
    seconds *= _TEXT if run.is_text else 1.0
    if run.engine == "spark":
        return StageCost(_SHUFFLED_EDGES[run.is_text] * seconds, run.size.tasks, _MOVED_BYTES)
    # Ends are added up by threads of one process, one type after the other, so many at a time; then nodes are sorted.
    ends = graph.edges * (2 if config.input.is_plain else 1)
    types = 1 if config.input.is_plain else 2
    shares = max(1, math.ceil(ends / _REPEATING_ROWS))
    seconds += types * (shares - 1) * ends * _END_READ_AGAIN
    waiting = math.ceil(ends / shares) * (_WAITING_END_BYTES + graph.id_bytes)
    shuffle_bytes = max(waiting, graph.nodes * (_NUMBERED_NODE_BYTES + graph.id_bytes))
    task_bytes = min(graph.nodes, _FILE_NODES) * _NODE_FILE_BYTES
    if config.evaluate.source == "holdout":
        task_bytes = max(task_bytes, min(graph.edges, _FILE_EDGES) * _SPLIT_EDGE_BYTES)
    return StageCost(seconds, max(run.size.tasks, run.slots), task_bytes, shuffle_bytes)


def _partition(config: PipelineConfig, run: RunCounts) -> StageCost:
    parts, graph = run.prices.cut.parts, run.graph
    if parts == 1:
        return StageCost(0.0, 1)
    if is_cut_wide(config, graph):
        return _wide_partition(config, graph)
    pieces = [1, *expected_levels(config, graph)[:-1]]  # that each level cuts
    far = [_FAR_CUT_EDGE * _share_in_memory(graph.nodes / count, _LABEL_BYTES) for count in pieces]
    levels = [graph.edges * (_CUT_EDGE + more) for more in far]
    wall = levels[0] + sum(levels[1:]) / min(max(run.slots, 1), parts)  # the whole graph is one task
    return StageCost(sum(levels), parts, graph.edges * _CUT_EDGE_BYTES, wall_seconds=wall)


def _wide_partition(config: PipelineConfig, graph: GraphCounts) -> StageCost:
    """Return the cost of a cut by waves of tasks over blocks, whose levels end where a graph fits one task."""
    worker_bytes, entries = config.partition.worker_bytes, 2 * graph.edges
    seconds = entries * (_RANGED_ENTRY + _FAR_ENTRY * _share_in_memory(graph.nodes, _LABEL_BYTES))
    left = 1.0
    while config.partition.method != "hash":
        seconds += left * entries * _LEVEL_ENTRY
        left *= _ENTRIES_LEFT
        if cut_bytes(math.ceil(left * graph.nodes), math.ceil(left * graph.edges)) <= worker_bytes:
            break
    return StageCost(seconds, blocks_of_cut(graph.nodes, graph.edges, worker_bytes), worker_bytes)


def _share_in_memory(nodes: float, node_bytes: int) -> float:
    return 1.0 - min(1.0, CACHE_BYTES / max(node_bytes * nodes, 1))


def _layout(run: RunCounts) -> StageCost:
    cut = run.prices.cut
    is_near = run.graph.nodes <= _NEAR_NODES
    entries, rows = sum(cut.entries), sum(cut.rows)
    seconds = entries * (_LAID_ENTRY_NEAR if is_near else _LAID_ENTRY) + rows * _LAID_ROW
    task_bytes = max(cut.entries, default=0) // 2 * _LAID_EDGE_BYTES
    if cut.parts > 1:  # edges are dealt out to parts first
        seconds *= _DEALT
        dealt = min(run.graph.edges, _FILE_EDGES) * _DEALT_EDGE_BYTES
        copies = run.graph.nodes if run.graph.nodes > _FILE_NODES else 0
        seconds += copies * math.ceil(run.graph.edges / _FILE_EDGES) * _COPIED_NODE
        task_bytes = max(task_bytes, dealt + copies * _COPIED_NODE_BYTES)
    return StageCost(seconds, cut.parts, task_bytes)


def _embed(run: RunCounts) -> StageCost:
    own_price = run.prices.own_price
    wall = own_price.wall_seconds + run.more_seconds / max(run.slots, 1)
    return StageCost(
        own_price.cpu_seconds + run.more_seconds,
        own_price.tasks,
        max(own_price.task_bytes, run.more_bytes),
        wall_seconds=wall,
    )


def _aggregate(config: PipelineConfig, run: RunCounts) -> StageCost:
    width = 4 * _columns(config)
    gather_row = _GATHERED_ROW if run.prices.cut.parts > 1 else 0.0
    text = _PUBLISHED_TEXT if run.is_text else 0.0
    seconds = run.graph.nodes * (_PUBLISHED_ROW + gather_row + text + _PUBLISHED_BYTE * width)
    groups = _PUBLISHED_GROUPS
    if config.publish.compact != "none":
        seconds += run.graph.nodes * _columns(config) * _COMPACT_ENTRY
        groups = _COMPACT_GROUPS
    tasks, task_bytes = _files(config, run.graph), groups * _GROUP_ROWS * width
    if config.codes.of_vectors:
        seconds += vector_code_seconds(config, run.graph.nodes)
        task_bytes = max(task_bytes, vector_code_bytes(config, run.graph.nodes))
    if config.interests.clusters:
        rows = interest_rows(config, run.graph)
        seconds += run.graph.edges * (_INTEREST_EDGE + _INTEREST_BYTE * width) + rows * _INTEREST_BYTE * width
        group_edges = run.graph.edges * _GROUP_ROWS // max(rows, 1)
        task_bytes = max(task_bytes, _INTEREST_GROUPS * _GROUP_ROWS * width + group_edges * _INTEREST_EDGE_BYTES)
    if config.embedding.compatibility is not None:
        rows_of_fit = min(run.graph.edges, MOST_PAIRS) + min(run.graph.nodes, 2 * MOST_NODES)
        seconds += rows_of_fit * _columns(config) ** 2 * _FITTED_FLOP
        seconds += run.graph.nodes * (gather_row + _PUBLISHED_BYTE * width)
        gathered_rows = min(run.graph.nodes, 2 * (MOST_PAIRS + MOST_NODES))
        task_bytes = max(task_bytes, 2 * gathered_rows * width)
    if config.cold_types:
        # Rows are made again for the map, and twice for their norm: of the sources, and of the targets that are ranked.
        passes = 2 * (config.cold_start.norm is None) + (config.cold_start.rows == "map")
        seconds += run.graph.nodes * passes * (gather_row + _PUBLISHED_BYTE * width)
        if config.cold_start.norm is None:
            lists = min(MOST_SOURCES, run.graph.nodes)
            seconds += 2 * lists * run.graph.targets * _columns(config) * _RANKED_FLOP + run.graph.edges * _READ_EDGE
        if config.cold_start.rows == "map":
            seconds += _FITTED_FLOP * HASHED_COLUMNS**2 * (_columns(config) + HASHED_COLUMNS / 3)
            task_bytes = max(task_bytes, 4 * 8 * HASHED_COLUMNS**2 + _GROUP_ROWS * width)
    if walks := walk_cost(config, run.graph):
        seconds += walks.cpu_seconds
        tasks, task_bytes = max(tasks, walks.tasks), max(task_bytes, walks.task_bytes)
    return StageCost(seconds, tasks, task_bytes)


def _evaluate(config: PipelineConfig, run: RunCounts) -> StageCost:
    graph, columns, evaluate = run.graph, _columns(config), config.evaluate
    types = 1 if config.input.is_plain else 2
    seconds = types * min(graph.nodes, _SAMPLED_ROWS) * columns**2 * _SAMPLED_FLOP + graph.nodes * _READ_ROW
    if evaluate.source == "none" or (evaluate.source == "next_day" and not run.has_release):
        return StageCost(seconds, 1, _SCORING_BYTES)
    sources = graph.nodes if config.input.is_plain else graph.nodes - graph.targets
    share = evaluate.holdout_users if evaluate.source == "holdout" else _SOURCES_WITH_NEW_PAIRS
    scored_sources = sources if evaluate.source == "file" else math.ceil(share * sources)
    ranked_sources = min(scored_sources, evaluate.most_ranked)
    lists = ranked_sources
    if config.interests.clusters:
        lists += min(ranked_sources, _INTEREST_SOURCES) * _INTEREST_LENGTHS * (1 + config.interests.per_source)
    seconds += 2 * lists * graph.targets * columns * _RANKED_FLOP + graph.edges * _READ_EDGE
    score_bytes = graph.nodes * (_SCORED_ROW_BYTES + graph.id_bytes)
    score_bytes += math.ceil(graph.edges * scored_sources / max(sources, 1)) * _SCORED_EDGE_BYTES
    return StageCost(seconds, 1, _SCORING_BYTES + score_bytes)


def _columns(config: PipelineConfig) -> int:
    return 0 if config.embedding.method == "none" else config.embedding.dim


def _files(config: PipelineConfig, graph: GraphCounts) -> int:
    return math.ceil(graph.nodes / config.publish.rows_per_file)
