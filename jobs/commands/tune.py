"""``graphquilt tune``: choose parameters of vectors or of lists on hidden training pairs, and write the config."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from graphquilt.output import write
from jobs.answers import Answer, columns
from jobs.arguments import CommandParser, command_parser, options_of, parse_amount, parse_count, stage_parser
from jobs.stopping import StopRequest
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.config.model import PipelineConfig
    from pipeline.tuning.candidates import Use
    from pipeline.tuning.lists import TunedLists
    from pipeline.tuning.search import Trial
    from pipeline.tuning.vectors import Tuned
    from pipeline.workspace import Workspace

#: How a file that this command made begins: such a file may be made again.
OWN = "# Made by: graphquilt tune"
#: Of training pairs, for each second of the budget: five to ten candidates of 128 columns get their turn.
_PAIRS_A_SECOND = 40_000
_LEAST_PAIRS = 400_000  # however short the budget


def parser() -> CommandParser:
    """Return the parser of the command."""
    made = command_parser(
        "tune",
        "Hides some of the training pairs, tries methods, widths and parameters on the others within a budget\n"
        "of seconds, and writes the config with the best of them. Ingest and index run first, where they have\n"
        "not yet; their time counts. Test pairs are never seen: what index holds out is not among the pairs,\n"
        "and a file named in [evaluate] is not opened. Where embedding.method is 'none' it is the lists that\n"
        "are tuned: restart, degree_correction and edge_degree_power of [ppr].",
        "  graphquilt tune --config config.toml --workspace work --budget 60 --out tuned.toml\n"
        "  graphquilt tune --config config.toml --workspace work --out tuned.toml --dims 64,128,256 --curve\n"
        "  graphquilt tune --config config.toml --workspace work --out tuned.toml --use classifier --labels l.csv\n"
        "  graphquilt tune --config config.toml --workspace work --out tuned.toml --what lists\n"
        "  graphquilt run --config tuned.toml --workspace work",
        stage_parser("local"),
    )
    made.add_argument(
        "--budget", type=parse_amount, default=60.0, metavar="SECONDS", help="for all of it (default: %(default)g)"
    )
    made.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the tuned config goes")
    made.add_argument(
        "--what",
        choices=("vectors", "lists"),
        help="what is chosen: [embedding], or the walks of [ppr] (default: lists where embedding.method is "
        "'none', else vectors)",
    )
    made.add_argument(
        "--dims", type=_widths, default=(), metavar="N,N,...", help="widths to try (default: embedding.dim alone)"
    )
    made.add_argument(
        "--use",
        choices=("retrieval", "classifier", "feature"),
        default="retrieval",
        help="what vectors are for; it says which product of rows ranks, or that labels decide "
        "(default: %(default)s, or classifier with --labels)",
    )
    made.add_argument("--labels", metavar="FILE", help="classifier: a file with columns node and label")
    made.add_argument(
        "--by-time",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="hide the latest pairs, or not even where there are times (default: where there are times)",
    )
    made.add_argument("--curve", action="store_true", help="try the chosen parameters at other widths, too")
    made.add_argument("--seed", type=_seed, default=0, metavar="N", help="of the split and the samples (default: 0)")
    made.add_argument("--sample", type=parse_count, metavar="N", help="most users or nodes ranked (default: 5000)")
    made.add_argument(
        "--max-pairs", type=parse_count, metavar="N", help="most pairs tuned on (default: as memory and budget allow)"
    )
    made.add_argument("--force", action="store_true", help="overwrite --out even if this command did not make it")
    return made


def answer(options: argparse.Namespace) -> Answer:
    """Tune and write.

    Raises
    ------
    ConfigError : wrong options or config, or --out must not be written. InputError : the input can't be used.
    """
    started = time.monotonic()
    _refuse_to_overwrite(options)
    with StopRequest() as stop:
        workspace, tuned = _tuned(options, stop, started)
    return _answer(options, workspace, tuned, time.monotonic() - started)


def _answer(options: argparse.Namespace, workspace: Workspace, tuned: Tuned | TunedLists, seconds: float) -> Answer:
    """Write the config and say what came of it."""
    from jobs.commands import tune_lists
    from pipeline.tuning.vectors import Tuned

    if isinstance(tuned, Tuned):
        facts = _facts(options, workspace, tuned, seconds)
        _write(options, tuned.changes, tuned.dropped, _header(facts))
        return Answer(facts, _text(facts, tuned))
    facts = tune_lists.facts_of(options, workspace, tuned, seconds)
    _write(options, tuned.changes, frozenset(), tune_lists.header_of(facts))
    return Answer(facts, tune_lists.text_of(facts, tuned))


def _tuned(options: argparse.Namespace, stop: StopRequest, started: float) -> tuple[Workspace, Tuned | TunedLists]:
    """Run ingest and index, or find them made, and tune, under the date's lock."""
    from jobs.commands.tune_lists import WIDTH, is_of_lists, show_look
    from jobs.config_file import read_config
    from jobs.progress import with_progress
    from jobs.session import open_engine
    from pipeline import storage
    from pipeline.stages.opening import open_workspace
    from pipeline.stages.runner import run_stages
    from pipeline.tuning.lists import tune_lists
    from pipeline.tuning.search import Budget
    from pipeline.tuning.validation_tasks import MAX_USERS, Wishes
    from pipeline.tuning.vectors import tune
    from pipeline.workspace import hold

    config = without_test(read_config(options.config, options.overrides))
    of_lists = is_of_lists(options, config)
    _refuse_labels(options)
    run_options = options_of(options)
    budget = Budget(options.budget, time.monotonic, started)
    with open_engine(run_options, "tune", stop) as plain:
        engine = with_progress(plain)
        root = storage.local_root(options.workspace)
        workspace = open_workspace(
            engine, config, root, options.date, uuid4().hex[:12], starts_here=True, allow_future=options.allow_future
        )
        with hold(workspace, "tune", options.wait_s):
            for _ in run_stages(("ingest", "index"), engine, config, workspace):
                pass
            wishes = Wishes(
                dims=options.dims,
                use=_use(options),
                by_time=options.by_time,
                with_curve=options.curve,
                seed=options.seed,
                max_users=options.sample or MAX_USERS,
                max_pairs=options.max_pairs
                or _pairs_worth_tuning(workspace, options, WIDTH if of_lists else config.embedding.dim),
                labels=options.labels,
            )
            is_watched = sys.stderr.isatty()
            if of_lists:
                return workspace, tune_lists(config, workspace, wishes, budget, show_look if is_watched else None)
            return workspace, tune(config, workspace, wishes, budget, _show_trial if is_watched else None)


def without_test(config: PipelineConfig) -> PipelineConfig:
    """Return the config without its test: pairs that index holds out stay out, all else of [evaluate] is not read."""
    if config.evaluate.source == "holdout":
        return config
    return config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"source": "none", "path": None})})


def _pairs_worth_tuning(workspace: Workspace, options: argparse.Namespace, dim: int) -> int:
    """Return how many pairs fit half of the memory with their rows, and the budget with some candidates.

    Memory: 120 B a pair, four rows of a table a node. Time: a first look at every kind of candidate on fewer users
    says more than one candidate on all of them.
    """
    from jobs.commands.machine import memory_bytes

    figures = workspace.manifest("node_index").figures
    needed = 120 * figures["edges"] + 16 * max(options.dims or (dim,)) * figures["nodes"]
    fitting = int(figures["edges"] * min(1.0, 0.5 * memory_bytes() / max(needed, 1)))
    return min(fitting, max(_LEAST_PAIRS, int(_PAIRS_A_SECOND * options.budget)))


def _use(options: argparse.Namespace) -> Use:
    use: Use = "classifier" if options.labels else options.use
    return use


def _refuse_to_overwrite(options: argparse.Namespace) -> None:
    out: Path = options.out
    if out.exists() and options.config.exists() and out.samefile(options.config):
        raise ConfigError(f"--out {out} is the config itself; give another --out FILE")
    if out.exists() and not options.force and not _is_own(out):
        raise ConfigError(
            f"{out} exists and was not made by this command; give another --out FILE, or --force to overwrite it"
        )
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"{out.absolute().parent} is no folder; make it, or give another --out FILE")


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
    write(sys.stderr, f"tune: {trial.seconds:5.1f} s  {trial.score.value:.4f}  d={trial.dim}  {trial.candidate.name}")


def _write(
    options: argparse.Namespace,
    changes: Mapping[str, Mapping[str, Any]],
    dropped: frozenset[str],
    header: Sequence[str],
) -> None:
    from jobs.commands.tuned_config import tuned_text
    from pipeline import storage

    text = tuned_text(options.config, options.overrides, options.out, changes, dropped)
    try:
        storage.write_bytes(options.out.absolute(), ("\n".join([OWN, *header]) + "\n\n" + text).encode())
    except OSError as error:
        raise ConfigError(f"{options.out} can't be written: {error.strerror}; choose another --out FILE") from error


def _header(facts: Mapping[str, Any]) -> list[str]:
    chosen, split = facts["chosen"], facts["split"]
    figures = ", ".join(f"{name} {value:.4f}" for name, value in chosen["figures"].items())
    lines = [
        f"config {facts['given']}, date {facts['date']}, seed {facts['seed']}, budget {facts['budget_s']:g} s",
        f"hidden: {split['sentence']}; measured by {split['units']:,} {split['unit']}",
        f"chosen: {chosen['name']} (dim {chosen['dim']}): {figures}, standard error {chosen['error']:.4f}",
        f"why: {facts['why']}",
    ]
    return [f"# {line}" for line in lines]


def _facts(options: argparse.Namespace, workspace: Workspace, tuned: Tuned, seconds: float) -> dict[str, Any]:
    return {
        "config": str(options.out),
        "given": str(options.config),
        "date": workspace.date.isoformat(),
        "seed": options.seed,
        "use": _use(options),
        "budget_s": options.budget,
        "seconds": round(seconds, 3),
        "split": dict(tuned.split),
        "decides": tuned.decides,
        "candidates": [_trial_facts(trial) for trial in tuned.trials],
        "best": {str(dim): trial.candidate.name for dim, trial in tuned.best.items()},
        "chosen": _trial_facts(tuned.chosen),
        "why": tuned.why,
        "curve": [_trial_facts(trial) for trial in tuned.curve],
        "skipped": [candidate.name for candidate in tuned.skipped],
        "refused": [{"name": candidate.name, "reason": reason} for candidate, reason in tuned.refused],
        "remarks": list(tuned.remarks),
        "advice": list(tuned.advice),
    }


def _trial_facts(trial: Trial) -> dict[str, Any]:
    return {
        "name": trial.candidate.name,
        "why": trial.candidate.why,
        "changes": dict(trial.candidate.changes),
        "dim": trial.dim,
        "value": trial.score.value,
        "error": trial.score.error,
        "figures": dict(trial.score.figures),
        "units": int(trial.score.deciding.size),
        "is_whole": trial.is_whole,
        "cpu_seconds": round(trial.cpu_seconds, 3),
        "seconds": round(trial.seconds, 3),
        "table_bytes": trial.table_bytes,
    }


def _text(facts: Mapping[str, Any], tuned: Tuned) -> str:
    split, chosen = facts["split"], facts["chosen"]
    lines = [
        f"hidden: {split['sentence']}; measured by {split['units']:,} {split['unit']}",
        *_table(tuned.trials, tuned.chosen, set(tuned.best.values())),
    ]
    if facts["curve"]:
        lines += ["at other widths:", *_table(tuned.curve, tuned.chosen, set())]
    lines.append(f"chosen  {chosen['name']}, dim {chosen['dim']}: {facts['why']}")
    lines += [f"advice  {sentence}" for sentence in facts["advice"]]
    lines += [f"note    {sentence}" for sentence in facts["remarks"]]
    if facts["skipped"]:
        lines.append(
            f"note    no time for {len(facts['skipped'])} more candidates, such as {facts['skipped'][0]}: "
            "raise --budget to try them"
        )
    lines += [f"note    {one['name']} can't be run here: {one['reason']}" for one in facts["refused"]]
    lines.append(f"written to {facts['config']} after {facts['seconds']:.1f} s. Next: graphquilt run --config "
                 f"{facts['config']} --workspace ...")  # fmt: skip
    return "\n".join(lines)


def _table(trials: Sequence[Trial], chosen: Trial, best: set[Trial]) -> list[str]:
    """Return lines: * the chosen one, + the best of its width, ~ given up after the first users."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.score.figures))
    rows = [("", "candidate", "dim", *names, "error", "CPU s", "table MB")]
    for trial in trials:
        sign = "*" if trial is chosen else "+" if trial in best else "" if trial.is_whole else "~"
        figures = [f"{trial.score.figures[name]:.4f}" if name in trial.score.figures else "" for name in names]
        rows.append(
            (
                *(sign, trial.candidate.name, str(trial.dim), *figures, f"{trial.score.error:.4f}"),
                *(f"{trial.cpu_seconds:.2f}", f"{trial.table_bytes / 1e6:.1f}"),
            )
        )
    return columns(rows)


def _widths(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and 1 <= int(part) <= 65_536 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} must be widths from 1 to 65536, such as 64,128,256")
    return tuple(sorted({int(part) for part in parts}))


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 0 on, below 2**63")
    return int(text)
