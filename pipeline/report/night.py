"""What the first screen of a report shows: the verdict, and the figures that it rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

#: The lights of the first screen: readers got the table, got it all the same or not yet, or didn't get it.
Light = Literal["green", "amber", "red"]


@dataclass(frozen=True)
class PastValue:
    """A figure of a night. ``has_passed`` is None where nothing was judged; ``bound`` is that night's own."""

    date: str | None
    value: float
    has_passed: bool | None
    bound: float | None = None


@dataclass(frozen=True)
class JudgedFigure:
    """A gate with its figure, as gate.json has it, and the same figure of the nights before, oldest first."""

    gate: str
    figure: str
    verdict: str  # "passed", "refused", "not judged"
    value: float | None
    bound: float | None
    baseline: float | None
    note: str
    history: Sequence[PastValue] = ()


@dataclass(frozen=True)
class Headline:
    """A figure that stands alone: what it is, tonight's value, the one that it is compared with, and its past.

    ``unit`` is the name of a function in :mod:`pipeline.report.amounts`, or "" for a plain number. ``sample`` says of
    how many it was measured, where not of all.
    """

    title: str
    value: float
    before: float | None = None
    unit: str = ""
    note: str = ""
    history: Sequence[PastValue] = ()
    sample: str = ""


@dataclass(frozen=True)
class RejectedRows:
    """Rows of the input that were left out for one reason; the example holds no id of a person."""

    reason: str
    rows: int
    example: str
    accepted_values: str


@dataclass(frozen=True)
class NodeCounts:
    """Nodes of a type tonight, and how many came and went; None where nothing is compared.

    ``sample`` says of how many that was measured, where not of all.
    """

    node_type: str
    nodes: int
    new: int | None = None
    lost_nodes: int | None = None
    sample: str = ""


@dataclass(frozen=True)
class ChangedKey:
    """A key of the config, before and now, as TOML-like text."""

    key: str
    before: str
    now: str


@dataclass(frozen=True)
class StageCosts:
    """What a stage took. ``waves`` are its groups of tasks: name, tasks, seconds of all and of the longest."""

    stage: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    written_bytes: int
    tasks: int
    waves: Sequence[Mapping[str, Any]] = ()
    was_reused: bool = False


@dataclass(frozen=True)
class NightFacts:
    """Everything but the pictures.

    date : ISO date, None of undated data.
    light, verdict, sentence : the traffic light, a word and a sentence of what readers have.
    compared_with : the release that tonight is compared with; None on a first night.
    config_changes : None where the config of one of the two isn't known.
    facts : small print, by name.
    """

    name: str
    date: str | None
    release: str | None
    light: Light
    verdict: str
    sentence: str
    reasons: Sequence[str]
    compared_with: str | None
    gates: Sequence[JudgedFigure]
    headlines: Sequence[Headline]
    rows: Mapping[str, int]
    rejected_rows: Sequence[RejectedRows]
    nodes: Sequence[NodeCounts]
    config_changes: Sequence[ChangedKey] | None
    stages: Sequence[StageCosts]
    warnings: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
