"""How a command ends early: SIGTERM and Ctrl-C unwind it, so that locks, workers and sessions go with it."""

import contextlib
import signal
import threading
from collections.abc import Callable, Collection, Sequence
from types import FrameType, TracebackType
from typing import Any, Self

from graphquilt.signals import StopSignal, raise_stop_signal
from pipeline.errors import GraphquiltError, TerminatedError

_ASK_AGAIN_S = 0.3


class InterruptedByUserError(GraphquiltError):
    """Ctrl-C; running the same command again resumes."""

    exit_code = 130


class StopRequest:
    """A block of code that the first signal ends with :class:`StopSignal`; later ones do not disturb its way out.

    A call into a JVM can't be left by an exception: its answer would be taken for that of the next call, which
    waits until the first is done. A call to a server that is left goes on there. With :meth:`cancels_calls` such a
    call is ended from its other side.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._is_unwinding = False
        self._cancel: Callable[[], object] | None = None
        self._calling: Collection[str] = ()
        self._canceller: threading.Thread | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # signals are the main thread's
            self._before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
            signal.signal(signal.SIGTERM, self._handle)
            self._take_over_interrupts()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle()
        for number, handler in self._before.items():
            # A command of its own process has only its answer left to write.
            signal.signal(number, signal.SIG_IGN if handler is raise_stop_signal else handler)
        if isinstance(error, StopSignal) and self.reason:
            raise self.reason from None

    @property
    def reason(self) -> GraphquiltError | None:
        """The error to report for the signal that arrived; None if there was none."""
        return None if self._number is None else reason_of(self._number)

    def cancels_calls(self, cancel: Callable[[], object], of: Sequence[str]) -> None:
        """From now on end a call that is made inside of the packages ``of`` by ``cancel``, in a thread of its own."""
        self._cancel, self._calling = cancel, frozenset(of)
        self._take_over_interrupts()  # from pyspark, which took them over when the session began

    def settle(self) -> None:
        """Let what is left end as it is: the work is done, or given up."""
        self._is_unwinding = True

    def _take_over_interrupts(self) -> None:
        if self._before.get(signal.SIGINT) not in (None, signal.SIG_IGN):
            signal.signal(signal.SIGINT, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._is_unwinding:
            return
        self._number = self._number or number
        if self._cancel is None or not _is_inside(frame, self._calling):
            self.settle()
            raise StopSignal(number)
        if self._canceller is None:
            main = threading.main_thread().ident
            self._canceller = threading.Thread(
                target=self._cancel_until_unwinding, args=(self._cancel, main), name="cancel-calls", daemon=True
            )
            self._canceller.start()

    def _cancel_until_unwinding(self, cancel: Callable[[], object], main: int) -> None:
        # The call may have been a short one, and the next job not yet there: so ask both, again and again.
        wait = threading.Event()
        while not self._is_unwinding:
            with contextlib.suppress(Exception):
                cancel()
            wait.wait(_ASK_AGAIN_S)
            if not self._is_unwinding:
                signal.pthread_kill(main, self._number or signal.SIGTERM)


def reason_of(number: int) -> GraphquiltError:
    """Return the error to report for a signal."""
    if number == signal.SIGINT:
        return InterruptedByUserError("interrupted; finished tasks are kept, and the same command resumes")
    return TerminatedError("stopped by SIGTERM; finished tasks are kept, and the same command resumes")


def _is_inside(frame: FrameType | None, packages: Collection[str]) -> bool:
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] in packages:
            return True
        frame = frame.f_back
    return False
