"""The sections of the configuration but one, each handed to the part of the code that it is about."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Section(BaseModel):
    """A part of the configuration: frozen, and closed to keys it does not know."""

    # A misspelt key that silently keeps the default costs a night of cluster time.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputConfig(Section):
    """Where the interactions are, and what their columns mean."""

    path: str = Field(min_length=1, description="file, folder or glob, any pyarrow.fs address; may hold {date}")
    source: str = Field("source", description="column with the id an interaction starts from")
    source_type: str = Field("user", min_length=1, description="type of these nodes")
    target: str = Field("target", description="column with the id an interaction points to")
    target_type: str = Field("item", min_length=1, description="type of these nodes; equal types mean a plain graph")
    weight: str | None = Field(None, description="column with the strength of an interaction; without it, 1")
    event: str | None = Field(None, description="column with the kind of an interaction")
    event_weights: dict[str, float] = Field(
        default_factory=dict, description="weight of each kind; rows of other kinds are rejected"
    )
    timestamp: str | None = Field(None, description="column with the time of an interaction")
    timestamp_unit: Literal["s", "ms", "us", "ns"] | None = Field(None, description="unit of integer timestamps")
    half_life_days: float | None = Field(None, gt=0, description="age at which an interaction counts half")
    window_days: int | None = Field(None, ge=1, description="days before the end of the date that count")
    self_loops: Literal["reject", "keep"] = Field("reject", description="what happens to edges from a node to itself")
    max_rejected_share: float = Field(0.01, ge=0, le=1, description="share of rejected rows above which a run fails")

    @model_validator(mode="after")
    def _events_and_times_belong_together(self) -> InputConfig:
        if self.event_weights and self.event is None:
            raise ValueError("event_weights needs event, the column they are looked up in")
        if self.event is not None and not self.event_weights:
            raise ValueError("event needs [input.event_weights], one weight for each kind")
        for kind, weight in self.event_weights.items():
            if not (math.isfinite(weight) and weight > 0):
                raise ValueError(
                    f"event_weights.{kind} is {weight}; it must be above 0 (leave a kind out to reject it)"
                )
        for name in ("half_life_days", "window_days", "timestamp_unit"):
            if getattr(self, name) is not None and self.timestamp is None:
                raise ValueError(f"{name} needs timestamp, the column with the time of an interaction")
        return self

    @property
    def is_plain(self) -> bool:
        """Whether both ends have one type: an undirected graph on one set of nodes."""
        return self.source_type == self.target_type


class AttributesConfig(Section):
    """What is known of the nodes of one type beside their edges: [attributes.<node type>]."""

    path: str = Field(min_length=1, description="file, folder or glob, as input.path; one row a node")
    id: str = Field("id", min_length=1, description="column with the node's id")
    numbers: tuple[str, ...] = Field((), description="columns of numbers; standardised over the nodes that have them")
    categories: tuple[str, ...] = Field((), description="columns of one value each: text, integers or booleans")
    lists: tuple[str, ...] = Field((), description="columns of several values each: lists, or text with separator")
    separator: str | None = Field(None, min_length=1, description="what parts the values of lists that are text")
    weights: dict[str, float] = Field(default_factory=dict, description="weight by column; 1 where none is given")

    @model_validator(mode="after")
    def _every_column_has_one_role(self) -> AttributesConfig:
        columns = self.columns
        if not columns:
            raise ValueError("no columns are named; list some under numbers, categories or lists")
        twice = sorted({name for name in columns if columns.count(name) > 1})
        if twice:
            raise ValueError(f"{twice} are listed twice; a column is a number, a category or a list")
        for name, weight in self.weights.items():
            if name not in columns:
                raise ValueError(f"weights.{name} is of no column listed; those are {columns}")
            if not 0 < weight <= 1e6:
                raise ValueError(f"weights.{name} is {weight}; it must be above 0 and at most 1e6")
        return self

    @property
    def columns(self) -> list[str]:
        """Names of all columns but the id's."""
        return [*self.numbers, *self.categories, *self.lists]


class PartitionConfig(Section):
    """How the graph is cut. The cut sets memory and traffic, never the answer."""

    method: Literal["auto", "multilevel", "metis", "ldg", "hash", "none"] = Field(
        "auto", description="auto is one block if it fits max_edges and max_bytes, else multilevel"
    )
    parts: int | None = Field(None, ge=1, description="number of parts, in one cut; else leaves under the bounds")
    max_edges: int | None = Field(None, ge=1, description="most edges in a leaf, each counted once")
    max_bytes: int = Field(4 * 2**30, ge=1, description="most bytes of rows and entries that a task holds for a leaf")
    hub_degree: int | None = Field(
        None, ge=1, description="plain graphs: nodes with more neighbours are split; unset: chosen by what it costs"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the partitioner")
    worker_bytes: int = Field(
        8 * 2**30, ge=2**20, description="most bytes a task that cuts may hold; a larger graph is cut by many tasks"
    )
    top_seed: Literal["own", "graphframes"] = Field(
        "own", description="graphs over worker_bytes: label propagation that clusters start from"
    )
    graphframes_jar: str | None = Field(
        None, description="Maven coordinates or path of GraphFrames; else GRAPHFRAMES_JAR, else the own path"
    )

    @model_validator(mode="after")
    def _one_block_is_one_part(self) -> PartitionConfig:
        if self.method == "none" and self.parts not in (None, 1):
            raise ValueError(f"method 'none' keeps one block, but parts is {self.parts}")
        return self


class EvaluateConfig(Section):
    """What the run measures of its own result."""

    source: Literal["next_day", "file", "holdout", "shadow", "none"] = Field(
        "next_day", description="where the pairs to score come from"
    )
    path: str | None = Field(None, description="file: the pairs, columns named as in [input]; unused by other sources")
    k: tuple[int, ...] = Field((20,), min_length=1, description="list lengths for recall, NDCG and hit rate")
    sample: int | None = Field(
        100_000, ge=1, description="most users (or source nodes) ranked, chosen by hash; more are sampled"
    )
    holdout_users: float = Field(0.01, gt=0, le=1, description="holdout, two types: share of users with test pairs")
    holdout_pairs: float = Field(0.2, gt=0, lt=1, description="holdout, two types: share of these users' pairs")
    holdout_edges: float = Field(0.1, gt=0, lt=1, description="holdout, one type: share of all edges")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the choice of pairs, users and negatives")

    @field_validator("k", mode="after")
    @classmethod
    def _k_is_positive_and_sorted(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if min(value) < 1:
            raise ValueError(f"every k must be at least 1, not {min(value)}")
        return tuple(sorted(set(value)))

    @model_validator(mode="after")
    def _a_file_has_a_path(self) -> EvaluateConfig:
        if self.source == "file" and self.path is None:
            raise ValueError("source 'file' needs path, the file of pairs to score")
        return self


class GatesConfig(Section):
    """What a table must show before readers get it. A bound left out is not checked."""

    min_rows: int = Field(1, ge=0, description="fewest rows")
    max_zero_share: float | None = Field(
        None, ge=0, le=1, description="largest share of zero rows; of lists alone, of empty lists"
    )
    min_recall: float | None = Field(None, ge=0, le=1, description="lowest recall at the first k")
    min_ndcg: float | None = Field(None, ge=0, le=1, description="lowest NDCG at the first k")
    min_auc: float | None = Field(None, ge=0, le=1, description="lowest AUC against degree-matched negatives")
    min_rankme: float | None = Field(None, ge=0, description="lowest RankMe")
    max_row_change: float | None = Field(
        None, ge=0, description="largest relative change of rows since the last release"
    )


class PublishConfig(Section):
    """Where the table goes, what it must show, and how long old ones stay."""

    name: str = Field("default", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="published/<name>")
    gates: GatesConfig = Field(default_factory=GatesConfig, description="bounds checked before CURRENT moves")
    keep_releases: int = Field(7, ge=1, description="releases kept, the current one included")
    keep_runs: int = Field(3, ge=1, description="dates whose working tables are kept")
    min_age_hours: float = Field(24.0, ge=0, description="a younger release is never removed")
    rows_per_file: int = Field(4_000_000, ge=1, description="rows of a published Parquet file")
    fold_in: bool = Field(
        False, description="publish the table fold_in too: what a user's row is the weighted sum of, for new users"
    )
    exclude_ids: dict[str, tuple[int | str, ...]] = Field(
        default_factory=dict, description="by node type, ids left out of the next release"
    )
