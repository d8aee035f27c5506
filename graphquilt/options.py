"""The parser of all our commands: argparse, with ``~``, empty values and misspelt options handled first."""

import argparse
import difflib
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

_HOME = re.compile(r"(--[\w-]+=)?(~[^/]*(?:/.*)?)", re.DOTALL)


class UsageError(Exception):
    """A command line that a command does not accept."""


class OptionParser(argparse.ArgumentParser):
    """A parser that expands ``~``, and answers an unknown option with the nearest one."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and raise: the caller reports the error, as JSON where ``--json`` was given."""
        self.print_usage(sys.stderr)
        raise UsageError(f"{message} ({self.prog} --help says more)")

    # All other methods of argparse call this one.
    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse; refuse unknown options first, since argparse would report a missing required one."""
        arguments = [expand_home(argument) for argument in (sys.argv[1:] if args is None else args)]
        for before, argument in zip(["", *arguments], arguments, strict=False):
            if argument == "--":
                break
            name = argument.partition("=")[0]
            if not argument or (name in self._option_string_actions and argument == f"{name}="):
                # An empty folder name would mean the current folder.
                option = name or (before if before.startswith("-") else "an argument")
                self.error(f"{option} is empty; is a variable of the shell not set?")
            if name.startswith("--") and name not in self._option_string_actions:
                near = difflib.get_close_matches(name, self._option_string_actions, n=2)
                self.error(f"there is no option {name}" + (f"; did you mean {' or '.join(near)}?" if near else ""))
        return super().parse_known_args(arguments, namespace)


def nearest_word(word: str, words: Sequence[str] | dict[str, Any]) -> str | None:
    """Return the word that is most similar to a misspelt one; None if none is similar."""
    return next(iter(difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)), None)


def expand_home(argument: str) -> str:
    """Return an argument with its leading ``~`` replaced: a shell does that, but not behind ``--option=``."""
    match = _HOME.fullmatch(argument)
    return (match[1] or "") + os.path.expanduser(match[2]) if match else argument
