"""The first screen of a report: what a night's verdict, metrics, manifests and those of the nights before say."""

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graphquilt.ancestry import describe_withdrawal
from pipeline.errors import ConfigError
from pipeline.queries.night_history import PastNight, line_of, past_nights, seconds_of
from pipeline.queries.night_nodes import count_nodes
from pipeline.queries.night_run import NightRun
from pipeline.report.amounts import amount, describe_sample, duration
from pipeline.report.night import (
    ChangedKey,
    Headline,
    JudgedFigure,
    Light,
    NightFacts,
    RejectedRows,
    StageCosts,
)
from pipeline.stages.chain import STAGES

#: Of a stage's groups of tasks, those that took longest.
_WAVES = 4
#: Share of a stage's CPU, and seconds of it, from which what is not of its tasks has a line of its own.
_MUCH_CPU = 0.5, 1.0


def read_facts(night: NightRun) -> NightFacts:
    """Return the facts of a night. Reads manifests and small files only."""
    past = past_nights(night)
    light, verdict, sentence = _verdict(night)
    ingest = night.stages.get("ingest", {}).get("figures", {})
    return NightFacts(
        name=night.table_folder.name,
        date=night.date,
        release=night.release.name if night.release else None,
        light=light,
        verdict=verdict,
        sentence=sentence,
        reasons=_reasons(night),
        compared_with=night.other_release,
        gates=[_figure_of_gate(gate, past) for gate in night.gates],
        headlines=list(_headlines(night, past)),
        rows=_rows(ingest),
        rejected_rows=[
            RejectedRows(reason, counts["rows"], counts["example"], counts["accepted"])
            for reason, counts in sorted(ingest.get("reasons", {}).items(), key=lambda pair: -pair[1]["rows"])
        ],
        nodes=count_nodes(night),
        config_changes=_config_changes(night),
        stages=_stages(night),
        warnings=list(_warnings(night)),
        facts=_small_print(night, ingest),
    )


def _verdict(night: NightRun) -> tuple[Light, str, str]:
    """Return the light, a word, and a sentence of what readers have."""
    verdict, release = night.verdict.get("verdict"), night.release.name if night.release else None
    at = night.current
    current = at.release if at else None
    readers = f"Readers get {current}." if current else "Readers have nothing yet."
    if verdict == "refused":
        bad = sum(gate["verdict"] == "refused" for gate in night.gates)
        refusal = f"{bad} gate{'s' * (bad != 1)} refused tonight's table." if bad else "Tonight's table was refused."
        return "red", "Refused", f"{refusal} {_sentence_on_readers(current)}"
    if verdict == "failed":
        return "red", "Failed", f"The run ended before its table could be judged. {_sentence_on_readers(current)}"
    if release is None:
        return "amber", "Running" if verdict == "running" else "Not published", readers
    if mark := night.withdrawn.get(release):
        return "red", "Withdrawn", f"Readers were rolled back {describe_withdrawal(mark.at, mark.reason)}. {readers}"
    if night.verdict.get("accepted_drift") or night.manifest.get("accepted_drift"):
        return "amber", "Published all the same", f"A gate refused, and --accept-drift overruled it. {readers}"
    if release == current:
        return "green", "Published", "All gates that could be judged passed, and readers get this release."
    later = current is not None and at is not None and at.data_date > (night.date or "")
    why = "they have a later one" if later else "they were pointed at another one"
    return ("green" if later else "amber"), "Published", f"Readers don't get this release: {why}, {current}."


def _sentence_on_readers(current: str | None) -> str:
    return f"Readers keep {current}." if current else "Readers have nothing yet."


def _reasons(night: NightRun) -> list[str]:
    """Return a sentence for each gate that refused, and what to do; of a run that failed, its own."""
    notes = [gate["note"] for gate in night.gates if gate["verdict"] == "refused"]
    if not notes:
        return list(night.verdict.get("reasons", ()))
    if night.release:
        return notes
    way_out = "If the data are right and did change so much, graphquilt publish --accept-drift publishes the table."
    return [*notes, way_out]


def _figure_of_gate(gate: Mapping[str, Any], past: Sequence[PastNight]) -> JudgedFigure:
    history = line_of(past, "gate", f"{gate['gate']} {gate['figure']}")
    names = ("gate", "figure", "verdict", "value", "bound", "baseline", "note")
    return JudgedFigure(**{name: gate[name] for name in names}, history=history)


def _headlines(night: NightRun, past: Sequence[PastNight]) -> Iterator[Headline]:
    """Yield rows, pairs, quality, spectrum and costs."""
    stages, other_manifest = night.stages, night.other_manifest
    other_stages = other_manifest.get("stages", {})

    for title, stage, name in (("nodes", "index", "nodes"), ("pairs", "ingest", "pairs")):
        if (value := stages.get(stage, {}).get("figures", {}).get(name)) is not None:
            before = other_stages.get(stage, {}).get("figures", {}).get(name)
            history = line_of(past, "stage", f"{stage}.{name}")
            yield Headline(title, value, before, "count", "first night" if night.date else "", history)
    yield from _quality(night, past)
    for node_type, spectrum in night.metrics.get("rankme", {}).items():
        before = night.metrics["drift"]["vectors"].get("rankme_before", {}).get(node_type, {}).get("rankme")
        history = line_of(past, "metric", f"rankme.{node_type}.rankme")
        dim = night.metadata["dim"] if night.metadata else None
        sample = describe_sample(spectrum["rows"], spectrum["population"], "rows")
        yield Headline(f"RankMe of {node_type}", spectrum["rankme"], before, "", f"of {dim} columns", history, sample)
    seconds = sum(stage["made_by"].get("seconds", 0) for stage in stages.values())
    cpu = sum(stage["made_by"].get("cpu_seconds", 0) for stage in stages.values())
    took = seconds_of(past)
    if seconds:
        before = took[-1].value if took else None
        yield Headline("time of all stages", seconds, before, "duration", f"{duration(cpu)} of CPU", took)


def _quality(night: NightRun, past: Sequence[PastNight]) -> Iterator[Headline]:
    """Yield recall and AUC, beside those of the nights before that were scored in the same way."""
    metrics = night.metrics
    whose = "last night's table on tonight's new pairs" if metrics.get("scored") == "previous release" else ""
    ranking = metrics.get("ranking", {})
    recall = next((name for name in ranking if name.startswith("recall@")), "")
    headlines = [
        ("ranking", recall, recall.replace("recall", "Recall"), whose or f"of {ranking.get('users', 0):,} nodes")
    ]
    headlines.append(("link_prediction", "auc_degree_matched", "AUC", "against pairs of equal degree"))
    for group, name, title, note in headlines:
        value = metrics.get(group, {}).get(name)
        if value is None or not ranking.get("users"):
            continue
        alike = [night_before for night_before in past if night_before.pair_source == metrics["source"]]
        history = line_of(alike, "metric", f"{group}.{name}")
        before = next((point.value for point in reversed(history) if point.has_passed is not False), None)
        sample = describe_sample(ranking["users"], ranking["population"], "sources")
        yield Headline(title, value, before, "", note, history, sample)


def _rows(ingest: Mapping[str, Any]) -> dict[str, int]:
    """Return what became of the rows of the input, by name."""
    if not ingest:
        return {}
    rejected_rows = sum(ingest["rejected"].values())
    rows = {"kept": ingest["kept"], "late": ingest["late"], "early": ingest["early"], "rejected": rejected_rows}
    return rows | {"other": max(ingest["read"] - sum(rows.values()), 0)}


def _config_changes(night: NightRun) -> list[ChangedKey] | None:
    """Return the keys whose values differ; a key that one of the two versions lacks is not compared."""
    if night.config is None or not night.other_manifest:
        return None
    before, now = dict(_flat(night.other_manifest["config"])), dict(_flat(night.config))
    keys = [key for key in now if key in before and now[key] != before[key]]
    keys += [key for key in {**before, **now} if (key in before) != (key in now) and key.count(".") > 1]
    return [ChangedKey(key, _toml(before.get(key)), _toml(now.get(key))) for key in keys]


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping) and value and name != "exclude_ids":  # ids of persons
            yield from _flat(value, f"{prefix}{name}.")
        elif name == "exclude_ids":
            yield f"{prefix}{name}", {kind: f"{len(ids)} ids" for kind, ids in value.items()}
        else:
            yield f"{prefix}{name}", value


def _toml(value: Any) -> str:
    return "unset" if value is None else json.dumps(value, ensure_ascii=False)


def _stages(night: NightRun) -> list[StageCosts]:
    costs = []
    run_id = night.verdict.get("run_id") or night.manifest.get("run_id")
    for stage in STAGES:
        made_by = night.stages.get(stage.name, {}).get("made_by", {})
        if not made_by.get("seconds") and stage.name == "publish":
            continue
        if made_by:
            table_bytes = sum(
                night.tables[contract.name].bytes for contract in stage.writes if contract.name in night.tables
            )
            sizes = (made_by["seconds"], made_by["cpu_seconds"], made_by["peak_bytes"], table_bytes, made_by["tasks"])
            costs.append(StageCosts(stage.name, *sizes, _steps(made_by), made_by.get("run_id") != run_id))
    return costs


def _steps(made_by: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what took longest of a stage: groups of its tasks, and what its engine did, where that was much."""
    waves = made_by.get("waves", ())
    rest = made_by["cpu_seconds"] - sum(wave["cpu_seconds"] for wave in waves)
    steps = sorted(waves, key=lambda wave: -wave["seconds"])[:_WAVES]
    if rest >= max(_MUCH_CPU[0] * made_by["cpu_seconds"], _MUCH_CPU[1]):
        nothing = dict.fromkeys(("seconds", "peak_bytes", "bytes", "tasks"), 0)
        steps.append({"name": "outside of tasks", "cpu_seconds": rest, **nothing})
    return steps if len(steps) > 1 else []


def _warnings(night: NightRun) -> Iterator[str]:
    if warning := night.metrics.get("warning"):
        yield str(warning)
    for stage in ("partition", "layout"):
        yield from night.stages.get(stage, {}).get("figures", {}).get("warnings", ())


def _small_print(night: NightRun, ingest: Mapping[str, Any]) -> dict[str, str]:
    facts = {}
    if (newest := ingest.get("newest_us")) is not None:
        facts["newest event"] = f"{dt.datetime.fromtimestamp(newest / 1e6, dt.UTC):%-d %B %Y, %H:%M} UTC"
    if (metadata := night.metadata) is not None:
        form = f", {metadata['form']}" if metadata.get("form") else ""
        facts["method"] = f"{metadata['method']}{form}, {metadata['dim']} columns"
    if night.manifest:
        size = sum(int(file["bytes"]) for file in night.manifest["files"])
        facts["published"] = f"{amount(size)}, {str(night.manifest['published_at'])[:16].replace('T', ' ')} UTC"
    if note := night.metrics.get("note"):
        facts["quality"] = str(note)
    if run_id := night.verdict.get("run_id") or night.manifest.get("run_id"):
        engine = night.stages.get("ingest", {}).get("made_by", {}).get("engine")
        facts["run"] = f"{run_id}, engine {engine}" if engine else str(run_id)
    return facts


def choose_name(names: Sequence[str], name: str | None) -> str:
    """Return the published name that is meant: the one asked for, or the only one.

    Raises
    ------
    ConfigError : there are several.
    """
    if name is not None:
        return name
    if len(names) > 1:
        raise ConfigError(f"there are several published names, {', '.join(names)}; choose one with --name")
    return names[0] if names else "default"
