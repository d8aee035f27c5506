"""What every command line of ours does before argparse looks at it."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

_HOME = re.compile(r"(--[\w-]+=)?(~[^/]*(?:/.*)?)", re.DOTALL)


class UsageError(Exception):
    """The command line is not what a command takes."""


class OptionParser(argparse.ArgumentParser):
    """A parser that knows what ``~`` means, and answers an option that nobody has with the nearest that it has."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and raise: ``--json`` has to report complaints, too."""
        self.print_usage(sys.stderr)
        raise UsageError(f"{message} ({self.prog} --help says more)")

    # The method that all others of argparse go through.
    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse; unknown options first, since argparse would complain of what they were to be."""
        arguments = [with_home(argument) for argument in (sys.argv[1:] if args is None else args)]
        for before, argument in zip(["", *arguments], arguments, strict=False):
            if argument == "--":
                break
            name = argument.partition("=")[0]
            if not argument or (name in self._option_string_actions and argument == f"{name}="):
                # Taken as it is, a folder would be the one that somebody happens to be in.
                option = name or (before if before.startswith("-") else "an argument")
                self.error(f"{option} is empty; is a variable of the shell not set?")
            if name.startswith("--") and name not in self._option_string_actions:
                near = difflib.get_close_matches(name, self._option_string_actions, n=2)
                self.error(f"there is no option {name}" + (f"; did you mean {' or '.join(near)}?" if near else ""))
        return super().parse_known_args(arguments, namespace)


def nearest(word: str, known: Sequence[str] | dict[str, Any]) -> str | None:
    """Return the known word that a misspelt one is likely to be."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), None)


def with_home(argument: str) -> str:
    """Return an argument with its leading ``~`` replaced: a shell does that, but not behind ``--option=``."""
    found = _HOME.fullmatch(argument)
    return (found[1] or "") + os.path.expanduser(found[2]) if found else argument
