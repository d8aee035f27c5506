"""The errors of readers."""


class TableError(Exception):
    """The table is missing, damaged, or of another contract."""


class UnknownNodeError(TableError, LookupError):
    """The table has no row of some of the nodes."""


class StoreError(TableError):
    """An object store can't be reached, refuses, or has failed.

    ``is_repeatable``: the connection broke, or the request met another one, and the same again may succeed.
    ``is_busy``: it asks for fewer requests.
    """

    def __init__(self, message: str, *, is_repeatable: bool = False, is_busy: bool = False) -> None:
        super().__init__(message)
        self.is_repeatable, self.is_busy = is_repeatable, is_busy
