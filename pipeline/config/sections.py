"""The sections of the configuration but one, each handed to the part of the code that it is about."""

from __future__ import annotations

import codecs
import math
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from pipeline.config.time_layout import time_layout


class Section(BaseModel):
    """A part of the configuration: frozen, and closed to keys it does not know."""

    # A misspelt key that silently keeps the default costs a night of cluster time.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _true_is_no_number(cls, data: Any) -> Any:
        for name, value in data.items() if isinstance(data, dict) else ():
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field and bool not in (field.annotation, *get_args(field.annotation)):
                raise ValueError(f"{name} is {str(value).lower()}, and no switch: {field.description}")
        return data


class FilesSection(Section):
    """A section that names files, with how to read them where they are text."""

    path: str = Field(min_length=1, description="file, folder or glob, any pyarrow.fs address; may hold {date}")
    delimiter: str | None = Field(
        None,
        min_length=1,
        description="what parts the columns of text, such as ';', '|' or '::'; 'whitespace': runs of blanks and tabs; "
        "unset: a tab in .tsv, .tab and .inter, else a comma",
    )
    quote: str = Field('"', max_length=1, description="what quotes values of text; '' where quotes are plain text")
    header: bool = Field(True, description="whether text files begin with the names of their columns")
    columns: tuple[str, ...] = Field((), description="names of the columns of text files without a header, in order")
    encoding: str | None = Field(
        None, description="of text: 'latin-1', 'cp1252', 'utf-16-le' and others; unset: UTF-8, or as its mark says"
    )
    comment: str | None = Field(
        None,
        min_length=1,
        max_length=16,
        description="what lines of text begin with that are no rows, such as '#' or '%'; unset: every line is one",
    )
    null_values: tuple[str, ...] = Field(
        (), description="texts that stand for no value, such as 'NULL' or '\\N', in files of any format"
    )

    @model_validator(mode="after")
    def _text_can_be_read(self) -> FilesSection:
        marks = (self.delimiter or "") + self.quote
        if any(mark in marks for mark in "\r\n\0"):
            raise ValueError("delimiter and quote can't hold line ends, which part the rows, nor NULs")
        if not self.quote.isascii():
            raise ValueError(f"quote is '{self.quote}'; it must be one ASCII character, or '' for none")
        if self.quote and self.quote in (self.delimiter or ""):
            raise ValueError(f"quote is '{self.quote}', which the delimiter holds too; set quote = '' or another one")
        parting = {None: ",\t", "whitespace": " \t"}.get(self.delimiter, self.delimiter or "") + self.quote
        if self.comment is not None and (not self.comment.isprintable() or {*self.comment} & {*parting}):
            raise ValueError(f"comment is {self.comment!r}; it can't hold delimiter, quote or control characters")
        if self.header and self.columns:
            raise ValueError("columns names those of files without a header; set header = false, or leave it out")
        if not self.header and not self.columns:
            raise ValueError("header is false, so columns has to name the columns, in order")
        twice = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if twice:
            raise ValueError(f"columns has {twice} twice; give each column its own name")
        return self

    @field_validator("encoding", mode="after")
    @classmethod
    def _encoding_is_known(cls, value: str | None) -> str | None:
        try:
            # base64 and its like are codecs, and no text.
            if value is not None and not codecs.lookup(value)._is_text_encoding:
                raise LookupError
            if value is not None:  # some decode names of hosts, and give up at the first byte that is none
                codecs.getincrementaldecoder(value)("surrogateescape").decode(b"", final=True)
        except (LookupError, UnicodeError):
            raise ValueError(
                f"encoding is '{value}', in which Python reads no text; such as utf-8, latin-1, cp1252 or shift_jis"
            ) from None
        return value


class InputConfig(FilesSection):
    """Where the interactions are, and what their columns mean."""

    name: str = Field("interactions", min_length=1, description="of the relation, in messages and figures")
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
    timestamp_unit: Literal["s", "ms", "us", "ns"] | None = Field(None, description="unit of numeric timestamps")
    timestamp_format: str | None = Field(
        None, description="form of written timestamps that are not ISO 8601, by strptime's letters: '%m/%d/%Y %H:%M'"
    )
    # From some microseconds to 2**52 of them: what pipeline.ingest.decay counts in.
    half_life_days: float | None = Field(
        None, ge=1e-10, le=52_124, description="age at which an interaction counts half"
    )
    window_days: int | None = Field(None, ge=1, description="days before the end of the date that count")
    late_days: int = Field(
        2, ge=0, le=366, description="days before a night's date whose files may yet change; where [lineage] is on"
    )
    late_change: Literal["reread", "refuse"] = Field(
        "reread", description="what follows where a file changed that holds rows of earlier days than those"
    )
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
        for role in ("weight", "event", "timestamp"):
            if (column := getattr(self, role)) in (self.source, self.target):
                raise ValueError(f"{role} is '{column}', which holds ids; name another column")
        for name in ("half_life_days", "window_days", "timestamp_unit", "timestamp_format"):
            if getattr(self, name) is not None and self.timestamp is None:
                raise ValueError(f"{name} needs timestamp, the column with the time of an interaction")
        if self.timestamp_format is not None:
            if self.timestamp_unit is not None:
                raise ValueError("timestamp_format is of written times and timestamp_unit of numbers: set one")
            time_layout(self.timestamp_format)
        return self

    _section: str = PrivateAttr("input")

    @property
    def section(self) -> str:
        """How its keys are called."""
        return self._section

    @property
    def has_many_targets(self) -> bool:
        """Whether a row holds any number of targets."""
        return False

    @property
    def is_plain(self) -> bool:
        """Whether both ends have one type: an undirected graph on one set of nodes."""
        return self.source_type == self.target_type


class RelationConfig(InputConfig):
    """One more relation of the graph: where its pairs are, and how strong they are beside those of [input]."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="of the relation")
    strength: float = Field(
        1.0,
        ge=0,
        le=1e6,
        description="what its weights are multiplied by, beside those of [input]; 0 leaves the relation out",
    )
    targets: Literal["one", "any"] = Field(
        "one", description="ids in a row's target. any: a list's, or those that separator parts; rows may have none"
    )
    separator: str | None = Field(None, min_length=1, description="what parts targets that are text, such as '|'")

    @property
    def section(self) -> str:
        """How its keys are called."""
        return f"relations.{self.name}"

    @property
    def has_many_targets(self) -> bool:
        """Whether a row holds any number of targets."""
        return self.targets == "any"

    @model_validator(mode="after")
    def _separators_part_targets(self) -> RelationConfig:
        if self.separator is not None and self.targets == "one":
            raise ValueError(f"separator is '{self.separator}', and a row has one target; set targets = \"any\"")
        return self


class AttributeRelation(RelationConfig):
    """A column of [attributes.<node type>] as a relation: its values are nodes of a type of their own."""

    name: str

    @property
    def section(self) -> str:
        """How its keys are called."""
        return f"attributes.{self.source_type}"


class AttributesConfig(FilesSection):
    """What is known of the nodes of one type beside their edges: [attributes.<node type>]."""

    path: str = Field(min_length=1, description="file, folder or glob, as input.path; one row a node")
    id: str = Field("id", min_length=1, description="column with the node's id")
    numbers: tuple[str, ...] = Field((), description="columns of numbers; standardised over the nodes that have them")
    categories: tuple[str, ...] = Field((), description="columns of one value each: text, integers or booleans")
    lists: tuple[str, ...] = Field((), description="columns of several values each: lists, or text with separator")
    separator: str | None = Field(None, min_length=1, description="what parts the values of lists that are text")
    weights: dict[str, float] = Field(default_factory=dict, description="weight by column; 1 where none is given")
    strength: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="above 0, values of categories and lists are nodes too, joined to those that have them: relations, "
        "each of this strength times the column's weight",
    )

    @model_validator(mode="after")
    def _every_column_has_one_role(self) -> AttributesConfig:
        columns = self.value_columns
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

    def relations_of(self, node_type: str) -> list[AttributeRelation]:
        """Return its categories and lists as relations; none at strength 0."""
        if not self.strength:
            return []
        of_text = self.model_dump(include={*FilesSection.model_fields}, exclude_unset=True)
        return [
            AttributeRelation(
                **of_text,
                name=f"{node_type}.{column}",
                source=self.id,
                source_type=node_type,
                target=column,
                target_type=f"{node_type}.{column}",
                strength=self.strength * self.weights.get(column, 1.0),
                targets="any",
                separator=self.separator if column in self.lists else None,
                max_rejected_share=1.0,  # rows of attributes are judged as such
            )
            for column in (*self.categories, *self.lists)
        ]

    @property
    def value_columns(self) -> list[str]:
        """Names of all columns but the id's."""
        return [*self.numbers, *self.categories, *self.lists]


class LineageConfig(Section):
    """Nights that build on earlier ones."""

    full_every: int = Field(
        0,
        ge=0,
        le=3_660,
        description="days after which a full run starts anew; in between, a night reads what is new. 0: all are full",
    )


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
    components: Literal["own", "graphframes"] = Field(
        "own", description="graphs over worker_bytes: who finds connected components; the answer is the same"
    )
    top_seed: Literal["own", "graphframes"] = Field(
        "own", description="graphs over worker_bytes: label propagation that clusters start from"
    )
    graphframes_jar: str | None = Field(
        None, description="Maven coordinates or path of GraphFrames, where it is asked for; else GRAPHFRAMES_JAR"
    )

    @property
    def asks_graphframes(self) -> bool:
        """Whether GraphFrames is to answer anything about the graph."""
        return "graphframes" in (self.components, self.top_seed)

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
        None,
        ge=1,
        description="most users (or source nodes) ranked, chosen by hash; unset: 5,000 of next_day, else 100,000",
    )
    holdout_users: float = Field(0.01, gt=0, le=1, description="holdout, two types: share of users with test pairs")
    holdout_pairs: float = Field(0.2, gt=0, lt=1, description="holdout, two types: share of these users' pairs")
    holdout_edges: float = Field(0.1, gt=0, lt=1, description="holdout, one type: share of all edges")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the choice of pairs, users and negatives")

    @property
    def most_ranked(self) -> int:
        """Users that are ranked at most. A night's figure is one of many, and has its interval beside it."""
        return self.sample or (5_000 if self.source == "next_day" else 100_000)

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


class StorageConfig(Section):
    """How object stores are reached. Nothing of it changes a result; credentials are never written here."""

    endpoint: str | None = Field(
        None,
        pattern=r"^https?://\S+$",
        description="http:// or https:// URL of a store that speaks S3's protocol; unset: the environment's, or AWS",
    )
    region: str | None = Field(None, min_length=1, description="of S3; unset: the environment's")
