"""Ctrl-C and SIGTERM: a command unwinds, prints one line, and exits with the code that shells expect."""

import signal
from types import FrameType

_SENTENCES = {signal.SIGINT: "interrupted", signal.SIGTERM: "stopped by SIGTERM"}


class StopSignal(BaseException):
    """A signal that ends the command. No Exception: libraries that catch those would go on."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(_SENTENCES[signal.Signals(number)])
        self.exit_code = 128 + number


def handle_stop_signals() -> None:
    """Let the first signal raise :class:`StopSignal`; background jobs of a shell still ignore Ctrl-C."""
    for number in _SENTENCES:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, raise_stop_signal)


def ignore_further_signals() -> None:
    """Ignore signals from now on: the command is unwinding, or writes its answer."""
    for number in _SENTENCES:
        if signal.getsignal(number) is raise_stop_signal:
            signal.signal(number, signal.SIG_IGN)


def raise_stop_signal(number: int, _frame: FrameType | None) -> None:
    """Raise :class:`StopSignal` and ignore further signals."""
    ignore_further_signals()
    raise StopSignal(number)
