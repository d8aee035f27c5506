"""The part of the report that is about ppr_neighbors: lists against test pairs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from graphquilt.contracts import ContractViolationError
from graphquilt.locate import LISTS, TABLE
from jobs.commands.evaluate_inputs import (
    NOTHING_LEFT_OUT,
    Columns,
    Ends,
    columns_of,
    held_out_of,
    test_ends,
    train_ends,
)
from jobs.commands.evaluate_tables import FoundTable, find_table, has_table
from jobs.config_file import read_config
from pipeline import storage
from pipeline.errors import ConfigError, InputError
from pipeline.evaluation.table_report import intervals, slices
from pipeline.metrics.scored_lists import list_figures, read_scored_lists
from schemas.tables import PPR_NEIGHBOR_LISTS


@dataclass(frozen=True, eq=False)
class Lists:
    """Lists on disk, the test pairs, and a config's JSON. are_alone : there are no vectors beside them."""

    found: FoundTable
    given: Mapping[str, Any]
    columns: Columns
    test: Ends | None
    held_out: Ends | None
    about_test: str | None
    notes: list[str]
    are_alone: bool


def find_lists(options: argparse.Namespace) -> Lists | None:
    """Find ppr_neighbors in what the options name; None where there are only vectors.

    Raises
    ------
    ConfigError : options that don't fit each other. InputError : a file that is missing, or holds something else.
    """
    found = _found(options, LISTS)
    if found is None:
        return None
    vectors = _found(options, TABLE)
    for file in found.files:
        try:
            PPR_NEIGHBOR_LISTS.check_schema(pq.read_schema(file), file)
        except ContractViolationError as error:
            raise InputError(str(error)) from error
    config = read_config(options.config, options.overrides) if options.config is not None else None
    given = config.model_dump(mode="json") if config is not None else (found.manifest or {}).get("config", {})
    notes: list[str] = []
    columns, held_out = columns_of(options, given), held_out_of(found)
    test, about = test_ends(options, found, given, columns, held_out, notes)
    return Lists(found, given, columns, test, held_out, about, notes, are_alone=vectors is None)


def report_lists(lists: Lists, options: argparse.Namespace, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is reported of lists, by key of the report; ``facts`` : what is known of vectors, if anything."""
    found, said = lists.found, lists.found.metadata
    if lists.test is None:
        return {}
    types = _types(lists)
    known, about_train = train_ends(options, found, lists.columns)
    notes = list(lists.notes) if known is not None else [*lists.notes, NOTHING_LEFT_OUT]
    nobody = lists.test[0].slice(0, 0)
    seed = options.seed if options.seed is not None else int(lists.given.get("evaluate", {}).get("seed", 0))
    scored = read_scored_lists(
        found.files,
        types,
        known or (nobody, nobody),
        lists.test,
        options.sample,
        seed,
        held_out=lists.held_out if options.train is None else None,
    )
    if not scored.lists.positions.size:
        raise InputError(
            f"{found.place} has no list for any source of the pairs of {lists.about_test}; are source and target "
            "swapped, or ids spelt in another way?"
        )
    measured = scored.measure(options.k or (10, 20, 50))
    counted = measured.metrics.per_user.user
    keys = ("restart", "edge_degree_power", "degree_correction", "top_k", "exclude_known", "solver", "error_kind")
    about = {
        "release": found.place,
        "data_date": said.get("data_date"),
        "method": said.get("method"),
        **{key: said.get(key) for key in keys},
        "lists": storage.rows_in([Path(file) for file in found.files]),
        "from": types[0],
        "to": types[1],
    }
    section = {
        **list_figures(measured),
        "unknown_pairs": scored.unknown_pairs,
        "intervals": intervals(measured.ranked, scored.node_key[counted], seed),
        **slices(measured.ranked),
        "about": about,
    }
    if facts:
        return {"lists": section}
    return {
        "release": found.place,
        "data_date": said.get("data_date"),
        "test_pairs": lists.about_test,
        "train_pairs": about_train,
        "notes": notes,
        "seed": seed,
        "lists": section,
    }


def _found(options: argparse.Namespace, table: str) -> FoundTable | None:
    """Return a table of what the options name; None if only the other one is there."""
    other = TABLE if table == LISTS else LISTS
    try:
        found = find_table(options, table)
    except InputError:
        find_table(options, other)  # raises where there is neither
        return None
    return found if has_table(found, table) else None


def _types(lists: Lists) -> tuple[str, str]:
    """Types that pairs lead from and to; the lists must be of the one and hold the other."""
    said, of_input = lists.found.metadata, lists.given.get("input", {})
    wanted = [said.get(f"edge_{end}_type", of_input.get(f"{end}_type")) for end in ("source", "target")]
    columns = [pq.read_table(file, columns=["node_type", "neighbor_type"]) for file in lists.found.files]
    pairs = pa.concat_tables(columns).group_by(["node_type", "neighbor_type"]).aggregate([])
    known = list(zip(pairs["node_type"].to_pylist(), pairs["neighbor_type"].to_pylist(), strict=True))
    if wanted == [None, None] and len(known) == 1:
        return known[0]
    if (wanted[0], wanted[1]) not in known:
        listed = ", ".join(f"{one} to {other}" for one, other in sorted(known)) or "nothing"
        raise ConfigError(
            f"{lists.found.place} lists {listed}, and pairs lead from {wanted[0]} to {wanted[1]}: give the --config "
            "that it was made with, or lists of that type (ppr.source_type, ppr.target_type)"
        )
    return str(wanted[0]), str(wanted[1])
