"""What ``graphquilt tune`` says: JSON values, lines for a person, and the header of the config that it writes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from jobs.answers import table_of

if TYPE_CHECKING:
    from pipeline.tuning.options import ColdStartChoice, InterestChoice, TuningResult, Use
    from pipeline.tuning.search import Trial, VariantScore
    from pipeline.tuning.validation import Score
    from pipeline.workspace import Workspace


#: What is tuned of lists; the last one has a value of 0 with every walk or filter.
_OF_WALKS, _OF_FILTERS = ("restart", "edge_degree_power", "degree_correction"), ("phi", "beta", "rank", "alpha")
_HEADS = {"edge_degree_power": "edge power", "degree_correction": "correction"}
_PLAIN = {"degree_correction": "without correction", "alpha": "without V"}


def use_of(options: argparse.Namespace) -> Use:
    """Return what vectors are for: labels decide where there are any."""
    use: Use = "classifier" if options.labels else options.use
    return use


def facts_of(
    options: argparse.Namespace, subject: str, workspace: Workspace, result: TuningResult, seconds: float
) -> dict[str, Any]:
    """Return JSON values."""
    return {
        "config": str(options.out),
        "given": str(options.config),
        "date": workspace.date.isoformat(),
        "seed": options.seed,
        **({"use": use_of(options)} if subject == "vectors" else {"what": subject}),
        "budget_s": options.budget,
        "seconds": round(seconds, 3),
        "split": dict(result.split),
        "decides": result.decides,
        **(_list_facts(result) if subject == "lists" else _vector_facts(result)),
        "remarks": list(result.remarks),
        "advice": list(result.advice),
    }


def header_of(subject: str, facts: Mapping[str, Any]) -> list[str]:
    """Return comment lines for the config."""
    choice = facts["chosen"]
    name = _walk_words(choice) if subject == "lists" else f"{choice['name']} (dim {choice['dim']})"
    figures = ", ".join(f"{name} {value:.4f}" for name, value in choice["figures"].items())
    lines = [
        f"config {facts['given']}, date {facts['date']}, seed {facts['seed']}, budget {facts['budget_s']:g} s",
        _split_words(facts),
        f"chosen: {name}: {figures}, standard error {choice['error']:.4f}",
        *([f"why: {facts['why']}"] if "why" in facts else []),
        *(f"queries: {words}" for words in _interest_words(facts)),
    ]
    return [f"# {line}" for line in lines]


def text_of(subject: str, facts: Mapping[str, Any]) -> str:
    """Return lines for a person."""
    late = facts.get("skipped", ())
    notes = list(facts["remarks"])
    if late:
        notes.append(f"no time for {len(late)} more candidates, such as {late[0]}: raise --budget to try them")
    notes += [f"{refusal['name']} can't be run here: {refusal['reason']}" for refusal in facts.get("refused", ())]
    lines = [
        _split_words(facts),
        *(_list_table(facts) if subject == "lists" else _vector_table(facts)),
        *(f"advice  {sentence}" for sentence in facts["advice"]),
        *(f"note    {sentence}" for sentence in notes),
        f"written to {facts['config']} after {facts['seconds']:.1f} s. Next: graphquilt run --config "
        f"{facts['config']} --workspace ...",
    ]
    return "\n".join(lines)


def _split_words(facts: Mapping[str, Any]) -> str:
    split = facts["split"]
    return f"hidden: {split['sentence']}; measured by {split['units']:,} {split['unit']}"


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
        "chosen": _vector_trial(result.winner),
        "why": result.reason,
        "curve": [_vector_trial(trial) for trial in result.curve],
        **({"cold_start": _cold_facts(result.cold_start)} if result.cold_start else {}),
        **({"interests": _interest_facts(result.interests)} if result.interests else {}),
        "skipped": [candidate.name for candidate in result.skipped_candidates],
        "refused": [{"name": candidate.name, "reason": reason} for candidate, reason in result.refusals],
    }


def _cold_facts(choice: ColdStartChoice) -> dict[str, Any]:
    return {**asdict(choice), "loss": choice.loss}


def _interest_facts(choice: InterestChoice) -> dict[str, Any]:
    keys = {name: getattr(choice, name).model_dump(mode="json") for name in ("keys", "best")}
    return {**asdict(choice), **keys}


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


def _vector_table(facts: Mapping[str, Any]) -> list[str]:
    """Return lines: * the chosen one, + the best of its width, ~ given up after the first users."""
    choice = facts["chosen"]
    lines = _vector_rows(facts["candidates"], choice, facts["best"])
    if facts["curve"]:
        lines += ["at other widths:", *_vector_rows(facts["curve"], choice, {})]
    lines.append(f"chosen  {choice['name']}, dim {choice['dim']}: {facts['why']}")
    if cold := facts.get("cold_start"):
        lift = f"{cold['recall'] / cold['chance']:.1f} times chance"
        ridge = "" if cold["ridge"] is None else f", ridge {cold['ridge']:g}"
        lines.append(
            f"cold    rows {cold['rows']}{ridge}, {cold['list_share']:.2%} of the lists: of {cold['targets']:,} nodes "
            f"with all pairs hidden, recall {cold['recall']:.4f} ({lift}); of others {cold['warm_recall']:.4f} in the "
            f"place of {cold['warm_recall_alone']:.4f}"
        )
    return [*lines, *(f"queries {words}" for words in _interest_words(facts))]


def _interest_words(facts: Mapping[str, Any]) -> list[str]:
    """Return a sentence on lists by interests, where they were tried."""
    interests = facts.get("interests")
    if interests is None:
        return []
    keys, alone = interests["best"], interests["recall_alone"]
    recall = ", ".join(
        f"{name} {value:.4f} in the place of {alone[name]:.4f}" for name, value in interests["recall"].items()
    )
    form = f"clusters {keys['clusters']}, own_share {keys['own_share']:g}, the best of {interests['tried']} tried"
    verdict = "several by interests" if interests["keys"]["clusters"] else "one, for interests don't win beyond noise"
    unit, error = facts["split"]["unit"], interests["error"]
    return [f"{verdict} ({form}): {recall}; {interests['sources']:,} {unit}, standard error of the gain {error:.4f}"]


def _vector_rows(trials: Sequence[Mapping[str, Any]], choice: Mapping[str, Any], best: Mapping[str, str]) -> list[str]:
    names = list(dict.fromkeys(name for trial in trials for name in trial["figures"]))
    rows = [
        {
            "": _sign(trial, choice) or ("+" if best.get(str(trial["dim"])) == trial["name"] else ""),
            "candidate": trial["name"],
            "dim": str(trial["dim"]),
            **dict.fromkeys(names, ""),
            **{name: f"{value:.4f}" for name, value in trial["figures"].items()},
            "error": f"{trial['error']:.4f}",
            "CPU s": f"{trial['cpu_seconds']:.2f}",
            "table MB": f"{trial['table_bytes'] / 1e6:.1f}",
        }
        for trial in trials
    ]
    return table_of(rows)


def _sign(trial: Mapping[str, Any], choice: Mapping[str, Any]) -> str:
    return "*" if trial == choice else "" if trial["is_whole"] else "~"


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
        "chosen": _list_trial(result.winner, result.winner.best),
        "changes": {section: dict(values) for section, values in result.changes.items() if values},
    }


def _list_trial(trial: Trial, variant: VariantScore) -> dict[str, Any]:
    changes = trial.candidate.changes
    return {
        **{key: value for key, value in changes.items() if not key.startswith("input.")},
        **variant.changes,
        "input": {key: value for key, value in changes.items() if key.startswith("input.")},
        **_score_facts(variant.score, is_whole=trial.is_whole),
    }


def _parameters(trial: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of what is tuned: of walks, or of filters."""
    return _OF_WALKS if "restart" in trial else _OF_FILTERS


def _walk_words(trial: Mapping[str, Any]) -> str:
    words = [f"{name} {trial[name]:g}" for name in _parameters(trial)]
    words += [f"without {key}" if value is None else f"{key} {value:g}" for key, value in trial["input"].items()]
    return ", ".join(words)


def _list_table(facts: Mapping[str, Any]) -> list[str]:
    """Return lines: the best variant of each walk or filter, or * the chosen one, ~ by the first users only."""
    choice = facts["chosen"]
    names = _parameters(choice)
    variant, plain_name = names[-1], _PLAIN[names[-1]]
    has_inputs = any(look["best"]["input"] for look in facts["looks"])
    rows = []
    for look in facts["looks"]:
        best = choice if choice in look["trials"] else look["best"]
        plain = next(trial for trial in look["trials"] if trial[variant] == 0)
        rows.append(
            {
                "": _sign(best, choice),
                **{_HEADS.get(name, name): f"{best[name]:g}" for name in names},
                **({"input": _input_words(best["input"])} if has_inputs else {}),
                **{name: f"{value:.4f}" for name, value in best["figures"].items()},
                "error": f"{best['error']:.4f}",
                plain_name: f"{plain['value']:.4f}",
                facts["split"]["unit"]: f"{best['units']:,}",
                "s": f"{look['seconds']:.1f}",
            }
        )
    return [*table_of(rows), f"chosen  {_walk_words(choice)}"]


def _input_words(changes: Mapping[str, Any]) -> str:
    keys = {key.partition(".")[2]: value for key, value in changes.items()}
    return ", ".join(f"no {key}" if value is None else f"{key} {value:g}" for key, value in keys.items())
