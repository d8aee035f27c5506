"""A process that runs one command: its streams, and the signals that end it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from graphquilt.output import write_error
from graphquilt.signals import Stopped, raise_when_stopped


def run_process(command: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run the one command of this process and return its exit code, however it ends."""
    _open_streams()
    raise_when_stopped()
    try:
        return command(arguments)
    except (KeyboardInterrupt, Stopped) as error:
        stopped = error if isinstance(error, Stopped) else Stopped()
        facts = {"error": str(stopped), "exit_code": stopped.exit_code} if "--json" in arguments else None
        write_error(f"graphquilt: {stopped}", stopped.exit_code, facts)
        # The interpreter's own way out may crash on a library that was half imported.
        os._exit(stopped.exit_code)


def _open_streams() -> None:
    """Give a process that was started without stdin, stdout or stderr empty ones.

    The next files that it opens would take their numbers, and what libraries print would go into a table.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(number, True)  # for children, as any stream
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
