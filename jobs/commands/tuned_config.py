"""A config file with other values in one section: comments and everything else stay as they stand."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from graphquilt.toml_text import toml_key
from jobs.commands.config_text import toml_value

_SECTION = re.compile(r"\s*\[")


def tuned_text(
    file: Path,
    overrides: Sequence[str],
    out: Path,
    changes: Mapping[str, Mapping[str, Any]],
    dropped: frozenset[str],
) -> str:
    """Return the text of a config file with other keys, to stand at ``out``.

    ``changes`` : keys by section; None for one to leave out. ``dropped`` : keys of [embedding] to leave out.

    ``overrides`` (``--set``) become part of it. A relative input path that was found beside the file is written
    as seen from ``out``. A header that an earlier run of this command wrote is left out.
    """
    text = _without_header(file.read_text(encoding="utf-8"))
    for override in overrides:
        name, _, value = override.partition("=")
        section, _, key = (part.strip() for part in name.rpartition("."))
        text = with_values(text, section, {key: _value_of(value)})
    data = tomllib.loads(text)
    for section in ("input", "evaluate", *(f"attributes.{name}" for name in data.get("attributes", {}))):
        given = _table_at(data, section).get("path")
        moved = _seen_from(out, file, given)
        if moved != given:
            text = with_values(text, section, {"path": moved})
    for section, values in changes.items():
        left_out = {key for key, value in values.items() if value is None}
        left_out |= dropped if section == "embedding" else set()
        if values or left_out:
            kept = {key: value for key, value in values.items() if value is not None}
            text = with_values(text, section, kept, frozenset(left_out))
    return text


def with_values(text: str, section: str, values: Mapping[str, Any], dropped: frozenset[str] = frozenset()) -> str:
    """Set keys of a section in the text of a TOML file.

    A line with the key is changed and keeps its comment; a commented default (``# key = 1``) becomes the line;
    other keys are added at the section's end. Lines of ``dropped`` keys are commented out.

    Parameters
    ----------
    text : TOML.
    section : a table, such as "embedding" or "publish.gates"; added where it is missing.
    values : strings, numbers, flags and lists.

    Returns
    -------
    TOML that holds the same as ``text`` but for these keys. Where a section is written in a form that lines can't
    be changed in (inline tables, dotted keys, values over several lines), all is written anew, without comments.
    """
    wanted = _data_with(text, section, values, dropped)
    lines = _changed(text.splitlines(), section, values, dropped)
    changed = "\n".join(lines) + "\n"
    try:
        if tomllib.loads(changed) == wanted:
            return changed
    except tomllib.TOMLDecodeError:
        pass
    return _written_anew(wanted)


def _without_header(text: str) -> str:
    if not text.startswith("# Made by: graphquilt tune"):
        return text
    return text.partition("\n\n")[2]


def _value_of(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def _seen_from(out: Path, file: Path, given: str | None) -> str | None:
    """Return a path of the file as it has to stand in ``out``; a path that holds from anywhere stays."""
    folder, beside = out.absolute().parent, file.absolute().parent
    if given is None or folder == beside or "://" in given or os.path.isabs(given):
        return given
    if Path(given.split("{date}")[0].split("*")[0]).exists():  # from the working folder, and so it stays
        return given
    return os.path.relpath(beside / given, folder)


def _data_with(text: str, section: str, values: Mapping[str, Any], dropped: frozenset[str]) -> dict[str, Any]:
    data = tomllib.loads(text)
    table = data
    for name in section.split("."):
        table = table.setdefault(name, {})
    for key in dropped:
        table.pop(key, None)
    table.update(_as_toml_data(values))
    return data


def _table_at(data: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    for name in section.split("."):
        data = data.get(name, {})
    return data


def _as_toml_data(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _changed(lines: list[str], section: str, values: Mapping[str, Any], dropped: frozenset[str]) -> list[str]:
    header = re.compile(rf"\s*\[\s*{re.escape(section)}\s*\]\s*(#.*)?$")
    start = next((number for number, line in enumerate(lines) if header.match(line)), None)
    if start is None:
        return [*lines, "", f"[{section}]", *(f"{key} = {toml_value(value)}" for key, value in values.items())]
    stop = next((n for n in range(start + 1, len(lines)) if _SECTION.match(lines[n])), len(lines))
    body = lines[start + 1 : stop]
    left = dict(values)
    for key in [*left, *sorted(dropped - set(left))]:
        place = _line_of(body, key)
        if place is None:
            continue
        if key in left:
            body[place] = _with_value(body[place], key, left.pop(key))
        elif not body[place].lstrip().startswith("#"):
            body[place] = f"# {body[place]}"
    end = len(body)
    while end and not body[end - 1].strip():
        end -= 1
    added = [f"{key} = {toml_value(value)}" for key, value in left.items()]
    return [*lines[: start + 1], *body[:end], *added, *body[end:], *lines[stop:]]


def _line_of(body: list[str], key: str) -> int | None:
    """Return the line that sets a key, else the one that names its default in a comment."""
    for before in (r"\s*", r"\s*#\s?"):
        pattern = re.compile(rf"{before}{re.escape(key)}\s*=(.*)$")
        for number, line in enumerate(body):
            found = pattern.match(line)
            if found and ("#" not in before or _is_value_or_nothing(found[1])):
                return number
    return None


def _is_value_or_nothing(text: str) -> bool:
    """Whether a default stands there, or none; else it is prose."""
    try:
        tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return not text.partition("#")[0].strip()
    return True


def _with_value(line: str, key: str, value: Any) -> str:
    shown = f"{key} = {toml_value(value)}"
    about = _comment_of(line)
    return f"{shown.ljust(34)}  {about}" if about else shown


def _comment_of(line: str) -> str:
    """Return the comment behind a value, with its sign; a sign inside a string begins none."""
    line = re.sub(r"^\s*#\s?", "", line)
    for place, letter in enumerate(line):
        if letter == "#":
            try:
                tomllib.loads(line[:place])
            except tomllib.TOMLDecodeError:
                if line[:place].partition("=")[2].strip():
                    continue
            return line[place:].strip()
    return ""


def _written_anew(data: Mapping[str, Any]) -> str:
    lines: list[str] = []
    plain = {key: value for key, value in data.items() if not isinstance(value, Mapping)}
    lines += [f"{key} = {toml_value(value)}" for key, value in plain.items()]
    for section, values in data.items():
        if isinstance(values, Mapping):
            lines += ["", *_section_lines(section, values)]
    return "\n".join(lines).lstrip("\n") + "\n"


def _section_lines(name: str, values: Mapping[str, Any]) -> list[str]:
    lines = [f"[{name}]"]
    lines += [f"{toml_key(key)} = {toml_value(value)}" for key, value in values.items()]
    return lines
