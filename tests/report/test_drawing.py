"""Places, sizes and words of drawings, against what is asked of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report import amounts
from pipeline.report.axes import Axis
from pipeline.report.cluster_map import find_clusters, lay_out
from pipeline.report.treemap import Box, squarify


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=60))
def test_a_tree_map_fills_its_room_with_areas_as_asked(sizes: list[float]) -> None:
    sizes = sorted(sizes, reverse=True)
    room = Box(0.0, 0.0, 400.0, 300.0)
    boxes = list(squarify(sizes, room))
    areas = np.array([box.width * box.height for box in boxes])
    np.testing.assert_allclose(areas, np.array(sizes) / sum(sizes) * 120_000, rtol=1e-6)
    for number, one in enumerate(boxes):
        assert one.x >= -1e-6
        assert one.x + one.width <= 400 + 1e-6
        assert one.y + one.height <= 300 + 1e-6
        for other in boxes[:number]:  # no two share more than a border
            wide = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
            high = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
            assert min(wide, high) <= 1e-6 or wide * high <= 1e-6


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_round_and_inside(low: float, span: float) -> None:
    axis = Axis(low, low + span, 0.0, 100.0)
    ticks = [value for value, _ in axis.ticks()]
    assert 2 <= len(ticks) <= 8
    assert all(-1e-6 <= axis.place(tick) <= 100 + 1e-6 for tick in ticks)


def test_ticks_of_a_logarithmic_axis_are_powers_of_ten() -> None:
    axis = Axis(0.002, 30_000.0, 0.0, 100.0, is_log=True)
    assert [word for _, word in axis.ticks(9)] == ["0.01", "0.1", "1", "10", "100", "1,000", "10 k"]
    assert axis.place(0.002) == 0
    assert axis.place(30_000) == pytest.approx(100)


def test_what_lies_together_is_drawn_together() -> None:
    rng = np.random.default_rng(1)
    group = np.arange(240) % 6
    rows = (rng.normal(size=(6, 16))[group] + 0.15 * rng.normal(size=(240, 16))).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    place = lay_out(rows, seed=0)
    distance = np.linalg.norm(place[:, None] - place[None, :], axis=2)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, :5]
    assert (group[nearest] == group[:, None]).mean() > 0.98
    cluster = find_clusters(rows, seed=0)
    # Clusters are pure; k-means may split a group, or join two.
    purity = sum(np.bincount(group[cluster == one]).max() for one in np.unique(cluster)) / 240
    assert purity > 0.8
    assert (np.diff(np.bincount(cluster)) <= 0).all()  # the largest first


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (amounts.count(1_204), "1,204"),
        (amounts.count(12_345_678), "12.3 M"),
        (amounts.percent(0.972), "97.2 %"),
        (amounts.percent(1.0), "100 %"),
        (amounts.percent(0.00004), "0.004 %"),
        (amounts.percent(0.99995), "100.00 %"),
        (amounts.amount(0), "0 B"),
        (amounts.amount(1_610_612_736), "1.5 GiB"),
        (amounts.duration(0.087), "0.09 s"),
        (amounts.duration(125), "2 min 05 s"),
        (amounts.duration(12_000), "3 h 20 min"),
        (amounts.figure("id_type", 1.0), "same"),
        (amounts.figure("neighbors_kept of lists", 0.5), "50.0 %"),
        (amounts.figure("edges", 80_582.0), "80,582"),
        (amounts.figure("rows", None), "–"),
    ],
)
def test_numbers_are_in_words(shown: str, expected: str) -> None:
    assert shown == expected
