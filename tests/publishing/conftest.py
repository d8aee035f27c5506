"""A workspace in a folder, and one in an object store: what is published says the same on both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from graphquilt.locations import Location, parse_location
from tests.object_store import bucket, moto_endpoint, object_store  # noqa: F401


@pytest.fixture(params=["folder", "objects"])
def root(request: pytest.FixtureRequest) -> Location:
    if request.param == "folder":
        folder: Path = request.getfixturevalue("tmp_path") / "w"
        folder.mkdir()
        return folder
    return request.getfixturevalue("store_root")


@pytest.fixture
def store_root(bucket: str) -> Location:  # noqa: F811
    return parse_location(f"{bucket}/w")


@pytest.fixture
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases show in little time whether their holder is at work. On a busy machine they are lost in as little."""
    from pipeline.storage import leases

    defaults: tuple[Any, ...] = (0.0, SHORT_LEASE_S)
    monkeypatch.setattr(leases.hold_lease.__wrapped__, "__defaults__", defaults)  # type: ignore[attr-defined]


SHORT_LEASE_S = 3.0
