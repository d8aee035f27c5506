"""What a report on vectors is made from: the table, its test and train pairs, labels, another release."""

from __future__ import annotations

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
    other: OtherRelease | None
    seed: int


def read_inputs(options: argparse.Namespace, files: TableFiles, sources: PairSources) -> VectorInputs:
    """Read a table of vectors and what the options name beside it.

    Raises
    ------
    ConfigError : options that don't fit each other, no such release, type or config.
    InputError : a file that is missing, or holds something else.
    """
    scored = read_table(files, sources.config, options.similarity)
    notes, test, train = sources.notes, None, None
    if sources.test is not None:
        test = scored.pairs(sources.test)
        _judge_ids(sources.test, scored, str(sources.about_test), notes)
        _require_known_pair(test, scored, str(sources.about_test))
    train_ids, about_train = sources.read_train(options.train)
    if train_ids is not None:
        if options.train is not None:
            _judge_ids(train_ids, scored, f"--train {about_train}", notes)
        train = scored.pairs(train_ids)
        if sources.held_out is not None and options.train is None:  # the edges table still has them
            train = train.without(scored.pairs(sources.held_out), scored.table)
        train = train.with_rows(scored.table)
    elif test is not None:
        notes.append(NOTHING_LEFT_OUT)
    return VectorInputs(
        {**about_table(files, scored), "test_pairs": sources.about_test, "train_pairs": about_train},
        notes,
        scored.table,
        train,
        test,
        None if options.labels is None else _read_labels(options, files, scored),
        None if options.against is None else _read_other(options, files, scored, sources.config),
        sources.seed,
    )


def _judge_ids(pairs: PairIds, scored: ScoredTable, what: str, notes: list[str]) -> None:
    types = scored.table.source, scored.table.target
    warning = judge_pair_ids(pairs, (scored.ids[types[0]], scored.ids[types[1]]), types, what)
    if warning is not None:
        notes.append(warning)


def _require_known_pair(test: Pairs, scored: ScoredTable, address: str) -> None:
    if not test.known().src.size:
        table = scored.table
        ends = f"{int((test.src >= 0).sum())} as {table.source}, {int((test.dst >= 0).sum())} as {table.target}"
        raise InputError(
            f"of the {test.src.size} pairs of {address}, the table knows {ends}, and no pair by both ends; are source "
            "and target swapped, or ids spelt in another way?"
        )


def _read_labels(options: argparse.Namespace, files: TableFiles, scored: ScoredTable) -> LabelledNodes:
    table = scored.table
    node_type = options.type or table.source
    if node_type not in table.ranges:
        raise ConfigError(f"--type is '{node_type}'; the table has nodes of type {', '.join(table.ranges)}")
    label_column, path = options.label_column or "label", str(options.labels)
    rules = ParseRules(source=options.label_node or "node", target=label_column)
    roles = {"source": "(--label-node names it)", "target": "(--label-column names it)"}
    ids, label = read_columns(path, rules, 1.0, "labels", roles)
    at = scored.find(ids, node_type)
    is_known = at >= 0
    match = match_ids(ids, scored.ids[node_type])
    if match.is_no_match:
        reason = why_no_match(ids, scored.ids[node_type], of_persons=node_type == table.source)
        raise InputError(f"{match.describe(f'--labels {path}, as {node_type},')}; is --type right? {reason}")
    label = label.filter(pa.array(is_known))
    different = pc.count_distinct(label).as_py()
    if different > _MOST_LABELS:
        raise InputError(
            f"--labels {path} has {different} different labels in '{label_column}'; at most {_MOST_LABELS} are "
            "taken: is it a column of classes?"
        )
    node, labels, _ = label_matrix(at[is_known], label)
    code = _read_codes(files, node_type, scored.ids[node_type].take(node - table.ranges[node_type][0]))
    return LabelledNodes(node_type, node, labels, np.unique(at[~is_known]).size, code)


def _read_codes(files: TableFiles, node_type: str, ids: pa.Array) -> NDArray[np.int32] | None:
    """Return the codes of nodes in the table's own release; None if it has none."""
    if not any(entry["name"].startswith(f"{CODES}/") for entry in (files.manifest or {}).get("files", ())):
        return None
    with CodeTable.open(files.files[0].parent.parent) as codes:
        return codes.lookup(ids, node_type).code


def _read_other(
    options: argparse.Namespace, files: TableFiles, scored: ScoredTable, config: Mapping[str, Any]
) -> OtherRelease:
    path: Location = parse_location(options.against)
    if files.root is not None and files.manifest is not None:
        name = str(files.manifest.get("name", "default"))
        folders = {one.release: one.path for one in releases(files.root, name)}
        path = folders.get(options.against, path)
        if not storage.names_in(path) and storage.size(path) is None:
            raise ConfigError(
                f"--against is '{options.against}', which is no path, and published as '{name}' there are "
                f"{', '.join(folders)}"
            )
    other = table_at(path, "--against")
    there = read_table(other, config, options.similarity if "similarity" not in other.metadata else None)
    common = {}
    for node_type, own in scored.ids.items():
        if node_type not in there.ids:
            continue
        at = there.find(own, node_type)
        here = np.flatnonzero(at >= 0)
        common[node_type] = at[here], here + scored.table.ranges[node_type][0]
    if not any(here.size for _, here in common.values()):
        raise InputError(f"{files.address} and {other.address} have no node in common; are they of one kind of ids?")
    spaces = files.metadata.get("space_id"), other.metadata.get("space_id")
    about = {"release": other.address, "data_date": other.metadata.get("data_date"), "space_id": spaces[1]}
    return OtherRelease(about, there.table, common, spaces[0] is not None and spaces[0] == spaces[1])
