"""Processes of this machine, as tests look at them: any of them may end between two looks."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import psutil


def living_family(pid: int | None = None) -> Iterator[psutil.Process]:
    """Yield a process (default: this one) and what descends from it, without those that have ended."""
    parent = psutil.Process(pid)
    for process in (parent, *parent.children(recursive=True)):
        if is_alive(process):
            yield process


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def listening(pid: int | None = None) -> set[tuple[str, int]]:
    """Return address and port of all sockets on which a process and its descendants take connections."""
    sockets: set[tuple[str, int]] = set()
    for process in living_family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since
            sockets |= {
                (connection.laddr.ip.removeprefix("::ffff:"), connection.laddr.port)
                for connection in process.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            }
    return sockets


def command_words(pid: int | None = None) -> Iterator[str]:
    """Yield the words on the command lines of a process and its descendants, which `ps` shows to everybody."""
    for process in living_family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since
            yield from process.cmdline()


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        return int(some.getsockname()[1])


def is_listening(port: int) -> bool:
    """Whether a process of this machine takes connections at a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def serve_at(port: int, command: list[str], **options: Any) -> Iterator[str]:
    """Run a server that listens at a port of this machine; yield its endpoint."""
    process = subprocess.Popen(command, **options)
    try:
        while not is_listening(port):
            assert process.poll() is None
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
