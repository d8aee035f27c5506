"""What to compute: one immutable model, built once from TOML, each part of the code handed its own section.

Where tables are is a :class:`pipeline.workspace.Workspace`; how much machine there is belongs to the command
line and to spark-submit. Only what stands here goes into fingerprints.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from graphquilt.masking import secret_of_setting
from pipeline.config.embedding import EmbeddingConfig
from pipeline.config.messages import explain, keys_of
from pipeline.config.ppr import PprConfig
from pipeline.config.sections import (
    AttributesConfig,
    EvaluateConfig,
    InputConfig,
    PartitionConfig,
    PublishConfig,
    Section,
)
from pipeline.config.toml_file import read_toml
from pipeline.errors import ConfigError

#: Values a key will take once its stage is built: refused now, with this sentence.
NOT_BUILT_YET = {
    ("evaluate", "source", "shadow"): "shadow runs are not built yet; use 'next_day', 'file' or 'holdout'",
}

#: Forms whose rows are no weighted sums of rows that a run has.
_FORMS_WITHOUT_FOLD_IN = frozenset({"classic", "plain", "plain_low_pass", "hashed", "plain_hashed", "plain_factorised"})

#: Forms by the method that has them; the others have none.
_FORMS = {"fastrp": ("two_tower", "classic", "low_pass"), "ppr": ("hashed", "factorised")}


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
        if self.embedding.method == "none" and not self.ppr.neighbors:
            raise ValueError(
                "embedding.method is 'none' and ppr.neighbors false: nothing would be published; choose a method, or "
                "set ppr.neighbors = true"
            )
        if self.publish.fold_in and (self.embedding.boundary != "exchange" or self.form in _FORMS_WITHOUT_FOLD_IN):
            raise ValueError(
                f"publish.fold_in is true, and rows of form '{self.form}' with boundary '{self.embedding.boundary}' "
                "are no weighted sums of others; it is for two_tower, low_pass, spectral and factorised with boundary "
                "'exchange'"
            )
        types = [self.input.source_type, self.input.target_type]
        for node_type in self.attributes:
            if node_type not in types:
                raise ValueError(f"attributes.{node_type} is of no type in the input; those are {sorted({*types})}")
        for key in ("source_type", "target_type"):
            asked = getattr(self.ppr, key)
            if asked is not None and asked not in types:
                raise ValueError(f"ppr.{key} is '{asked}', of no type in the input; those are {sorted({*types})}")
        form, plain = self.form, self.input.is_plain
        if self.embedding.method != "none" and self.embedding.form not in (
            "auto",
            *_FORMS.get(self.embedding.method, ()),
        ):
            raise ValueError(_no_form_of(self.embedding))
        if self._needs_whole_rows and self.embedding.boundary != "exchange":
            raise ValueError(
                f"embedding.boundary is '{self.embedding.boundary}': {self._needs_whole_rows} takes what the whole "
                "graph says of its spectrum; use boundary = 'exchange' (boundary_dtype = 'int8' sends a "
                "quarter of the bytes)"
            )
        if self.embedding.method == "spectral" or form in ("factorised", "plain_factorised"):
            self.embedding.check_eigenpairs()
        if form in ("hashed", "plain_hashed"):
            self.embedding.check_hashed()
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
        form = self.form.removeprefix("plain_")
        return form if form in ("low_pass", "factorised") else ""

    @property
    def listed_type(self) -> str:
        """The type of the nodes that lists of neighbours hold."""
        return self.ppr.target_type or self.input.target_type

    @property
    def form(self) -> str:
        """The form of the method, decided by the types where the config leaves it open."""
        if self.embedding.method == "spectral":
            return "plain" if self.input.is_plain else "bipartite"
        if self.embedding.method == "ppr":
            form = "factorised" if self.embedding.form == "auto" else self.embedding.form
            return f"plain_{form}" if self.input.is_plain else form
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
        ConfigError : no such file, not TOML, an unknown key, a value out of range, a secret in an address.
        """
        raw = read_toml(path)
        for override in overrides:
            _apply(raw, override)
        if refusal := secret_of_setting(raw):
            raise ConfigError(f"config file {path}: {refusal}")
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            raise ConfigError(f"config file {path}: {explain(error, cls)}") from error


def _no_form_of(embedding: EmbeddingConfig) -> str:
    """Say whose the form is that is set."""
    owner = next(method for method, forms in _FORMS.items() if embedding.form in forms)
    own = _FORMS.get(embedding.method)
    wanted = f"one of {[*own]}" if own else "no form"
    return (
        f"embedding.form is '{embedding.form}' and embedding.method '{embedding.method}': it is a form of {owner}; "
        f"set method = '{owner}', or leave form out ({embedding.method} takes {wanted})"
    )


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


def key_reference() -> list[tuple[str, str, str, str]]:
    """Return (section, key, default, description) of every key, in order: the one source of the reference."""
    return list(keys_of(PipelineConfig, ""))
