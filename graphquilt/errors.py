"""The errors of readers."""


class TableError(Exception):
    """The table is missing, damaged, or of another contract."""


class UnknownNodeError(TableError, LookupError):
    """The table has no row of some of the nodes."""
