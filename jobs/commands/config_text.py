"""The configuration as commented TOML, made from the model: it can't fall behind the code."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from graphquilt.toml_text import toml_string
from pipeline.config.model import key_reference
from pipeline.embedding.methods import CONFIG

_WIDTH = 34


def toml_text(
    values: Mapping[str, Mapping[str, Any]], remarks: Mapping[tuple[str, str], Sequence[str]] | None = None
) -> str:
    """Return all keys by section: the given values, the others commented out with their defaults.

    Parameters
    ----------
    values : section -> key -> value, such as {"input": {"path": "x.csv"}}.
    remarks : (section, key) -> comment lines above that key.
    """
    lines: list[str] = []
    for section, keys in _sections().items():
        lines += ["", _header(section)]
        section_values = values.get(section, {})
        for key, default, description in keys:
            lines += [f"# {on_one_line(remark)}" for remark in (remarks or {}).get((section, key), ())]
            if key in section_values:
                lines.append(_with_comment(f"{key} = {toml_value(section_values[key])}", description))
            else:
                line = f"# {key} =" if default in _NO_DEFAULT else f"# {key} = {default}"
                lines.append(_with_comment(line, description))
    return "\n".join(lines[1:]) + "\n"


def defaults_text() -> str:
    """Return the key reference as TOML: every default as a line, keys without one commented out."""
    lines: list[str] = []
    for section, keys in _sections().items():
        lines += ["", _header(section)]
        for key, default, description in keys:
            if default in _NO_DEFAULT:
                lines.append(_with_comment(f"# {key} =", f"{default}: {description}"))
            else:
                is_comment = _has_any_name(section) or section in _MEANT_WHERE_WRITTEN
                lines.append(_with_comment(f"{'# ' * is_comment}{key} = {default}", description))
    return "\n".join(lines[1:]) + "\n"


def toml_value(value: Any) -> str:
    """Return a string, number, flag or flat table as TOML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml_string(key)} = {toml_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        return toml_string(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value)


#: A gate that is written must be judged, where one that is a default only is if it can be.
_MEANT_WHERE_WRITTEN = ("publish.gates",)
_NO_DEFAULT = ("required", "unset")


def _sections() -> dict[str, list[tuple[str, str, str]]]:
    sections: dict[str, list[tuple[str, str, str]]] = {}
    for section, key, default, description in key_reference(CONFIG):
        sections.setdefault(section, []).append((key, default, description))
    return sections


def _has_any_name(section: str) -> bool:
    """Whether there may be several such sections, by name or one after the other; by default there is none."""
    return "<" in section or section.startswith("[")


def _header(section: str) -> str:
    return f"{'# ' * _has_any_name(section)}[{section}]"


def on_one_line(remark: str) -> str:
    """A remark may quote the input, and TOML allows no control characters, not even in comments."""
    return "".join(letter if letter.isprintable() else " " for letter in remark)


def _with_comment(line: str, description: str) -> str:
    return f"{line.ljust(_WIDTH)}  # {description}" if description else line
