"""Two workers that see no folder of the driver's, as on machines of their own: they share the store, or are named."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyspark
import pytest

from graphquilt.locations import parse_location
from pipeline import storage
from tests.conftest import ROOT
from tests.golden.configs import SAMPLE, config_named
from tests.golden.digests import release_digests
from tests.golden.rewrite import DIGESTS, local_copy
from tests.golden.test_published_bytes import on_x86
from tests.object_store import bucket, moto_endpoint, object_store  # noqa: F401
from tests.stages.chains import Chain, Config, with_changes

pytestmark = [
    pytest.mark.spark,
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("unshare") is None,
        reason="mount namespaces are root's to make, by unshare",
    ),
]

NAME = "two_tower_parts"
SPARK_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"


@contextmanager
def started(command: list[str], log: Path) -> Iterator[None]:
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            yield
        finally:
            process.kill()
            process.wait()


def wait_for(log: Path, words: str) -> None:
    deadline = time.monotonic() + 60
    while words not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


@pytest.fixture
def master(tmp_path: Path, object_store: object) -> Iterator[str]:  # noqa: F811
    """A master with two workers; each has an empty folder of its own where the test's folder is."""
    logs = tmp_path.parent / f"{tmp_path.name}-logs"
    logs.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = ["--host", "127.0.0.1", "--webui-port", "0"]
    with ExitStack() as stack:
        deploy = "org.apache.spark.deploy"
        command = [str(SPARK_CLASS), f"{deploy}.master.Master", *common, "--port", port]
        stack.enter_context(started(command, logs / "master"))
        wait_for(logs / "master", "Starting Spark master")
        for number in ("1", "2"):
            work = logs / f"work-{number}"
            work.mkdir()
            worker = [str(SPARK_CLASS), f"{deploy}.worker.Worker", *common, "--cores", "1", "--memory", "1g"]
            worker += ["--work-dir", str(work), f"spark://127.0.0.1:{port}"]
            script = f'mount -t tmpfs none "{tmp_path}" && mkdir "{tmp_path}/scratch" && exec "$@"'
            stack.enter_context(started(["unshare", "--mount", "sh", "-c", script, "sh", *worker], logs / number))
            wait_for(logs / number, "Successfully registered with master")
        yield f"spark://127.0.0.1:{port}"


def run(master: str, config: Config, workspace: str, folder: Path) -> subprocess.CompletedProcess[str]:
    settings = [f"spark.master={master}", "spark.executor.memory=1g", "spark.driver.host=127.0.0.1"]
    command = [sys.executable, "-m", "jobs.run", "--engine", "spark", "--json", "--workspace", workspace]
    command += ["--config", str(Chain(folder).write_config(config))]
    command += [word for setting in settings for word in ("--conf", setting)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@on_x86
def test_workers_that_share_the_store_alone_give_the_same_bytes_and_are_named_where_they_share_nothing(
    tmp_path: Path,
    master: str,
    bucket: str,  # noqa: F811
) -> None:
    ended = run(master, config_named(NAME, tmp_path), str(tmp_path / "ws"), tmp_path)
    assert ended.returncode == 1
    error = json.loads(ended.stdout)["error"]
    assert re.search(rf"worker {socket.gethostname()} does not share the workspace {tmp_path / 'ws'}: .* Mount", error)
    assert json.loads(ended.stdout)["stages"] == []

    storage.write(parse_location(f"{bucket}/in/sample.parquet"), SAMPLE.read_bytes())
    config = with_changes(config_named(NAME, tmp_path), input={"path": f"{bucket}/in/sample.parquet"})
    ended = run(master, config, f"{bucket}/ws", tmp_path)
    assert ended.returncode == 0, ended.stderr
    digests = release_digests(local_copy(parse_location(json.loads(ended.stdout)["path"]), tmp_path / "release"))
    assert digests == json.loads(DIGESTS.read_text())["releases"][NAME]
