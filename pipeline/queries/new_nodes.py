"""Rows of nodes that came after a release, from their attributes alone: as its run would have made them.

A release's manifest keeps the config and the figures of every stage, and they are all it takes, but for a map of
attributes, which is a table of the run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import codec, storage
from pipeline.blocks.arrays import Features
from pipeline.config.model import PipelineConfig
from pipeline.embedding.attribute_rows import rows_of_attributes, types_that_start
from pipeline.embedding.cold_rows import mapped_rows, read_map
from pipeline.embedding.methods import METHODS
from pipeline.embedding.rows import ColumnSums
from pipeline.embedding.run_settings import settings_of
from pipeline.embedding.settings import Settings
from pipeline.errors import ConfigError, InputError
from pipeline.ingest.attributes.features import Spread, features_of, one_row_a_node
from pipeline.ingest.attributes.rows import AttributeRules, parse_attributes
from pipeline.ingest.pieces import split_tasks
from pipeline.ingest.sources import list_sources
from pipeline.ingest.text.formats import TextFormat
from pipeline.kernels.compatibility import fold_matrix
from pipeline.locations import Location
from pipeline.queries.released_run import ReleasedRun, config_of, other_version, read_release, run_of
from pipeline.release_tables.vector_space import published_space, read_matrix
from schemas.tables import ATTRIBUTE_MAP

_NAMED = 10  # rejected rows in an error


@dataclass(frozen=True)
class NewNodes:
    """Nodes by id, a row each, and the rows of the file that say nothing usable."""

    node_id: list[str]
    rows: NDArray[np.float32]  # (n, dim)
    rejected_rows: list[dict[str, Any]]  # of the table of rejected attributes


def rows_of_new_nodes(folder: Location, node_type: str, path: str) -> NewNodes:
    """Return the row of every node in a file of attributes: what the release holds of nodes without edges.

    Parameters
    ----------
    folder : of the release.
    path : file, folder or glob, with the columns of the release's [attributes.<node_type>].

    Raises
    ------
    ConfigError : rows of this type don't follow from attributes, or not from what is left of the release's run.
    InputError : the file can't be read, lacks a column, or has no usable row.
    """
    release = read_release(folder)
    config = config_of(release)
    is_mapped = config.cold_start.rows == "map" and node_type in config.cold_types
    if not is_mapped:
        _refuse_without_rows(config, node_type, release["release"])
    run = run_of(folder, release)
    section, about = config.attributes[node_type], run.manifest("edges").figures["attributes"][node_type]
    rules = AttributeRules(
        node_type,
        section.id,
        separator=section.separator,
        text=TextFormat.from_keys(section.model_dump()),
        **{kind: tuple(names) for kind, names in about["columns"].items()},
    )
    rows, rejected_rows = _read(path, rules)
    spreads = {name: Spread(**raw) for name, raw in about["statistics"].items()}
    features = features_of(rows, rules, about["weights"], spreads)
    norm = run.manifest(ATTRIBUTE_MAP.name).figures.get("norms", {}).get(node_type, 1.0)
    if is_mapped:
        vectors = mapped_rows(features, _map_of(run, node_type, release["release"]), norm)
        vectors[features.counts == 0] = 0.0
    else:
        vectors = _own_rows(features, config, run, release, node_type)
        vectors *= np.float32(norm)
    return NewNodes(rows["node_id"].to_pylist(), vectors, rejected_rows)


def _own_rows(
    features: Features, config: PipelineConfig, run: ReleasedRun, release: Mapping[str, Any], node_type: str
) -> NDArray[np.float32]:
    """Return the rows that the release's method gives nodes without edges."""
    settings = settings_of(config, run)
    if published_space(settings, run, release["metadata"]) != release["metadata"]["space_id"]:
        raise other_version(release)
    nodes = [node_set["nodes"] for node_set in run.manifest("block_nodes").figures["sets"]]
    rows = rows_of_attributes(features, settings, _sums_of(run, settings, release["release"]), nodes)
    matrix = read_matrix(release["metadata"])
    if matrix is not None and node_type in config.sides.columns:
        fold_matrix(rows, matrix)
    return rows


def _map_of(run: ReleasedRun, node_type: str, name: str) -> NDArray[np.float64]:
    """Return the map from hashed attributes to rows of a type."""
    table = ATTRIBUTE_MAP.name
    if run.working(table) is None:
        raise ConfigError(
            f"release {name} has cold_start.rows 'map', and the map is not kept (looked in {run.folder(table)}); add "
            "the nodes to the file of [attributes] and run, or keep the tables of more dates (publish.keep_runs)"
        )
    for file in run.with_tables().files(table):
        if storage.map_arrow(file)["node_type"][0].as_py() == node_type:
            return read_map(file)
    raise ConfigError(
        f"release {name} has no map for nodes of type '{node_type}': none had attributes and edges; add the nodes to "
        "the file of [attributes] and run"
    )


def rejection(row: Mapping[str, Any]) -> str:
    """Return a rejected row in words."""
    node = "" if row["node_id"] is None else f" (id {row['node_id']})"
    return f"{row['file']} row {row['row']}{node}: {row['reason']}"


def _read(path: str, rules: AttributeRules) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Return one row a node, by id, and the rejected rows as they stand in the files."""
    batches, rejected_rows = [], []
    for task in split_tasks(list_sources(path, key="--attributes")):
        for batch in parse_attributes(task, rules):
            batches.append(batch.rows)
            rejected_rows += batch.rejections.to_pylist()
    rows, in_conflict = one_row_a_node(pa.Table.from_batches(batches, rules.schema), rules)
    rejected_rows = sorted([*rejected_rows, *in_conflict], key=lambda row: (row["file"], row["row"]))
    if rows.num_rows:
        return rows, rejected_rows
    if not rejected_rows:
        raise InputError(f"the attributes {path} have no rows; check --attributes")
    examples = "; ".join(rejection(row) for row in rejected_rows[:_NAMED])
    more = f"; and {len(rejected_rows) - _NAMED:,} more" if len(rejected_rows) > _NAMED else ""
    raise InputError(f"no row of {path} is usable: {examples}{more}. Repair the rows and ask again")


def _refuse_without_rows(config: PipelineConfig, node_type: str, name: str) -> None:
    starting, able = types_that_start(config), next(spec for spec in METHODS.values() if spec.attributes_of == "all")
    if not starting:
        raise ConfigError(
            f"release {name} has embedding.method '{config.embedding.method}', which ignores attributes; give "
            f"--neighbors, or embed with method = '{able.method}'"
        )
    if config.embedding.attribute_share == 0:
        raise ConfigError(
            f"release {name} has embedding.attribute_share 0: its attributes are without effect; give --neighbors, or "
            "run with a share above 0"
        )
    if node_type not in starting:
        raise ConfigError(
            f"nodes of type '{node_type}' have no rows from attributes in release {name}: '{config.form}' starts from "
            f"nodes of type '{config.input.target_type}' only; give --neighbors, or embed with form = "
            f"'{able.choice}'"
        )
    if node_type not in config.attributes:
        raise ConfigError(
            f"release {name} was made without attributes of type '{node_type}'; add [attributes.{node_type}] to the "
            "config and run, or give --neighbors"
        )


def _sums_of(run: ReleasedRun, settings: Settings, name: str) -> ColumnSums | None:
    """Return what columns are standardised by, which a release doesn't keep."""
    if not settings.embedding.standardize_columns:
        return None
    part_rows = run.working("part_rows")
    if (
        part_rows is None or part_rows.figures["sums"] is None
    ):  # of several sets of blocks they are sums of combined rows
        raise ConfigError(
            f"release {name} has embedding.standardize_columns, and what its columns were standardised by is not "
            f"kept (looked in {run.folder('part_rows')}); add the nodes to the file of [attributes] and run, or "
            "embed with standardize_columns = false"
        )
    return codec.from_values(ColumnSums, part_rows.figures["sums"])
