"""What a report on a table is made from: the table, its test and train pairs, labels, another release."""

from __future__ import annotations

import argparse
import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.commands.evaluate_tables import FoundTable, about_table, find_table, read_table, table_at
from jobs.config_file import read_config
from pipeline.config.sections import InputConfig
from pipeline.errors import ConfigError, InputError
from pipeline.evaluation.table import Pairs
from pipeline.ingest.id_match import match_ids, why_no_match
from pipeline.ingest.parse import ParseRules
from pipeline.ingest.sources import list_sources, split_tasks
from pipeline.ingest.text_format import TextFormat
from pipeline.metrics.scored_tables import (
    ScoredTable,
    judge_pair_ids,
    read_edges,
    read_held_out,
    read_pairs,
    without,
)
from pipeline.publishing.listing import releases
from pipeline.stages.chain import MAKER
from pipeline.workspace import Workspace

log = logging.getLogger(__name__)

Ends = tuple[pa.Array, pa.Array]

_MOST_LABELS = 2_000
NOTHING_LEFT_OUT = (
    "nothing is left out of the lists: the release's run is not in a workspace here, and there is no --train. "
    "Train pairs stand in the places of test pairs, so figures are lower than they should be"
)


@dataclass(frozen=True, eq=False)
class Labels:
    """Labelled nodes: positions in the table, (nodes, labels) bool, and how many the table does not have."""

    node_type: str
    node: NDArray[np.int64]
    of: NDArray[np.bool_]
    unknown: int


@dataclass(frozen=True, eq=False)
class Other:
    """Another release: by type, positions of the nodes that both have, here and there."""

    about: Mapping[str, Any]
    scored: ScoredTable
    common: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]
    is_one_space: bool


@dataclass(frozen=True, eq=False)
class Inputs:
    """All that was found. ``about`` and ``notes`` go into the report; what is None was not given."""

    about: Mapping[str, Any]
    notes: Sequence[str]
    scored: ScoredTable
    train: Pairs | None
    test: Pairs | None
    labels: Labels | None
    other: Other | None
    seed: int


def read_inputs(options: argparse.Namespace) -> Inputs:
    """Find and read what the options name.

    Raises
    ------
    ConfigError : options that don't fit each other, no such release, type or config.
    InputError : a file that is missing, or holds something else.
    """
    config = read_config(options.config, options.overrides) if options.config is not None else None
    found = find_table(options)
    made_from = (found.manifest or {}).get("config", {})
    given = config.model_dump(mode="json") if config is not None else made_from
    scored = read_table(found, given, options.similarity)
    notes: list[str] = []

    columns = columns_of(options, given)
    held_out = held_out_of(found)
    asked, about_test = test_ends(options, found, given, columns, held_out, notes)
    test = None if asked is None else scored.pairs(asked)
    if asked is not None and test is not None:
        _judge_ids(asked, scored, str(about_test), notes)
        _refuse_strangers(test, scored, str(about_test))
    known, about_train = train_ends(options, found, columns)
    if known is not None and options.train is not None:
        _judge_ids(known, scored, f"--train {about_train}", notes)
    train = None if known is None else scored.pairs(known)
    if train is not None and held_out is not None and options.train is None:  # the edges table still has them
        train = without(train, scored.pairs(held_out), len(scored.table.rows), is_plain=scored.table.is_plain)
    train = None if train is None else train.with_rows(scored.table)
    if test is not None and train is None:
        notes.append(NOTHING_LEFT_OUT)

    about = {
        **about_table(found, scored),
        "test_pairs": about_test,
        "train_pairs": about_train,
    }
    seed = options.seed if options.seed is not None else int(given.get("evaluate", {}).get("seed", 0))
    return Inputs(
        about,
        notes,
        scored,
        train,
        test,
        None if options.labels is None else _labels(options, scored),
        None if options.against is None else _other(options, found, scored, given),
        seed,
    )


@dataclass(frozen=True)
class Columns:
    """Names of the columns of pairs, and how text files with them are read."""

    source: str
    target: str
    text: TextFormat = field(default_factory=TextFormat)
    max_rejected_share: float = InputConfig.model_fields["max_rejected_share"].default


def columns_of(options: argparse.Namespace, given: Mapping[str, Any]) -> Columns:
    """Return the columns that the options name, else those of a config, as JSON."""
    of_input = given.get("input", {})
    return Columns(
        options.source or of_input.get("source", "source"),
        options.target or of_input.get("target", "target"),
        TextFormat.from_keys(of_input),
        **{key: of_input[key] for key in ("max_rejected_share",) if key in of_input},
    )


def test_ends(
    options: argparse.Namespace,
    found: FoundTable,
    given: Mapping[str, Any],
    columns: Columns,
    held_out: Ends | None,
    notes: list[str],
) -> tuple[Ends | None, str | None]:
    """Pairs to score and where they are from: those named, those of the config, those that the run held out."""
    path = options.pairs or (given["evaluate"]["path"] if _scores_a_file(given) else None)
    if path is not None:
        day = found.metadata.get("data_date")
        try:
            return _read(str(path), columns, "pairs", dt.date.fromisoformat(day) if day else None), str(path)
        except InputError as error:
            if options.pairs is not None or options.config is not None:
                raise
            notes.append(f"the pairs that the run was scored on are gone, so there are none: {error}")
            return None, None
    return (held_out, "held out by the run") if held_out is not None else (None, None)


def train_ends(options: argparse.Namespace, found: FoundTable, columns: Columns) -> tuple[Ends | None, str | None]:
    """Pairs that the table was made from, and where they are from; edges of a run hold what it held out."""
    if options.train is not None:
        return _read(options.train, columns, "train"), str(options.train)
    files = _run_files(found, "edges")
    return (read_edges(files), "edges of the release's run") if files else (None, None)


def _scores_a_file(given: Mapping[str, Any]) -> bool:
    about = given.get("evaluate", {})
    return about.get("source") == "file" and about.get("path") is not None


def _read(path: str, columns: Columns, option: str, date: dt.date | None = None) -> Ends:
    """Both ends of the pairs in a file, folder or glob."""
    try:
        rules = ParseRules(source=columns.source, target=columns.target, text=columns.text)
        ends, left_out = read_pairs(split_tasks(list_sources(path, date)), rules, columns.max_rejected_share)
    except InputError as error:
        text = str(error)
        for role, named in (("source", "--source"), ("target", "--target")):
            text = text.replace(f"(input.{role})", f"(of --{option}; {named} names it)")
        raise InputError(text) from error
    if left_out:
        log.warning("warning: of --%s %s, %s", option, path, left_out)
    return ends


def _judge_ids(asked: Ends, scored: ScoredTable, what: str, notes: list[str]) -> None:
    types = scored.table.source, scored.table.target
    warning = judge_pair_ids(asked, (scored.ids[types[0]], scored.ids[types[1]]), types, what)
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


def _run_files(found: FoundTable, table: str) -> list[str] | None:
    """Files of a table of the run that made a release; None if they are gone.

    Raises
    ------
    MissingTableError : they are there and damaged.
    """
    if found.root is None or found.manifest is None:
        return None
    day = dt.date.fromisoformat(found.manifest["data_date"])
    run = Workspace(found.root, day, found.manifest["fingerprints"], MAKER, "evaluate")
    if run.finished(table) is None and run.problem(table) is None:
        return None
    return [str(file) for file in run.files(table)]


def held_out_of(found: FoundTable) -> Ends | None:
    """Pairs that the table's run held out; None if it held none, or they are gone."""
    files, index = _run_files(found, "holdout"), _run_files(found, "node_index")
    said = (found.manifest or {}).get("config", {}).get("evaluate", {})
    holds_out = found.metadata.get("holdout_pairs") or said.get("source") == "holdout"
    if not holds_out or not files or not index:
        return None
    return read_held_out(files, index)


def _labels(options: argparse.Namespace, scored: ScoredTable) -> Labels:
    table = scored.table
    node_type = options.type or table.source
    if node_type not in table.ranges:
        raise ConfigError(f"--type is '{node_type}'; the table has nodes of type {', '.join(table.ranges)}")
    columns = Columns(options.label_node or "node", options.label_column or "label")
    path = str(options.labels)
    try:
        rules = ParseRules(source=columns.source, target=columns.target)
        (ids, label), left_out = read_pairs(split_tasks(list_sources(path)), rules, most_rejected=1.0)
    except InputError as error:
        text = str(error).replace("(input.source)", "(--label-node names it)")
        raise InputError(text.replace("(input.target)", "(--label-column names it)")) from error
    if left_out:
        log.warning("warning: of --labels %s, %s", path, left_out)
    at = scored.find(ids, node_type)
    is_known = at >= 0
    match = match_ids(ids, scored.ids[node_type])
    if match.is_nothing:
        reason = why_no_match(ids, scored.ids[node_type], of_persons=node_type == table.source)
        raise InputError(f"{match.told(f'--labels {path}, as {node_type},')}; is --type right? {reason}")
    names = pc.array_sort_indices(unique := pc.unique(label.filter(pa.array(is_known))))
    if len(unique) > _MOST_LABELS:
        raise InputError(
            f"--labels {path} has {len(unique)} different labels in '{columns.target}'; at most {_MOST_LABELS} are "
            "taken: is it a column of classes?"
        )
    code = pc.index_in(label.filter(pa.array(is_known)), unique.take(names)).to_numpy()
    node, row = np.unique(at[is_known], return_inverse=True)
    of = np.zeros((node.size, len(unique)), np.bool_)
    of[row, code] = True
    return Labels(node_type, node, of, np.unique(at[~is_known]).size)


def _other(options: argparse.Namespace, found: FoundTable, scored: ScoredTable, given: Mapping[str, Any]) -> Other:
    other = None
    if found.root is not None and found.manifest is not None:
        name = str(found.manifest.get("name", "default"))
        if options.against in (known := {one.release: one.path for one in releases(found.root, name)}):
            other = table_at(known[options.against], "--against")
        elif not Path(options.against).exists():
            raise ConfigError(
                f"--against is '{options.against}', which is no path, and published as '{name}' there are "
                f"{', '.join(known)}"
            )
    other = table_at(Path(options.against), "--against") if other is None else other
    there = read_table(other, given, options.similarity if "similarity" not in other.metadata else None)
    common = {}
    for node_type, own in scored.ids.items():
        if node_type not in there.ids:
            continue
        at = there.find(own, node_type)
        here = np.flatnonzero(at >= 0)
        common[node_type] = at[here], here + scored.table.ranges[node_type][0]
    if not any(here.size for _, here in common.values()):
        raise InputError(f"{found.place} and {other.place} have no node in common; are they of one kind of ids?")
    spaces = found.metadata.get("space_id"), other.metadata.get("space_id")
    about = {"release": other.place, "data_date": other.metadata.get("data_date"), "space_id": spaces[1]}
    return Other(about, there, common, spaces[0] is not None and spaces[0] == spaces[1])
