"""The options that every stage takes, under ``graphquilt`` as under ``spark-submit``."""

import argparse
import contextlib
import datetime as dt
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, NoReturn, TypeVar
from uuid import uuid4

from graphquilt.options import OptionParser, UsageError, nearest_word
from jobs.connect_session import parse_remote
from pipeline.errors import ConfigError

#: The stages in order, as the command line names them. A copy of the chain's own, which a test compares:
#: importing the chain takes longer than --help may.
STAGE_NAMES = ("ingest", "index", "partition", "layout", "embed", "aggregate", "evaluate", "publish")

Number = TypeVar("Number", int, float)

_DASK_ADDRESS = re.compile(r"((tcp|tls|ws|wss)://)?([\w.-]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}")


class CommandParser(OptionParser):
    """A parser whose complaints are errors like all others."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and raise."""
        try:
            super().error(message)
        except UsageError as error:
            raise ConfigError(str(error)) from None


def command_parser(command: str, help_text: str) -> CommandParser:
    """Return the parser of a ``graphquilt`` command; the examples of its help follow the options in ``--help``."""
    about, _, examples = help_text.rstrip().partition("\n\nexamples\n")
    parser = CommandParser(
        prog=f"graphquilt {command}",
        description=about,
        epilog=f"examples\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_json(parser)
    return parser


@dataclass(frozen=True)
class Options:
    """Where to compute and how much machine to use; what to compute is in the config file."""

    config: Path
    workspace: str
    engine: Literal["local", "spark"]
    date: dt.date | None
    workers: int
    dask: str | None
    wait_s: float
    overrides: tuple[str, ...]
    spark_conf: tuple[str, ...]
    is_json: bool
    force_current: bool
    rehash: bool = False
    accept_drift: bool = False
    allow_future: bool = False
    recompute: bool = False
    verbose: bool = False
    scratch: Path | None = None
    remote: str | None = None
    slots: int | None = None
    run_id: str = ""
    threads: int = 1


def stage_parser(default_engine: str, program: str | None = None) -> CommandParser:
    """Return the parser of a spark-submit job."""
    parser = CommandParser(prog=program, allow_abbrev=False)
    add_json(parser)
    add_stage_options(parser, default_engine)
    return parser


def add_stage_options(
    parser: argparse.ArgumentParser, default_engine: str = "local", *, needs_place: bool = True
) -> None:
    """Add the options that every stage takes; ``needs_place``: whether config and workspace have to be given."""
    parser.add_argument("--config", required=needs_place, type=Path, metavar="FILE", help="what to compute (TOML)")
    parser.add_argument(
        "--workspace", required=needs_place, metavar="ADDRESS", help="where tables go, one for all dates"
    )
    add_engine_options(parser, default_engine)
    parser.add_argument(
        "--date",
        type=parse_date,
        metavar="YYYY-MM-DD",
        help="events up to the end of this day, UTC (default: the newest that is not in the future)",
    )
    parser.add_argument("--allow-future", action="store_true", help="take a --date that is after today, UTC")
    parser.add_argument(
        "--wait", type=parse_amount, default=0.0, metavar="SECONDS", dest="wait_s", help="for a lock (default: 0)"
    )
    add_overrides(parser)
    parser.add_argument(
        "--force-current", action="store_true", help="publish: move CURRENT even to an older date than it has"
    )
    parser.add_argument(
        "--rehash", action="store_true", help="read every input file anew: where edits change neither size nor times"
    )
    parser.add_argument("--verbose", action="store_true", help="on a terminal: log lines too, not the bar alone")
    parser.add_argument(
        "--run-id",
        type=parse_run_id,
        default=uuid4().hex[:12],
        metavar="ID",
        help="of this run in logs, manifests and gate.json, for a scheduler to know its own by (default: random)",
    )
    parser.add_argument(
        "--recompute",
        action="store_true",
        help="make all tables of the date anew from the input, under its lineage; a release that differs is an error",
    )
    parser.add_argument(
        "--accept-drift", action="store_true", help="publish: whatever the gates say; the release's manifest says so"
    )


def add_engine_options(parser: argparse.ArgumentParser, default_engine: str = "local") -> None:
    """Add the options that say where to compute."""
    parser.add_argument(
        "--engine", choices=("local", "spark"), default=default_engine, help="where to compute (default: %(default)s)"
    )
    parser.add_argument("--workers", type=parse_count, default=1, metavar="N", help="local: processes (default: 1)")
    parser.add_argument(
        "--threads",
        type=parse_count,
        default=1,
        metavar="N",
        help="of a task while it multiplies rows (default: 1); spark: spark.task.cpus should be as many",
    )
    parser.add_argument(
        "--dask", type=parse_dask, metavar="ADDRESS", help="local: a Dask cluster that shares the workspace"
    )
    parser.add_argument(
        "--scratch",
        type=Path,
        metavar="FOLDER",
        help="on each node: cache of a workspace in an object store (default: GRAPHQUILT_SCRATCH, else /tmp)",
    )
    parser.add_argument(
        "--conf", action="append", default=[], metavar="KEY=VALUE", dest="spark_conf", help="spark: a Spark setting"
    )
    parser.add_argument(
        "--remote", type=parse_remote, metavar="sc://HOST", help="spark: a Spark Connect server (default: SPARK_REMOTE)"
    )
    parser.add_argument(
        "--slots", type=parse_count, metavar="N", help="spark: tasks that run at once (default: what Spark says)"
    )


def add_workspace(parser: argparse.ArgumentParser, *, with_name: bool = False) -> None:
    """Add ``--workspace``, and ``--name`` of what is published there."""
    parser.add_argument("--workspace", required=True, metavar="ADDRESS", help="the workspace")
    if with_name:
        parser.add_argument("--name", default="default", help="published name (default: %(default)s)")


def add_overrides(parser: argparse.ArgumentParser, over: str = "config file") -> None:
    """Add ``--set``."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", dest="overrides", help=f"over the {over}"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", dest="is_json", help="one JSON object on stdout")


def stages_named(names: Sequence[str]) -> tuple[str, ...]:
    """Return the stages of a ``run``; all of them if none is named.

    Raises
    ------
    ConfigError : an unknown name, or names that are not neighbours in the chain, in its order.
    """
    if not names:
        return STAGE_NAMES
    if unknown := [name for name in names if name not in STAGE_NAMES]:
        near = nearest_word(unknown[0], STAGE_NAMES)
        hint = f"did you mean '{near}'? The" if near else "the"
        raise ConfigError(f"there is no stage '{unknown[0]}'; {hint} stages are {' '.join(STAGE_NAMES)}")
    first = STAGE_NAMES.index(names[0])
    run = STAGE_NAMES[first : first + len(names)]
    if tuple(names) != run:
        raise ConfigError(
            f"the stages {' '.join(names)} do not follow each other; name them in order and without a gap: "
            f"{' '.join(STAGE_NAMES)}"
        )
    return run


def parse_date(text: str) -> dt.date:
    """Return a date of the command line."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write YYYY-MM-DD") from None


def parse_run_id(text: str) -> str:
    """Return the id of a run, which stands as one word in log lines."""
    if not text.isprintable() or text.split() != [text] or len(text) > 250:
        raise argparse.ArgumentTypeError(f"{text!r} is no run id; write up to 250 characters without spaces")
    return text


def number(kind: Callable[[str], Number], least: float, below: float, words: str) -> Callable[[str], Number]:
    """Return a parser of numbers from ``least`` on and below ``below``; ``words`` name them in its complaint."""

    def parse(text: str) -> Number:
        with contextlib.suppress(ValueError):
            if least <= (value := kind(text)) < below:
                return value
        raise argparse.ArgumentTypeError(f"{text!r} must be {words}")

    return parse


parse_count = number(int, 1, math.inf, "a whole number from 1 on")
parse_seed = number(int, 0, 2**63, "a whole number from 0 on, below 2**63")
parse_amount = number(float, 0, math.inf, "a number, 0 or more")
parse_share = number(float, 0, 1, "a share, from 0 on and below 1")


def parse_dask(text: str) -> str:
    """Return the address of a scheduler. Dask finds out about any other after a minute."""
    if not _DASK_ADDRESS.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no address of a Dask scheduler; write tcp://HOST:8786")
    return text


def options_of(namespace: argparse.Namespace) -> Options:
    """Return the options of :func:`add_stage_options`; those that a command lacks have their defaults.

    Raises
    ------
    ConfigError : options of one engine given to the other, which would be ignored.
    """
    of_spark = [f"--conf {text.partition('=')[0]}" for text in namespace.spark_conf]
    of_spark += [f"--{name}" for name in ("remote", "slots") if getattr(namespace, name) is not None]
    if namespace.engine == "local" and of_spark:
        raise ConfigError(
            f"{of_spark[0]} is a setting of Spark, and --engine is local: add --engine spark, or leave it out "
            "(--workers N sets how many tasks run at once here)"
        )
    if namespace.engine == "spark" and (namespace.dask or namespace.workers != 1):
        option = "--dask" if namespace.dask else "--workers"
        raise ConfigError(
            f"{option} is of --engine local, and --engine is spark: leave it out (--conf spark.master=local[4] runs "
            "four tasks at once)"
        )
    values = {field.name: getattr(namespace, field.name) for field in fields(Options) if hasattr(namespace, field.name)}
    return Options(**values | {name: tuple(values[name]) for name in ("overrides", "spark_conf")})
