"""Workspaces, published names, types and nodes that must be there: a command that looks must not make them."""

import contextlib
import datetime as dt
from collections.abc import Iterator
from pathlib import Path

from graphquilt import files
from graphquilt.errors import StoreError
from graphquilt.locations import AddressError, Location, parse_location
from pipeline.errors import ConfigError, InputError


def folder_of(address: str) -> Location:
    """Return the location of a workspace, whether or not it is there.

    Raises
    ------
    ConfigError : no tables can be at this address.
    """
    try:
        return parse_location(address)
    except AddressError as error:
        raise ConfigError(str(error)) from error


def workspace_at(address: str) -> Location:
    """Return the location of a workspace that is there.

    Raises
    ------
    ConfigError : there is none, or its store can't be asked.
    """
    root = folder_of(address)
    try:
        names = files.names_in(root)
    except StoreError as error:
        raise ConfigError(f"workspace {root} can't be read: {error}") from error
    if not names and not files.has_folder(root):
        raise ConfigError(f"there is no workspace at {root}; 'graphquilt run' makes one. Check --workspace")
    if not {"runs", "published"}.intersection(names):
        raise ConfigError(f"{root} is no workspace: it has neither runs/ nor published/. Check --workspace")
    return root


def require_folder_of(out: Path) -> None:
    """Refuse an ``--out`` whose folder is missing.

    Raises
    ------
    ConfigError : naming the folder.
    """
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"{out.absolute().parent} is no folder; make it, or give another --out FILE")


@contextlib.contextmanager
def writing(out: Path) -> Iterator[None]:
    """Name ``--out`` where a block can't write it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"{out} can't be written: {reason}; choose another --out FILE") from error


def published_names(root: Location) -> list[str]:
    """Return the names that have been published to, in order."""
    folder = root / "published"
    return [name for name in files.names_in(folder) if files.has_folder(folder / name)]


def require_name(root: Location, name: str) -> None:
    """Refuse a name that nothing was published to.

    Raises
    ------
    ConfigError : naming those that there are.
    """
    names = published_names(root)
    if name not in names:
        state = f"there are {', '.join(names)}; choose one with --name" if names else "nothing has been published there"
        raise ConfigError(f"workspace {root} has no published name '{name}': {state}")


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
