"""The resolution that leaves so many rows, on counts of rows that are known functions of it."""

import math

import numpy as np
import pytest

from pipeline.codes.clusters import fit_clusters


@pytest.mark.parametrize("growth", [0.3, 0.7, 1.4])
@pytest.mark.parametrize("scale", [0.1, 1.0, 8.0])
@pytest.mark.parametrize("most_rows", [50, 20_000])
def test_a_few_trials_use_the_rows_that_there_are(growth: float, scale: float, most_rows: int) -> None:
    edges, tried = 10**6, []
    first = most_rows**2 / edges

    def find(resolution: float) -> np.ndarray:
        tried.append(resolution)
        return np.full(1, math.ceil(scale * most_rows * (resolution / first) ** growth), np.int32)

    chosen = fit_clusters(find, lambda label: int(label[0]), edges, most_rows)
    assert 0.93 * most_rows <= chosen.label[0] <= most_rows
    assert chosen.resolution in tried
    assert len(tried) <= 5


@pytest.mark.parametrize(("rows", "most_rows"), [(900, 100), (30, 100)])
def test_rows_that_no_resolution_changes_are_taken_as_they_are(rows: int, most_rows: int) -> None:
    chosen = fit_clusters(lambda _: np.full(1, rows, np.int32), lambda label: int(label[0]), 10**4, most_rows)
    assert chosen.label[0] == rows
    assert math.isfinite(chosen.resolution)


def test_the_fewest_rows_there_may_be_say_nothing_of_growth() -> None:
    """Counts of large clusters, as of Gowalla: one up to a resolution, and beyond others all of them are small."""

    def find(resolution: float) -> np.ndarray:
        rows = max(1, math.ceil(12 * resolution**0.9)) if resolution < 50 else 900 if resolution < 1000 else 103
        return np.full(1, rows, np.int32)

    chosen = fit_clusters(find, lambda label: int(label[0]), 650_000, 30, may_exceed=True)
    assert 28 <= chosen.label[0] <= 32
