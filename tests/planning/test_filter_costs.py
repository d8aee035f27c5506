"""What lists by a filter are expected to take, and graphs that they can't be made of."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.embedding.methods import CONFIG
from pipeline.errors import ConfigError
from pipeline.planning.filter_costs import plan_filter
from pipeline.planning.sizes import GraphCounts

GOWALLA = GraphCounts(70_839, 810_128, 40_981, is_exact=True)


def config_with(lists: dict[str, Any], **partition: Any) -> Any:
    raw = {"input": {"path": "x"}, "embedding": {"method": "none"}, "partition": partition}
    return CONFIG.model_validate({**raw, "lists": {"filter": "plateau", **lists}})


def test_eigenvectors_and_degrees_cost_what_they_are() -> None:
    plans = {
        name: plan_filter(config_with(keys), GOWALLA, 29_858)
        for name, keys in {
            "wide": {"rank": 512},
            "narrow": {"rank": 64},
            "none": {"alpha": 0.0},
            "linear": {"filter": "linear", "alpha": 0.0},
        }.items()
    }
    assert plans["wide"].basis_seconds > plans["narrow"].basis_seconds > plans["none"].basis_seconds == 0
    assert plans["wide"].list_seconds > plans["narrow"].list_seconds > plans["none"].list_seconds
    # One product for each degree, and ranking.
    assert plans["none"].list_seconds / 8 < plans["linear"].list_seconds < plans["none"].list_seconds / 2
    assert plans["wide"].task_bytes > plans["none"].task_bytes


def test_a_graph_that_fits_no_worker_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"256 eigenvectors, about [0-9,]+ bytes, and partition.worker_bytes is 100,000"
    ):
        plan_filter(config_with({}, worker_bytes=100_000_000), GOWALLA, 29_858)
    assert plan_filter(config_with({"alpha": 0.0}, worker_bytes=100_000_000), GOWALLA, 29_858).task_bytes < 100_000_000
