"""Two things under one name. With --config, --workspace and no option of the report, it is
the stage 'evaluate' of a run: the metrics that the gates see, made from the run's tables.
With any option of the report, or without --config, it is a report on a published table:
any release, any test pairs, nothing in the workspace is changed.

The report's metrics are all that its inputs allow, or those named:
  ranking         recall, NDCG, hit rate, coverage; by activity, by popularity; intervals   needs test pairs
  links           AUC against random, degree-matched and hard negatives                     needs test pairs
  classification  micro- and macro-F1 of labels                                             needs --labels
  purity          do nodes of one code have one label?                           needs --labels, node_codes
  reconstruction  are nodes 1, 2, 3 hops away ranked high? inside and between parts         needs train pairs
  spectrum        RankMe: how many directions the rows use                                  needs the table
  probe           bits about edges in blocks of columns                                     needs pairs
  stability       do nodes keep their neighbours?                                           needs --against
  lists           of neighbours: recall, NDCG, hit rate, coverage                        needs lists, test pairs
Test pairs are --pairs, else those that the release's own config scored it on or held out.
Train pairs are --train, else the edges of the release's own run.

examples
  graphquilt evaluate --config config.toml --workspace work --date 2024-06-01     the stage
  graphquilt evaluate --workspace work --pairs test.parquet --source user_id --target item_id -k 10,20,50
  graphquilt evaluate --workspace work --name shop --release 2024-06-01-0c0ffee12345 --against 2024-05-31-0badcafe1234
  graphquilt evaluate --workspace work --labels groups.csv --train-shares .1,.5,.9 --shuffles 5 --C 0.05
  graphquilt evaluate --table ppr_neighbors/ --train train.parquet --pairs test.parquet --source user --target item
  graphquilt evaluate --table node_embeddings/ --train edges.parquet --metrics reconstruction,spectrum --json
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from graphquilt.locate import LIST_TABLES, TABLE
from jobs.answers import Answer
from jobs.arguments import CommandParser, add_stage_options, command_parser, number, parse_count, parse_seed
from pipeline.errors import ConfigError, InputError, StorageError

if TYPE_CHECKING:
    from jobs.commands.evaluate_inputs import VectorInputs
    from jobs.commands.evaluate_pairs import PairSources
    from jobs.commands.evaluate_tables import TableFiles

Value = TypeVar("Value")

METRICS = (
    *("ranking", "links", "classification", "purity", "reconstruction", "spectrum", "probe", "stability"),
    "lists",
)

_parse_share = number(float, sys.float_info.min, 1, "shares above 0 and below 1, such as .1,.5,.9")
_parse_strength = number(float, sys.float_info.min, math.inf, "a number above 0")


def parser() -> CommandParser:
    """Return the parser of both: the stage's options, and the report's."""
    command = command_parser("evaluate", str(__doc__))
    add_stage_options(command)
    for action in command._actions:
        action.required = False  # the report does without
    report = command.add_argument_group("the report")
    report.add_argument("--name", help="published name (default: default)")
    report.add_argument("--release", metavar="R", help="a release (default: the current one)")
    report.add_argument(
        "--table", metavar="PATH", help="node_embeddings, or a table of lists, elsewhere: a file or its folder"
    )
    report.add_argument("--pairs", metavar="PATH", help="test pairs: of any format, text as [input] says")
    report.add_argument("--train", metavar="PATH", help="pairs to leave out of lists, the graph")
    report.add_argument("--source", metavar="COLUMN", help="of --pairs and --train (default: as the config says)")
    report.add_argument("--target", metavar="COLUMN", help="likewise")
    report.add_argument("--labels", metavar="PATH", help="labels of nodes, a row each")
    report.add_argument("--label-node", metavar="COLUMN", help="column of the node (default: node)")
    report.add_argument("--label-column", metavar="COLUMN", help="column of the label (default: label)")
    report.add_argument("--type", metavar="TYPE", help="type of the labelled nodes (default: the source's)")
    report.add_argument(
        "--train-shares", type=_several(_parse_share), metavar="S,S", help="of labelled nodes (default: .1,.5,.9)"
    )
    report.add_argument("--shuffles", type=parse_count, metavar="N", help="seeds 0 to N - 1 (default: 5)")
    report.add_argument(
        "--C", type=_parse_strength, metavar="C", help="inverse penalty of the classifier (default: 0.05)"
    )
    report.add_argument("--against", metavar="RELEASE", help="a release, or a path, to compare neighbours with")
    report.add_argument("-k", type=_parse_lengths, metavar="K,K", help="lengths of lists (default: 10,20,50)")
    report.add_argument(
        "--sample",
        type=parse_count,
        metavar="N",
        help="most nodes that lists are made for (default: all in the ranking unless too dear, 200 in reconstruction, "
        "1,000 in stability)",
    )
    report.add_argument("--seed", type=parse_seed, metavar="N", help="of samples, negatives and intervals (default: 0)")
    report.add_argument(
        "--similarity", choices=("dot", "cosine"), help="for retrieval, of a table that does not say its own"
    )
    report.add_argument("--metrics", type=_several(_parse_metric), metavar="M,M", help="some of the above")
    report.add_argument("--out", type=Path, metavar="FILE", help="write the JSON object there too")
    command.set_defaults(report_options=[action.dest for action in report._group_actions])
    return command


def is_stage(options: argparse.Namespace) -> bool:
    """Whether the stage is meant, not the report.

    Raises
    ------
    ConfigError : it is, and there is no workspace; or options of both are mixed.
    """
    of_report = [name for name in options.report_options if getattr(options, name) is not None]
    if options.config is not None and not of_report:
        if options.workspace is None:
            raise ConfigError("--workspace is missing (graphquilt evaluate --help says more)")
        return True
    of_stage = {
        "--date": options.date is not None,
        "--engine": options.engine != "local",
        "--workers": options.workers != 1,
        "--dask": options.dask is not None,
        "--conf": bool(options.spark_conf),
        "--remote": options.remote is not None,
        "--slots": options.slots is not None,
        "--force-current": options.force_current,
        "--accept-drift": options.accept_drift,
        "--allow-future": options.allow_future,
    }
    if stage_options := [name for name, is_given in of_stage.items() if is_given]:
        why = (
            f"--{of_report[0].replace('_', '-')} is the report's"
            if of_report
            else "without --config this is the report"
        )
        raise ConfigError(f"{stage_options[0]} is an option of the stage, and {why}; choose one of the two")
    if options.overrides and options.config is None:
        raise ConfigError("--set changes a config, and there is no --config")
    return False


def answer(options: argparse.Namespace) -> Answer:
    """Make the report.

    Raises
    ------
    ConfigError : options that don't fit each other, no such release. InputError : a file that can't be used.
    """
    from threadpoolctl import threadpool_limits

    from jobs.commands.evaluate_inputs import read_inputs
    from jobs.commands.evaluate_pairs import read_pair_sources
    from jobs.commands.evaluate_tables import find_tables
    from jobs.commands.evaluate_text import text_of

    start = time.perf_counter()
    if options.out is not None and options.out.exists() and not options.out.is_file():
        raise ConfigError(f"--out is {options.out}, which is no file; give another --out FILE")
    if options.out is not None and not options.out.absolute().parent.is_dir():
        raise ConfigError(f"--out is {options.out}, and there is no folder {options.out.absolute().parent}; make it")
    tables = find_tables(options)
    sources = read_pair_sources(options, next(iter(tables.values())))
    inputs = read_inputs(options, tables[TABLE], sources) if TABLE in tables else None
    try:
        with threadpool_limits(1):  # as tasks have it: the same digits as the stage's
            lists = next((tables[name] for name in LIST_TABLES if name in tables), None)
            facts = _report(inputs, lists, sources, options)
    except ValueError as error:  # what a kernel refuses, it refuses for the values it was given
        raise InputError(str(error)) from error
    facts["seconds"] = round(time.perf_counter() - start, 2)
    if options.out is not None:
        from pipeline import storage

        try:
            storage.write_json(options.out.absolute(), facts)
        except OSError as error:
            raise StorageError(f"{options.out} can't be written: {error}") from error
    return Answer(facts, text_of(facts))


def _report(
    inputs: VectorInputs | None, lists: TableFiles | None, sources: PairSources, options: argparse.Namespace
) -> dict[str, Any]:
    """Return all that is reported: of vectors, of lists, or of both."""
    from jobs.commands.evaluate_lists import report_lists

    has_lists = lists is not None and sources.test is not None
    metrics = _choose_metrics(options.metrics, inputs, has_lists=has_lists)
    facts: dict[str, Any] = {}
    if inputs is not None:
        facts = {**inputs.about, "notes": list(inputs.notes), **_measure(metrics, inputs, options)}
    if "lists" in metrics and lists:
        facts |= report_lists(lists, sources, options, facts)
    return facts


def _choose_metrics(names: tuple[str, ...] | None, inputs: VectorInputs | None, *, has_lists: bool) -> tuple[str, ...]:
    """Return the metrics to take: those named, which must be possible, or all that are."""
    needs = dict.fromkeys(METRICS, "vectors: give a release that has node_embeddings")
    needs["lists"] = "" if has_lists else "lists in the release, and test pairs: give --pairs"
    if inputs is not None:
        has_codes = inputs.labels is not None and inputs.labels.code is not None
        test_pairs = "" if inputs.test else "test pairs: give --pairs"
        needs |= {
            "ranking": test_pairs,
            "links": test_pairs,
            "classification": "" if inputs.labels else "labels: give --labels",
            "purity": "" if has_codes else "labels, and a release with node_codes: give --labels",
            "reconstruction": "" if inputs.train else "the graph: give --train, its pairs",
            "spectrum": "",
            "probe": "" if inputs.train or inputs.test else "pairs: give --train or --pairs",
            "stability": "" if inputs.rival else "another release: give --against",
        }
    if names is None:
        names = tuple(name for name in METRICS if not needs[name])
        if not names:
            raise ConfigError(f"nothing can be measured: lists need {needs['lists']}")
    for name in names:
        if needs[name]:
            raise ConfigError(f"--metrics asks for {name}, which needs {needs[name]}")
    return names


def _measure(metrics: Sequence[str], inputs: VectorInputs, options: argparse.Namespace) -> dict[str, Any]:
    from graphquilt.code_table import NO_CODE
    from pipeline import codec
    from pipeline.evaluation import table_report as report
    from pipeline.evaluation.classification import SHUFFLES, STRENGTH, TRAIN_SHARES
    from pipeline.evaluation.code_purity import code_purity
    from pipeline.evaluation.reconstruction import SAMPLE, reconstruct
    from pipeline.evaluation.scoring import measure_rankme
    from pipeline.evaluation.table import Pairs

    table, test, labels, rival = inputs.table, inputs.test, inputs.labels, inputs.rival
    train = inputs.train or Pairs.none()
    ks, seed, sample = options.k or (10, 20, 50), inputs.seed, options.sample
    facts: dict[str, Any] = {"seed": seed}
    if "ranking" in metrics and test:
        facts["ranking"] = report.report_ranking(table, train, test, ks, sample, seed)
    if "links" in metrics and test:
        facts["links"] = report.report_links(table, train, test, seed)
    if "classification" in metrics and labels:
        shares, seeds = options.train_shares or TRAIN_SHARES, range(options.shuffles or SHUFFLES)
        facts["classification"] = {
            "node_type": labels.node_type,
            "unknown_nodes": labels.unknown_nodes,
            **report.report_classification(table, labels.node, labels.labels, shares, seeds, options.C or STRENGTH),
        }
    if "purity" in metrics and labels and labels.code is not None:
        has_code = labels.code[:, 0] != NO_CODE
        facts["purity"] = {
            "node_type": labels.node_type,
            "without_code": int((~has_code).sum()),
            **code_purity(labels.code[has_code], labels.labels[has_code]),
        }
    if "reconstruction" in metrics:
        facts["reconstruction"] = codec.to_values(reconstruct(table, train, seed, sample or SAMPLE))
    if "spectrum" in metrics:
        facts["spectrum"] = {"dim": table.rows.shape[1], "rankme": measure_rankme(table, seed)}
    if "probe" in metrics:
        facts["probe"] = report.report_probe(table, train, test, seed)
    if "stability" in metrics and rival:
        facts["stability"] = {
            "against": rival.about,
            **report.report_stability(
                rival.table, table, rival.common, ks, sample, seed, is_one_space=rival.is_one_space
            ),
        }
    return facts


def _parse_metric(name: str) -> str:
    if name not in METRICS:
        raise argparse.ArgumentTypeError(f"there is no metric {name!r}; choose from {','.join(METRICS)}")
    return name


def _parse_lengths(text: str) -> tuple[int, ...]:
    return tuple(sorted(set(_several(parse_count)(text))))


def _several(parse: Callable[[str], Value]) -> Callable[[str], tuple[Value, ...]]:
    """Return a parser of values with commas between them."""
    return lambda text: tuple(parse(part.strip()) for part in text.split(","))
