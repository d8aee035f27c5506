"""What a command says: text for people or one JSON object, and an exit code."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphquilt.errors import TableError
from graphquilt.output import amount, write_answer, write_error
from graphquilt.rights import describe_denial, is_denied
from pipeline.errors import GraphquiltError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """The same facts twice: as JSON values, and as lines for a person."""

    facts: Mapping[str, Any]
    text: str
    exit_code: int = 0


def say(answer: Answer, *, is_json: bool) -> int:
    """Print an answer to stdout, as JSON or as text; return its exit code."""
    return write_answer(answer.facts if is_json else answer.text, answer.exit_code)


def say_error(sentence: str, exit_code: int, *, is_json: bool) -> int:
    """Print what went wrong to stderr, with ``is_json`` as an object on stdout too; return the exit code."""
    facts = {"error": sentence, "exit_code": exit_code} if is_json else None
    return write_error(f"graphquilt: {sentence}", exit_code, facts)


def explain_error(error: Exception, command: str) -> tuple[str, int]:
    """Return the sentence and the exit code of an error; the log gets one that nobody foresaw with its traceback."""
    if isinstance(error, GraphquiltError):
        return str(error), error.exit_code
    if is_denied(error):
        return describe_denial(error), 1
    if isinstance(error, TableError):
        return str(error), 1
    log.error("%s error=%s", command, type(error).__name__, exc_info=error)
    return f"{type(error).__name__}: {error}", 1


def show(name: str, value: Any) -> str:
    """Return a fact as people read it; its name says whether it counts bytes."""
    if value is None:
        return "-"
    if name.endswith("bytes"):
        return amount(value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def list_of(facts: Mapping[str, Any] | None) -> list[str]:
    """Return facts as lines: the name, then the value."""
    return columns([(name, show(name, value)) for name, value in (facts or {}).items()])


def table_of(rows: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> list[str]:
    """Return all or some facts of each row as aligned columns under their names."""
    names = names or (list(rows[0]) if rows else ())
    cells = [tuple(show(name, row[name]) for name in names) for row in rows]
    return columns([tuple(name.replace("_", " ") for name in names), *cells]) if cells else []


def section(title: str, lines: Sequence[str]) -> list[str]:
    """Return lines below a title; nothing where there are none."""
    return ["", title, *lines] if lines else []


def columns(rows: Sequence[tuple[str, ...]], indent: str = "  ") -> list[str]:
    """Return rows as lines with aligned columns, which no terminal wraps and no pipe changes."""
    from rich.cells import cell_len, set_cell_size  # a Chinese letter takes two cells, an accent none

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return [(indent + "  ".join(map(set_cell_size, row, widths))).rstrip() for row in rows]
