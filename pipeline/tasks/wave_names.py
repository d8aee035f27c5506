"""What tasks that are sent together are called where people watch them, such as in Spark's UI."""

import re
from collections.abc import Iterable

from pipeline.locations import Location
from pipeline.storage import WORK

_FINGERPRINT = re.compile(r"-?[0-9a-f]{16}$")
_NUMBERS = re.compile(r"(-\d+|-[0-9a-f]{16})+$")


def describe_wave(folder: Location, names: Iterable[str]) -> str:
    """Return stage, place and step of tasks that share a folder, such as "embed: round 2, products".

    The stage and the place are the folders below the run's working folder, the steps are the tasks' names, without
    their numbers. Outside of a run's working folder the folder's own name stands for the stage.
    """
    folders = [_FINGERPRINT.sub("", part) for part in str(folder).split("/")]
    folders = [part for part in folders if part]
    stage, *places = folders[folders.index(WORK) + 1 :] if WORK in folders[:-1] else folders[-1:] or [WORK]
    steps = dict.fromkeys(_NUMBERS.sub("", name) for name in names)
    return f"{_words(stage)}: {', '.join(map(_words, (*places, *steps)))}"


def _words(name: str) -> str:
    """Return a name as words: "round-02-products" is "round 2, products"."""
    words = re.sub(r"[-_]+", " ", name).strip()
    return re.sub(r"(?<!\S)0*(\d+)( ?)", lambda match: match[1] + (", " if match[2] else ""), words)
