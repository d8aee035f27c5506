import math

import pytest

from pipeline.config_sections import GatesConfig
from pipeline.publishing.gate import FIGURES, judge


def test_every_key_of_the_gates_is_judged() -> None:
    assert list(FIGURES) == list(GatesConfig.model_fields)


def test_bounds_left_out_are_not_checked() -> None:
    verdict = judge(GatesConfig(), {"rows": 5, "recall": 0.0})
    assert verdict.passed
    assert [gate.gate for gate in verdict.gates] == ["min_rows"]


@pytest.mark.parametrize(("gate", "figure"), FIGURES.items())
@pytest.mark.parametrize(("offset", "passes"), [(0.0, True), (0.125, True), (-0.125, False)])
def test_a_bound_holds_up_to_itself_and_its_margin_is_the_room_left(
    gate: str, figure: str, offset: float, passes: bool
) -> None:
    bound = 1 if gate == "min_rows" else 0.5
    value = bound + offset if gate.startswith("min_") else bound - offset
    verdict = judge(GatesConfig.model_validate({"min_rows": 0, gate: bound}), {"rows": 9.0, figure: value})
    result = next(found for found in verdict.gates if found.gate == gate)
    assert (result.passed, result.margin) == (passes, offset)
    assert verdict.passed is passes
    assert len(verdict.reasons) == (0 if passes else 1)


@pytest.mark.parametrize("figures", [{}, {"recall": None}, {"recall": math.nan}, {"recall": math.inf}])
def test_a_figure_that_nobody_measured_refuses_and_is_named(figures: dict[str, float | None]) -> None:
    verdict = judge(GatesConfig(min_recall=0.1), {"rows": 5, **figures})
    assert not verdict.passed
    assert "publish.gates.min_recall is 0.1, but recall" in verdict.reasons[0]


def test_a_figure_that_cannot_exist_tonight_passes_with_its_reason() -> None:
    gates = GatesConfig(max_row_change=0.1, min_recall=0.1)
    verdict = judge(gates, {"rows": 5, "recall": 0.2}, {"row_change": "no verdict: first night"})
    assert verdict.passed
    assert verdict.gates[-1].note == "no verdict: first night"
    # The excuse is for a figure that is not there: one that is there is judged.
    assert not judge(gates, {"rows": 5, "recall": 0.0, "row_change": 0.0}, {"recall": "none"}).passed
    assert not judge(gates, {"rows": 5, "recall": float("nan"), "row_change": 0.0}, {"recall": "none"}).passed


def test_the_json_holds_figure_bound_and_margin() -> None:
    raw = judge(GatesConfig(min_rows=10), {"rows": 7}).to_json()
    assert raw["verdict"] == "refused"
    assert raw["reasons"] == ["rows is 7; publish.gates.min_rows wants at least 10"]
    assert raw["gates"][0] | {"note": ""} == {
        "gate": "min_rows", "figure": "rows", "value": 7.0, "bound": 10.0, "margin": -3.0, "passed": False,
        "note": "",
    }  # fmt: skip


def test_a_table_that_states_what_is_untrue_is_refused_without_any_bound() -> None:
    verdict = judge(GatesConfig(), {"rows": 5.0}, None, ["ppr_neighbors: 3 of 9 scores are outside"])
    assert not verdict.passed
    assert verdict.reasons == ("ppr_neighbors: 3 of 9 scores are outside.",)
    assert verdict.to_json()["gates"][-1]["gate"] == "error_bound"
