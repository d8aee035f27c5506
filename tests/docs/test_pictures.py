"""The map of the sample's packages, drawn from few rows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.docs.pages import ROOT, load_script
from tests.graphquilt.published_tables import publish_nodes

PICTURES = ROOT / "docs" / "pictures"


def clusters(size: int) -> tuple[list[str], NDArray[np.float32]]:
    """Return Python and Rust packages whose rows point two ways."""
    rng = np.random.default_rng(0)
    ids = sorted([f"python3-{n}" for n in range(size)] + [f"librust-{n}-dev" for n in range(size)])
    rows = rng.normal(size=(2 * size, 8)) * 0.1
    rows[np.arange(2 * size), [0 if name.startswith("python") else 1 for name in ids]] += 1.0
    return ids, rows.astype(np.float32)


def test_families_form_clusters_with_labels() -> None:
    package_map = load_script(PICTURES / "package_map.py")
    ids, rows = clusters(60)
    positions = package_map.fit_to_page(package_map.lay_out(rows, seed=0))
    is_python = np.array([name.startswith("python") for name in ids])
    apart = np.linalg.norm(positions[is_python].mean(axis=0) - positions[~is_python].mean(axis=0))
    assert apart > 2 * positions[is_python].std(axis=0).max()
    svg = package_map.draw(ids, positions)
    assert re.findall(r"fill=\"#\w+\">([^<]+)</text>", svg) == ["Python", "Rust"]
    assert svg.count("h0") == len(ids)


def test_the_map_is_drawn_from_a_published_table(tmp_path: Path) -> None:
    package_map = load_script(PICTURES / "package_map.py")
    ids, rows = clusters(30)
    publish_nodes(tmp_path, {"package": (ids, rows)})
    few = ["--packages", "40", "--min-degree", "0"]
    package_map.main([str(tmp_path / "published" / "default"), str(tmp_path / "map.svg"), *few])
    assert (tmp_path / "map.svg").read_text(encoding="utf-8").startswith("<svg")


def test_the_map_that_is_shown_is_of_the_sample() -> None:
    svg = (PICTURES / "package_map.svg").read_text(encoding="utf-8")
    assert svg.count("h0") == 12_000
