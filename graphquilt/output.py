"""What commands print: lines for people, one JSON object for programs, whatever their reader can take."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from graphquilt.masking import masked
from graphquilt.signals import ignore_what_follows


def write(stream: TextIO, text: str) -> bool:
    """Print a line, secrets masked; return False if it could not be written.

    A reader that has gone (``| head``) is no failure: the work is done.
    """
    try:
        print(masked(text), file=stream, flush=True)
    except UnicodeEncodeError:  # a terminal, or a name of a file, of another encoding
        encoding = stream.encoding or "ascii"
        return write(stream, text.encode(encoding, "backslashreplace").decode(encoding))
    except OSError as error:
        # What is left in the buffer would be flushed, and fail, at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return isinstance(error, BrokenPipeError)
    return True


def write_answer(answer: str | Mapping[str, Any], exit_code: int = 0) -> int:
    """Print a command's answer to stdout, a mapping as JSON; return its exit code, 1 where nobody can get it."""
    ignore_what_follows()  # half an answer, or a second one, would be none
    if write(sys.stdout, answer if isinstance(answer, str) else _as_json(answer)):
        return exit_code
    write(sys.stderr, "graphquilt: the answer could not be written to standard output: is its disk full?")
    return exit_code or 1


def write_error(sentence: str, exit_code: int, facts: Mapping[str, Any] | None) -> int:
    """Print what went wrong to stderr, and ``facts``, if there are some, as JSON to stdout; return the exit code."""
    ignore_what_follows()
    if facts is not None:
        write(sys.stdout, _as_json(facts))
    write(sys.stderr, sentence)
    return exit_code


def _as_json(facts: Mapping[str, Any]) -> str:
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # which JSON has its own way out of
        return json.dumps(facts, allow_nan=False)
    return text
