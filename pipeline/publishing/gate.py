"""The gate before readers: each figure of a run against its bound, and against last night's."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal

from pipeline.config.publish import OFF, GatesConfig

#: Which figure each key of ``[publish.gates]`` bounds; ``min_`` keys from below, ``max_`` keys from above.
FIGURES: Mapping[str, str] = MappingProxyType(
    {
        "min_rows": "rows",
        "max_zero_share": "zero_share",
        "min_recall": "recall",
        "min_ndcg": "ndcg",
        "min_auc": "auc",
        "min_rankme": "rankme",
        "max_row_change": "row_change",
        "same_id_type": "id_type",
        "min_row_ratio": "rows",
        "max_row_ratio": "rows",
        "min_edge_ratio": "edges",
        "max_edge_ratio": "edges",
        "min_nodes_kept": "nodes_kept",
        "min_pairs_kept": "pairs_kept",
        "min_weights_kept": "weights_kept",
        "max_changed_weights_rise": "weights_changed",
        "max_new_weight_ratio": "new_weights",
        "max_renewed_rise": "pairs_renewed",
        "min_attributes_kept": "attributes_kept",
        "max_rejected_rise": "rejected_share",
        "min_rankme_ratio": "rankme",
        "min_neighbors_kept": "neighbors_kept",
        "min_next_day_ratio": "next_day",
        "min_next_day_auc": "next_day",
    }
)

#: What to look at first where a gate refuses.
_LOOK_AT: Mapping[str, str] = MappingProxyType(
    {
        "id_type": "an id of the input that is no integer: one is enough to make all ids text",
        "rows": "whether the input is whole, and is the one that is meant",
        "edges": "whether the input is whole, and is the one that is meant",
        "nodes_kept": "whether ids are written as before, and whether the input is whole",
        "pairs_kept": "whether each row still joins the source and the target that belong together, and whether the "
        "input still holds the days before",
        "weights_kept": "the columns of weights, events and times",
        "weights_changed": "the columns of weights, events and times",
        "new_weights": "the unit of the weights of the rows that are new tonight",
        "pairs_renewed": "the column of times, and whether rows were loaded twice: many pairs had an event since",
        "attributes_kept": "the files of [attributes]: whether ids and values belong together as before",
        "rejected_share": "the rejected rows: graphquilt inspect --date says why they were rejected",
        "rankme": "whether the targets are as varied as before",
        "neighbors_kept": "the rows that are new tonight: the same nodes have other neighbours",
        "next_day": "the rows that are new tonight: they are unlike what the nights before could foretell",
    }
)

Verdict = Literal["passed", "refused", "not judged"]
VERDICTS: tuple[Verdict, ...] = ("passed", "refused", "not judged")
_PROMISES = "error_bound"


@dataclass(frozen=True)
class Figure:
    """One figure of tonight.

    name : what it is; of several for one gate, which one.
    value : None where it can't be measured tonight, for the reason in ``why_not``.
    baseline : the same figure of last night, or of the nights before.
    nothing : the value that a table without any knowledge has, from which shares of the baseline are counted.
    detail : what the value was taken from.
    is_early : nights before don't have what it is compared with, for the reason in ``why_not``. It is never judged: a
        refusal would keep them from ever having it.
    """

    name: str
    value: float | None
    baseline: float | None = None
    nothing: float = 0.0
    why_not: str | None = None
    detail: str = ""
    is_early: bool = False


@dataclass(frozen=True)
class GateResult:
    """One gate's verdict on one figure.

    ``bound`` is in the unit of ``value``, whatever the key is a share of. ``margin`` is the room left, below 0 where
    the bound is broken, None where there was nothing to judge; ``value`` is None where it couldn't be measured.
    """

    gate: str
    figure: str
    value: float | None
    bound: float | None
    margin: float | None
    baseline: float | None
    verdict: Verdict
    note: str


@dataclass(frozen=True)
class ReleaseVerdict:
    """All gates that are on, in their order. ``accepts_drift``: what they refuse is published all the same."""

    gates: tuple[GateResult, ...]
    accepts_drift: bool = False

    @property
    def refused_gates(self) -> tuple[GateResult, ...]:
        """The gates that refused."""
        return tuple(gate for gate in self.gates if gate.verdict == "refused")

    @property
    def accepted_gates(self) -> tuple[GateResult, ...]:
        """The gates whose refusal was overridden; a broken promise can't be."""
        return tuple(gate for gate in self.refused_gates if self.accepts_drift and gate.gate != _PROMISES)

    @property
    def has_passed(self) -> bool:
        """Whether the table may be published."""
        return self.accepted_gates == self.refused_gates

    @property
    def reasons(self) -> tuple[str, ...]:
        """A sentence for each gate that refused."""
        return tuple(gate.note for gate in self.refused_gates)

    def to_json(self) -> dict[str, Any]:
        """Return what goes into gate.json: ``verdict`` ("passed", "accepted" or "refused"), ``reasons``, ``gates``."""
        verdict = "refused" if not self.has_passed else "accepted" if self.accepted_gates else "passed"
        return {
            "verdict": verdict,
            "reasons": list(self.reasons),
            "accepted_drift": [gate.gate for gate in self.accepted_gates],
            "gates": [asdict(gate) for gate in self.gates],
        }


def judge(
    gates: GatesConfig,
    figures: Mapping[str, Sequence[Figure]],
    broken_promises: Sequence[str] = (),
    *,
    is_first_night: bool = False,
    accepts_drift: bool = False,
) -> ReleaseVerdict:
    """Hold each gate that is on against its figures.

    A figure that can't exist tonight says so in ``why_not``. It is not judged where the gate is a default, or on a
    first night; else, by ``gates.without_verdict``, the gate refuses: who writes a bound wants it judged. A figure
    that is missing without a reason, or not finite, always refuses: a gate must not open because the measuring broke.

    Parameters
    ----------
    figures : by key of the gates.
    broken_promises : what a table states of itself and a measurement found untrue, a sentence each: no bound is asked
        for, each refuses, and none can be accepted.
    is_first_night : there is no release of an earlier date.
    accepts_drift : publish whatever the gates say.
    """
    results = []
    for key, name in FIGURES.items():
        bound = getattr(gates, key)
        if bound is None or bound is False or bound == OFF:
            continue
        of_gate = figures.get(key) or [Figure(name, None)]
        is_excused = is_first_night or key not in gates.model_fields_set or gates.without_verdict == "warn"
        # A gate of several figures is judged by what it has.
        is_excused |= any(figure.value is not None and not figure.is_early for figure in of_gate)
        results += [_judge_one(key, float(bound), figure, is_excused=is_excused) for figure in of_gate]
    untrue = [
        GateResult(_PROMISES, "error", None, 0.0, None, None, "refused", f"{promise}.") for promise in broken_promises
    ]
    return ReleaseVerdict((*results, *untrue), accepts_drift)


def _judge_one(key: str, bound: float, figure: Figure, *, is_excused: bool) -> GateResult:
    name, value = figure.name, figure.value
    if figure.why_not is not None and (value is None or figure.is_early):
        note = f"{name} is not judged: {figure.why_not}"
        if is_excused or figure.is_early:
            return GateResult(key, name, value, None, None, figure.baseline, "not judged", note)
        note = (
            f"publish.gates.{key} is {bound:g}, and {note}. Leave this gate out, or set "
            'publish.gates.without_verdict = "warn".'
        )
        return GateResult(key, name, value, bound, None, figure.baseline, "refused", note)
    if value is None or not math.isfinite(value):
        state = "was not measured" if value is None else f"is {value}"
        note = f"publish.gates.{key} is {bound:g}, but {name} {state} in this run: report this."
        return GateResult(key, name, None, bound, None, figure.baseline, "refused", note)
    absolute = _bound_of(key, bound, figure)
    margin = value - absolute if is_floor(key) else absolute - value
    note = f"{name} is {value:.6g}{f' ({figure.detail})' if figure.detail else ''}"
    if figure.baseline is not None:
        when = "the nights before" if FIGURES[key] == "next_day" else "last night"
        note += f", {when} {figure.baseline:.6g}"
    note += f"; publish.gates.{key} wants at {'least' if is_floor(key) else 'most'} {absolute:.6g}"
    if margin < 0:
        look_at = _LOOK_AT.get(FIGURES[key])
        note += f". Look at {look_at}." if look_at else "."
    verdict: Verdict = "passed" if margin >= 0 else "refused"
    return GateResult(key, name, float(value), absolute, margin, figure.baseline, verdict, note)


def is_floor(key: str) -> bool:
    """Whether a gate bounds its figure from below."""
    return key.startswith(("min_", "same_"))


def _bound_of(key: str, bound: float, figure: Figure) -> float:
    """Return the bound in the unit of the figure: keys of ratios and rises start from the baseline."""
    if key.endswith("_ratio"):
        return figure.nothing + bound * (_baseline_of(figure) - figure.nothing)
    return bound + _baseline_of(figure) if key.endswith("_rise") else bound


def _baseline_of(figure: Figure) -> float:
    if figure.baseline is None:
        raise ValueError(f"{figure.name} is to be judged against the baseline's, and it has none")
    return figure.baseline
