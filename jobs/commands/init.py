"""Looks at the first rows of a file, folder or glob (Parquet, CSV, JSON lines), guesses what the
columns mean, says why, and writes a config that 'run' takes as it is. All other keys stand
there as comments with their defaults.

examples
  graphquilt init interactions.parquet
  graphquilt init 'clicks/*.csv.gz' --out clicks.toml
  graphquilt init s3://bucket/events/ --out events.toml
"""

from __future__ import annotations

import argparse
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.answers import Answer, columns
from jobs.arguments import CommandParser
from jobs.commands.existing import writing
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.ingest.text.formats import TextFormat


def add_options(command: CommandParser) -> None:
    """Add the options of the command."""
    command.add_argument("input", metavar="INPUT", help="file, folder, glob or any pyarrow.fs address")
    command.add_argument(
        "--out", type=Path, default=Path("config.toml"), metavar="FILE", help="where to (default: %(default)s)"
    )


def answer(options: argparse.Namespace) -> Answer:
    """Guess and write.

    Raises
    ------
    ConfigError : the file to write exists, or can't be written. InputError : the input can't be used.
    """
    from jobs.commands.config_text import on_one_line, toml_text, toml_value
    from jobs.commands.first_rows import first_rows
    from jobs.commands.guess import guess_columns
    from pipeline.embedding.methods import CONFIG
    from pipeline.ingest.file_formats import FORMAT_NAMES
    from pipeline.ingest.sources import join_names

    out: Path = options.out
    if out.exists():
        raise ConfigError(f"{out} exists and is not overwritten; give another --out FILE, or move it away")
    first = first_rows(options.input)
    guess = guess_columns(first.columns)
    for key, (value, why) in _keys_of(first.text).items():
        guess.set(key, value, why)
    remarks = {("input", key): lines for key, lines in guess.remarks.items()}
    values = {"input": {"path": _path_from(out, options.input), **guess.values}}
    if guess.values.get("source_type", "user") != guess.values.get("target_type", "item"):
        values["publish"] = {"fold_in": True}  # users come every day, and who starts expects them to get rows
    unused = "".join(
        f"# Not used: {on_one_line(name)}: {why}\n" for name, why in list(guess.unused.items())[:_MOST_NAMES]
    )
    try:
        text = _HEADER.format(given=on_one_line(repr(options.input)), unused=unused) + toml_text(values, remarks)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    CONFIG.model_validate(tomllib.loads(text))
    with writing(out), out.open("x", encoding="utf-8") as file:
        file.write(text)

    source = first.sources[0]
    format_name = FORMAT_NAMES[source.format]
    if source.snapshot is not None:
        format_name = f"{source.snapshot.kind} table, version {source.snapshot.version}"
    rows = [
        (key, on_one_line(toml_value(guess.values[key])) if key in guess.values else "(left out)", why)
        for key, why in guess.why.items()
    ]
    names = join_names(list(first.columns), _MOST_NAMES)
    lines = [
        f"{options.input}: {format_name}, files: {len(first.sources)}, columns: {names}",
        *columns(rows),
        *([f"not used: {join_names(list(guess.unused), _MOST_NAMES)}; the config says why"] if guess.unused else []),
        f"written to {out}. Next: graphquilt run --config {out} --workspace work",
    ]
    facts = {
        "config": str(out),
        "input": options.input,
        "format": source.format,
        "files": len(first.sources),
        "columns": {name: str(column.type) for name, column in first.columns.items()},
        "guessed": guess.values,
        "why": guess.why,
        "unused": guess.unused,
    }
    return Answer(facts, "\n".join(lines))


_MOST_NAMES = 40  # of columns; a table may have thousands
_HEADER = """\
# Made by: graphquilt init {given}
# Look over [input]. What is commented out has the value that stands there.
{unused}
"""


def _keys_of(text: TextFormat) -> dict[str, tuple[Any, str]]:
    """Keys of [input] that readers of these files need, each with its reason."""
    unset = type(text)()
    keys: dict[str, tuple[Any, str]] = {}
    if text.delimiter != unset.delimiter:
        keys["delimiter"] = (text.delimiter, "parts most of the first lines into equally many columns")
    if text.comment is not None:
        keys["comment"] = (text.comment, "the file begins with such lines, which are no rows")
    if text.quote != unset.quote:
        keys["quote"] = (text.quote, "quotes in the first lines don't pair, so they are text")
    if not text.header:
        keys["header"] = (False, "the first row holds values, no names")
        why = "made up, after the looks of the values: rename them as you like"
        if text.comment is not None:
            why = "of the last comment above the rows, or made up: rename them as you like"
        keys["columns"] = (list(text.columns), why)
    if text.encoding != unset.encoding:
        keys["encoding"] = (text.encoding, "the first bytes are no UTF-8; if letters look wrong, name another one")
    return keys


def _path_from(out: Path, path: str) -> str:
    """Return the input's path for the config: relative ones are looked for beside the file, too."""
    if "://" in path or os.path.isabs(path):
        return path
    folder = out.absolute().parent
    return path if folder == Path.cwd() else os.path.relpath(path, folder)
