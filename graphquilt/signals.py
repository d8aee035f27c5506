"""Ctrl-C and SIGTERM at any moment of a command: it unwinds, says so, and exits with the code that shells expect."""

from __future__ import annotations

import signal
from types import FrameType

_SENTENCES = {signal.SIGINT: "interrupted", signal.SIGTERM: "stopped by SIGTERM"}


class Stopped(BaseException):
    """A signal arrived. No Exception: libraries that catch those would report a failure of their own, or go on."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(_SENTENCES[signal.Signals(number)])
        self.exit_code = 128 + number


def raise_when_stopped() -> None:
    """From now on the first signal raises :class:`Stopped`; a shell's background jobs go on ignoring Ctrl-C."""
    for number in _SENTENCES:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, raise_stopped)


def ignore_what_follows() -> None:
    """Let the command end as it is: it is unwinding, or its answer is being written."""
    for number in _SENTENCES:
        if signal.getsignal(number) is raise_stopped:
            signal.signal(number, signal.SIG_IGN)


def raise_stopped(number: int, _frame: FrameType | None) -> None:
    """Handle a signal."""
    ignore_what_follows()
    raise Stopped(number)
