"""Prints every key of the configuration with its default, or checks a config file.

examples
  graphquilt config --defaults
  graphquilt config --check config.toml
  graphquilt config --check config.toml --set embedding.dim=64
"""

import argparse
from pathlib import Path

from jobs.answers import Answer
from jobs.arguments import CommandParser, add_overrides
from pipeline.errors import ConfigError


def add_options(command: CommandParser) -> None:
    """Add the options of the command."""
    choice = command.add_mutually_exclusive_group(required=True)
    choice.add_argument("--defaults", action="store_true", help="print the key reference as TOML with comments")
    choice.add_argument("--check", type=Path, metavar="FILE", help="exit 2 and say what is wrong, if anything is")
    add_overrides(command)


def answer(options: argparse.Namespace) -> Answer:
    """Print the reference, or check a file.

    Raises
    ------
    ConfigError : the file is not a sound configuration, or --set has none to change.
    """
    if options.defaults:
        if options.overrides:
            raise ConfigError("--set changes a config file, which --check names; --defaults prints what holds without")
        from jobs.commands.config_text import defaults_text
        from pipeline.config.model import key_reference
        from pipeline.embedding.methods import CONFIG

        names = ("section", "key", "default", "description")
        keys = [dict(zip(names, row, strict=True)) for row in key_reference(CONFIG)]
        return Answer({"keys": keys}, defaults_text().rstrip("\n"))
    from jobs.config_file import read_config

    config = read_config(options.check, options.overrides)
    return Answer(
        {"ok": True, "file": str(options.check), "form": config.form, "config": config.model_dump(mode="json")},
        f"ok: {options.check}; {config.embedding.method}, form {config.form}, dim {config.embedding.dim}, "
        f"{config.input.source_type} -> {config.input.target_type}",
    )
