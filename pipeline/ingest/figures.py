"""What the manifests of ingest and index say: counts that people and later stages act on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import pyarrow as pa

from pipeline.ingest.attributes.features import Spread
from pipeline.ingest.attributes.rows import KINDS, AttributeRules
from pipeline.ingest.counts import Counts, RejectionReason
from pipeline.ingest.id_match import IdMatch
from pipeline.ingest.lake.snapshot import Snapshot
from pipeline.ingest.odd_ids import OddIds


@dataclass(frozen=True)
class SnapshotFigures:
    """A lake table that was read, and the version of it."""

    kind: str
    table: str
    version: str

    @classmethod
    def of(cls, snapshots: Sequence[Snapshot]) -> tuple[SnapshotFigures, ...]:
        """Describe the snapshots of an input."""
        return tuple(cls(one.kind, one.table, one.version) for one in snapshots)


@dataclass(frozen=True)
class AttributeFigures:
    """The attributes of one node type: with the config, all it takes to make features of another row."""

    files: int
    snapshots: tuple[SnapshotFigures, ...]
    read: int
    nodes: int
    rejected: Mapping[str, int]
    reasons: Mapping[str, RejectionReason]
    odd_ids: OddIds
    columns: Mapping[str, tuple[str, ...]]  # by kind
    weights: Mapping[str, float]
    statistics: Mapping[str, Spread]

    @classmethod
    def of(
        cls,
        counts: Counts,
        rules: AttributeRules,
        *,
        files: int,
        snapshots: Sequence[Snapshot],
        nodes: int,
        weights: Mapping[str, float],
        statistics: Mapping[str, Spread],
    ) -> AttributeFigures:
        """Describe what was read of a type."""
        return cls(
            files=files,
            snapshots=SnapshotFigures.of(snapshots),
            read=counts.read,
            nodes=nodes,
            rejected=counts.rejected,
            reasons=counts.reasons,
            odd_ids=counts.odd_ids.get("id", {}),
            columns={kind: getattr(rules, kind) for kind in KINDS},
            weights=weights,
            statistics=statistics,
        )


@dataclass(frozen=True)
class IngestFigures:
    """What became of the input's rows; :class:`pipeline.ingest.counts.Counts` explains the counts."""

    read: int
    kept: int
    late: int
    early: int
    future: int
    rejected: Mapping[str, int]
    reasons: Mapping[str, RejectionReason]
    rejected_share: float
    self_loops: int
    newest_us: int | None
    weight_total: int
    blank_lines: int
    comment_lines: int
    header_lines: int
    odd_ids: Mapping[str, OddIds]
    id_type: Literal["int64", "string"]
    pairs: int
    decayed_pairs: int
    files: int
    snapshots: tuple[SnapshotFigures, ...]
    attributes: Mapping[str, AttributeFigures]  # by node type

    @classmethod
    def of(
        cls,
        counts: Counts,
        id_type: pa.DataType,
        *,
        pairs: int,
        decayed_pairs: int,
        files: int,
        snapshots: Sequence[Snapshot],
        attributes: Mapping[str, AttributeFigures],
    ) -> IngestFigures:
        """Describe what was read."""
        same = {field.name for field in fields(cls)} & {field.name for field in fields(Counts)}
        return cls(
            **{name: getattr(counts, name) for name in same},
            reasons=counts.reasons,
            rejected_share=counts.rejected_share,
            id_type="int64" if pa.types.is_int64(id_type) else "string",
            pairs=pairs,
            decayed_pairs=decayed_pairs,
            files=files,
            snapshots=SnapshotFigures.of(snapshots),
            attributes=attributes,
        )

    @property
    def arrow_id_type(self) -> pa.DataType:
        """Type of the ids in all tables of the run."""
        return pa.int64() if self.id_type == "int64" else pa.string()


@dataclass(frozen=True)
class IndexFigures:
    """The numbered graph."""

    nodes: int
    isolated: int
    edges: int
    holdout: int
    types: Mapping[str, tuple[int, int]]  # by node type: first number, one past the last
    attribute_ids: Mapping[str, IdMatch]  # by node type
