"""A whole run over Spark Connect publishes what the local engine publishes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline import storage


@pytest.mark.spark
@pytest.mark.slow
def test_the_published_files_are_those_of_the_local_engine(
    shop: Any, call: Any, connect_server: Any, tmp_path: Path
) -> None:
    options = ["--config", shop.config, "--date", "2024-03-01", "--set", "partition.parts=2"]
    here = call("run", *options, "--workspace", tmp_path / "local")
    there = call(
        *("run", *options, "--workspace", tmp_path / "connect"),
        *("--engine", "spark", "--remote", connect_server.address, "--slots", "2"),
    )
    assert (here.code, there.code) == (0, 0), there.err
    assert published(tmp_path / "connect") == published(tmp_path / "local")
    names = {job.get("spark.job.tags", "") for job in connect_server.jobs()}
    assert any("embed: round 0 products" in name for name in names), names


def published(root: Path) -> dict[str, str]:
    """Checksums of the data files of the one release."""
    (release,) = (root / "published").glob("*/releases/*")
    files = {str(path.relative_to(release)): storage.sha256_of(path) for path in release.rglob("*.parquet")}
    assert files
    return files
