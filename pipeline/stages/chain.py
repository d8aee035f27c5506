"""The eight stages in the order of the data flow: what each reads, what it writes, what sets its result.

A table is looked up by its chain of fingerprints, never as "the newest": the fingerprint of a stage is a hash of
the configuration it reads, of its own version, of the contracts it writes and of its inputs' fingerprints.
"""

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from typing import Any

import pyarrow as pa

from pipeline.config.embedding import EmbeddingConfig
from pipeline.config.model import PipelineConfig
from pipeline.embedding.methods import METHODS
from pipeline.planning.sizes import held_columns
from pipeline.release_tables.published_tables import PUBLISHED_TABLES
from pipeline.release_tables.walked_graph import WalkRequest
from pipeline.storage import fingerprint_of
from schemas import tables
from schemas.contracts import TableContract


@dataclass(frozen=True)
class Stage:
    """A stage's place in the chain."""

    name: str
    inputs: tuple[str, ...]
    writes: tuple[TableContract, ...]
    reads_config: Callable[[PipelineConfig], Any]  # what of the configuration sets the result
    algorithm_version: int  # raised by hand when the same config gives another result


def _part_of(section: str, *, without: frozenset[str] = frozenset()) -> Callable[[PipelineConfig], Any]:
    def read(config: PipelineConfig) -> Any:
        return getattr(config, section).model_dump(mode="json", exclude=set(without))

    return read


def _input(config: PipelineConfig) -> Any:
    # Paths are not part of the result: the files' digests are.
    # Nor is which part of them a night reads.
    # The name is for people; the strengths count where the relations are joined.
    interactions: Any = config.input.model_dump(mode="json", exclude={"name", "path", "late_days", "late_change"})
    further_relations = [
        relation.model_dump(mode="json", exclude={"path", "strength", "late_days", "late_change"})
        for relation in config.all_relations[1:]
    ]
    if further_relations:
        interactions = [interactions, further_relations, sorted(config.numbered_types)]
    if not config.attributes:
        return interactions
    attributes = {
        name: attribute_config.model_dump(mode="json", exclude={"path", "strength"})
        for name, attribute_config in config.attributes.items()
    }
    return [interactions, attributes]


def _partition(config: PipelineConfig) -> Any:
    # What a task holds of a row counts where leaves are cut by bytes. Components are the same whoever finds them.
    width = None if config.partition.parts else held_columns(config)
    return [config.partition.model_dump(mode="json", exclude={"components", "graphframes_jar"}), width]


def _layout(config: PipelineConfig) -> Any:
    # Only modes that leave something out, or copy more in, lay blocks out differently.
    embedding = config.embedding
    strengths = list(config.strengths)
    if len(strengths) > 1:
        return [strengths, _boundary(embedding)]
    return _boundary(embedding)


def _boundary(embedding: EmbeddingConfig) -> Any:
    if embedding.boundary == "exchange":
        return None
    # A border graph is cut where its rows, as wide as they are, take more bytes than a leaf may.
    width = embedding.dim if embedding.boundary == "border" else None
    return [embedding.boundary, embedding.halo_hops if embedding.boundary == "halo" else None, width]


def _embedding(config: PipelineConfig) -> Any:
    # Shards change no bit of the result. Rows are aligned, and a matrix folded in, when they are aggregated.
    return config.embedding.model_dump(mode="json", exclude={"shards", "align", "compatibility"})


def _rows(config: PipelineConfig) -> Any:
    rows = [_embedding(config), config.publish.fold_in, _ppr(config)]
    if config.codes.of_graph:
        rows.append(config.codes.keys())
    return [*rows, {"interests": config.interests.clusters}] if config.interests.clusters else rows


def _ppr(config: PipelineConfig) -> Any:
    # Of the file of sources its digest counts; what nobody asks for doesn't.
    of_lists = {"shards", "sources", "hash_columns", "index_walks", "walk_index"}
    left_out = config.publish.exclude_ids.get(config.listed_type, ())
    keys = config.list_keys.model_dump(mode="json", exclude=of_lists)
    return {
        # What is left out of the published lists makes those before it longer.
        "lists": [keys, len(left_out)] if config.makes_lists else 0,
        "vectors": {name: getattr(config.ppr, name) for name in METHODS[config.form].space_of_ppr},
    }


def _holdout(config: PipelineConfig) -> Any:
    evaluate = config.evaluate
    if evaluate.source != "holdout":
        return None
    return [evaluate.holdout_users, evaluate.holdout_pairs, evaluate.holdout_edges, evaluate.seed]


def _tables(config: PipelineConfig) -> Any:
    publish = config.publish
    return {
        "tables": [table.name for table in PUBLISHED_TABLES if table.is_wanted(config)],
        "embedding": [_rows(config), config.embedding.align],
        **({"node_types": list(config.published_types)} if publish.node_types else {}),
        **({"cold_start": config.cold_start.model_dump(mode="json")} if config.cold_types else {}),
        **({} if (ridge := config.embedding.compatibility) is None else {"compatibility": ridge}),
        "rows_per_file": publish.rows_per_file,
        "exclude_ids": {node_type: list(ids) for node_type, ids in publish.exclude_ids.items()},
        **({"event_timestamp": True} if publish.event_timestamp else {}),
        **({"interests": config.interests.model_dump(mode="json")} if config.interests.clusters else {}),
        **({"codes": config.codes.keys()} if config.codes.of_vectors else {}),
        **({"walk_index": astuple(WalkRequest.of(config))} if config.ppr.walk_index else {}),
    }


#: Keys of ``[publish]`` that change nothing of what is published.
_OF_NO_RESULT = frozenset({"to", "report", "person_types"})

#: Tables without a width of their own stand here with width 1: names and versions are what counts.
_PART_ROWS = TableContract("part_rows", 2, tables.row_schema(1), ("node_ix",), file_format="arrow")
_FOLD_IN_ROWS = TableContract("fold_in_rows", 2, tables.row_schema(1), ("node_ix",), file_format="arrow")
_SUBSPACE_ROWS = TableContract("subspace_rows", 1, tables.row_schema(1), ("node_ix",), file_format="arrow")
_METRICS = TableContract("metrics", 1, pa.schema([]), (), file_format="json")
_RELEASE = TableContract("release", 1, pa.schema([]), (), file_format="json")

STAGES: tuple[Stage, ...] = (
    Stage(
        "ingest",
        (),
        (
            *(tables.EDGES, tables.DECAYED, tables.REJECTED, tables.DAY_SUMS, tables.NIGHT_SUMS),
            *(tables.ATTRIBUTE_NODES, tables.ATTRIBUTE_FEATURES, tables.REJECTED_ATTRIBUTES),
        ),
        _input,
        3,
    ),
    Stage(
        "index",
        ("ingest",),
        (
            *(tables.NODE_INDEX, tables.NODE_ARRAYS, tables.MAIN_NODES, tables.NODE_FEATURES),
            *(tables.INDEXED_EDGES, tables.HOLDOUT),
        ),
        _holdout,
        1,
    ),
    Stage("partition", ("index",), (tables.PARTITION_TREE, tables.NODE_PARTS), _partition, 1),
    Stage(
        "layout",
        ("index", "partition"),
        (
            *(tables.JOINED_EDGES, tables.JOINED_NODES, tables.KEPT_WEIGHTS, tables.BLOCK_FEATURES),
            *(tables.BLOCK_NODES, tables.BLOCK_EDGES, tables.BLOCK_ROUTES),
        ),
        _layout,
        1,
    ),
    Stage(
        "embed",
        ("index", "layout"),
        (
            *(_PART_ROWS, _FOLD_IN_ROWS, _SUBSPACE_ROWS),
            *(tables.NEIGHBOR_LISTS, tables.NODE_CLUSTERS, tables.CLUSTER_CODES),
            *(tables.INTEREST_CLUSTERS, tables.LIKE_SHARES),
        ),
        _rows,
        2,
    ),
    Stage(
        "aggregate",
        ("index", "partition", "embed"),
        (
            *(tables.ATTRIBUTE_MAP, tables.ROW_CLUSTERS, tables.ROW_CLUSTER_CODES),
            *(table.contract(1) for table in PUBLISHED_TABLES),
        ),
        _tables,
        1,
    ),
    Stage(
        "evaluate", ("ingest", "index", "aggregate"), (_METRICS,), _part_of("evaluate", without=frozenset({"path"})), 5
    ),
    Stage("publish", ("aggregate", "evaluate"), (_RELEASE,), _part_of("publish", without=_OF_NO_RESULT), 1),
)

STAGE_NAMES: tuple[str, ...] = tuple(stage.name for stage in STAGES)

#: Which stage makes a table.
MAKER: Mapping[str, str] = {contract.name: stage.name for stage in STAGES for contract in stage.writes}


def fingerprints(config: PipelineConfig, date: str, digests: Mapping[str, str | None]) -> dict[str, str]:
    """Return the fingerprint of every stage.

    ``digests`` holds what the outside world adds to a stage: the digest of all files of the input under "ingest",
    of the chosen sources under "embed", of the pairs to score under "evaluate", the baseline under "aggregate".
    """
    by_stage: dict[str, str] = {}
    for stage in STAGES:
        by_stage[stage.name] = fingerprint_of(
            {
                "stage": stage.name,
                "version": stage.algorithm_version,
                "contracts": {contract.name: contract.version for contract in stage.writes},
                "config": stage.reads_config(config),
                "inputs": [by_stage[name] for name in stage.inputs],
                "date": date,
                "digest": digests.get(stage.name),
            }
        )
    return by_stage


def stages_before(name: str) -> set[str]:
    """Return the names of all stages that a stage's result depends on."""
    inputs = stage_named(name).inputs
    return set(inputs).union(*(stages_before(earlier) for earlier in inputs))


def stage_named(name: str) -> Stage:
    """Return a stage by its name."""
    return next(stage for stage in STAGES if stage.name == name)
