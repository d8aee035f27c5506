"""Options and results of tuning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.config.interests import InterestsConfig
from pipeline.tuning.search import Candidate, Trial

Use = Literal["retrieval", "classifier", "feature"]

#: Users or nodes that are ranked, unless more are asked for.
MAX_USERS = 5_000


@dataclass(frozen=True)
class TuneOptions:
    """Options of one tuning.

    dims : widths; none: that of the config. by_time : None where the input's times decide. labels : a file.
    share_of_user : of each user's pairs, those hidden where times don't decide; None: the usual share.
    cold_loss : most of the warm items' recall, as a share, that cold items may cost.
    """

    dims: tuple[int, ...] = ()
    use: Use = "retrieval"
    by_time: bool | None = None
    with_curve: bool = False
    seed: int = 0
    max_users: int = MAX_USERS
    max_pairs: int = 2**62
    labels: str | None = None
    share_of_user: float | None = None
    cold_loss: float = 0.01


@dataclass(frozen=True)
class ColdStartChoice:
    """Keys of [cold_start], and what lists hold with them where all pairs of some targets are hidden.

    norm : mean length of their rows, as a share of that of rows with edges.
    recall : share of the hidden targets' pairs that are found in all lists, where ``chance`` finds a random order.
    warm_recall, warm_recall_alone : of the other hidden pairs, and of those where the hidden targets have no rows.
    list_share : of the places of all lists, what hidden targets fill.
    """

    rows: Literal["scaled", "map"]
    norm: float
    ridge: float | None
    targets: int
    recall: float
    chance: float
    warm_recall: float
    warm_recall_alone: float
    list_share: float

    @property
    def loss(self) -> float:
        """Share of the warm recall that the hidden targets cost."""
        return 1.0 - self.warm_recall / self.warm_recall_alone if self.warm_recall_alone else 0.0


@dataclass(frozen=True)
class InterestChoice:
    """Keys of [interests], and what lists by interests find next to lists by one row.

    keys : chosen; ``clusters`` is 0 where none of the ``tried`` ones wins. best : of those tried.
    recall : of hidden pairs by length of list, with ``best``. recall_alone : by the row alone.
    error : standard error of the difference of their means, over ``sources``.
    """

    keys: InterestsConfig
    best: InterestsConfig
    tried: int
    sources: int
    recall: Mapping[str, float]
    recall_alone: Mapping[str, float]
    error: float


@dataclass(frozen=True, eq=False)
class TuningResult:
    """The choice, and what it was chosen from.

    split : JSON values about the hidden pairs. decides : the figure that decides. best : by width. reason : why the
    winner won. curve : trials of its parameters at other widths. changes : keys to set by section, None for one
    to leave out. dropped_keys : keys of [embedding] to leave out. skipped_candidates : those that there was no time
    for. refusals : candidates that can't be run here, with the reason. remarks : sentences about the data and the
    budget. advice : sentences about the choice. cold_start : None where the data has no cold targets to learn from.
    interests : None where they were not tried.
    """

    split: Mapping[str, Any]
    decides: str
    trials: Sequence[Trial]
    winner: Trial
    changes: Mapping[str, Mapping[str, Any]]
    remarks: Sequence[str]
    advice: Sequence[str]
    skipped_candidates: Sequence[Candidate] = ()
    refusals: Sequence[tuple[Candidate, str]] = ()
    best: Mapping[int, Trial] = field(default_factory=dict)
    reason: str = ""
    curve: Sequence[Trial] = ()
    dropped_keys: frozenset[str] = frozenset()
    cold_start: ColdStartChoice | None = None
    interests: InterestChoice | None = None
