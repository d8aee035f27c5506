"""The part of the report that is about lists: ppr_neighbors or neighbors against test pairs."""

import argparse
from collections.abc import Mapping
from typing import Any

from graphquilt.contracts import ContractViolationError
from jobs.commands.evaluate_pairs import NOTHING_LEFT_OUT, PairSources
from jobs.commands.evaluate_tables import TableFiles
from pipeline import storage
from pipeline.errors import ConfigError, InputError
from pipeline.evaluation.table_report import detail_ranking
from pipeline.metrics.scored_lists import list_figures, read_scored_lists
from pipeline.metrics.train_pairs import PairBatches
from schemas.published_tables import PPR_NEIGHBOR_LISTS


def report_lists(
    table: TableFiles, sources: PairSources, options: argparse.Namespace, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what is reported of lists, by key of the report; ``facts`` : those of vectors, if there are any.

    Raises
    ------
    ConfigError : lists of other types than pairs. InputError : a file that holds something else.
    """
    for file in table.files:
        try:
            PPR_NEIGHBOR_LISTS.check_schema(storage.read_schema(file), str(file))
        except ContractViolationError as error:
            raise InputError(str(error)) from error
    if sources.test is None:
        return {}
    metadata = table.metadata
    types = _pair_types(table, sources.config)
    train, about_train = sources.read_train(options.train)
    no_ids = sources.test[0].slice(0, 0)
    lists = read_scored_lists(
        table.files,
        types,
        PairBatches.of_arrays(train or (no_ids, no_ids)),
        sources.test,
        options.sample,
        sources.seed,
        held_out=sources.held_out if options.train is None else None,
    )
    if not lists.lists.positions.size:
        raise InputError(
            f"{table.address} has no list for any source of the pairs of {sources.about_test}; are source and target "
            "swapped, or ids spelt in another way?"
        )
    quality = lists.measure(options.k or (10, 20, 50))
    keys = (
        *("table", "restart", "edge_degree_power", "degree_correction", "filter", "phi", "alpha", "beta", "rank"),
        *("top_k", "exclude_known", "solver", "error_kind"),
    )
    release = {"release": table.address, "data_date": metadata.get("data_date")}
    section = {
        **list_figures(quality),
        "unknown_pairs": lists.unknown_pairs,
        **detail_ranking(quality.ranking, lists.node_key[quality.metrics.per_user.user], sources.seed),
        "about": {
            **release,
            "method": metadata.get("method"),
            **{key: metadata.get(key) for key in keys},
            "lists": storage.rows_in(table.files),
            "from": types[0],
            "to": types[1],
        },
    }
    if facts:
        return {"lists": section}
    return {
        **release,
        "test_pairs": sources.about_test,
        "train_pairs": about_train,
        "notes": list(sources.notes) if train is not None else [*sources.notes, NOTHING_LEFT_OUT],
        "seed": sources.seed,
        "lists": section,
    }


def _pair_types(table: TableFiles, config: Mapping[str, Any]) -> tuple[str, str]:
    """Return the types that pairs lead from and to; the lists must be of the one and hold the other."""
    section = config.get("input", {})
    source, target = (
        table.metadata.get(f"edge_{end}_type", section.get(f"{end}_type")) for end in ("source", "target")
    )
    types = storage.read_parquet(table.files, ["node_type", "neighbor_type"])
    pairs = types.group_by(["node_type", "neighbor_type"]).aggregate([])
    type_pairs = list(zip(pairs["node_type"].to_pylist(), pairs["neighbor_type"].to_pylist(), strict=True))
    if source is None and target is None and len(type_pairs) == 1:
        return type_pairs[0]
    if (source, target) not in type_pairs:
        names = ", ".join(f"{first} to {second}" for first, second in sorted(type_pairs)) or "nothing"
        raise ConfigError(
            f"{table.address} lists {names}, and pairs lead from {source} to {target}: give the --config that it was "
            "made with, or lists of that type (ppr.source_type, ppr.target_type)"
        )
    return str(source), str(target)
