"""The process of one command: its standard streams, and the signals that end it."""

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence

from graphquilt.output import write_error
from graphquilt.signals import StopSignal, handle_stop_signals


def run_process(command: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run the command of this process and return its exit code; a signal ends the process at once."""
    _open_streams()
    handle_stop_signals()
    try:
        return command(arguments)
    except (KeyboardInterrupt, StopSignal) as error:
        stop = error if isinstance(error, StopSignal) else StopSignal()
        facts = {"error": str(stop), "exit_code": stop.exit_code} if "--json" in arguments else None
        write_error(f"graphquilt: {stop}", stop.exit_code, facts)
        # The interpreter's own exit may crash in a library whose import was interrupted.
        os._exit(stop.exit_code)
    finally:
        gc.freeze()  # the interpreter's exit collects garbage again and again: half a second for the objects of modules


@contextlib.contextmanager
def lasting_objects() -> Iterator[None]:
    """Let the collector of garbage pass over what is made here, such as modules: it stays as long as the process."""
    if gc.get_freeze_count() or not gc.isenabled():  # once: what is frozen is never collected
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def describe_missing(command: str, error: ModuleNotFoundError) -> str | None:
    """Return the sentence for a package that a command lacks; None if it is a module of ours, which no one can add."""
    package = "graphquilt-pipeline" if error.name in ("jobs", "jobs.cli") else error.name
    if package is None or package.split(".")[0] in ("graphquilt", "jobs", "pipeline", "schemas"):
        return None
    return (
        f"{command} needs {package}, which is not installed: pip install 'graphquilt-pipeline[local]' "
        "(or 'graphquilt-pipeline[spark]'). 'current' and 'check' work without."
    )


def _open_streams() -> None:
    """Open empty streams in a process that was started without stdin, stdout or stderr.

    Else the next files that it opens get their numbers, and what libraries print goes into a table.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number, which is this one
            os.set_inheritable(number, True)  # child processes inherit standard streams
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
