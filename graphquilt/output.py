"""How commands print: lines for people, one JSON object for programs, in any encoding of the stream."""

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from graphquilt.masking import mask_secrets
from graphquilt.signals import ignore_further_signals


def write(stream: TextIO, text: str) -> bool:
    """Print a line with secrets masked; return False if it could not be written.

    A reader that has gone (``| head``) is no failure.
    """
    try:
        print(mask_secrets(text), file=stream, flush=True)
    except UnicodeEncodeError:  # the terminal, or the name of a file, has another encoding
        encoding = stream.encoding or "ascii"
        return write(stream, text.encode(encoding, "backslashreplace").decode(encoding))
    except OSError as error:
        # Python would flush the rest of the buffer at exit, and fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return isinstance(error, BrokenPipeError)
    return True


def write_answer(answer: str | Mapping[str, Any], exit_code: int = 0) -> int:
    """Print a command's answer to stdout, a mapping as JSON; return its exit code, or 1 if it can't be written."""
    ignore_further_signals()  # a signal could cut the answer
    if write(sys.stdout, answer if isinstance(answer, str) else _as_json(answer)):
        return exit_code
    write(sys.stderr, "graphquilt: the answer could not be written to standard output: is its disk full?")
    return exit_code or 1


def write_error(sentence: str, exit_code: int, facts: Mapping[str, Any] | None) -> int:
    """Print an error to stderr, and ``facts``, if there are any, as JSON to stdout; return the exit code."""
    ignore_further_signals()
    if facts is not None:
        write(sys.stdout, _as_json(facts))
    write(sys.stderr, sentence)
    return exit_code


def amount(size: float) -> str:
    """Return bytes as people read them: "1.5 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _as_json(facts: Mapping[str, Any]) -> str:
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # JSON can escape what the stream can't encode
        return json.dumps(facts, allow_nan=False)
    return text
