"""What to compute: one immutable model, built once from TOML, each part of the code handed its own section.

Where tables are is a :class:`pipeline.workspace.Workspace`; how much machine there is belongs to the command
line and to spark-submit. Only what stands here goes into fingerprints.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.errors import ConfigError

#: Values a key will take once its stage is built: refused now, with this sentence.
NOT_BUILT_YET = {
    ("embedding", "method", "ppr"): "PPR embeddings are not built yet; use 'fastrp'",
    ("embedding", "method", "none"): "runs without embeddings wait for ppr_neighbors; use 'fastrp'",
    ("evaluate", "source", "shadow"): "shadow runs are not built yet; use 'next_day', 'file' or 'holdout'",
}

#: Forms whose rows are no weighted sums of rows that a run has.
_FORMS_WITHOUT_FOLD_IN = frozenset({"classic", "plain", "plain_low_pass"})


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


#: What keys that are unset mean, by form and by what the form turns on.
_BY_FORM: Mapping[str, Mapping[str, float]] = {
    "two_tower": {"item_norm_power": 0.12},
    "low_pass": {"item_norm_power": 0.2},
    "bipartite truncate": {"item_norm_power": 0.3, "iterations": 3, "shift": 0.05, "eigenvalue_power": 0.0},
    "bipartite rotate": {"item_norm_power": 0.2, "iterations": 3, "shift": 0.05, "eigenvalue_power": 0.5},
    "plain both": {"iterations": 6, "shift": 0.0, "eigenvalue_power": 0.75},
    "plain positive": {"iterations": 8, "shift": 0.3, "eigenvalue_power": 1.0},
}


class EmbeddingConfig(Section):
    """Which vectors are computed. The defaults that depend on the graph are set by ``form``."""

    method: Literal["fastrp", "spectral", "ppr", "none"] = Field("fastrp", description="embedding method")
    form: Literal["auto", "two_tower", "classic", "low_pass"] = Field(
        "auto", description="form of fastrp; auto is two_tower where the types differ, else classic"
    )
    dim: int = Field(128, ge=1, le=65_536, description="columns of the embedding")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the random rows")
    projection: Literal["sparse", "normal"] = Field("sparse", description="distribution of the random rows")
    sparsity: float | Literal["sqrt_n"] = Field(
        3.0, description="sparse: 1 / share of entries that are not zero; sqrt_n is sqrt(number of nodes)"
    )
    iteration_weights: tuple[float, ...] = Field(
        (0.0, 1.0, 1.0), min_length=1, max_length=64, description="classic: weight of each power, the first for X_1"
    )
    degree_power: float = Field(0.0, ge=-4, le=4, description="classic: random rows are scaled by degree to this power")
    transition: Literal["random_walk", "symmetric"] = Field(
        "random_walk", description="classic: D^-1 A or D^-1/2 A D^-1/2"
    )
    normalize_powers: bool = Field(True, description="classic: rows of each power have norm 1 before they are added")
    standardize_columns: bool = Field(False, description="classic: columns of the sum get mean 0 and variance 1")
    norm_degree_power: float = Field(
        0.0, ge=-4, le=4, description="classic: if not 0, a row's norm becomes its degree to this power"
    )
    normalize_rows: bool = Field(False, description="classic: rows of the result have norm 1")
    self_influence: float = Field(0.0, ge=0, description="classic: weight of a node's own start row in the sum")
    attribute_share: float = Field(
        0.5, ge=0, le=1, description="fastrp: how much of a start row comes from the node's attributes, if it has some"
    )
    powers: int = Field(1, ge=1, le=64, description="two_tower: steps of P between the random rows and the users' rows")
    user_degree_power: float = Field(0.4, ge=-4, le=4, description="two types: a in M = D_U^-a B D_I^-b")
    item_degree_power: float = Field(0.4, ge=-4, le=4, description="two types: b in M = D_U^-a B D_I^-b")
    item_norm_power: float | None = Field(
        None, ge=-4, le=4, description="two types: q, an item's norm is its degree to this power; unset: by the form"
    )
    rank: int | None = Field(
        None,
        ge=1,
        le=65_536,
        description="spectral: eigenpairs computed; low_pass: eigenvalues that pass; unset: dim, 4 dim",
    )
    reduction: Literal["auto", "truncate", "rotate"] = Field(
        "auto", description="spectral: how rank columns become dim: the leading ones, or all by a hashed rotation"
    )
    eigenvalues: Literal["both", "positive"] = Field(
        "both", description="spectral, one type: of both signs, for classifiers; positive: those that say who is near"
    )
    iterations: int | None = Field(
        None, ge=1, le=64, description="spectral: products before the last; unset: by what is asked (3 to 8)"
    )
    oversampling: int = Field(16, ge=0, le=4_096, description="spectral: columns beside rank that are carried along")
    no_return: float = Field(
        1.0, ge=0, le=1, description="spectral, two types: share of diag(P) that is left out, steps back to their start"
    )
    degree_offset: float = Field(
        0.5, ge=0, le=64, description="spectral, one type: mean degrees added to every degree, against tiny pieces"
    )
    shift: float | None = Field(
        None, ge=0, le=4, description="spectral: multiple of the identity added while iterating, against negative ends"
    )
    eigenvalue_power: float | None = Field(
        None, ge=0, le=4, description="spectral: columns (two types: the items') are scaled by |w|^this; unset: by form"
    )
    item_row_power: float = Field(
        0.7, ge=0, le=1, description="spectral, two types, truncated: θ in i = V |V|^-θ d^q; 1 leaves d^q to rank"
    )
    align: bool = Field(True, description="spectral: rotate into the coordinates of the last release")
    filter_degree: int = Field(16, ge=1, le=64, description="low_pass: degree of the Chebyshev-Jackson polynomial")
    cut: float | None = Field(
        None, gt=0, lt=1, description="low_pass: eigenvalues above this share of the largest pass; unset: those of rank"
    )
    boundary: Literal["exchange", "halo", "border", "quotient", "drop"] = Field(
        "exchange", description="what happens to rows at the cut"
    )
    boundary_dtype: Literal["float32", "float16", "int8"] = Field("float32", description="type of rows that travel")
    halo_hops: int = Field(2, ge=1, le=8, description="halo: hops of neighbours that are copied into a part")
    border_join: Literal["concatenate", "add"] = Field(
        "concatenate", description="border: how a node's inner and border vectors become one"
    )
    quotient_weight: float = Field(0.3, ge=0, description="quotient: weight of the vector of a node's part")
    shards: int | None = Field(
        None, ge=1, description="tasks that share the columns of a part; unset: chosen by the plan; changes no result"
    )

    @field_validator("sparsity")
    @classmethod
    def _sparsity_is_at_least_one(cls, value: float | str) -> float | str:
        if isinstance(value, float) and value < 1:
            raise ValueError(f"it must be at least 1 (1 means no zeros) or 'sqrt_n', not {value}")
        return value

    @field_validator("iteration_weights")
    @classmethod
    def _some_power_counts(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not any(value):
            raise ValueError("every weight is 0: the table would be zero")
        return value

    def resolved(self, form: str) -> EmbeddingConfig:
        """Return a copy in which the keys that were left to the form have their values."""
        changes: dict[str, Any] = {"rank": self.rank or (4 if form.endswith("low_pass") else 1) * self.dim}
        key = form
        if form == "bipartite":
            rotates = changes["rank"] > self.dim if self.reduction == "auto" else self.reduction == "rotate"
            changes["reduction"] = "rotate" if rotates else "truncate"
            key = f"{form} {changes['reduction']}"
        elif form == "plain":
            changes["reduction"] = "truncate" if self.reduction == "auto" else self.reduction
            key = f"{form} {self.eigenvalues}"
        defaults = _BY_FORM.get(key, {})
        changes |= {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return self.model_copy(update=changes)

    def check_spectral(self) -> None:
        """Refuse what a spectral embedding can't do.

        Raises
        ------
        ValueError : fewer eigenpairs than columns, or columns shared out.
        """
        if self.rank is not None and self.rank < self.dim and self.reduction != "rotate":
            raise ValueError(
                f"embedding.rank is {self.rank} and embedding.dim {self.dim}: the columns beyond rank would be zero; "
                "raise rank, or lower dim"
            )
        if (self.shards or 1) > 1:
            raise ValueError(
                f"embedding.shards is {self.shards}: spectral makes its columns orthogonal to each other, so that no "
                "task can hold only some; leave shards out and cut the graph into parts"
            )


class PprConfig(Section):
    """Personalised PageRank."""

    neighbors: bool = Field(False, description="write ppr_neighbors too")


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
    max_zero_share: float | None = Field(None, ge=0, le=1, description="largest share of zero rows")
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


class PipelineConfig(Section):
    """The whole configuration."""

    input: InputConfig
    attributes: dict[str, AttributesConfig] = Field(default_factory=dict, description="by node type")
    partition: PartitionConfig = Field(default_factory=PartitionConfig)
    embedding: EmbeddingConfig = Field(default_factory=EmbeddingConfig)
    ppr: PprConfig = Field(default_factory=PprConfig)
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)
    publish: PublishConfig = Field(default_factory=PublishConfig)

    @model_validator(mode="after")
    def _what_is_asked_is_built(self) -> PipelineConfig:
        for (section, key, value), sentence in NOT_BUILT_YET.items():
            if getattr(getattr(self, section), key) == value:
                raise ValueError(f"{section}.{key} is '{value}': {sentence}")
        if self.ppr.neighbors:
            raise ValueError("ppr.neighbors is true: the ppr_neighbors table is not built yet")
        if self.publish.fold_in and (self.embedding.boundary != "exchange" or self.form in _FORMS_WITHOUT_FOLD_IN):
            raise ValueError(
                f"publish.fold_in is true, and rows of form '{self.form}' with boundary '{self.embedding.boundary}' "
                "are no weighted sums of other rows; it is for two_tower, low_pass and spectral with boundary 'exchange'"
            )
        types = [self.input.source_type, self.input.target_type]
        for node_type in self.attributes:
            if node_type not in types:
                raise ValueError(f"attributes.{node_type} is of no type in the input; those are {sorted({*types})}")
        form, plain = self.form, self.input.is_plain
        if self.embedding.method == "spectral" and self.embedding.form != "auto":
            raise ValueError(
                f"embedding.form is '{self.embedding.form}' and embedding.method 'spectral': forms are of fastrp; "
                "leave form out"
            )
        if self._needs_whole_rows and self.embedding.boundary != "exchange":
            raise ValueError(
                f"embedding.boundary is '{self.embedding.boundary}': {self._needs_whole_rows} takes what the whole "
                "graph says of its spectrum; use boundary = 'exchange' (boundary_dtype = 'int8' sends a "
                "quarter of the bytes)"
            )
        if self.embedding.method == "spectral":
            self.embedding.check_spectral()
        if form == "two_tower" and plain:
            raise ValueError(
                f"embedding.form 'two_tower' needs two types, but source and target are both "
                f"'{self.input.source_type}'; use form = 'classic'"
            )
        weights = self.embedding.iteration_weights
        if form == "classic" and not plain and not (any(weights[::2]) and any(weights[1::2])):
            raise ValueError(
                f"embedding.iteration_weights is {list(weights)}: on two types even powers hold one side and odd "
                "powers the other, so products between the sides would be noise; weigh at least one of each"
            )
        return self

    @property
    def _needs_whole_rows(self) -> str:
        """The name of a method that can't be made part by part; empty if it can."""
        if self.embedding.method == "spectral":
            return "spectral"
        return "low_pass" if self.embedding.form == "low_pass" else ""

    @property
    def form(self) -> str:
        """The form of the method, decided by the types where the config leaves it open."""
        if self.embedding.method == "spectral":
            return "plain" if self.input.is_plain else "bipartite"
        if self.embedding.form == "low_pass" and self.input.is_plain:
            return "plain_low_pass"
        if self.embedding.form != "auto":
            return self.embedding.form
        return "classic" if self.input.is_plain else "two_tower"

    @classmethod
    def from_toml(cls, path: Path, overrides: Sequence[str] = ()) -> PipelineConfig:
        """Read a TOML file, apply ``section.key=value`` overrides, check everything.

        Raises
        ------
        ConfigError : no such file, not TOML, an unknown key, a value out of range.
        """
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"config file {path} can't be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"config file {path} is not TOML: {error}") from error
        for override in overrides:
            _apply(raw, override)
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            raise ConfigError(f"config file {path}: {_explain(error, cls)}") from error


def _apply(raw: dict[str, Any], override: str) -> None:
    """Set ``section.key=value`` in place; the value is TOML, or else taken as a string."""
    name, equals, text = override.partition("=")
    keys = [key.strip() for key in name.split(".")]
    if not equals or len(keys) < 2 or not all(keys):
        raise ConfigError(f"--set {override!r} must read section.key=value, such as embedding.dim=64")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for key in keys[:-1]:
        raw = raw.setdefault(key, {})
        if not isinstance(raw, dict):
            raise ConfigError(f"--set {override!r}: {key} is a value, not a section")
    raw[keys[-1]] = value


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Turn pydantic's findings into sentences: the key, the value found, the value wanted."""
    sentences = []
    for finding in error.errors():
        place = [str(part) for part in finding["loc"] if isinstance(part, str)]
        name = ".".join(place)
        if finding["type"] == "extra_forbidden":
            known = _keys_at(model, place[:-1])
            near = difflib.get_close_matches(place[-1], known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"choose from {sorted(known)}"
            sentences.append(f"there is no key {name}; {hint}")
        elif finding["type"] == "missing":
            sentences.append(f"{name} is missing ({_description_at(model, place)})")
        elif finding["type"] == "value_error":
            text = str(finding["ctx"]["error"])
            sentences.append(f"{name}: {text}" if name else text)
        else:
            about = _description_at(model, place)
            shown = f"{name} is {finding['input']!r}; {finding['msg'][0].lower()}{finding['msg'][1:]}"
            sentences.append(f"{shown} ({about})" if about else shown)
    return "; ".join(dict.fromkeys(sentences))


def _section_at(model: type[BaseModel], place: Sequence[str]) -> type[BaseModel] | None:
    steps = iter(place)
    for key in steps:
        field = model.model_fields.get(key)
        inner = None if field is None else _inner_section(field.annotation)
        if inner is None:
            return None
        model, is_named = inner
        if is_named:
            next(steps, None)  # the name itself
    return model


def _inner_section(annotation: Any) -> tuple[type[BaseModel], bool] | None:
    """Return the section that a key holds, and whether it holds one for each name; None if it holds a value."""
    is_named = get_origin(annotation) is dict
    inner = get_args(annotation)[1] if is_named else annotation
    return (inner, is_named) if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def _keys_at(model: type[BaseModel], place: Sequence[str]) -> list[str]:
    section = _section_at(model, place)
    return list(section.model_fields) if section else []


def _description_at(model: type[BaseModel], place: Sequence[str]) -> str:
    # A union's finding ends in the name of its branch ("sparsity.float"): drop it to find the key.
    for end in range(len(place), 0, -1):
        section = _section_at(model, place[: end - 1])
        if section and place[end - 1] in section.model_fields:
            return section.model_fields[place[end - 1]].description or ""
    return ""


def key_reference() -> list[tuple[str, str, str, str]]:
    """Return (section, key, default, description) of every key, in order: the one source of the reference."""
    return list(_walk(PipelineConfig, ""))


def _walk(model: type[BaseModel], prefix: str) -> list[tuple[str, str, str, str]]:
    rows: list[tuple[str, str, str, str]] = []
    for name, field in model.model_fields.items():
        section = _inner_section(field.annotation)
        if section is not None and not section[1]:
            rows.extend(_walk(section[0], f"{prefix}.{name}" if prefix else name))
            continue
        if section is not None:
            rows.extend(_walk(section[0], f"{name}.<node type>"))
            continue
        inner = field.annotation
        default = "required" if field.is_required() else _toml_value(field.get_default(call_default_factory=True))
        choices = _choices(inner)
        about = field.description or ""
        rows.append((prefix, name, default, f"{about} ({' | '.join(choices)})" if choices else about))
    return rows


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    if get_origin(annotation) in (Union, UnionType):
        return [choice for part in get_args(annotation) for choice in _choices(part)]
    return []


def _toml_value(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return str(value)
