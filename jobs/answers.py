"""What a command says: text for people or one JSON object, and an exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from graphquilt.masking import masked


@dataclass(frozen=True)
class Answer:
    """The same facts twice: as JSON values, and as lines for a person."""

    facts: Mapping[str, Any]
    text: str
    exit_code: int = 0


def say(answer: Answer, *, is_json: bool) -> int:
    """Print an answer to stdout, as JSON or as text; return its exit code."""
    write(sys.stdout, json.dumps(answer.facts, ensure_ascii=False, allow_nan=False) if is_json else answer.text)
    return answer.exit_code


def say_error(sentence: str, exit_code: int, *, is_json: bool) -> int:
    """Print what went wrong to stderr, with ``is_json`` as an object on stdout too; return the exit code."""
    if is_json:
        write(sys.stdout, json.dumps({"error": sentence, "exit_code": exit_code}, ensure_ascii=False))
    write(sys.stderr, f"graphquilt: {sentence}")
    return exit_code


def write(stream: TextIO, text: str) -> None:
    """Print a line, secrets masked. A reader that has gone (``| head``) is no failure: the work is done."""
    try:
        print(masked(text), file=stream, flush=True)
    except UnicodeEncodeError:  # a terminal, or a name of a file, of another encoding
        write(stream, text.encode(stream.encoding or "ascii", "backslashreplace").decode(stream.encoding or "ascii"))
    except BrokenPipeError:
        # What is left in the buffer would be flushed, and fail, at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def amount(size: float) -> str:
    """Return bytes as people read them: "1.5 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def columns(rows: Sequence[tuple[str, ...]], indent: str = "  ") -> list[str]:
    """Return rows as lines with aligned columns."""
    if not rows:
        return []
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]
