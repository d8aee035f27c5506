"""Counts of rows: how many were read, how many stay, and why the others don't."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import pyarrow as pa

from pipeline.ingest.odd_ids import OddIds, add_odd_ids
from pipeline.ingest.rejected import ACCEPTED, REASONS


@dataclass(frozen=True)
class RejectionReason:
    """Rows that were rejected for one reason, an example without ids, and what would be accepted."""

    rows: int
    example: str | None
    accepted: str


@dataclass(frozen=True)
class RowCounts:
    """What became of the rows. ``read`` = ``kept`` + ``late`` + ``early`` + all of ``rejected``."""

    read: int = 0
    kept: int = 0
    late: int = 0
    early: int = 0
    future: int = 0  # after the day the run began on; nearly always late as well
    rejected: Mapping[str, int] = field(default_factory=dict)  # by reason
    self_loops: int = 0  # whether kept or rejected
    newest_us: int | None = None  # newest timestamp of the rows kept
    weight_total: int = 0  # exact sum over the rows kept: see pipeline.ingest.weights
    blank_lines: int = 0  # of text files; like their headers, no rows
    comment_lines: int = 0
    header_lines: int = 0
    odd_ids: Mapping[str, OddIds] = field(default_factory=dict)  # by column, of the rows kept; only if ids are text


@dataclass(frozen=True)
class Counts(RowCounts):
    """What became of the rows of batches and tasks, which add up."""

    examples: Mapping[str, str] = field(default_factory=dict)  # by reason, of one row: no ids
    has_int64_ids: bool = True  # every id of the rows kept is a canonical int64

    def __add__(self, other: Counts) -> Counts:
        newest = [moment for moment in (self.newest_us, other.newest_us) if moment is not None]
        reasons = [name for name in REASONS.values() if name in self.rejected or name in other.rejected]
        return Counts(
            read=self.read + other.read,
            kept=self.kept + other.kept,
            late=self.late + other.late,
            early=self.early + other.early,
            future=self.future + other.future,
            rejected={name: self.rejected.get(name, 0) + other.rejected.get(name, 0) for name in reasons},
            examples={**other.examples, **self.examples},
            self_loops=self.self_loops + other.self_loops,
            newest_us=max(newest, default=None),
            weight_total=self.weight_total + other.weight_total,
            has_int64_ids=self.has_int64_ids and other.has_int64_ids,
            blank_lines=self.blank_lines + other.blank_lines,
            comment_lines=self.comment_lines + other.comment_lines,
            header_lines=self.header_lines + other.header_lines,
            odd_ids={
                column: add_odd_ids(self.odd_ids.get(column, {}), other.odd_ids.get(column, {}))
                for column in sorted({*self.odd_ids, *other.odd_ids})
            },
        )

    def figures(self) -> dict[str, Any]:
        """Return the fields of a manifest's figures that are counts of rows, by name."""
        of_rows = {count.name: getattr(self, count.name) for count in fields(RowCounts)}
        return {**of_rows, "reasons": self.reasons, "rejected_share": self.rejected_share}

    @property
    def rejected_total(self) -> int:
        """Rows rejected, for whatever reason."""
        return sum(self.rejected.values())

    @property
    def rejected_share(self) -> float:
        """Share of rejected rows among those inside the window; 0 if there are none."""
        return self.rejected_total / max(1, self.kept + self.rejected_total)

    @property
    def reasons(self) -> dict[str, RejectionReason]:
        """Reasons of rejection, with an example of each."""
        return {
            reason: RejectionReason(rows, self.examples.get(reason), ACCEPTED[reason])
            for reason, rows in self.rejected.items()
        }

    def describe_rejections(self) -> str:
        """Say how many rows were rejected for each reason, with an example and what would be accepted."""
        such_as = {reason: f", such as {example}" for reason, example in self.examples.items()}
        return "; ".join(
            f"{reason}: {count:,}{such_as.get(reason, '')} (accepted: {ACCEPTED[reason]})"
            for reason, count in self.rejected.items()
        )


@dataclass(frozen=True)
class CheckedRows:
    """Rows of a batch that stay, rows that are rejected (in the rejected table's schema), and their counts."""

    rows: pa.RecordBatch
    rejections: pa.RecordBatch
    counts: Counts
    file: str  # relative path


def total(counts: Iterable[Counts]) -> Counts:
    """Return the counts of all batches or tasks together."""
    return sum(counts, Counts())
