"""Processes of this machine, as tests look at them: any of them may end between two looks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

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
