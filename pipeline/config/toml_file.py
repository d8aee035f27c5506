"""A config file's text, before anybody asks what it means: quick to import, so that a wrong path is seen at once."""

import tomllib
from pathlib import Path
from typing import Any

from graphquilt.rights import describe_denial, is_denied
from pipeline.errors import ConfigError


def read_toml(path: Path) -> dict[str, Any]:
    """Return what stands in a config file; a byte order mark, which some editors write, is no part of it.

    Raises
    ------
    ConfigError : no such file, no right to read it, nothing in it, not UTF-8, not TOML.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        if is_denied(error):
            raise ConfigError(f"config file {path} can't be read: {describe_denial(error)}") from error
        raise ConfigError(
            f"config file {path} can't be read: {error.strerror}; 'graphquilt init INPUT --out FILE' writes one"
        ) from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:4]:
        raise ConfigError(f"config file {path} is UTF-16, and TOML is UTF-8: save it as UTF-8 (iconv -f utf-16)")
    try:
        text = data.decode("utf-8-sig")
        if not text.strip():
            raise ConfigError(f"config file {path} is empty; 'graphquilt init INPUT --out FILE' writes one")
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"config file {path} is not UTF-8: byte 0x{data[error.start]:02x} in line {line}; save it as UTF-8"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"config file {path} is not TOML: {error}") from error
