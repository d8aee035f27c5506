"""Strings as TOML."""

import json


def toml_string(text: str) -> str:
    """Return a text as a basic string of TOML.

    Raises
    ------
    ValueError : the text holds a surrogate, as file names that are not UTF-8 do; TOML can't write it.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError(f"{text!r} is not Unicode and can't be written in TOML; give the file a name in UTF-8")
    # Escaped as in JSON, and DEL too, which JSON does not escape.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
