import pytest

from pipeline.kernels.ppr_choice import choose


def test_one_source_of_a_large_graph_is_pushed_and_many_of_a_small_one_are_solved_together() -> None:
    few = choose(10**7, 10**8, 1, 100, 1e-4, 0.15, is_bipartite=False)
    many = choose(70_000, 1_600_000, 10_000, 100, 1e-4, 0.15, is_bipartite=True)
    assert (few.solver, few.error_kind) == ("push", "pointwise")
    assert (many.solver, many.error_kind) == ("chebyshev", "l1")


def test_rough_scores_of_a_graph_of_hubs_are_walked() -> None:
    # Half of all pairs are edges: a push touches thousands of entries, a step of a walk one.
    dense = choose(10_000, 50_000_000, 10, 100, 0.01, 0.15, is_bipartite=False)
    assert (dense.solver, dense.error_kind) == ("walks", "confidence")


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
    base = {"nodes": 10**5, "entries": 10**6, "sources": 1_000, "k": 100, "tolerance": 1e-3, "restart": 0.15}
    at_base = choose(**base, is_bipartite=False).estimates
    more = ({"entries": 10**7}, {"sources": 10_000}, {"tolerance": 1e-4}, {"restart": 0.05})
    for change in more:
        dearer = choose(**{**base, **change}, is_bipartite=False).estimates  # type: ignore[arg-type]
        for solver, seconds in at_base.items():
            # Walks do not mind how many entries there are.
            assert dearer[solver] > seconds or (solver == "walks" and "entries" in change)


@pytest.mark.parametrize(("restart", "tolerance"), [(0.0, 0.1), (1.0, 0.1), (0.15, 0.0)])
def test_what_cannot_be_solved(restart: float, tolerance: float) -> None:
    with pytest.raises(ValueError, match="it must be above 0"):
        choose(10, 20, 1, 1, tolerance, restart, is_bipartite=False)
