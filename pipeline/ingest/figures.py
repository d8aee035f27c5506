"""What the manifests of ingest and index say: counts that people and later stages act on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from pipeline.ingest.attributes.features import Spread
from pipeline.ingest.counts import RejectionReason, RowCounts
from pipeline.ingest.id_match import IdMatch
from pipeline.ingest.lake.snapshot import SnapshotFigures
from pipeline.ingest.odd_ids import OddIds


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


@dataclass(frozen=True, kw_only=True)
class PairFigures(RowCounts):
    """What became of rows, and how many pairs were made of them."""

    reasons: Mapping[str, RejectionReason]
    rejected_share: float
    pairs: int
    decayed_pairs: int
    files: int
    bytes_read: int  # of files of interactions


@dataclass(frozen=True, kw_only=True)
class IngestFigures(PairFigures):
    """What became of the rows of all relations, and what was made of them."""

    id_type: Literal["int64", "string"]
    night_before: str | None  # date of the night whose sums were taken over: the counts are of what was read since
    snapshots: tuple[SnapshotFigures, ...]
    attributes: Mapping[str, AttributeFigures]  # by node type
    relations: Mapping[str, PairFigures]  # by name
    relation_files: Mapping[str, tuple[int, ...]]  # by table, files of each relation, the main one first

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
    relation_files: Mapping[str, tuple[int, ...]]  # by table, files of each relation, the main one first
    attribute_ids: Mapping[str, IdMatch]  # by node type
