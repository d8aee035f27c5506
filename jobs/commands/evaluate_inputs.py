"""What a report on vectors is made from: the table, its test and train pairs, labels, another release."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.commands.evaluate_pairs import NOTHING_LEFT_OUT, PairIds, read_pair_sources, report_config
from jobs.commands.evaluate_tables import TableFiles, about_table, find_table, read_table, table_at
from pipeline.errors import ConfigError, InputError
from pipeline.evaluation.table import Pairs
from pipeline.ingest.id_match import match_ids, why_no_match
from pipeline.ingest.parse import ParseRules
from pipeline.ingest.pieces import split_tasks
from pipeline.ingest.sources import list_sources
from pipeline.metrics.scored_tables import ScoredTable, judge_pair_ids, read_pairs
from pipeline.publishing.listing import releases

log = logging.getLogger(__name__)

_MOST_LABELS = 2_000


@dataclass(frozen=True, eq=False)
class LabelledNodes:
    """Labelled nodes: positions in the table, (nodes, labels) bool, and how many the table does not have."""

    node_type: str
    node: NDArray[np.int64]
    of: NDArray[np.bool_]
    unknown: int


@dataclass(frozen=True, eq=False)
class OtherRelease:
    """Another release: by type, positions of the nodes that both have, there and here."""

    about: Mapping[str, Any]
    scored: ScoredTable
    common: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]
    is_one_space: bool


@dataclass(frozen=True, eq=False)
class VectorInputs:
    """All that a report on vectors needs. ``about`` and ``notes`` go into it; what is None is not there."""

    about: Mapping[str, Any]
    notes: Sequence[str]
    scored: ScoredTable
    train: Pairs | None
    test: Pairs | None
    labels: LabelledNodes | None
    other: OtherRelease | None
    seed: int


def read_inputs(options: argparse.Namespace) -> VectorInputs:
    """Find and read what the options name.

    Raises
    ------
    ConfigError : options that don't fit each other, no such release, type or config.
    InputError : a file that is missing, or holds something else.
    """
    files = find_table(options)
    config = report_config(options, files)
    scored = read_table(files, config, options.similarity)
    sources = read_pair_sources(options, files, config)
    notes, test = sources.notes, None
    if sources.test is not None:
        test = scored.pairs(sources.test)
        _judge_ids(sources.test, scored, str(sources.about_test), notes)
        _refuse_strangers(test, scored, str(sources.about_test))
    train_ids, about_train = sources.read_train(options.train)
    train = None
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
        scored,
        train,
        test,
        None if options.labels is None else _read_labels(options, scored),
        None if options.against is None else _read_other(options, files, scored, config),
        sources.seed,
    )


def _judge_ids(pairs: PairIds, scored: ScoredTable, what: str, notes: list[str]) -> None:
    types = scored.table.source, scored.table.target
    warning = judge_pair_ids(pairs, (scored.ids[types[0]], scored.ids[types[1]]), types, what)
    if warning is not None:
        notes.append(warning)


def _refuse_strangers(test: Pairs, scored: ScoredTable, place: str) -> None:
    if not ((test.src >= 0) & (test.dst >= 0)).any():
        table = scored.table
        ends = f"{int((test.src >= 0).sum())} as {table.source}, {int((test.dst >= 0).sum())} as {table.target}"
        raise InputError(
            f"of the {test.src.size} pairs of {place}, the table knows {ends}, and no pair by both ends; are source "
            "and target swapped, or ids spelt in another way?"
        )


def _read_labels(options: argparse.Namespace, scored: ScoredTable) -> LabelledNodes:
    table = scored.table
    node_type = options.type or table.source
    if node_type not in table.ranges:
        raise ConfigError(f"--type is '{node_type}'; the table has nodes of type {', '.join(table.ranges)}")
    label_column = options.label_column or "label"
    path = str(options.labels)
    try:
        rules = ParseRules(source=options.label_node or "node", target=label_column)
        (ids, label), rejected = read_pairs(split_tasks(list_sources(path)), rules, most_rejected=1.0)
    except InputError as error:
        text = str(error).replace("(input.source)", "(--label-node names it)")
        raise InputError(text.replace("(input.target)", "(--label-column names it)")) from error
    if rejected:
        log.warning("warning: of --labels %s, %s", path, rejected)
    at = scored.find(ids, node_type)
    is_known = at >= 0
    match = match_ids(ids, scored.ids[node_type])
    if match.is_no_match:
        reason = why_no_match(ids, scored.ids[node_type], of_persons=node_type == table.source)
        raise InputError(f"{match.describe(f'--labels {path}, as {node_type},')}; is --type right? {reason}")
    label = label.filter(pa.array(is_known))
    names = pc.array_sort_indices(unique := pc.unique(label))
    if len(unique) > _MOST_LABELS:
        raise InputError(
            f"--labels {path} has {len(unique)} different labels in '{label_column}'; at most {_MOST_LABELS} are "
            "taken: is it a column of classes?"
        )
    node, row = np.unique(at[is_known], return_inverse=True)
    of = np.zeros((node.size, len(unique)), np.bool_)
    of[row, pc.index_in(label, unique.take(names)).to_numpy()] = True
    return LabelledNodes(node_type, node, of, np.unique(at[~is_known]).size)


def _read_other(
    options: argparse.Namespace, files: TableFiles, scored: ScoredTable, config: Mapping[str, Any]
) -> OtherRelease:
    path = Path(options.against)
    if files.root is not None and files.manifest is not None:
        name = str(files.manifest.get("name", "default"))
        folders = {one.release: one.path for one in releases(files.root, name)}
        path = folders.get(options.against, path)
        if not path.exists():
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
        raise InputError(f"{files.place} and {other.place} have no node in common; are they of one kind of ids?")
    spaces = files.metadata.get("space_id"), other.metadata.get("space_id")
    about = {"release": other.place, "data_date": other.metadata.get("data_date"), "space_id": spaces[1]}
    return OtherRelease(about, there, common, spaces[0] is not None and spaces[0] == spaces[1])
