"""Computes what nodes, or sets of nodes with weights, are nearest to by personalised PageRank, many
at once, from a release's walk index (ppr.walk_index = true makes it), or exactly from its run's graph.

examples
  graphquilt query ppr 4711 17:2.5,42 --workspace work --type user -k 20
  graphquilt query ppr --batch queries.csv --out answers.parquet --workspace work --workers 4
  graphquilt query ppr --batch queries.csv --out answers.parquet --workspace s3://bucket/work --engine spark
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.answers import Answer
from jobs.arguments import (
    CommandParser,
    add_engine_options,
    add_overrides,
    add_workspace,
    number,
    options_of,
    parse_count,
)
from jobs.commands.existing import folder_of, require_folder_of, writing
from jobs.commands.query_embed import parse_neighbors
from jobs.stopping import StopRequest
from pipeline.errors import ConfigError, InputError

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.queries.restart_batches import Batch

_SHOWN = 20  # queries printed; --json and --out have all


def add_options(parser: CommandParser) -> None:
    """Add the options of the query."""
    add_workspace(parser, with_name=True)
    parser.add_argument("--release", metavar="RELEASE", help="of that name (default: the one that CURRENT names)")
    parser.add_argument(
        "ids",
        nargs="*",
        metavar="ID[:WEIGHT],...",
        help="a query each: the node, or the nodes with weights, that walks restart at, such as 17:2.5,42",
    )
    parser.add_argument("--batch", type=Path, metavar="FILE", help="queries in Parquet or CSV: node_id and, optional, "
                        "query (rows of one query are a set), node_type, weight")  # fmt: skip
    add_overrides(parser, over="release's config")
    parser.add_argument("--type", metavar="TYPE", help="type of the ids (default: ppr.source_type, or the only one)")
    parser.add_argument("--target", metavar="TYPE", help="type of the nodes listed (default: the config's)")
    parser.add_argument("-k", type=parse_count, metavar="N", help="how many (default: ppr.top_k)")
    parser.add_argument(
        "--rounds",
        type=number(int, 0, math.inf, "a whole number from 0 on (0: fingerprints alone)"),
        default=1,
        metavar="N",
        help="steps taken exactly before fingerprints close: more is slower and closer (default: %(default)s)",
    )
    parser.add_argument(
        "--drop-below",
        type=number(float, 0, 1, "a chance, at least 0 and below 1"),
        default=0.0,
        metavar="P",
        help="leave out where walks are with less chance after the rounds; the bound grows (default: 0)",
    )
    parser.add_argument(
        "--exact", action="store_true", help="solve on the whole graph, which stays as long as the run's tables do"
    )
    parser.add_argument(
        "--out", type=_parquet, metavar="FILE.parquet", help="write the answers, columns as ppr_neighbors"
    )
    add_engine_options(parser)
    # The release has the config and the date; nothing is locked or published.
    parser.set_defaults(config=None, date=None, wait_s=0.0, force_current=False)


def answer(options: argparse.Namespace) -> Answer:
    """Answer the batch.

    Raises
    ------
    ConfigError : wrong options. InputError : no such release, no walk index in it, an empty batch, an unknown node.
    StorageError : --exact, and the graph is gone.
    """
    if options.batch is not None and options.ids:
        raise ConfigError("both ids and --batch are given; put all queries into the file")
    if options.out is not None:
        require_folder_of(options.out)
    with StopRequest() as stop:
        table = _answers(options, stop)
    metadata = json.loads(table.schema.metadata[b"graphquilt"])
    if options.out is not None:
        import pyarrow.parquet as pq

        with writing(options.out):
            pq.write_table(table, options.out, compression="zstd")
        metadata |= {"out": str(options.out), "queries": table.num_rows}
        return Answer(metadata, f"{table.num_rows:,} answers written to {options.out}")
    return Answer({**metadata, "answers": [_facts(row) for row in table.to_pylist()]}, _text(table, metadata))


def _answers(options: argparse.Namespace, stop: StopRequest) -> pa.Table:
    from graphquilt.errors import TableError
    from graphquilt.locate import locate
    from jobs.commands.machine import memory_bytes
    from jobs.session import open_engine, use_storage
    from pipeline.queries.ppr import answer_batch
    from pipeline.queries.released_run import config_of, workspace_of
    from pipeline.queries.restart_batches import read_batch
    from pipeline.queries.restart_solvers import QueryOptions

    batch = _parse_batch(options.ids) if options.batch is None else read_batch(options.batch)
    place = folder_of(options.workspace)
    if options.release is not None:
        place = place / "published" / options.name / "releases" / options.release
    try:
        release = locate(place, options.name)
    except TableError as error:
        raise InputError(str(error)) from error
    query_options = QueryOptions(
        source_type=options.type,
        target_type=options.target,
        k=options.k,
        rounds=options.rounds,
        drop_below=options.drop_below,
        is_exact=options.exact,
        overrides=tuple(options.overrides),
        memory_bytes=memory_bytes() // 2,
    )
    config, where = config_of(release.manifest), options_of(options)
    use_storage(config.storage, where.scratch)
    if (where.engine, where.workers, where.dask, options.exact) == ("local", 1, None, False):
        return answer_batch(release.folder, batch, query_options)  # at once, without an engine
    with open_engine(where, config, "query ppr", stop, workspace_of(release.folder)) as engine:
        query_options = replace(query_options, memory_bytes=query_options.memory_bytes // engine.slots)
        return answer_batch(release.folder, batch, query_options, engine)


def _parse_batch(texts: list[str]) -> Batch:
    """Return the sets of the command line."""
    import numpy as np

    from pipeline.queries.restart_batches import Batch

    if not texts:
        raise InputError("the batch is empty; give at least one id, or --batch FILE")
    try:
        sets = [parse_neighbors(text) for text in texts]
    except argparse.ArgumentTypeError as error:
        raise ConfigError(str(error)) from error
    for text, node_set in zip(texts, sets, strict=True):
        if not all(0 < weight < float("inf") for weight in node_set.values()):
            raise InputError(f"{text!r} has a weight that is not above 0 and finite; leave that node out")
    indptr = np.cumsum([0, *(len(node_set) for node_set in sets)], dtype=np.int64)
    weight = np.array([weight for node_set in sets for weight in node_set.values()], np.float64)
    return Batch(texts, indptr, [node_id for node_set in sets for node_id in node_set], None, weight)


def _facts(row: dict[str, Any]) -> dict[str, Any]:
    neighbors = [{"id": i, "score": s} for i, s in zip(row["neighbor_ids"], row["scores"], strict=True)]
    return {
        "query": row["query"],
        "node_type": row["node_type"],
        "id": row["node_id"],
        "neighbors": neighbors,
        "error_bound": row["error_bound"],
    }


def _text(table: pa.Table, metadata: dict[str, Any]) -> str:
    if "walks" in metadata:
        how = f"{metadata['walks']} walks a node, {_round_words(metadata['rounds'])}; bounds at confidence "
        how += f"{metadata['confidence']:g} for each score"
    else:
        how = f"exact to {metadata.get('tolerance') or metadata['push_threshold']:g} ({metadata['error_kind']})"
    lines = [f"# restart {metadata['restart']:g}, {how}"]
    for row in table.slice(0, _SHOWN).to_pylist():
        lines.append(f"{row['query']}  (error bound {row['error_bound']:.2g})")
        if not row["neighbor_ids"]:
            lines.append(f"  no {row['neighbor_type']} to list was reached")
        lines += [f"  {score:.4g}  {name}" for name, score in zip(row["neighbor_ids"], row["scores"], strict=True)]
    if table.num_rows > _SHOWN:
        lines.append(f"# {table.num_rows - _SHOWN:,} more; --out FILE.parquet or --json has all")
    return "\n".join(lines)


def _parquet(text: str) -> Path:
    if Path(text).suffix != ".parquet":
        raise argparse.ArgumentTypeError(
            f"{text!r} is written as Parquet; it must end in .parquet (--json prints JSON)"
        )
    return Path(text)


def _round_words(rounds: int) -> str:
    return "1 round" if rounds == 1 else f"{rounds} rounds"
