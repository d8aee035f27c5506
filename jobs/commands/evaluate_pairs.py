"""The pairs that a report scores a table on or leaves out: where they are from, and their ends by id."""

import argparse
import datetime as dt
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from jobs.commands.evaluate_tables import TableFiles
from jobs.config_file import read_config
from pipeline.config.sections import InputConfig
from pipeline.errors import InputError
from pipeline.ingest.parse import ParseRules
from pipeline.ingest.pieces import split_tasks
from pipeline.ingest.sources import list_sources
from pipeline.ingest.text.formats import TextFormat
from pipeline.locations import Location
from pipeline.metrics.scored_tables import read_edges, read_held_out, read_pairs
from pipeline.stages.chain import MAKER
from pipeline.workspace import Workspace

log = logging.getLogger(__name__)

PairIds = tuple[pa.Array, pa.Array]

NOTHING_LEFT_OUT = (
    "nothing is left out of the lists: the release's run is not in a workspace here, and there is no --train. "
    "Train pairs stand in the places of test pairs, so figures are lower than they should be"
)


@dataclass(frozen=True, eq=False)
class PairSources:
    """The test pairs of a report, and where its train pairs are from.

    config : of --config, else of the table's run; JSON values. held_out : pairs that the run held out, None if it held
    none or they are gone. about_test : where the test pairs are from. notes : sentences for the report.
    """

    table: TableFiles
    config: Mapping[str, Any]
    rules: ParseRules
    held_out: PairIds | None
    test: PairIds | None
    about_test: str | None
    seed: int
    notes: list[str]

    def read_train(self, path: str | None) -> tuple[PairIds | None, str | None]:
        """Return the pairs that the table was made from, and where they are from.

        They are those of a path, else the edges of the table's run, which hold what the run held out.
        """
        if path is not None:
            return _read_ids(path, self.rules, self.config, "train"), path
        files = _run_files(self.table, "edges")
        return (read_edges(files), "edges of the release's run") if files else (None, None)


def read_pair_sources(options: argparse.Namespace, table: TableFiles) -> PairSources:
    """Read the test pairs: those that the options name, those of the config, or those that the run held out.

    Raises
    ------
    InputError : a file that is missing, or holds something else.
    """
    config = table.config
    if options.config is not None:
        config = read_config(options.config, options.overrides).model_dump(mode="json")
    section, scoring = config.get("input", {}), config.get("evaluate", {})
    rules = ParseRules(
        source=options.source or section.get("source", "source"),
        target=options.target or section.get("target", "target"),
        text=TextFormat.from_keys(section),
    )
    held_out = _held_out(table)
    test, about_test = held_out, "held out by the run" if held_out is not None else None
    notes: list[str] = []
    path = options.pairs or (scoring.get("path") if scoring.get("source") == "file" else None)
    if path is not None:
        day = table.metadata.get("data_date")
        try:
            test = _read_ids(str(path), rules, config, "pairs", dt.date.fromisoformat(day) if day else None)
            about_test = str(path)
        except InputError as error:
            if options.pairs is not None or options.config is not None:
                raise
            test, about_test = None, None
            notes.append(f"the pairs that the run was scored on are gone, so there are none: {error}")
    seed = int(scoring.get("seed", 0)) if options.seed is None else options.seed
    return PairSources(table, config, rules, held_out, test, about_test, seed, notes)


def _read_ids(
    path: str, rules: ParseRules, config: Mapping[str, Any], option: str, date: dt.date | None = None
) -> PairIds:
    most_rejected = InputConfig.model_fields["max_rejected_share"].default
    most_rejected = config.get("input", {}).get("max_rejected_share", most_rejected)
    roles = {role: f"(of --{option}; --{role} names it)" for role in ("source", "target")}
    return read_columns(path, rules, most_rejected, option, roles, date)


def read_columns(
    path: str,
    rules: ParseRules,
    most_rejected: float,
    option: str,
    roles: Mapping[str, str],
    date: dt.date | None = None,
) -> PairIds:
    """Return both columns of a file, folder or glob that an option names.

    roles : what errors say of a missing column in place of its config key, by "source" and "target".
    """
    try:
        ids, rejections = read_pairs(split_tasks(list_sources(path, date)), rules, most_rejected)
    except InputError as error:
        text = str(error)
        for role, hint in roles.items():
            text = text.replace(f"(input.{role})", hint)
        raise InputError(text) from error
    if rejections:
        log.warning("warning: of --%s %s, %s", option, path, rejections)
    return ids


def _run_files(table: TableFiles, name: str) -> list[Location] | None:
    """Return the files of a table of the run that made a release; None if they are gone.

    Raises
    ------
    MissingTableError : they are there and damaged.
    """
    if table.root is None or table.manifest is None:
        return None
    day = dt.date.fromisoformat(table.manifest["data_date"])
    run = Workspace(table.root, day, table.manifest["fingerprints"], MAKER, "evaluate")
    if run.find_manifest(name) is None and run.problem(name) is None:
        return None
    return run.files(name)


def _held_out(table: TableFiles) -> PairIds | None:
    files, index = _run_files(table, "holdout"), _run_files(table, "node_index")
    holds_out = table.metadata.get("holdout_pairs") or table.config.get("evaluate", {}).get("source") == "holdout"
    return read_held_out(files, index) if holds_out and files and index else None
