"""Hides some of the training pairs, tries methods, widths and parameters on the others within a budget
of seconds, and writes the config with the best of them. Ingest and index run first, where they have
not yet; their time counts. Test pairs are never seen: what index holds out is not among the pairs,
and a file named in [evaluate] is not opened. Where embedding.method is 'none' it is the lists that
are tuned: restart, degree_correction and edge_degree_power of [ppr], or with lists.filter phi, beta,
rank and alpha of [lists]. Beside vectors for retrieval, [interests] is chosen where long lists
find more by several queries of a user.

examples
  graphquilt tune --config config.toml --workspace work --budget 60 --out tuned.toml
  graphquilt tune --config config.toml --workspace work --out tuned.toml --dims 64,128,256 --curve
  graphquilt tune --config config.toml --workspace work --out tuned.toml --use classifier --labels l.csv
  graphquilt tune --config config.toml --workspace work --out tuned.toml --what lists
  graphquilt run --config tuned.toml --workspace work
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from graphquilt.output import write
from jobs.answers import Answer
from jobs.arguments import CommandParser, add_stage_options, parse_amount, parse_count, parse_seed, parse_share
from jobs.commands.existing import require_folder_of, writing
from jobs.commands.tune_report import facts_of, header_of, text_of, use_of
from jobs.stopping import StopRequest
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.config.model import PipelineConfig
    from pipeline.tuning.options import TuningResult
    from pipeline.tuning.search import Trial
    from pipeline.workspace import Workspace

#: How a file that this command made begins: such a file may be made again.
OWN = "# Made by: graphquilt tune"
#: Of training pairs, for each second of the budget: five to ten candidates of 128 columns get their turn.
_PAIRS_A_SECOND = 40_000
_LEAST_PAIRS = 400_000  # however short the budget


def add_options(command: CommandParser) -> None:
    """Add the options of the command."""
    add_stage_options(command)
    command.add_argument(
        "--budget", type=parse_amount, default=60.0, metavar="SECONDS", help="for all of it (default: %(default)g)"
    )
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the tuned config goes")
    command.add_argument(
        "--what",
        choices=("vectors", "lists"),
        help="what is chosen: [embedding], or the lists of [ppr] or [lists] (default: lists where embedding.method is "
        "'none', else vectors)",
    )
    command.add_argument(
        "--dims", type=_widths, default=(), metavar="N,N,...", help="widths to try (default: embedding.dim alone)"
    )
    command.add_argument(
        "--use",
        choices=("retrieval", "classifier", "feature"),
        default="retrieval",
        help="what vectors are for; it says which product of rows ranks, or that labels decide "
        "(default: %(default)s, or classifier with --labels)",
    )
    command.add_argument("--labels", metavar="FILE", help="classifier: a file with columns node and label")
    command.add_argument(
        "--by-time",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="hide the latest pairs, or not even where there are times (default: where there are times)",
    )
    command.add_argument("--curve", action="store_true", help="try the chosen parameters at other widths, too")
    command.add_argument(
        "--seed", type=parse_seed, default=0, metavar="N", help="of the split and the samples (default: 0)"
    )
    command.add_argument(
        "--sample",
        type=parse_count,
        metavar="N",
        help="most users or nodes ranked (default: 5000); by a filter's lists 4 N",
    )
    command.add_argument(
        "--max-pairs", type=parse_count, metavar="N", help="most pairs tuned on (default: as memory and budget allow)"
    )
    command.add_argument(
        "--cold-loss",
        type=parse_share,
        default=0.01,
        metavar="SHARE",
        help="attributes: most of the other items' recall that items without pairs may cost (default: %(default)g)",
    )
    command.add_argument("--force", action="store_true", help="overwrite --out even if this command did not make it")


def answer(options: argparse.Namespace) -> Answer:
    """Tune and write.

    Raises
    ------
    ConfigError : wrong options or config, or --out must not be written. InputError : the input can't be used.
    """
    from jobs.config_file import read_config

    start = time.monotonic()
    _refuse_to_overwrite(options)
    config = without_test(read_config(options.config, options.overrides))
    subject = _choose_subject(options, config)
    _refuse_labels(options)
    with StopRequest() as stop:
        workspace, result = _tune(options, config, subject, stop, start)
    facts = facts_of(options, subject, workspace, result, time.monotonic() - start)
    _write(options, result, header_of(subject, facts))
    return Answer(facts, text_of(subject, facts))


def _tune(
    options: argparse.Namespace, config: PipelineConfig, subject: str, stop: StopRequest, start: float
) -> tuple[Workspace, TuningResult]:
    """Run ingest and index where they have not, and tune, under the date's lock."""
    from jobs.session import open_date
    from pipeline.stages.runner import run_stages
    from pipeline.tuning.lists import SOURCES_AT_ONCE, tune_lists
    from pipeline.tuning.options import MAX_USERS, TuneOptions
    from pipeline.tuning.search import Budget
    from pipeline.tuning.vectors import tune_vectors

    with open_date(options, config, "tune", stop) as (engine, workspace):
        for _ in run_stages(("ingest", "index"), engine, config, workspace):
            pass
        widths = (SOURCES_AT_ONCE,) if subject == "lists" else options.dims or (config.embedding.dim,)
        tune_options = TuneOptions(
            dims=options.dims,
            use=use_of(options),
            by_time=options.by_time,
            with_curve=options.curve,
            seed=options.seed,
            max_users=options.sample or MAX_USERS,
            max_pairs=options.max_pairs or _pairs_worth_tuning(workspace, max(widths), options.budget),
            labels=options.labels,
            cold_loss=options.cold_loss,
        )
        budget = Budget(options.budget, time.monotonic, start)
        tune = tune_lists if subject == "lists" else tune_vectors
        on_trial = _show_trial if sys.stderr.isatty() else None
        return workspace, tune(config, workspace, tune_options, budget, on_trial)


def _choose_subject(options: argparse.Namespace, config: PipelineConfig) -> str:
    """Return "lists" or "vectors".

    Raises
    ------
    ConfigError : lists are to be tuned, and an option is of vectors; or vectors are, and there are none.
    """
    has_vectors = config.embedding.method != "none"
    subject: str = options.what or ("vectors" if has_vectors else "lists")
    if subject == "vectors":
        if not has_vectors:
            raise ConfigError("--what is vectors and embedding.method 'none': choose a method, or --what lists")
        return subject
    of_vectors = {
        "--dims": bool(options.dims),
        "--use": options.use != "retrieval",
        "--labels": options.labels is not None,
        "--curve": options.curve,
    }
    for name, is_set in of_vectors.items():
        if is_set:
            raise ConfigError(f"{name} is of vectors, and lists are tuned here; leave it out, or give --what vectors")
    return subject


def without_test(config: PipelineConfig) -> PipelineConfig:
    """Return the config without its test: pairs that index holds out stay out, all else of [evaluate] is not read."""
    if config.evaluate.source == "holdout":
        return config
    return config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"source": "none", "path": None})})


def _pairs_worth_tuning(workspace: Workspace, width: int, budget: float) -> int:
    """Return how many pairs fit half of the memory with their rows, and the budget with some candidates.

    Memory: 120 B a pair, four rows of a table a node. Time: a first look at every kind of candidate on fewer users
    says more than one candidate on all of them.
    """
    from jobs.commands.machine import memory_bytes
    from pipeline.ingest.figures import IndexFigures

    figures = workspace.figures("node_index", IndexFigures)
    needed_bytes = 120 * figures.edges + 16 * width * figures.nodes
    fitting = int(figures.edges * min(1.0, 0.5 * memory_bytes() / max(needed_bytes, 1)))
    return min(fitting, max(_LEAST_PAIRS, int(_PAIRS_A_SECOND * budget)))


def _refuse_to_overwrite(options: argparse.Namespace) -> None:
    out: Path = options.out
    if out.exists() and options.config.exists() and out.samefile(options.config):
        raise ConfigError(f"--out {out} is the config itself; give another --out FILE")
    if out.exists() and not options.force and not _is_own(out):
        raise ConfigError(
            f"{out} exists and was not made by this command; give another --out FILE, or --force to overwrite it"
        )
    require_folder_of(out)


def _is_own(file: Path) -> bool:
    try:
        return file.read_text(encoding="utf-8").startswith(OWN)
    except (OSError, UnicodeDecodeError):
        return False


def _refuse_labels(options: argparse.Namespace) -> None:
    if options.use == "classifier" and not options.labels:
        raise ConfigError("--use classifier needs --labels FILE, with the columns node and label")
    if options.labels and not Path(options.labels).is_file():
        raise ConfigError(f"--labels {options.labels}: there is no such file")


def _show_trial(trial: Trial) -> None:
    width = f"d={trial.candidate.width}  " if trial.candidate.width > 1 else ""
    write(sys.stderr, f"tune: {trial.seconds:5.1f} s  {trial.score.value:.4f}  {width}{trial.candidate.name}")


def _write(options: argparse.Namespace, result: TuningResult, header: Sequence[str]) -> None:
    from jobs.commands.tuned_config import tuned_text
    from pipeline import storage

    text = tuned_text(options.config, options.overrides, options.out, result.changes, result.dropped_keys)
    with writing(options.out):
        storage.write(options.out.absolute(), ("\n".join([OWN, *header]) + "\n\n" + text).encode())


def _widths(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and 1 <= int(part) <= 65_536 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} must be widths from 1 to 65536, such as 64,128,256")
    return tuple(sorted({int(part) for part in parts}))
