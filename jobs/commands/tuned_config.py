"""A config file with other values in one section: comments and everything else stay as they stand."""

import contextlib
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.container import Container
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Comment, Item, Key, Table

from pipeline.config.model import parse_override


def tuned_text(
    file: Path,
    overrides: Sequence[str],
    out: Path,
    changes: Mapping[str, Mapping[str, Any]],
    dropped_keys: frozenset[str],
) -> str:
    """Return the text of a config file with other keys, to stand at ``out``.

    ``changes`` : keys by section; None for one to leave out. ``dropped_keys`` : keys of [embedding] to leave out.

    ``overrides`` (``--set``) become part of it. A relative input path that leads from the file's folder is written
    as seen from ``out``. A header that an earlier run of this command wrote is left out.
    """
    text = _without_header(file.read_text(encoding="utf-8"))
    for override in overrides:
        (*names, key), value = parse_override(override)
        text = with_values(text, ".".join(names), {key: value})
    data = tomllib.loads(text)
    relations = [f"relations.{relation['name']}" for relation in data.get("relations", []) if "name" in relation]
    for section in ("input", "evaluate", *relations, *(f"attributes.{name}" for name in data.get("attributes", {}))):
        path = _table_at(data, section).get("path")
        new_path = _seen_from(out, file, path)
        if new_path != path:
            text = with_values(text, section, {"path": new_path})
    for name, values in changes.items():
        section = relations[0] if name == "input" and "input" not in data else name  # the main relation is the first
        excluded_keys = {key for key, value in values.items() if value is None}
        excluded_keys |= dropped_keys if name == "embedding" else set()
        if values or excluded_keys:
            new = {key: value for key, value in values.items() if value is not None}
            text = with_values(text, section, new, frozenset(excluded_keys))
    return text


def with_values(text: str, section: str, values: Mapping[str, Any], dropped_keys: frozenset[str] = frozenset()) -> str:
    """Set keys of a section in the text of a TOML file.

    A line with the key is changed and keeps its comment; a commented default (``# key = 1``) becomes the line;
    other keys are added at the section's end. Lines of ``dropped_keys`` are commented out.

    Parameters
    ----------
    text : TOML.
    section : a table, such as "embedding" or "publish.gates"; added where it is missing. Of an array of tables the
        entry with a name, which must be there, such as "relations.follows".
    values : strings, numbers, flags and lists.

    Returns
    -------
    TOML that holds the same as ``text`` but for these keys. Where tomlkit can't edit the section's form (some dotted
    keys and inline tables), all is written anew, without comments.
    """
    data = tomllib.loads(text)
    table: Any = data
    for name in section.split("."):
        table = _entry(table, name) if isinstance(table, list) else table.setdefault(name, {})
    for key in dropped_keys:
        table.pop(key, None)
    table |= {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    with contextlib.suppress(TOMLKitError, tomllib.TOMLDecodeError):
        new_text = _edit(text, section, values, dropped_keys)
        if tomllib.loads(new_text) == data:
            return new_text
    return tomlkit.dumps(data)


def _edit(text: str, section: str, values: Mapping[str, Any], dropped_keys: frozenset[str]) -> str:
    document = tomlkit.parse(text)
    table = _table_in(document, section)
    if isinstance(table, Table):
        _swap_comments(table.value, values, dropped_keys)
        document = tomlkit.parse(tomlkit.dumps(document))
        table = _table_in(document, section)
    entries: Any = table.value if isinstance(table, Table) else {}
    for key in dropped_keys:
        table.pop(key, None)
    for key, value in values.items():
        old = entries.item(key) if key in entries else None
        table[key] = value
        if old is not None and old.trivia.comment:  # it stays in its column, where the value leaves room
            new = entries.item(key)
            new.trivia.comment_ws = " " * max(2, _width(old) + len(old.trivia.comment_ws) - _width(new))
    return tomlkit.dumps(document)


def _table_in(document: Any, section: str) -> Any:
    """Return a table of a document; add it where it is missing."""
    table = document
    for name in section.split("."):
        if isinstance(table, list):
            table = _entry(table, name)
            continue
        if name not in table:
            document.add(tomlkit.nl())
            table[name] = tomlkit.table()
        table = table[name]
    return table


def _swap_comments(table: Container, values: Mapping[str, Any], dropped_keys: frozenset[str]) -> None:
    """Make lines of commented defaults that get a value, and comments of lines that are dropped.

    The entries of ``table.body`` change and its index does not, so that the text has to be parsed again.
    """
    defaults = {key for key in values if key not in table}
    for index, (key, item) in enumerate(table.body):
        if key is not None and key.key in dropped_keys:
            line = f"{key.as_string()}{key.sep}{item.as_string()}{item.trivia.comment_ws}{item.trivia.comment}"
            table.body[index] = (None, tomlkit.comment(line.replace("\n", "\n# ")))
        elif isinstance(item, Comment):
            for name, default in _commented_default(item.as_string()):
                if name.key in defaults:
                    defaults.remove(name.key)
                    table.body[index] = (name, default)


def _commented_default(comment: str) -> list[tuple[Key, Item]]:
    """Return the entry in a comment, such as "# key = 1  # about" or "# key =  # about"; none in prose."""
    line = comment.strip().removeprefix("#").strip()
    for text in (line.replace("  #", "    #", 1), line.replace("=", "= 0", 1)):  # as wide as the comment was
        with contextlib.suppress(TOMLKitError):
            return [(key, item) for key, item in tomlkit.parse(text + "\n").body if key is not None]
    return []


def _width(item: Item) -> int:
    return len(item.as_string().rpartition("\n")[2])


def _without_header(text: str) -> str:
    if not text.startswith("# Made by: graphquilt tune"):
        return text
    return text.partition("\n\n")[2]


def _seen_from(out: Path, file: Path, path: str | None) -> str | None:
    """Return a path of the file as it has to stand in ``out``; a path that holds from anywhere stays."""
    folder, beside = out.absolute().parent, file.absolute().parent
    if path is None or folder == beside or "://" in path or os.path.isabs(path):
        return path
    if Path(path.split("{date}")[0].split("*")[0]).exists():  # from the working folder, and so it stays
        return path
    return os.path.relpath(beside / path, folder)


def _table_at(data: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    for name in section.split("."):
        data = _entry(data, name) if isinstance(data, list) else data.get(name, {})
    return data


def _entry(tables: Sequence[Any], name: str) -> Any:
    """Return the table of an array that has a name."""
    return next(table for table in tables if table.get("name") == name)
