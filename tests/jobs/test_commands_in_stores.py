"""Commands on a workspace in an object store say what is wrong there, and go by the config's [storage]."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphquilt.locations import parse_location
from pipeline import storage
from tests.object_store import FaultProxy, bucket, moto_endpoint, object_store  # noqa: F401
from tests.stages.chains import config_for, to_toml, users_and_items, write_rows

Call = Callable[..., Any]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config_for(write_rows(tmp_path / "in.parquet", users_and_items()))))
    return path


def test_doctor_says_whether_a_store_will_do(object_store: FaultProxy, bucket: str, call: Call) -> None:  # noqa: F811
    address = f"{bucket}/work"
    assert call("doctor", "--workspace", address).code == 0
    assert storage.files_below(parse_location(address)) == []
    object_store.fault = lambda request: "ignore" if request.method == "PUT" else None
    (finding,) = [one for one in call("doctor", "--workspace", address, "--json").json["findings"] if "s3:" in str(one)]
    assert not finding["is_fine"]
    assert "overlooks the conditions of puts" in finding["advice"]


@pytest.mark.parametrize("command", ["run", "tune --out tuned.toml --budget 1", "inspect", "clean", "rollback"])
def test_a_workspace_that_can_not_be_is_wrong_usage(
    command: str,
    object_store: FaultProxy,  # noqa: F811
    config: Path,
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(config.parent)
    before = sorted(config.parent.iterdir())
    name, *options = command.split()
    options += ["--config", str(config)] if name in ("run", "tune") else []
    for address, reason in (("s3://no-such-bucket/w", "make this bucket"), ("s3:/bucket/w", "one slash")):
        said = call(name, "--workspace", address, *options)
        assert said.code == 2, said.err
        assert said.err.count(reason) == 1
    assert sorted(config.parent.iterdir()) == before
    assert {request.method for request in object_store.requests} == {"GET"}  # nothing was written


def test_an_endpoint_without_a_scheme_is_named(
    object_store: FaultProxy,  # noqa: F811
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "127.0.0.1:9")
    said = call("inspect", "--workspace", "s3://bucket/w")
    assert said.code == 2
    assert "the endpoint of s3://bucket is '127.0.0.1:9'; write http://HOST or https://HOST" in said.err


def test_a_place_to_publish_is_named_before_anything_is_computed(
    object_store: FaultProxy,  # noqa: F811
    config: Path,
    call: Call,
) -> None:
    work = config.parent / "work"
    said = call("run", "--config", config, "--workspace", work, "--set", "publish.to=s3://no-such-bucket/w")
    assert said.code == 2
    assert "publish.to: s3://no-such-bucket does not exist" in said.err
    assert not (work / "runs").exists()


def test_graphframes_is_refused_before_the_first_stage(bucket: str, config: Path, call: Call) -> None:  # noqa: F811
    address = f"{bucket}/work"
    said = call("run", "--config", config, "--workspace", address, "--set", "partition.components=graphframes")
    assert said.code == 2
    assert "Choose a folder that all nodes mount, or set both to 'own'" in said.err
    assert storage.files_below(parse_location(address)) == []


def test_a_missing_config_leaves_its_verdict_in_the_store(bucket: str, tmp_path: Path, call: Call) -> None:  # noqa: F811
    said = call("run", "--config", tmp_path / "no.toml", "--workspace", f"{bucket}/w", "--date", "2020-01-01")
    assert said.code == 2
    gate = json.loads(storage.read(parse_location(f"{bucket}/w/runs/2020-01-01/gate.json")) or b"")
    assert (gate["verdict"], gate["exit_code"]) == ("failed", 2)


def test_an_input_that_takes_in_the_workspace_is_refused(bucket: str, config: Path, call: Call) -> None:  # noqa: F811
    storage.write(parse_location(f"{bucket}/in.parquet"), (config.parent / "in.parquet").read_bytes())
    options = ("--config", config, "--workspace", f"{bucket}/work", "--set")
    said = call("run", *options, f"input.path={bucket}/**/*.parquet")
    assert said.code == 2
    assert "lie in each other" in said.err


def test_what_reads_a_config_goes_by_its_storage(
    object_store: FaultProxy,  # noqa: F811
    bucket: str,  # noqa: F811
    config: Path,
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endpoint = os.environ["AWS_ENDPOINT_URL_S3"]
    place = ("--config", config, "--workspace", f"{bucket}/work")
    assert call("run", *place, "ingest").code == 0
    before = storage.current_settings()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    config.write_text(f'{config.read_text()}\n[storage]\nendpoint = "{endpoint}"\n')
    try:
        assert call("plan", *place, "--json").json["stages"]["ingest"] == "made"
        storage.use_settings(before)
        assert "has no published name 'default'" in call("clean", *place).err
    finally:
        storage.use_settings(before)
