"""What ``graphquilt tune`` says: JSON values, lines for a person, and the header of the config that it writes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jobs.answers import columns

if TYPE_CHECKING:
    from pipeline.tuning.options import TuningResult, Use
    from pipeline.tuning.search import Trial, VariantScore
    from pipeline.tuning.validation import Score
    from pipeline.workspace import Workspace


@dataclass(frozen=True)
class TuneView:
    """How the trials of one kind of tuning are shown.

    facts : JSON values of the result. describe : a trial's facts in words.
    table : lines about all trials.
    """

    facts: Callable[[TuningResult], dict[str, Any]]
    describe: Callable[[Mapping[str, Any]], str]
    table: Callable[[TuningResult], list[str]]


def use_of(options: argparse.Namespace) -> Use:
    """Return what vectors are for: labels decide where there are any."""
    use: Use = "classifier" if options.labels else options.use
    return use


def facts_of(
    options: argparse.Namespace, what: str, workspace: Workspace, result: TuningResult, seconds: float
) -> dict[str, Any]:
    """Return JSON values."""
    return {
        "config": str(options.out),
        "given": str(options.config),
        "date": workspace.date.isoformat(),
        "seed": options.seed,
        **({"use": use_of(options)} if what == "vectors" else {"what": what}),
        "budget_s": options.budget,
        "seconds": round(seconds, 3),
        "split": dict(result.split),
        "decides": result.decides,
        **VIEWS[what].facts(result),
        "remarks": list(result.remarks),
        "advice": list(result.advice),
    }


def header_of(what: str, facts: Mapping[str, Any]) -> list[str]:
    """Return comment lines for the config."""
    chosen, split = facts["chosen"], facts["split"]
    figures = ", ".join(f"{name} {value:.4f}" for name, value in chosen["figures"].items())
    lines = [
        f"config {facts['given']}, date {facts['date']}, seed {facts['seed']}, budget {facts['budget_s']:g} s",
        f"hidden: {split['sentence']}; measured by {split['units']:,} {split['unit']}",
        f"chosen: {VIEWS[what].describe(chosen)}: {figures}, standard error {chosen['error']:.4f}",
        *([f"why: {facts['why']}"] if "why" in facts else []),
    ]
    return [f"# {line}" for line in lines]


def text_of(what: str, facts: Mapping[str, Any], result: TuningResult) -> str:
    """Return lines for a person."""
    split, skipped = facts["split"], facts.get("skipped", ())
    notes = list(facts["remarks"])
    if skipped:
        notes.append(f"no time for {len(skipped)} more candidates, such as {skipped[0]}: raise --budget to try them")
    notes += [f"{one['name']} can't be run here: {one['reason']}" for one in facts.get("refused", ())]
    lines = [
        f"hidden: {split['sentence']}; measured by {split['units']:,} {split['unit']}",
        *VIEWS[what].table(result),
        *(f"advice  {sentence}" for sentence in facts["advice"]),
        *(f"note    {sentence}" for sentence in notes),
        f"written to {facts['config']} after {facts['seconds']:.1f} s. Next: graphquilt run --config "
        f"{facts['config']} --workspace ...",
    ]
    return "\n".join(lines)


def _score_facts(score: Score, *, is_whole: bool) -> dict[str, Any]:
    return {
        "value": score.value,
        "error": score.error,
        "figures": dict(score.figures),
        "units": int(score.deciding.size),
        "is_whole": is_whole,
    }


def _vector_facts(result: TuningResult) -> dict[str, Any]:
    return {
        "candidates": [_vector_trial(trial) for trial in result.trials],
        "best": {str(dim): trial.candidate.name for dim, trial in result.best.items()},
        "chosen": _vector_trial(result.chosen),
        "why": result.reason,
        "curve": [_vector_trial(trial) for trial in result.curve],
        "skipped": [candidate.name for candidate in result.skipped],
        "refused": [{"name": candidate.name, "reason": reason} for candidate, reason in result.refused],
    }


def _vector_trial(trial: Trial) -> dict[str, Any]:
    return {
        "name": trial.candidate.name,
        "why": trial.candidate.why,
        "changes": dict(trial.candidate.changes),
        "dim": trial.candidate.width,
        **_score_facts(trial.score, is_whole=trial.is_whole),
        "cpu_seconds": round(trial.cpu_seconds, 3),
        "seconds": round(trial.seconds, 3),
        "table_bytes": trial.table_bytes,
    }


def _vector_words(trial: Mapping[str, Any]) -> str:
    return f"{trial['name']} (dim {trial['dim']})"


def _vector_table(result: TuningResult) -> list[str]:
    """Return lines: * the chosen one, + the best of its width, ~ given up after the first users."""
    lines = _vector_rows(result.trials, result.chosen, set(result.best.values()))
    if result.curve:
        lines += ["at other widths:", *_vector_rows(result.curve, result.chosen, ())]
    chosen = result.chosen.candidate
    return [*lines, f"chosen  {chosen.name}, dim {chosen.width}: {result.reason}"]


def _vector_rows(trials: Sequence[Trial], chosen: Trial, best: Collection[Trial]) -> list[str]:
    names = list(dict.fromkeys(name for trial in trials for name in trial.score.figures))
    rows = [("", "candidate", "dim", *names, "error", "CPU s", "table MB")]
    for trial in trials:
        sign = "*" if trial is chosen else "+" if trial in best else "" if trial.is_whole else "~"
        figures = [f"{trial.score.figures[name]:.4f}" if name in trial.score.figures else "" for name in names]
        rows.append(
            (
                *(sign, trial.candidate.name, str(trial.candidate.width), *figures, f"{trial.score.error:.4f}"),
                *(f"{trial.cpu_seconds:.2f}", f"{trial.table_bytes / 1e6:.1f}"),
            )
        )
    return columns(rows)


def _list_facts(result: TuningResult) -> dict[str, Any]:
    return {
        "looks": [
            {
                "seconds": round(trial.seconds, 3),
                "best": _list_trial(trial, trial.best),
                "trials": [_list_trial(trial, variant) for variant in trial.variants],
            }
            for trial in result.trials
        ],
        "chosen": _list_trial(result.chosen, result.chosen.best),
        "changes": {section: dict(values) for section, values in result.changes.items() if values},
    }


def _list_trial(trial: Trial, variant: VariantScore) -> dict[str, Any]:
    changes = trial.candidate.changes
    return {
        "restart": changes["restart"],
        "edge_degree_power": changes["edge_degree_power"],
        **variant.changes,
        "input": _input_keys(trial),
        **_score_facts(variant.score, is_whole=trial.is_whole),
    }


def _list_words(trial: Mapping[str, Any]) -> str:
    names = ("restart", "edge_degree_power", "degree_correction")
    words = [f"{name} {trial[name]:g}" for name in names]
    words += [f"without {key}" if value is None else f"{key} {value:g}" for key, value in trial["input"].items()]
    return ", ".join(words)


def _list_table(result: TuningResult) -> list[str]:
    """Return lines: the best correction of each walk, * the chosen one, ~ by the first users only."""
    chosen = result.chosen
    names = list(chosen.score.figures)
    has_inputs = any(_input_keys(trial) for trial in result.trials)
    title = ("", "restart", "edge power", "correction", *(["input"] if has_inputs else []), *names)
    rows = [(*title, "error", "without correction", result.split["unit"], "s")]
    for trial in result.trials:
        walk, score = _list_trial(trial, trial.best), trial.score
        sign = "*" if trial is chosen else "" if trial.is_whole else "~"
        plain = next(variant for variant in trial.variants if variant.changes["degree_correction"] == 0)
        rows.append(
            (
                *(sign, f"{walk['restart']:g}", f"{walk['edge_degree_power']:g}", f"{walk['degree_correction']:g}"),
                *([_input_words(trial)] if has_inputs else []),
                *(f"{score.figures[name]:.4f}" for name in names),
                *(f"{score.error:.4f}", f"{plain.score.value:.4f}", f"{score.deciding.size:,}", f"{trial.seconds:.1f}"),
            )
        )
    return [*columns(rows), f"chosen  {_list_words(_list_trial(chosen, chosen.best))}"]


def _input_keys(trial: Trial) -> dict[str, Any]:
    return {key: value for key, value in trial.candidate.changes.items() if key.startswith("input.")}


def _input_words(trial: Trial) -> str:
    keys = {key.partition(".")[2]: value for key, value in _input_keys(trial).items()}
    return ", ".join(f"no {key}" if value is None else f"{key} {value:g}" for key, value in keys.items())


VIEWS: Mapping[str, TuneView] = MappingProxyType(
    {
        "vectors": TuneView(_vector_facts, _vector_words, _vector_table),
        "lists": TuneView(_list_facts, _list_words, _list_table),
    }
)
