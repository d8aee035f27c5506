"""What ``graphquilt tune`` says of lists, whose parameters are in ``[ppr]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from graphquilt.output import write
from jobs.answers import columns
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.config.model import PipelineConfig
    from pipeline.tuning.list_search import ListTrial, Look
    from pipeline.tuning.lists import TunedLists
    from pipeline.workspace import Workspace

#: Lists are made of 128 sources at once: so many columns a node has while tuning.
WIDTH = 128


def is_of_lists(options: argparse.Namespace, config: PipelineConfig) -> bool:
    """Whether lists are to be tuned, not vectors.

    Raises
    ------
    ConfigError : they are, and an option is of vectors; or vectors are, and there are none.
    """
    has_vectors = config.embedding.method != "none"
    what = options.what or ("vectors" if has_vectors else "lists")
    if what == "vectors":
        if not has_vectors:
            raise ConfigError("--what is vectors and embedding.method 'none': choose a method, or --what lists")
        return False
    of_vectors = {
        "--dims": bool(options.dims),
        "--use": options.use != "retrieval",
        "--labels": options.labels is not None,
        "--curve": options.curve,
    }
    if given := [name for name, is_given in of_vectors.items() if is_given]:
        raise ConfigError(f"{given[0]} is of vectors, and lists are tuned here; leave it out, or give --what vectors")
    return True


def show_look(look: Look) -> None:
    """Write a line about what was tried."""
    write(sys.stderr, f"tune: {look.seconds:5.1f} s  {look.best.score.value:.4f}  {_named(_trial_facts(look.best))}")


def facts_of(options: argparse.Namespace, workspace: Workspace, tuned: TunedLists, seconds: float) -> dict[str, Any]:
    """Return JSON values."""
    return {
        "config": str(options.out),
        "given": str(options.config),
        "date": workspace.date.isoformat(),
        "seed": options.seed,
        "what": "lists",
        "budget_s": options.budget,
        "seconds": round(seconds, 3),
        "split": dict(tuned.split),
        "decides": tuned.decides,
        "looks": [
            {
                "seconds": round(look.seconds, 3),
                "best": _trial_facts(look.best),
                "trials": [_trial_facts(trial) for trial in look.trials],
            }
            for look in tuned.looks
        ],
        "chosen": _trial_facts(tuned.chosen),
        "changes": {section: dict(values) for section, values in tuned.changes.items() if values},
        "remarks": list(tuned.remarks),
        "advice": list(tuned.advice),
    }


def header_of(facts: Mapping[str, Any]) -> list[str]:
    """Return comment lines for the config."""
    chosen, split = facts["chosen"], facts["split"]
    figures = ", ".join(f"{name} {value:.4f}" for name, value in chosen["figures"].items())
    lines = [
        f"config {facts['given']}, date {facts['date']}, seed {facts['seed']}, budget {facts['budget_s']:g} s",
        f"hidden: {split['sentence']}; measured by {split['units']:,} {split['unit']}",
        f"chosen: {_named(chosen)}: {figures}, standard error {chosen['error']:.4f}",
    ]
    return [f"# {line}" for line in lines]


def text_of(facts: Mapping[str, Any], tuned: TunedLists) -> str:
    """Return lines for a person: of each restart the best correction, * the chosen one, ~ by the first users only."""
    split, chosen = facts["split"], tuned.chosen
    names = list(chosen.score.figures)
    has_inputs = any(look.best.walk.of_input for look in tuned.looks)
    of_input = ["input"] if has_inputs else []
    rows = [
        (
            "",
            "restart",
            "edge power",
            "correction",
            *of_input,
            *names,
            "error",
            "without correction",
            split["unit"],
            "s",
        )
    ]
    for look in tuned.looks:
        best = look.best
        sign = "*" if best is chosen else "" if best.is_whole else "~"
        plain = next(trial for trial in look.trials if trial.degree_correction == 0)
        rows.append(
            (
                *(sign, f"{best.walk.restart:g}", f"{best.walk.edge_degree_power:g}", f"{best.degree_correction:g}"),
                *([_input_of(best)] if has_inputs else []),
                *(f"{best.score.figures[name]:.4f}" for name in names),
                *(f"{best.score.error:.4f}", f"{plain.score.value:.4f}"),
                *(f"{best.score.deciding.size:,}", f"{look.seconds:.1f}"),
            )
        )
    lines = [
        f"hidden: {split['sentence']}; measured by {split['units']:,} {split['unit']}",
        *columns(rows),
        f"chosen  {_named(facts['chosen'])}",
        *(f"advice  {sentence}" for sentence in facts["advice"]),
        *(f"note    {sentence}" for sentence in facts["remarks"]),
        f"written to {facts['config']} after {facts['seconds']:.1f} s. Next: graphquilt run --config "
        f"{facts['config']} --workspace ...",
    ]
    return "\n".join(lines)


def _input_of(trial: ListTrial) -> str:
    parts = [(key.partition(".")[2], value) for key, value in trial.walk.of_input]
    return ", ".join(f"no {key}" if value is None else f"{key} {value:g}" for key, value in parts)


def _named(trial: Mapping[str, Any]) -> str:
    names = ("restart", "edge_degree_power", "degree_correction")
    said = [f"{name} {trial[name]:g}" for name in names]
    said += [f"without {key}" if value is None else f"{key} {value:g}" for key, value in trial["input"].items()]
    return ", ".join(said)


def _trial_facts(trial: ListTrial) -> dict[str, Any]:
    return {
        "restart": trial.walk.restart,
        "edge_degree_power": trial.walk.edge_degree_power,
        "degree_correction": trial.degree_correction,
        "input": dict(trial.walk.of_input),
        "value": trial.score.value,
        "error": trial.score.error,
        "figures": dict(trial.score.figures),
        "units": int(trial.score.deciding.size),
        "is_whole": trial.is_whole,
    }
