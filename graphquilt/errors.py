"""What can go wrong when a table is read."""


class TableError(Exception):
    """There is no table here, or it is damaged, or of another contract."""


class UnknownNodeError(TableError, LookupError):
    """Nodes were asked for that the table does not hold."""
