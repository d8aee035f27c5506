import pytest

from pipeline.kernels.ppr_chebyshev_bounds import smallest_tolerance_of_halves
from pipeline.planning.list_costs import SolverChoice, choose_solver, estimate_seconds, push_seconds


def choose(tolerance: float, sources: int = 1_000, entries: int = 1_600_000) -> SolverChoice:
    seconds = estimate_seconds(70_000, entries, sources, 100, tolerance, 0.15, is_bipartite=True)
    return choose_solver(seconds, sources, entries, tolerance, 0.15)


def test_an_error_that_float32_certifies_is_chebyshevs_and_a_smaller_one_is_pushed() -> None:
    assert choose(0.1, 10_000).solver == "chebyshev"
    assert choose(1e-5, 10_000).solver == "push"


def test_lists_that_bfloat16_certifies_are_chebyshevs_sooner() -> None:
    least = smallest_tolerance_of_halves(0.15, is_bipartite=True)
    below, above = (
        estimate_seconds(70_000, 1_600_000, 1_000, 100, tolerance, 0.15, is_bipartite=True)
        for tolerance in (least * (1 - 1e-9), least)
    )
    assert above["push"] == pytest.approx(below["push"])
    assert above["chebyshev"] < 0.85 * below["chebyshev"]


def test_the_reason_names_the_choice_its_seconds_and_the_others() -> None:
    choice = choose(1e-3)
    assert choice.reason.startswith(f"{choice.solver} takes an estimated {choice.seconds:.3g} s")
    assert "chebyshev" in choice.reason
    assert "push" in choice.reason


def test_chebyshev_is_left_out_where_it_cannot() -> None:
    assert estimate_seconds(1000, 9000, 999, 10, 1e-7, 0.15, is_bipartite=False).keys() == {"push"}
    assert "chebyshev is out" in choose(1e-7).reason


def test_more_work_costs_more() -> None:
    base = {"nodes": 10**5, "entries": 10**6, "sources": 1_000, "k": 100, "tolerance": 0.01, "restart": 0.15}
    at_base = estimate_seconds(**base, is_bipartite=False)  # type: ignore[arg-type]
    more = ({"entries": 10**7}, {"sources": 10_000}, {"tolerance": 5e-4}, {"restart": 0.1})
    for change in more:
        dearer = estimate_seconds(**{**base, **change}, is_bipartite=False)  # type: ignore[arg-type]
        for solver, seconds in dearer.items():
            assert seconds > at_base[solver]


def test_a_threshold_of_push_costs_what_its_theorem_says_until_sweeps_are_cheaper() -> None:
    local = push_seconds(10**7, 10**9, 100, 100, 1e-4, 0.15)
    assert push_seconds(10**7, 10**8, 100, 100, 1e-4, 0.15) == local  # whatever the graph's size
    assert push_seconds(10**4, 10**5, 100, 100, 1e-9, 0.15) < push_seconds(10**4, 10**6, 100, 100, 1e-9, 0.15)


@pytest.mark.parametrize(("restart", "tolerance"), [(0.0, 0.1), (1.0, 0.1), (0.15, 0.0)])
def test_what_cannot_be_solved(restart: float, tolerance: float) -> None:
    with pytest.raises(ValueError, match="it must be above 0"):
        estimate_seconds(10, 20, 1, 1, tolerance, restart, is_bipartite=False)
