"""Strings and keys as TOML."""

from __future__ import annotations

import json
import re


def toml_string(text: str) -> str:
    """Return a text as a basic string of TOML, its letters as they are.

    Raises
    ------
    ValueError : it holds half a letter, as names of files do that are not UTF-8; TOML has no way to write them.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError(f"{text!r} is not Unicode and can't be written in TOML; give the file a name in UTF-8")
    # Escaped as in JSON, and beyond it DEL, which JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_key(name: str) -> str:
    """Return a key: bare where TOML allows that, else as a string."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_string(name)
