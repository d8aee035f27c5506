"""Whole runs on an object store: killed in each stage in turn, and while the store fails in every way at once."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import re
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from graphquilt.locations import ObjectPath, parse_location
from pipeline import storage
from pipeline.stages import runner
from pipeline.stages.chain import STAGE_NAMES
from pipeline.storage import leases, objects
from tests.object_store import (  # noqa: F401
    Fault,
    FaultProxy,
    Request,
    bucket,
    moto_endpoint,
    object_store,
    signal_at,
)
from tests.publishing.conftest import SHORT_LEASE_S
from tests.stages.chains import Chain, Config, config_for, users_and_items, write_rows


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    rows = write_rows(tmp_path_factory.mktemp("input") / "in.parquet", users_and_items(3, 2_000, 200, 120))
    return config_for(rows, parts=3, evaluate={"source": "holdout", "holdout_users": 0.5})


@pytest.fixture(scope="module")
def undisturbed(config: Config, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return Chain(tmp_path_factory.mktemp("undisturbed")).publish(config).data


@pytest.fixture
def chain(tmp_path: Path, bucket: str) -> Chain:  # noqa: F811
    return Chain(tmp_path, address=f"{bucket}/ws")


def data_of(release: str) -> dict[str, bytes]:
    folder = parse_location(release) / "node_embeddings"
    return {name: storage.read(folder / name) or b"" for name in storage.names_in(folder)}


def run(words: list[str], environment: Mapping[str, str]) -> None:
    """Run a command, in a process of its own, with short leases."""
    from graphquilt.__main__ import main
    from pipeline.storage import leases

    leases.hold_lease.__wrapped__.__defaults__ = (0.0, SHORT_LEASE_S)  # type: ignore[attr-defined]
    os.environ.update(environment)
    raise SystemExit(main(words))


def kill_at(pid: int, stage: str | None, number: int, fault: Fault) -> Callable[[Request], Fault | None]:
    """Kill a process at a stage's request that writes, which meets a fault; of no stage, never."""
    stages, writes = ["none yet"], itertools.count(1)

    def is_due(path: str) -> bool:
        if named := re.search(r"/_work/(\w+)-|/releases/", path):
            stages.append(named[1] or "publish")
        return stages[-1] == stage and not path.endswith("/.lock") and next(writes) == number

    return signal_at(pid, signal.SIGKILL, is_due, fault)


@pytest.mark.slow
def test_a_run_that_is_killed_in_each_stage_goes_on_and_gives_the_same_bytes(
    chain: Chain,
    config: Config,
    undisturbed: dict[str, bytes],
    object_store: FaultProxy,  # noqa: F811
) -> None:
    assert chain.address
    draw, folder = random.Random(1), parse_location(chain.address)
    words = ["run", "--config", str(chain.write_config(config)), "--workspace", str(folder), "--engine", "local"]
    processes = multiprocessing.get_context("forkserver")  # which imports all once
    processes.set_forkserver_preload(["jobs.run", "pipeline.stages.runner", "pipeline.engines.local"])
    codes = []
    for stage in (*STAGE_NAMES, None):
        process = processes.Process(target=run, args=(words, dict(os.environ)))
        process.start()
        assert process.pid is not None
        object_store.fault = kill_at(process.pid, stage, draw.randint(1, 8), draw.choice(["throttle", "lose"]))
        process.join(120)
        codes.append(process.exitcode)
    assert codes == [-signal.SIGKILL] * len(STAGE_NAMES) + [0]
    (release,) = storage.names_in(folder / "published/default/releases")
    assert data_of(f"{folder}/published/default/releases/{release}") == undisturbed
    left = [file.name for file in storage.files_below(folder) if "/_work/" in file.name or ".conditions" in file.name]
    assert left == []


@pytest.mark.slow
def test_a_run_gives_the_same_bytes_while_the_store_fails_in_every_way(
    chain: Chain,
    config: Config,
    undisturbed: dict[str, bytes],
    object_store: FaultProxy,  # noqa: F811
) -> None:
    draw, lock = random.Random(1), threading.Lock()

    def choose(request: Request) -> Fault | None:
        ways: list[Fault] = ["throttle", "busy", "lose", "cut", 0.5]
        ways += ["late", "conflict"] if request.method == "PUT" else []
        ways += ["damage"] if request.method == "GET" and "list-type" not in request.path else []
        with lock:
            return draw.choice(ways) if draw.random() < 0.15 else None

    object_store.fault = choose
    ended = chain.run(config)
    object_store.fault = lambda _: None
    assert ended.code == 0, ended.error
    assert data_of(ended.answer["path"]) == undisturbed


def test_a_run_that_lost_its_lease_leaves_the_verdict_to_its_successor(
    tmp_path: Path,
    config: Config,
    bucket: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verdict = parse_location(f"{bucket}/ws/runs/1970-01-01/gate.json")
    assert isinstance(verdict, ObjectPath)
    commit = runner._commit

    def lose_lease(*arguments: Any) -> None:
        (held,) = leases._leases
        held._loss = "another process took it"
        objects.write(verdict, b"of the successor")
        commit(*arguments)

    monkeypatch.setattr(runner, "_commit", lose_lease)
    ended = Chain(tmp_path, address=f"{bucket}/ws").run(config, ("ingest",))
    assert ended.code == 1
    assert "stops without writing: it has lost" in ended.error
    assert storage.read(verdict) == b"of the successor"
