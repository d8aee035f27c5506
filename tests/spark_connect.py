"""A local Spark Connect server, in a process of its own, and what its event log says."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyspark

from tests.processes import free_port, is_listening

ROOT = Path(__file__).parents[1]
#: No measure of anything: what hangs must end some time.
PATIENCE_S = 120.0


@dataclass(frozen=True)
class ConnectServer:
    """Where a server listens, and the folder of its event log."""

    address: str
    events: Path

    def jobs(self) -> list[dict[str, Any]]:
        """Properties of all jobs so far."""
        (log,) = self.events.iterdir()
        # The last line may be half written.
        events = [json.loads(line) for line in log.read_text().splitlines()[:-1]]
        return [event["Properties"] for event in events if event["Event"] == "SparkListenerJobStart"]


@contextlib.contextmanager
def run_server(folder: Path, slots: int = 2) -> Iterator[ConnectServer]:
    """Run a server with so many slots; what it writes goes to ``folder``."""
    port, events = free_port(), folder / "events"
    events.mkdir()
    conf = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        "spark.driver.memory": "1g",
        "spark.driver.extraJavaOptions": "-XX:+UseParallelGC -XX:TieredStopAtLevel=1",
        "spark.ui.enabled": "false",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": events.as_uri(),
        "spark.eventLog.compress": "false",
        "spark.eventLog.rolling.enabled": "false",
    }
    home = Path(pyspark.__file__).parent
    command = [str(home / "bin" / "spark-submit"), "--master", f"local[{slots}]"]
    for key, value in conf.items():
        command += ["--conf", f"{key}={value}"]
    command += ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),  # of its Python workers
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_HOME": str(home),
    }
    log = folder / "server.log"
    with log.open("w") as output, subprocess.Popen(command, env=environment, stdout=output, stderr=output) as process:
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not is_listening(port):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
            yield ConnectServer(f"sc://127.0.0.1:{port}", events)
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            finally:
                process.kill()  # else one that does not heed the signal would be waited for without an end
