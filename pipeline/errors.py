"""What can go wrong, one type per thing the caller can do about it.

The exit code of a command is the ``exit_code`` of the error that ended it.
"""

from collections.abc import Mapping
from typing import Any


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class: what is below it is a library's own."""
    return (str(error).splitlines() or [""])[0].rstrip(". ") or type(error).__name__


class GraphquiltError(Exception):
    """A failure with a sentence for the person who has to act on it."""

    exit_code = 1


class ConfigError(GraphquiltError):
    """The configuration or the command line is wrong: nothing was started."""

    exit_code = 2


class GateError(GraphquiltError):
    """The tables were made, and a gate refused to publish them; ``gate`` is the whole verdict, as JSON values."""

    exit_code = 3

    def __init__(self, message: str, gate: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.gate = gate


class InputError(GraphquiltError):
    """The input can't be used: missing, unreadable, of a wrong type, empty, or with too many bad rows."""

    exit_code = 4


class ContractError(GraphquiltError):
    """A table does not have the columns, types or rows that its contract promises."""


class PartitionError(GraphquiltError):
    """The graph can't be cut as asked."""


class StorageError(GraphquiltError):
    """The workspace can't be read or written as needed."""


class DiskFullError(StorageError):
    """The disk, a quota or a limit on files has no room left.

    ``names_bytes``: whether the message says the bytes needed and free, and what to do. A task's says where it was.
    """

    names_bytes = False


class DamagedFileError(StorageError):
    """A file of the workspace is not what it was when it was written."""


class MissingTableError(StorageError):
    """A stage's input table has not been made yet for this input, config and date, or is not what was made."""

    def __init__(self, message: str, table: str = "") -> None:
        super().__init__(message)
        self.table = table


class NotComputedError(MissingTableError):
    """A task has no record of an earlier run, and nothing is to be computed."""


class LockedError(GraphquiltError):
    """Another process is at work on the same date or the same published name."""


class LeaseLostError(GraphquiltError):
    """This process held a lock in an object store and could not keep it: it must write nothing more."""


class TaskError(GraphquiltError):
    """A task failed on a worker, or two attempts of it disagree."""


class TerminatedError(GraphquiltError):
    """SIGTERM arrived; running the same command again resumes."""

    exit_code = 143
