"""The gate before readers: each figure of a run against its bound."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from pipeline.config_sections import GatesConfig

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
    }
)


@dataclass(frozen=True)
class GateResult:
    """One gate: ``margin`` is the room left, below 0 where the bound is broken; None without a figure."""

    gate: str
    figure: str
    value: float | None
    bound: float
    margin: float | None
    passed: bool
    note: str


@dataclass(frozen=True)
class Verdict:
    """All gates that the configuration asks for, in its order."""

    gates: tuple[GateResult, ...]

    @property
    def passed(self) -> bool:
        """Whether no gate refused."""
        return all(gate.passed for gate in self.gates)

    @property
    def reasons(self) -> tuple[str, ...]:
        """A sentence for each gate that refused."""
        return tuple(gate.note for gate in self.gates if not gate.passed)

    def to_json(self) -> dict[str, Any]:
        """Return what goes into gate.json: ``verdict`` ("passed" or "refused"), ``reasons`` and ``gates``."""
        return {
            "verdict": "passed" if self.passed else "refused",
            "reasons": list(self.reasons),
            "gates": [asdict(gate) for gate in self.gates],
        }


def judge(
    gates: GatesConfig,
    figures: Mapping[str, float | None],
    no_verdict: Mapping[str, str] | None = None,
    broken_promises: Sequence[str] = (),
) -> Verdict:
    """Hold each bound that is set against its figure.

    A figure that a gate asks for and nobody measured refuses: a gate must not open because the measuring
    broke. The one exception is a figure that can't exist tonight. The stage that would have measured it says
    so in ``no_verdict`` (no earlier release on the first night; next_day scores the previous release, not
    this one): then the gate passes and its note is that sentence.

    Parameters
    ----------
    figures : by name, see ``FIGURES``; None or not finite counts as not measured.
    no_verdict : figure -> why it can't exist in this run.
    broken_promises : what a table states of itself and a measurement found untrue, a sentence each: no bound is asked
        for, and each refuses.
    """
    asked = [
        _judge_one(gate, figure, float(bound), figures.get(figure), (no_verdict or {}).get(figure))
        for gate, figure in FIGURES.items()
        if (bound := getattr(gates, gate)) is not None
    ]
    untrue = [GateResult("error_bound", "error", None, 0.0, None, False, f"{one}.") for one in broken_promises]
    return Verdict((*asked, *untrue))


def _judge_one(gate: str, figure: str, bound: float, value: float | None, excuse: str | None) -> GateResult:
    if value is None or not math.isfinite(value):
        if value is None and excuse is not None:
            return GateResult(gate, figure, None, bound, None, True, excuse)
        state = "was not measured" if value is None else f"is {value}"
        note = (
            f"publish.gates.{gate} is {bound:g}, but {figure} {state} in this run; "
            "choose an evaluate.source that measures it, or leave this gate out"
        )
        return GateResult(gate, figure, None, bound, None, False, note)
    is_floor = gate.startswith("min_")
    margin = value - bound if is_floor else bound - value
    passed = margin >= 0
    wanted = "at least" if is_floor else "at most"
    note = f"{figure} is {value:.6g}; publish.gates.{gate} wants {wanted} {bound:g}"
    return GateResult(gate, figure, float(value), bound, margin, passed, note)
