"""What the questions to a published table have in common: which type is meant, and a node that is not there."""

from __future__ import annotations

import datetime as dt

from pipeline.errors import ConfigError, InputError


def type_asked(asked: str | None, known: tuple[str, ...], option: str) -> str:
    """Return the type that an option names; without it the only one that there is.

    Raises
    ------
    ConfigError : naming the types of the table.
    """
    if asked is None and len(known) == 1:
        return known[0]
    if asked not in known:
        said = f"{option} is missing" if asked is None else f"{option} is '{asked}'"
        raise ConfigError(f"{said}; the table has nodes of type {', '.join(known)}")
    return asked


def unknown_node(release: str, data_date: dt.date, node_type: str, node_id: str, hint: str = "") -> InputError:
    """Return what to raise about a node that a table lacks; whoever asked knows its id, so it is named."""
    return InputError(
        f"release {release} has no {node_type} with this id, '{node_id}'; it may be new since {data_date}, left out by "
        f"publish.exclude_ids{hint}, or spelt in another way upstream"
    )
