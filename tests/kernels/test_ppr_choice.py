import pytest

from pipeline.kernels.ppr_choice import choose, push_seconds


def test_an_error_that_float32_certifies_is_chebyshevs_and_a_smaller_one_is_pushed() -> None:
    rough = choose(70_000, 1_600_000, 10_000, 100, 0.1, 0.15, is_bipartite=True)
    fine = choose(70_000, 1_600_000, 10_000, 100, 1e-5, 0.15, is_bipartite=True)
    assert (rough.solver, fine.solver) == ("chebyshev", "push")


def test_the_reason_names_the_choice_its_seconds_and_the_others() -> None:
    choice = choose(70_000, 1_600_000, 1_000, 100, 1e-3, 0.15, is_bipartite=True)
    assert choice.seconds == min(choice.estimates.values())
    assert choice.reason.startswith(f"{choice.solver} takes an estimated {choice.seconds:.3g} s")
    for solver in choice.estimates:
        assert f"{solver} " in choice.reason


@pytest.mark.parametrize("change", [{"tolerance": 1e-7}, {"is_undirected": False}])
def test_chebyshev_is_left_out_where_it_cannot(change: dict[str, float]) -> None:
    asked = {"nodes": 1000, "entries": 9000, "sources": 999, "k": 10, "tolerance": 1e-4, "restart": 0.15}
    choice = choose(**{**asked, "is_bipartite": False, **change})  # type: ignore[arg-type]
    assert "chebyshev" not in choice.estimates
    assert "chebyshev is out" in choice.reason


def test_more_work_costs_more() -> None:
    base = {"nodes": 10**5, "entries": 10**6, "sources": 1_000, "k": 100, "tolerance": 0.01, "restart": 0.15}
    at_base = choose(**base, is_bipartite=False).estimates
    more = ({"entries": 10**7}, {"sources": 10_000}, {"tolerance": 5e-4}, {"restart": 0.1})
    for change in more:
        dearer = choose(**{**base, **change}, is_bipartite=False).estimates  # type: ignore[arg-type]
        for solver in dearer:
            assert dearer[solver] > at_base[solver]


def test_a_threshold_of_push_costs_what_its_theorem_says_until_sweeps_are_cheaper() -> None:
    local = push_seconds(10**7, 10**9, 100, 100, 1e-4, 0.15)
    assert push_seconds(10**7, 10**8, 100, 100, 1e-4, 0.15) == local  # whatever the graph's size
    assert push_seconds(10**4, 10**5, 100, 100, 1e-9, 0.15) < push_seconds(10**4, 10**6, 100, 100, 1e-9, 0.15)


@pytest.mark.parametrize(("restart", "tolerance"), [(0.0, 0.1), (1.0, 0.1), (0.15, 0.0)])
def test_what_cannot_be_solved(restart: float, tolerance: float) -> None:
    with pytest.raises(ValueError, match="it must be above 0"):
        choose(10, 20, 1, 1, tolerance, restart, is_bipartite=False)
