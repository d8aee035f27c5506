"""Stores are reached as the config says, credentials stand in no file of ours, the cache is where --scratch says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from graphquilt.locations import parse_location
from pipeline import storage
from tests.object_store import CREDENTIALS, FaultProxy, bucket, moto_endpoint, object_store  # noqa: F401
from tests.stages.chains import Chain, config_for, users_and_items, write_rows


@pytest.fixture
def chain(tmp_path: Path, bucket: str) -> Chain:  # noqa: F811
    return Chain(tmp_path / "chain", address=f"{bucket}/ws")


def test_the_config_names_the_endpoint(
    chain: Chain,
    object_store: FaultProxy,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endpoint = os.environ["AWS_ENDPOINT_URL_S3"]
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    rows = write_rows(tmp_path / "in.parquet", users_and_items())
    input_path = parse_location(str(chain.address)).parent / "in.parquet"
    settings = {"endpoint": endpoint, "region": "us-east-1"}
    before = storage.current_settings()
    try:
        ended = chain.run(config_for(rows, storage=settings), ("ingest", "index"), scratch=tmp_path / "scratch")
        assert ended.code == 0, ended.error
        # The input as well, which pyarrow reads.
        other = write_rows(tmp_path / "other.parquet", users_and_items(1))
        storage.write(input_path, other.read_bytes())
        again = chain.run(config_for(str(input_path), storage=settings), ("ingest",), scratch=tmp_path / "scratch")
        assert again.code == 0, again.error
        assert again.skipped == []
        assert [*(tmp_path / "scratch").rglob("*.parquet")]
        written = b"".join(
            storage.read(parse_location(f"{chain.address}/{file.name}")) or b""
            for file in storage.files_below(parse_location(str(chain.address)))
        )
        assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"].encode() not in written
    finally:
        storage.use_settings(before)


def test_another_endpoint_makes_nothing_again(chain: Chain, object_store: FaultProxy, tmp_path: Path) -> None:  # noqa: F811
    rows = write_rows(tmp_path / "in.parquet", users_and_items())
    endpoint = os.environ["AWS_ENDPOINT_URL_S3"]
    assert chain.run(config_for(rows), ("ingest",)).code == 0
    before = storage.current_settings()
    try:
        again = chain.run(config_for(rows, storage={"endpoint": endpoint}), ("ingest",))
        assert again.skipped == ["ingest"]
    finally:
        storage.use_settings(before)
