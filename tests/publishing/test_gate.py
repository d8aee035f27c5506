import math

import pytest
from pydantic import ValidationError

from pipeline.config.publish import GatesConfig
from pipeline.publishing.gate import FIGURES, Figure, GateResult, ReleaseVerdict, judge

#: A figure for each gate that passes its default.
GOOD = {key: [Figure(name, 1.0, baseline=1.0)] for key, name in FIGURES.items()}
DEFAULTS = {key for key in FIGURES if GatesConfig().model_dump()[key] is not None}


def verdict_on(
    key: str, figure: Figure, is_first_night: bool = False, accepts_drift: bool = False, **gates: object
) -> tuple[ReleaseVerdict, GateResult]:
    """The whole verdict, and that of one gate; all others pass."""
    found = judge(
        GatesConfig.model_validate(gates),
        {**GOOD, "max_rejected_rise": [Figure("rejected_share", 0.0, baseline=0.0)], key: [figure]},
        is_first_night=is_first_night,
        accepts_drift=accepts_drift,
    )
    return found, next(gate for gate in found.gates if gate.gate == key)


def test_every_key_of_the_gates_is_judged() -> None:
    assert [*FIGURES, "without_verdict"] == list(GatesConfig.model_fields)


def test_only_what_has_a_bound_is_judged_and_off_is_no_bound() -> None:
    assert {gate.gate for gate in judge(GatesConfig(), GOOD).gates} == DEFAULTS
    off = dict.fromkeys(DEFAULTS - {"min_rows", "same_id_type"}, "off") | {"same_id_type": False}
    assert [gate.gate for gate in judge(GatesConfig.model_validate(off), {"min_rows": [Figure("rows", 5)]}).gates] == [
        "min_rows"
    ]
    with pytest.raises(ValidationError):
        GatesConfig.model_validate({"min_pairs_kept": 1.5})


@pytest.mark.parametrize(("key", "name"), FIGURES.items())
@pytest.mark.parametrize(("offset", "passes"), [(0.0, True), (0.125, True), (-0.125, False)])
def test_a_bound_holds_up_to_itself_and_its_margin_is_the_room_left(
    key: str, name: str, offset: float, passes: bool
) -> None:
    bound = {"min_rows": 1, "same_id_type": True}.get(key, 0.5)
    # A ratio is a share of the baseline's, above what knows nothing; a rise is added to it.
    wanted = 2 + 0.5 * 8 if key.endswith("_ratio") else 10.5 if key.endswith("_rise") else float(bound)
    value = wanted + (offset if key.startswith(("min_", "same_")) else -offset)
    verdict, gate = verdict_on(key, Figure(name, value, baseline=10.0, nothing=2.0), **{key: bound})
    assert (gate.verdict, gate.bound, gate.margin) == ("passed" if passes else "refused", wanted, offset)
    assert (gate.value, gate.baseline) == (value, 10.0)
    assert verdict.has_passed is passes
    assert len(verdict.reasons) == (0 if passes else 1)


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
@pytest.mark.parametrize("is_first_night", [False, True])
@pytest.mark.parametrize("key", FIGURES)
def test_a_figure_that_nobody_measured_refuses_and_is_named(
    key: str, value: float | None, is_first_night: bool
) -> None:
    verdict, gate = verdict_on(key, Figure("it", value), is_first_night, **{key: 1})
    assert not verdict.has_passed
    assert f"publish.gates.{key} is 1, but it " in gate.note


def test_a_figure_that_no_stage_gives_refuses_too() -> None:
    assert [gate.gate for gate in judge(GatesConfig(), {}).refused_gates] == [key for key in FIGURES if key in DEFAULTS]


@pytest.mark.parametrize("key", FIGURES)
@pytest.mark.parametrize("is_written", [False, True])
@pytest.mark.parametrize("is_first_night", [False, True])
@pytest.mark.parametrize("without_verdict", ["refuse", "warn"])
def test_what_cannot_be_judged_refuses_only_where_it_is_written_and_no_first_night(
    key: str, is_written: bool, is_first_night: bool, without_verdict: str
) -> None:
    if not is_written and key not in DEFAULTS:
        return
    written = {key: 1} if is_written else {}
    figure = Figure("it", None, why_not="there are no vectors")
    verdict, gate = verdict_on(key, figure, is_first_night, without_verdict=without_verdict, **written)
    refuses = is_written and not is_first_night and without_verdict == "refuse"
    assert gate.verdict == ("refused" if refuses else "not judged")
    assert (gate.value, gate.margin) == (None, None)
    assert "there are no vectors" in gate.note
    assert verdict.has_passed is not refuses
    if refuses:
        assert f"publish.gates.{key} is 1" in gate.note
        assert 'without_verdict = "warn"' in gate.note


@pytest.mark.parametrize("value", [0.5, 0.05])
def test_a_gate_of_several_figures_is_judged_by_those_that_it_has(value: float) -> None:
    some = [Figure("of vectors", value), Figure("of lists", None, why_not="there are no lists")]
    found = judge(GatesConfig(min_neighbors_kept=0.1), GOOD | {"min_neighbors_kept": some})
    verdicts = [gate.verdict for gate in found.gates if gate.gate == "min_neighbors_kept"]
    assert verdicts == ["passed" if value > 0.1 else "refused", "not judged"]


def test_a_reason_excuses_only_a_figure_that_is_not_there() -> None:
    assert not verdict_on("min_recall", Figure("recall", 0.0, why_not="x"), min_recall=0.1)[0].has_passed
    assert not verdict_on("min_recall", Figure("recall", math.nan, why_not="x"), min_recall=0.1)[0].has_passed


@pytest.mark.parametrize("value", [None, 0.25])
@pytest.mark.parametrize("key", FIGURES)
def test_what_nights_before_do_not_have_yet_is_kept_for_the_next_and_refuses_nothing(
    key: str, value: float | None
) -> None:
    figure = Figure("it", value, why_not="no night before has it", is_early=True)
    verdict, gate = verdict_on(key, figure, **{key: 1})
    assert verdict.has_passed
    assert (gate.verdict, gate.value, gate.margin) == ("not judged", value, None)


def test_a_refusal_names_figure_bound_last_night_and_what_to_look_at() -> None:
    figure = Figure("pairs_kept", 0.25, baseline=0.99, detail="25 of 100")
    verdict, _ = verdict_on("min_pairs_kept", figure)
    assert verdict.reasons == (
        "pairs_kept is 0.25 (25 of 100), last night 0.99; publish.gates.min_pairs_kept wants at least 0.9. Look at "
        "whether each row still joins the source and the target that belong together, and whether the input still "
        "holds the days before.",
    )


def test_the_json_holds_all_that_a_verdict_is_made_of() -> None:
    raw = judge(GatesConfig(min_rows=10), {**GOOD, "min_rows": [Figure("rows", 7)]}).to_json()
    assert (raw["verdict"], raw["accepted_drift"]) == ("refused", [])
    assert raw["gates"][0] | {"note": ""} == {
        "gate": "min_rows", "figure": "rows", "value": 7.0, "bound": 10.0, "margin": -3.0, "baseline": None,
        "verdict": "refused", "note": "",
    }  # fmt: skip
    assert raw["reasons"] == [raw["gates"][0]["note"]]


def test_accepted_drift_is_published_and_said_but_a_broken_promise_is_not() -> None:
    verdict, _ = verdict_on("min_pairs_kept", Figure("pairs_kept", 0.1), accepts_drift=True)
    assert verdict.has_passed
    raw = verdict.to_json()
    assert (raw["verdict"], raw["accepted_drift"]) == ("accepted", ["min_pairs_kept"])
    assert len(raw["reasons"]) == 1
    for accepts in (False, True):
        found = judge(GatesConfig(), GOOD, ["ppr_neighbors: 3 of 9 scores are outside"], accepts_drift=accepts)
        assert not found.has_passed
        assert "ppr_neighbors: 3 of 9 scores are outside." in found.reasons
        assert found.to_json()["verdict"] == "refused"
