"""The benchmark of speed: what it measures on a small graph, what it says of peers that aren't there, its page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_contenders_are_measured_or_missing_with_a_reason_and_the_page_shows_both(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "tests.benchmarks.speed.run", str(tmp_path / "bench"), "--graphs", "0.02m"]
    for cases in (["product", "fastrp"], ["job"]):
        subprocess.run([*run, "--repeat", "1", "--cases", *cases], check=True, capture_output=True, text=True)
    (kept,) = (tmp_path / "bench").glob("*.json")
    cases = json.loads(kept.read_text())["cases"]
    assert set(cases) == {"product", "fastrp", "job"}  # a later run adds to the file of the same commit
    for case, own in (
        ("product", "graphquilt"),
        ("product", "scipy"),
        ("fastrp", "products alone"),
        ("job", "graphquilt"),
    ):
        measured = cases[case]["0.02m"][own]
        assert len(measured["cpu_seconds"]) == 1
        assert 0 < measured["cpu_seconds"][0] < 600
        assert measured["peak_mib"][0] > 20
    # Float32's own error is 6e-8 of a term.
    assert cases["product"]["0.02m"]["graphquilt"]["figures"]["largest error over the root of the degree"] < 1e-5
    assert "pycleora" in cases["fastrp"]["0.02m"]["pycleora"]["missing"]
    page = tmp_path / "docs" / "explanation" / "speed.md"
    page.parent.mkdir(parents=True)
    (tmp_path / "docs" / "pictures").mkdir()
    subprocess.run([sys.executable, "-m", "tests.benchmarks.speed.page", str(kept), str(page)], check=True)
    text = page.read_text()
    for case in cases:
        assert f"(../pictures/speed-{case}.svg)" in text
        assert (tmp_path / "docs" / "pictures" / f"speed-{case}.svg").read_text().startswith("<?xml")
    assert "| 0.02m | graphquilt | 1 |" in text
    assert "| 0.02m | pycleora | 0 | not measured: " in text
