"""Who may talk to the workers of a local run: their parent alone."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.engines.local import LocalEngine
from tests.engines import tasks_for_tests as tasks
from tests.other_user import as_another_user
from tests.processes import listening, living_family

ROOT = Path(__file__).parents[2]

#: What somebody who has no key tries at a port; prints "in" for each try that was answered.
INTRUDER = """
import os, socket, sys
from distributed import Client
from distributed.security import Security

port = int(sys.argv[1])
print("uid", os.getuid())
for name, address, security in [
    ("plain", f"tcp://127.0.0.1:{port}", None),
    ("own certificate", f"tls://127.0.0.1:{port}", Security.temporary()),
]:
    try:
        with Client(address, security=security, timeout=2, set_as_default=False) as client:
            print("in", name, client.run_on_scheduler(os.getuid))
    except (OSError, ValueError) as error:
        print("refused", name, type(error).__name__)
for name in ("info/main/workers.html", "health"):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(f"GET /{name} HTTP/1.0\\r\\n\\r\\n".encode())
        try:
            answer = connection.recv(100)
        except OSError:
            answer = b""
        print("in" if answer.startswith(b"HTTP") else "refused", name)
"""


Run = tuple[LocalEngine, list[tuple[str, int]]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """An engine that has worked, and the addresses that it listens on."""
    of_others = listening()  # sessions of other tests in this process
    with LocalEngine(workers=2) as engine:
        engine.map_tasks(tasks.double, tasks.make_tasks(tmp_path_factory.mktemp("rights"), 4))
        yield engine, sorted(listening() - of_others)


def test_all_ports_of_a_run_are_on_loopback(run: Run) -> None:
    _, ports = run
    assert len(ports) == 5  # a scheduler, two nannies, two workers
    assert {host for host, _ in ports} == {"127.0.0.1"}


@pytest.mark.slow
@pytest.mark.parametrize("is_another", [False, True], ids=["same user", "another user"])
def test_no_port_answers_who_has_no_key(run: Run, is_another: bool) -> None:
    _, ports = run
    prefix = as_another_user() if is_another else ()
    for _, port in ports:
        tried = subprocess.run(
            [*prefix, sys.executable, "-c", INTRUDER, str(port)],
            capture_output=True, text=True, check=True, cwd="/", timeout=120,
        )  # fmt: skip
        lines = tried.stdout.splitlines()
        assert (lines[0] != f"uid {os.getuid()}") == is_another
        assert len(lines) == 5
        assert all(line.startswith("refused") for line in lines[1:]), tried.stdout


def test_what_workers_write_is_closed_to_others(run: Run) -> None:
    client = run[0]._open_client()
    folders = [worker["local_directory"] for worker in client.scheduler_info(-1)["workers"].values()]
    assert len(folders) == 2
    for folder in folders:
        scratch = next(path for path in Path(folder).parents if path.name.startswith("graphquilt-workers-"))
        assert scratch.stat().st_mode & 0o077 == 0


def test_no_key_stands_on_a_command_line_or_in_an_environment(run: Run) -> None:
    key = run[0]._open_client().security.tls_client_key
    secret = "".join(key.split("-----")[2].split())[:40]
    for process in living_family():
        with contextlib.suppress(psutil.NoSuchProcess):  # one of an earlier test has ended
            told = [*process.cmdline(), *process.environ().values()]
            assert not any(secret in "".join(text.split()) for text in told)
