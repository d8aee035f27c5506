"""Who may talk to a Spark session of a local master: nobody but the process that made it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.other_user import as_another_user
from tests.processes import command_words, listening

ROOT = Path(__file__).parents[2]

#: Holds a session until its input ends, and says what it holds.
HOLDER = """
import json, sys
from jobs.spark_session import spark_session

with spark_session("rights", dict(text.split("=", 1) for text in sys.argv[1:]), None) as session:
    context = session.sparkContext
    # Rows through a shuffle, and Python workers.
    pairs = context.parallelize(range(100), 2).map(lambda n: (n % 3, n)).groupByKey()
    assert pairs.count() == 3
    told = {name: context.getConf().get(f"spark.{name}") for name in ("local.dir", "driver.port")}
    print(json.dumps(told), flush=True)
    sys.stdin.read()
"""

#: Another Spark asks the driver for one of its endpoints: the first step of whoever wants to be an executor.
INTRUDER = """
import os, sys
from py4j.protocol import Py4JJavaError
from pyspark import SparkConf, SparkContext

port, authenticates = int(sys.argv[1]), sys.argv[2]
conf = SparkConf().setAll([
    ("spark.master", "local[1]"), ("spark.ui.enabled", "false"), ("spark.authenticate", authenticates),
    ("spark.driver.bindAddress", "127.0.0.1"), ("spark.driver.host", "127.0.0.1"),
    ("spark.rpc.lookupTimeout", "20s"),
])
with SparkContext(conf=conf) as context:
    jvm, spark, settings = context._jvm, context._jvm.org.apache.spark, context._conf._jconf
    no_secret_file = getattr(getattr(spark.internal.config, "package$"), "MODULE$").AUTH_SECRET_FILE()
    security = spark.SecurityManager(settings, jvm.scala.Option.empty(), no_secret_file)
    security.initializeAuth()
    ours = spark.rpc.RpcEnv.create("intruder", "127.0.0.1", 0, settings, security, True)
    try:
        ours.setupEndpointRef(spark.rpc.RpcAddress("127.0.0.1", port), "MapOutputTracker")
        print("uid", os.getuid(), "in")
    except Py4JJavaError as error:
        print("uid", os.getuid(), "refused", error.java_exception)
"""

pytestmark = [pytest.mark.spark, pytest.mark.slow]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable}


class Session:
    """A session in a process of its own."""

    def __init__(self, *settings: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, "spark.master=local[2]", *settings],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=tempfile.gettempdir(),
        )  # fmt: skip
        assert self.process.stdout
        self.told: dict[str, Any] = json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate("", timeout=120)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    held = Session()
    yield held
    held.close()
    assert not Path(held.told["local.dir"]).exists()


def intrude(session: Session, authenticates: str, *prefix: str) -> str:
    command = [*prefix, sys.executable, "-c", INTRUDER, str(session.told["driver.port"]), authenticates]
    environment = {**ENVIRONMENT, "HOME": tempfile.gettempdir(), "SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd="/", timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("authenticates", ["false", "true"], ids=["plain", "own secret"])
def test_another_user_is_refused(session: Session, authenticates: str) -> None:
    said = intrude(session, authenticates, *as_another_user())
    assert said.startswith("uid 65534 refused")


def test_the_intruder_gets_in_where_the_user_has_opened_it() -> None:
    """What the user sets wins; and the intruder of the tests above is one."""
    held = Session("spark.authenticate=false")
    try:
        assert intrude(held, "false").endswith(" in")
    finally:
        held.close()


def test_all_ports_are_on_loopback_and_rows_in_a_closed_folder(session: Session) -> None:
    assert {host for host, _ in listening(session.process.pid)} == {"127.0.0.1"}
    folder = Path(session.told["local.dir"])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert any(path.name.startswith("shuffle_") for path in folder.rglob("*"))  # the rows are in there


def test_the_ui_is_on_loopback_where_it_is_asked_for() -> None:
    held = Session("spark.ui.enabled=true", "spark.ui.port=0")
    try:
        sockets = listening(held.process.pid)
        assert {host for host, _ in sockets} == {"127.0.0.1"}
        assert len(sockets) >= 6
    finally:
        held.close()


def test_all_of_a_local_cluster_is_on_loopback() -> None:
    held = Session("spark.master=local-cluster[1,1,1024]")
    try:
        assert {host for host, _ in listening(held.process.pid)} == {"127.0.0.1"}
    finally:
        held.close()


def test_no_secret_is_on_a_command_line(session: Session) -> None:
    words = list(command_words(session.process.pid))
    assert HOLDER in words
    assert not any("secret" in word.lower() for word in words)


def test_the_jvm_of_a_local_master_is_compiled_once(session: Session) -> None:
    assert "-XX:TieredStopAtLevel=1" in command_words(session.process.pid)
