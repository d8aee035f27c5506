"""What a report on vectors is made from: the table, its test and train pairs, labels, another release."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graphquilt.code_table import CodeTable
from graphquilt.locate import CODES
from graphquilt.locations import parse_location
from jobs.commands.evaluate_pairs import NOTHING_LEFT_OUT, PairIds, PairSources, read_columns
from jobs.commands.evaluate_tables import TableFiles, about_table, read_table, table_at
from pipeline import storage
from pipeline.errors import ConfigError, InputError
from pipeline.evaluation.table import Pairs, Table
from pipeline.ingest.id_match import match_ids, why_no_match
from pipeline.ingest.parse import ParseRules
from pipeline.locations import Location
from pipeline.metrics.scored_tables import ScoredTable, judge_pair_ids, label_matrix
from pipeline.publishing.listing import releases

_MOST_LABELS = 2_000


@dataclass(frozen=True, eq=False)
class LabelledNodes:
    """Positions of labelled nodes in the table, their labels, (nodes, labels) bool, and how many the table lacks.

    code : (nodes, levels) int32, NO_CODE of a node without; None where the release has no codes.
    """

    node_type: str
    node: NDArray[np.int64]
    labels: NDArray[np.bool_]
    unknown_nodes: int
    code: NDArray[np.int32] | None


@dataclass(frozen=True, eq=False)
class OtherRelease:
    """Another release: by type, positions of the nodes that both have, there and here."""

    about: Mapping[str, Any]
    table: Table
    common: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]
    is_one_space: bool


@dataclass(frozen=True, eq=False)
class VectorInputs:
    """All that a report on vectors needs. ``about`` and ``notes`` go into it; what is None is not there."""

    about: Mapping[str, Any]
    notes: Sequence[str]
    table: Table
    train: Pairs | None
    test: Pairs | None
    labels: LabelledNodes | None
    rival: OtherRelease | None
    seed: int


def read_inputs(options: argparse.Namespace, files: TableFiles, sources: PairSources) -> VectorInputs:
    """Read a table of vectors and what the options name beside it.

    Raises
    ------
    ConfigError : options that don't fit each other, no such release, type or config.
    InputError : a file that is missing, or holds something else.
    """
    scored_table = read_table(files, sources.config, options.similarity)
    notes, test, train = sources.notes, None, None
    if sources.test is not None:
        test = scored_table.pairs(sources.test)
        _judge_ids(sources.test, scored_table, str(sources.about_test), notes)
        _require_known_pair(test, scored_table, str(sources.about_test))
    train_ids, about_train = sources.read_train(options.train)
    if train_ids is not None:
        if options.train is not None:
            _judge_ids(train_ids, scored_table, f"--train {about_train}", notes)
        train = scored_table.pairs(train_ids)
        if sources.held_out is not None and options.train is None:  # the edges table still has them
            train = train.without(scored_table.pairs(sources.held_out), scored_table.table)
        train = train.with_rows(scored_table.table)
    elif test is not None:
        notes.append(NOTHING_LEFT_OUT)
    return VectorInputs(
        {**about_table(files, scored_table), "test_pairs": sources.about_test, "train_pairs": about_train},
        notes,
        scored_table.table,
        train,
        test,
        None if options.labels is None else _read_labels(options, files, scored_table),
        None if options.against is None else _read_other(options, files, scored_table, sources.config),
        sources.seed,
    )


def _judge_ids(pairs: PairIds, scored_table: ScoredTable, subject: str, notes: list[str]) -> None:
    types = scored_table.table.source, scored_table.table.target
    warning = judge_pair_ids(pairs, (scored_table.ids[types[0]], scored_table.ids[types[1]]), types, subject)
    if warning is not None:
        notes.append(warning)


def _require_known_pair(test: Pairs, scored_table: ScoredTable, address: str) -> None:
    if not test.between_rows().src.size:
        table = scored_table.table
        ends = f"{int((test.src >= 0).sum())} as {table.source}, {int((test.dst >= 0).sum())} as {table.target}"
        raise InputError(
            f"of the {test.src.size} pairs of {address}, the table knows {ends}, and no pair by both ends; are source "
            "and target swapped, or ids spelt in another way?"
        )


def _read_labels(options: argparse.Namespace, files: TableFiles, scored_table: ScoredTable) -> LabelledNodes:
    table = scored_table.table
    node_type = options.type or table.source
    if node_type not in table.ranges:
        raise ConfigError(f"--type is '{node_type}'; the table has nodes of type {', '.join(table.ranges)}")
    label_column, path = options.label_column or "label", str(options.labels)
    rules = ParseRules(source=options.label_node or "node", target=label_column)
    roles = {"source": "(--label-node names it)", "target": "(--label-column names it)"}
    ids, label = read_columns(path, rules, 1.0, "labels", roles)
    at = scored_table.find(ids, node_type)
    is_known = at >= 0
    match = match_ids(ids, scored_table.ids[node_type])
    if match.is_no_match:
        reason = why_no_match(ids, scored_table.ids[node_type], of_persons=node_type == table.source)
        raise InputError(f"{match.describe(f'--labels {path}, as {node_type},')}; is --type right? {reason}")
    label = label.filter(pa.array(is_known))
    different = pc.count_distinct(label).as_py()
    if different > _MOST_LABELS:
        raise InputError(
            f"--labels {path} has {different} different labels in '{label_column}'; at most {_MOST_LABELS} are "
            "taken: is it a column of classes?"
        )
    node, labels, _ = label_matrix(at[is_known], label)
    code = _read_codes(files, node_type, scored_table.ids[node_type].take(node - table.ranges[node_type][0]))
    return LabelledNodes(node_type, node, labels, np.unique(at[~is_known]).size, code)


def _read_codes(files: TableFiles, node_type: str, ids: pa.Array) -> NDArray[np.int32] | None:
    """Return the codes of nodes in the table's own release; None if it has none."""
    if not any(entry["name"].startswith(f"{CODES}/") for entry in (files.manifest or {}).get("files", ())):
        return None
    with CodeTable.open(files.files[0].parent.parent) as codes:
        return codes.lookup(ids, node_type).code


def _read_other(
    options: argparse.Namespace, files: TableFiles, scored_table: ScoredTable, config: Mapping[str, Any]
) -> OtherRelease:
    path: Location = parse_location(options.against)
    if files.root is not None and files.manifest is not None:
        name = str(files.manifest.get("name", "default"))
        folders = {release.release: release.path for release in releases(files.root, name)}
        path = folders.get(options.against, path)
        if not storage.names_in(path) and storage.size(path) is None:
            raise ConfigError(
                f"--against is '{options.against}', which is no path, and published as '{name}' there are "
                f"{', '.join(folders)}"
            )
    rival = table_at(path, "--against")
    rival_table = read_table(rival, config, options.similarity if "similarity" not in rival.metadata else None)
    common = {}
    for node_type, own in scored_table.ids.items():
        if node_type not in rival_table.ids:
            continue
        at = rival_table.find(own, node_type)
        known_rows = np.flatnonzero(at >= 0)
        common[node_type] = at[known_rows], known_rows + scored_table.table.ranges[node_type][0]
    if not any(known_rows.size for _, known_rows in common.values()):
        raise InputError(f"{files.address} and {rival.address} have no node in common; are they of one kind of ids?")
    spaces = files.metadata.get("space_id"), rival.metadata.get("space_id")
    about = {"release": rival.address, "data_date": rival.metadata.get("data_date"), "space_id": spaces[1]}
    return OtherRelease(about, rival_table.table, common, spaces[0] is not None and spaces[0] == spaces[1])
