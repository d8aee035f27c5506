"""The command ``graphquilt``. ``current`` and ``check`` belong to the readers; the rest is in graphquilt-pipeline."""

import argparse
import datetime as dt
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from graphquilt.ancestry import describe_withdrawal, withdrawal_facts
from graphquilt.errors import TableError
from graphquilt.locate import LIST_TABLES, LISTS, TABLE, LocatedRelease, locate
from graphquilt.masking import secret_of_argument
from graphquilt.options import OptionParser, UsageError
from graphquilt.output import write, write_answer, write_error
from graphquilt.process import describe_missing, run_process
from graphquilt.rights import describe_denial, is_denied

OK, FAILED, USAGE, REFUSED, NO_TABLE = range(5)
_CLOCKS_DIFFER = dt.timedelta(minutes=5)  # at most, between the machine that published and this one

HELP = """\
usage: graphquilt COMMAND [options]

Turns a table of interactions into Parquet tables of node embeddings and of nearest nodes.

start
  init        look at an input's columns and write a commented config
  run         the whole chain: interactions in, a published table out
  plan        what a run would need: memory, traffic, bytes
  tune        choose method, width and parameters of vectors, or those of lists, within a budget of seconds

the stages of a run, one at a time
  ingest      interactions to edges; bad rows are kept with reasons
  index       ids to numbers
  partition   cut the graph
  layout      a block for each part
  embed       vectors, part by part; lists of nearest nodes
  aggregate   the tables, with ids
  evaluate    what the tables are worth
  publish     hand it to readers, if the gates agree

a published table
  current     print the path of the current table, for Spark SQL, DuckDB or Polars
  check       is it there, sound, recent and large enough? For the schedules of those who read it
  query       ask the tables for the neighbours or the row of a node, also of a new one; or the walk index
  export      its rows as an index (FAISS, USearch), a table of LanceDB, features of Feast, or numpy arrays
  inspect     what a run made, and from what
  report      the night as one HTML page: verdict, figures, pictures
  rollback    point readers at an earlier release
  clean       remove old releases and working tables

  doctor      what this machine has and lacks
  config      the keys of the configuration and their defaults

graphquilt COMMAND --help says more. Exit codes: 0 done, 1 failed, 2 wrong usage or config,
3 a gate or a bound refused, 4 bad input or no sound table.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, by default that of this process; return its exit code."""
    return run_process(_main, sys.argv[1:]) if argv is None else _main(argv)


def _main(arguments: Sequence[str]) -> int:
    command = arguments[0] if arguments else "--help"
    is_json = "--json" in arguments
    if refusal := secret_of_argument(arguments):
        return _fail(refusal, is_json, USAGE)
    if command in ("-h", "--help", "help"):
        return write_answer(HELP.rstrip("\n"), OK if arguments else USAGE)
    if command == "--version":
        from graphquilt.version import version

        return write_answer(f"graphquilt {version()}")
    if command.startswith("-"):
        return _fail(f"{command} comes before the command: graphquilt COMMAND [options] (see --help)", is_json, USAGE)
    if command in ("current", "check"):
        return _read(current if command == "current" else check, arguments[1:], is_json)
    try:
        from jobs.cli import main as run
    except ModuleNotFoundError as error:
        if sentence := describe_missing(f"graphquilt {command}", error):
            return _fail(sentence, is_json, USAGE)
        raise
    return run(arguments) or OK


def _read(command: Callable[[Sequence[str]], int], argv: Sequence[str], is_json: bool) -> int:
    """Run a command of readers; none ends in a bare traceback, or without its JSON."""
    try:
        return command(argv)
    except UsageError as error:
        return _fail(str(error), is_json, USAGE)
    except Exception as error:
        if is_denied(error):
            return _fail(describe_denial(error), is_json, NO_TABLE)
        write(sys.stderr, "".join(traceback.format_exception(error)).rstrip())
        return _fail(f"{type(error).__name__}: {error}", is_json, FAILED)


def current(argv: Sequence[str]) -> int:
    """Print where the current release of a table is; exit 4 if there is none."""
    parser = _parser("current", "Print the folder of the current release's table. It holds part-*.parquet.")
    parser.add_argument("--table", default=TABLE, help=f"table of the release, such as {LISTS} (default: {TABLE})")
    options = parser.parse_args(argv)
    try:
        location = locate(options.workspace, options.name)
        if (lists := location.list_table) and options.table not in location.tables:
            raise TableError(f"release {location.release} has no table '{options.table}'; ask for --table {lists}")
        folder = location.files(options.table)[0].parent
    except TableError as error:
        return _fail(str(error), options.json)
    if options.json:
        files = [str(path) for path in location.files(options.table)]
        return write_answer({**_describe(location), "table": options.table, "path": str(folder), "files": files})
    return write_answer(str(folder))


def check(argv: Sequence[str]) -> int:
    """Say what is wrong with the current release: exit 0 nothing, 3 a broken bound, 4 no sound table."""
    parser = _parser(
        "check",
        "Check the tables of the current release before they are used. Exit code 0: all is well; 3: a bound is broken; "
        "4: there is no table, or one is damaged.",
    )
    parser.add_argument(
        "--table",
        choices=(TABLE, *LIST_TABLES),
        help=f"the table that must be there, and whose rows count (default: {TABLE}; its lists in releases without)",
    )
    parser.add_argument(
        "--max-age",
        type=_hours,
        metavar="26h",
        help="most time since the end of the day of the data (undated: since publication); in s, m, h or d",
    )
    parser.add_argument("--min-rows", type=int, metavar="N", help="fewest rows of the table")
    parser.add_argument("--space-id", metavar="S", help="the space that the reader's model was trained in")
    parser.add_argument("--deep", action="store_true", help="compare every byte with the manifest's digests")
    options = parser.parse_args(argv)
    try:
        location = locate(options.workspace, options.name, deep=options.deep)
        facts = _describe(location) | _tables(location, options.table)
        if options.space_id is not None and facts["space_id"] is None:
            raise TableError(
                f"release {location.release} has no vectors, which --space-id is about: {facts['table']} only"
            )
    except TableError as error:
        return _fail(str(error), options.json)
    findings = _findings(facts, options)
    rows = ", ".join(f"{table} {of_table['rows']:,} rows" for table, of_table in facts["tables"].items())
    text = "\n".join(findings or [f"ok: {facts['release']}, {rows}, {facts['age_hours']} hours old"])
    answer = {"ok": not findings, "findings": findings, **facts} if options.json else text
    return write_answer(answer, REFUSED if findings else OK)


def _tables(location: LocatedRelease, table: str | None) -> dict[str, Any]:
    """Open every table, and return what there is to say of each, and of the one whose rows count."""
    from graphquilt.neighbor_table import NeighborTable  # only here: these take pyarrow with them
    from graphquilt.table import EmbeddingTable

    of_lists = location.list_table
    table = table or (of_lists if of_lists and TABLE not in location.tables else TABLE)
    location.files(table)  # says what a release without it has
    tables: dict[str, dict[str, Any]] = {}
    if TABLE in location.tables:
        with EmbeddingTable.open(location.folder) as vectors:
            tables[TABLE] = {"rows": len(vectors), "dim": vectors.dim, "space_id": vectors.space_id}
    if of_lists:
        with NeighborTable.open(location.folder) as lists:
            parameter = {"restart": lists.restart} if lists.filter == "ppr" else {"filter": lists.filter}
            tables[of_lists] = {"rows": len(lists), "top_k": lists.top_k, **parameter}
    of_vectors = tables.get(TABLE, {"dim": None, "space_id": None})
    return {
        "table": table,
        "rows": tables[table]["rows"],
        "dim": of_vectors["dim"],
        "space_id": of_vectors["space_id"],
        "tables": tables,
    }


def _findings(facts: dict[str, Any], options: argparse.Namespace) -> list[str]:
    """Return a sentence for each bound that is broken, and for data of a day that has not begun."""
    findings = []
    if facts["withdrawn"]:
        findings.append(
            f"readers were rolled back from release {facts['release']} {describe_withdrawal(**facts['withdrawn'])}: "
            "read what CURRENT names, or wait for the next night"
        )
    if facts["age_hours"] < 0:
        findings.append(
            f"release {facts['release']} has data of {facts['data_date']} (published {facts['published_at']}), and by "
            f"this machine's clock it is {utc_now().isoformat(timespec='seconds')}: its age is negative. If the clock "
            "is right, a future --date was published: roll back, or publish again with --date and --force-current"
        )
    if options.max_age is not None and facts["age_hours"] > options.max_age:
        findings.append(
            f"the data are {facts['age_hours']} hours old, at most {options.max_age:g} are wanted: release "
            f"{facts['release']} has data up to {facts['data_date']}; look at last night's run"
        )
    if options.min_rows is not None and facts["rows"] < options.min_rows:
        findings.append(f"{facts['table']} has {facts['rows']:,} rows, at least {options.min_rows:,} are wanted")
    if options.space_id is not None and facts["space_id"] != options.space_id:
        findings.append(
            f"the table's space_id is {facts['space_id']}, {options.space_id} is wanted: its vectors "
            "can't be compared with the old ones; train the model again"
        )
    return findings


def _describe(location: LocatedRelease) -> dict[str, Any]:
    manifest = location.manifest
    try:
        data_date = dt.date.fromisoformat(manifest["data_date"])
        since = dt.datetime.fromisoformat(manifest["published_at"])
    except (KeyError, ValueError) as error:
        raise TableError(f"{location.folder} has no manifest of a release: {error!r}") from error
    now, begins = utc_now(), since
    if data_date != dt.date(1970, 1, 1):  # undated data
        begins = dt.datetime.combine(data_date, dt.time(), dt.UTC)
        since = begins + dt.timedelta(days=1)
    hours = round((now - since).total_seconds() / 3600, 2)
    return {
        "release": location.release,
        "release_path": str(location.folder),
        "data_date": manifest["data_date"],
        "published_at": manifest["published_at"],
        "contract_version": manifest.get("contract_version"),
        "withdrawn": withdrawal_facts(location.withdrawal),
        # Below 0 only where the data are of a day that has not begun; of today's data it is 0 until the day ends.
        "age_hours": hours if begins > now + _CLOCKS_DIFFER else max(0.0, hours),
    }


def utc_now() -> dt.datetime:
    """Return the time it is: the one place where ``check`` reads the clock."""
    return dt.datetime.now(dt.UTC)


def _parser(command: str, about: str) -> argparse.ArgumentParser:
    parser = OptionParser(prog=f"graphquilt {command}", description=about, allow_abbrev=False)
    parser.add_argument("--workspace", required=True, metavar="W", help="workspace, or the folder published/<name>")
    parser.add_argument("--name", default="default", metavar="N", help="published name (default: default)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser


def _hours(text: str) -> float:
    """Return "90m", "26h" or "2d" in hours."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number and a unit, such as 90m, 26h or 2d")
    return float(match[1]) * {"s": 1 / 3600, "m": 1 / 60, "h": 1.0, "d": 24.0}[match[2]]


def _fail(message: str, as_json: bool, code: int = NO_TABLE) -> int:
    about = {"ok": False, "findings": [message]} if code == NO_TABLE else {"error": message, "exit_code": code}
    return write_error(message, code, about if as_json else None)


if __name__ == "__main__":
    sys.exit(main())
