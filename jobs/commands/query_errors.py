"""What queries of a published table refuse: a type that it does not have, and a node that is not there."""

from __future__ import annotations

import datetime as dt

from pipeline.errors import ConfigError, InputError


def require_type(node_type: str | None, types: tuple[str, ...], option: str) -> str:
    """Return the type that an option names; without it the only one that there is.

    Raises
    ------
    ConfigError : naming the types of the table.
    """
    if node_type is None and len(types) == 1:
        return types[0]
    if node_type not in types:
        problem = f"{option} is missing" if node_type is None else f"{option} is '{node_type}'"
        raise ConfigError(f"{problem}; the table has nodes of type {', '.join(types)}")
    return node_type


def unknown_node_error(release: str, data_date: dt.date, node_type: str, node_id: str, hint: str = "") -> InputError:
    """Return what to raise about a node that a table lacks; the user gave its id, so it is named."""
    return InputError(
        f"release {release} has no {node_type} with this id, '{node_id}'; it may be new since {data_date}, left out by "
        f"publish.exclude_ids{hint}, or spelt in another way upstream"
    )
