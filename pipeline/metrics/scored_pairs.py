"""The pairs that evaluate scores tables by: new since the baseline, held out, or of a file."""

from dataclasses import dataclass

from pipeline.ingest.parse import ParseRules
from pipeline.ingest.pieces import ParseTask
from pipeline.locations import Location
from pipeline.metrics.scored_tables import (
    judge_pair_ids,
    read_different_ends,
    read_edges,
    read_held_out,
    read_pairs,
)
from pipeline.metrics.train_pairs import Ends


@dataclass(frozen=True)
class NewPairs:
    """Pairs that the baseline did not know."""

    new_pairs: tuple[Location, ...]


@dataclass(frozen=True)
class HeldOutPairs:
    """Pairs that index kept back; the edges table still has them."""

    held_out: tuple[Location, ...]
    node_index: tuple[Location, ...]


@dataclass(frozen=True)
class PairsOfFile:
    """Pairs of ``evaluate.path``."""

    parse: tuple[ParseTask, ...]
    rules: ParseRules
    most_rejected: float


@dataclass(frozen=True)
class Scoring:
    """Pairs that a table was made from, pairs to score it by, and how."""

    train: tuple[Location, ...]
    test: NewPairs | HeldOutPairs | PairsOfFile
    source_type: str  # that pairs lead from
    target_type: str
    ks: tuple[int, ...]
    sample: int | None
    seed: int

    @property
    def is_held_out(self) -> bool:
        """Whether the test pairs are among the training pairs, and the table was made without them."""
        return isinstance(self.test, HeldOutPairs)

    @property
    def is_plain(self) -> bool:
        """Whether both ends of a pair have one type."""
        return self.source_type == self.target_type

    def read_test_pairs(self) -> tuple[Ends, str | None]:
        """Return the pairs to score, and what to warn of.

        Raises
        ------
        InputError : a file with too many rows that can't be used, or whose ids almost all are in no training pair.
        """
        if isinstance(self.test, NewPairs):
            return read_edges(self.test.new_pairs), None
        if isinstance(self.test, HeldOutPairs):
            return read_held_out(self.test.held_out, self.test.node_index), None
        pairs, rejection = read_pairs(self.test.parse, self.test.rules, self.test.most_rejected)
        types, ids = (self.source_type, self.target_type), read_different_ends(self.train)
        warnings = [rejection and f"of evaluate.path, {rejection}", judge_pair_ids(pairs, ids, types, "evaluate.path")]
        return pairs, "; ".join(filter(None, warnings)) or None
