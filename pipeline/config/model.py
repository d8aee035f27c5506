"""What to compute: one immutable model, built once from TOML, each part of the code handed its own section.

Where tables are is a :class:`pipeline.workspace.Workspace`; how much machine there is belongs to the command
line and to spark-submit. Only what stands here goes into fingerprints.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, ValidationError, create_model, model_validator

from graphquilt.locate import FILTERED_LISTS, LISTS
from graphquilt.masking import secret_of_setting
from pipeline.config.codes import CodesConfig
from pipeline.config.cold_start import ColdStartConfig
from pipeline.config.embedding import EmbeddingConfig
from pipeline.config.graph_sides import GraphSides
from pipeline.config.interests import InterestsConfig
from pipeline.config.lists import ListsConfig
from pipeline.config.messages import explain, keys_of
from pipeline.config.ppr import PprConfig
from pipeline.config.publish import PublishConfig
from pipeline.config.sections import (
    AttributesConfig,
    EvaluateConfig,
    InputConfig,
    LineageConfig,
    PartitionConfig,
    RelationConfig,
    Section,
    StorageConfig,
)
from pipeline.config.toml_file import read_toml
from pipeline.errors import ConfigError

#: Values a key will take once its stage is built: refused now, with this sentence.
NOT_BUILT_YET = {
    ("evaluate", "source", "shadow"): "shadow runs are not built yet; use 'next_day', 'file' or 'holdout'",
}


class PipelineConfig(Section):
    """The whole configuration: what reads it has the keys of the methods, see :func:`config_model`."""

    input: InputConfig
    relations: tuple[RelationConfig, ...] = Field(
        (), description="what else joins nodes; without [input], the first is the main relation, as [input] is"
    )
    attributes: dict[str, AttributesConfig] = Field(default_factory=dict, description="by node type")
    lineage: LineageConfig = Field(default_factory=LineageConfig)
    partition: PartitionConfig = Field(default_factory=PartitionConfig)
    embedding: EmbeddingConfig = Field(default_factory=EmbeddingConfig)
    ppr: PprConfig = Field(default_factory=PprConfig)
    lists: ListsConfig = Field(default_factory=ListsConfig)
    codes: CodesConfig = Field(default_factory=CodesConfig)
    cold_start: ColdStartConfig = Field(default_factory=ColdStartConfig)
    interests: InterestsConfig = Field(default_factory=InterestsConfig)
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)
    publish: PublishConfig = Field(default_factory=PublishConfig)
    storage: StorageConfig = Field(default_factory=StorageConfig)

    @model_validator(mode="wrap")
    @classmethod
    def _first_relation_is_input(cls, data: Any, read: ModelWrapValidatorHandler[Self]) -> Self:
        relations = data.get("relations") if isinstance(data, dict) and "input" not in data else None
        if not isinstance(relations, list | tuple) or not relations or not isinstance(relations[0], dict):
            return read(data)
        main = dict(relations[0])
        if "name" not in main:
            raise ValueError("relations.0.name is missing (of the relation)")
        if (strength := main.pop("strength", 1)) != 1:
            raise ValueError(
                f"relations.{main.get('name', 0)}.strength is {strength!r}, and this is the main relation: the others' "
                "strengths are beside its own; leave it out"
            )
        config = read({**data, "input": main, "relations": relations[1:]})
        config.input._section = f"relations.{config.input.name}"  # as the file calls it
        return config

    @model_validator(mode="after")
    def _check_combinations(self) -> PipelineConfig:
        for (section, key, value), sentence in NOT_BUILT_YET.items():
            if getattr(getattr(self, section), key) == value:
                raise ValueError(f"{section}.{key} is '{value}': {sentence}")
        if self.embedding.method == "none" and not self.makes_lists:
            raise ValueError(
                "embedding.method is 'none' and ppr.neighbors false: nothing would be published; choose a method, or "
                "set ppr.neighbors = true or lists.filter"
            )
        if self.lineage.full_every > 1 and self.input.timestamp is None:
            raise ValueError(
                f"lineage.full_every is {self.lineage.full_every} and input.timestamp is not set: without times nobody "
                "knows what is new; name the column, or set lineage.full_every = 0"
            )
        if getattr(self.embedding, "warm_start", False) and self.lineage.full_every <= 1:
            raise ValueError(
                f"embedding.warm_start is true and lineage.full_every {self.lineage.full_every}: every run is a full "
                "one, that starts from nothing; set lineage.full_every, such as 28, or leave warm_start out"
            )
        form = self.embedding.chosen_form(self.input)
        if self.publish.fold_in and (self.embedding.boundary != "exchange" or not form.sums_rows):
            *first, last = (form.choice or form.method for form in self.embedding.forms if form.sums_rows)
            raise ValueError(
                f"publish.fold_in is true, and rows of form '{self.form}' with boundary '{self.embedding.boundary}' "
                f"are no weighted sums of others; it is for {', '.join(first)} and {last} with boundary 'exchange'"
            )
        if self.interests.clusters and self.embedding.compatibility is not None and not self.input.is_plain:
            raise ValueError(
                f"interests.clusters is {self.interests.clusters} and embedding.compatibility "
                f"{self.embedding.compatibility:g}: queries are mixtures of items' and users' rows, which lie on two "
                "sides of that matrix; leave one of them out"
            )
        if self.interests.clusters and self.embedding.method == "none":
            raise ValueError(
                f"interests.clusters is {self.interests.clusters} and embedding.method 'none': queries are made of "
                "vectors; choose a method, or leave interests out"
            )
        self._check_types()
        self._check_lists()
        self._check_cold_start()
        self._check_codes()
        form.own_keys(self.embedding).check(self.input)
        return self

    def _check_types(self) -> None:
        """Raise ValueError for relations that don't go together, and for types that the graph doesn't have."""
        weightless = [relation for relation in self.relations if not relation.strength]
        names = [relation.name for relation in (*self.all_relations, *weightless)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two relations have the name {twice}; give each its own")
        types = self.sides.public_types
        of_lists = {
            f"{section}.{key}": getattr(keys, key)
            for section, keys in (("ppr", self.ppr), ("lists", self.lists))
            for key in ("source_type", "target_type")
        }
        mentions = [(f"attributes.{name}", name) for name in self.attributes]
        mentions += [(f"{key} is '{name}', which", name) for key, name in of_lists.items() if name is not None]
        mentions += [(f"publish.node_types has '{name}', which", name) for name in self.publish.node_types or ()]
        for place, name in mentions:
            if name not in types:
                raise ValueError(f"{place} is of no type in the input; those are {sorted(types)}")
        main, choice = (self.input.source_type, self.input.target_type), self.published_types
        if not {*main} <= {*choice}:
            raise ValueError(f"publish.node_types is {list(choice)}; it needs {sorted({*main})}, which are evaluated")
        for key, name in of_lists.items():
            if name is not None and name not in choice:
                raise ValueError(f"{key} is '{name}', which is not published; add it to publish.node_types")

    @property
    def all_relations(self) -> tuple[InputConfig, ...]:
        """What the graph is made of, the main relation first; without those whose strength is 0."""
        of_attributes = [relation for name, about in self.attributes.items() for relation in about.relations_of(name)]
        return (self.input, *(relation for relation in (*self.relations, *of_attributes) if relation.strength))

    @property
    def has_relations(self) -> bool:
        """Whether the graph is made of more than the main relation."""
        return len(self.all_relations) > 1

    @property
    def strengths(self) -> tuple[float, ...]:
        """What the weights of all relations are multiplied by, in their order."""
        relations = self.all_relations
        return tuple(relation.strength if isinstance(relation, RelationConfig) else 1.0 for relation in relations)

    @property
    def sides(self) -> GraphSides:
        """The types of nodes, and on which side of the graph they stand."""
        return GraphSides.of(self.all_relations)

    @property
    def published_types(self) -> tuple[str, ...]:
        """The types whose nodes are published, in the order of their numbers."""
        choice = self.publish.node_types or (self.input.source_type, self.input.target_type)
        return tuple(name for name in self.sides.types if name in choice)

    @property
    def numbered_types(self) -> frozenset[str]:
        """The types that no reader sees, nor attributes name: their ids need not be texts."""
        return frozenset(self.sides.public_types) - {*self.published_types, *self.attributes}

    @property
    def cold_types(self) -> tuple[str, ...]:
        """The types whose cold nodes get other rows than the method's own."""
        if self.cold_start.rows == "scaled":
            return (self.input.target_type,)
        ends = (self.input.source_type, self.input.target_type) if self.cold_start.rows == "map" else ()
        return tuple(name for name in self.sides.types if name in self.attributes and name in ends)

    def _check_cold_start(self) -> None:
        rows = self.cold_start.rows
        if rows == "own":
            return
        if self.embedding.method == "none":
            raise ValueError(
                f"cold_start.rows is '{rows}' and embedding.method 'none', which makes no rows; leave it out"
            )
        if not self.cold_types:
            raise ValueError(
                f"cold_start.rows is '{rows}', and no type of [input] has attributes, which are mapped to rows; add "
                f"[attributes.{self.input.target_type}], or leave rows out"
            )
        if rows == "scaled" and not self.has_relations and not self.attributes:
            raise ValueError(
                f"cold_start.rows is '{rows}', and nothing gives rows to nodes without edges; add [[relations]] or "
                f"[attributes.{self.input.target_type}], or leave rows out"
            )

    def _check_codes(self) -> None:
        source = self.codes.source
        if source != "graph" and self.codes.resolution is not None:
            raise ValueError(
                f"codes.source is '{source}' and codes.resolution {self.codes.resolution:g}, which is of the graph's "
                "modularity; set codes.share, or leave one of the two out"
            )
        if self.codes.of_vectors and self.embedding.method == "none":
            raise ValueError(
                f"codes.source is '{source}' and embedding.method 'none', which makes no rows; choose a method, or "
                "codes.source = 'graph'"
            )

        if source == "residuals" and self.codes.max_size is not None:
            raise ValueError(
                f"codes.source is 'residuals' and codes.max_size {self.codes.max_size}: codebooks have about twice as "
                "many nodes a number as the mean, and no other bound; leave it out"
            )

    def _check_lists(self) -> None:
        if self.lists.filter is None:
            return
        if self.ppr.neighbors:
            raise ValueError(
                f"ppr.neighbors is true and lists.filter '{self.lists.filter}': a release has lists of one kind; leave "
                "one of the two out, or publish the other under a publish.name of its own"
            )
        own, _ = self.sides.around(self.listed_type)
        if not self.input.is_plain and self.lists.source_type in own:
            raise ValueError(
                f"lists.source_type is '{self.lists.source_type}', on the side of what is listed: a filter ranks one "
                "side of the graph for the other; leave source_type out, or take ppr.neighbors, which lists any type "
                "for any"
            )

    @property
    def makes_lists(self) -> bool:
        """Whether a run publishes lists of neighbours."""
        return self.ppr.neighbors or self.lists.filter is not None

    @property
    def list_section(self) -> Literal["ppr", "lists"]:
        """The section whose keys lists have."""
        return "ppr" if self.lists.filter is None else "lists"

    @property
    def list_keys(self) -> PprConfig | ListsConfig:
        """That section."""
        return self.ppr if self.lists.filter is None else self.lists

    @property
    def list_table(self) -> str:
        """The published table that lists are in."""
        return LISTS if self.lists.filter is None else FILTERED_LISTS

    @property
    def listed_type(self) -> str:
        """The type of the nodes that lists of neighbours hold."""
        return self.list_keys.target_type or self.input.target_type

    @property
    def list_source_type(self) -> str | None:
        """The type of the nodes that have lists; None: all types."""
        if self.lists.filter is None or self.input.is_plain:
            return self.list_keys.source_type
        _, other_side = self.sides.around(self.listed_type)
        ends = (self.input.source_type, self.input.target_type)
        return self.lists.source_type or next(node_type for node_type in ends if node_type in other_side)

    @property
    def form(self) -> str:
        """The form of the method, decided by the types where the config leaves it open."""
        return self.embedding.chosen_form(self.input).form

    @classmethod
    def from_toml(cls, path: Path, overrides: Sequence[str] = ()) -> PipelineConfig:
        """Read a TOML file, apply ``section.key=value`` overrides, check everything.

        Raises
        ------
        ConfigError : no such file, not TOML, an unknown key, a value out of range, a secret in an address.
        """
        return cls.from_values(read_toml(path), overrides, f"config file {path}")

    @classmethod
    def from_values(cls, raw: dict[str, Any], overrides: Sequence[str], origin: str) -> PipelineConfig:
        """Apply ``section.key=value`` overrides to values of sections, and check everything; errors name the origin.

        Raises
        ------
        ConfigError : as of :meth:`from_toml`.
        """
        for override in overrides:
            _apply(raw, override)
        if refusal := secret_of_setting(raw):
            raise ConfigError(f"{origin}: {refusal}")
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            raise ConfigError(f"{origin}: {explain(error, cls, raw)}") from error


def config_model(section: type[EmbeddingConfig]) -> type[PipelineConfig]:
    """Return the model of a configuration with this section [embedding]."""
    return create_model("Config", __base__=PipelineConfig, embedding=(section, Field(default_factory=section)))


def parse_override(override: str) -> tuple[list[str], Any]:
    """Return the names and the value of ``section.key=value``; the value is TOML, or else a string.

    Raises
    ------
    ConfigError : it does not read so.
    """
    name, equals, text = override.partition("=")
    keys = [key.strip() for key in name.split(".")]
    if not equals or len(keys) < 2 or not all(keys):
        raise ConfigError(f"--set {override!r} must read section.key=value, such as embedding.dim=64")
    try:
        return keys, tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return keys, text.strip()


def _apply(values: dict[str, Any], override: str) -> None:
    """Set ``section.key=value`` in place."""
    raw: Any = values
    keys, value = parse_override(override)
    for key in keys[:-1]:
        inner = raw.setdefault(key, {}) if isinstance(raw, dict) else _entry_of(raw, key, override)
        if not isinstance(inner, dict | list):
            raise ConfigError(f"--set {override!r}: {key} is a value, not a section")
        raw = inner
    if isinstance(raw, list):
        raise ConfigError(f"--set {override!r} must name a key of an entry, such as {keys[0]}.NAME.{keys[-1]}=value")
    raw[keys[-1]] = value


def _entry_of(entries: list[Any], name: str, override: str) -> Any:
    """Return the entry of an array of tables that has a name."""
    for entry in entries:
        if isinstance(entry, dict) and entry.get("name") == name:
            return entry
    names = [entry.get("name") for entry in entries if isinstance(entry, dict)]
    raise ConfigError(f"--set {override!r}: there is no entry with the name {name!r}; those are {names}")


def key_reference(model: type[PipelineConfig]) -> list[tuple[str, str, str, str]]:
    """Return (section, key, default, description) of every key, in order: the one source of the reference."""
    return keys_of(model, "")
