"""The section of the configuration that says which vectors are computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, create_model

from pipeline.config.sections import InputConfig, Section


class EmbeddingConfig(Section):
    """The keys of [embedding] that all methods have; a form's own model extends them.

    Tasks get the values of all keys as an instance of this class: the reader of the config has checked them, with the
    section that :func:`embedding_section` makes.
    """

    model_config = ConfigDict(extra="allow")
    forms: ClassVar[tuple[MethodForm, ...]] = ()  # of the section that the config's reader has

    method: str = Field("none", description="embedding method")
    form: str = "auto"
    dim: int = Field(128, ge=1, le=65_536, description="columns of the embedding")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the random rows")
    boundary: Literal["exchange", "halo", "border", "quotient", "drop"] = Field(
        "exchange", description="what happens to rows at the cut"
    )
    boundary_dtype: Literal["float32", "float16", "int8"] = Field("float32", description="type of exchanged rows")
    halo_hops: int = Field(2, ge=1, le=8, description="halo: hops of neighbours that are copied into a part")
    border_join: Literal["concatenate", "add"] = Field(
        "concatenate", description="border: how a node's inner and border vectors become one"
    )
    quotient_weight: float = Field(0.3, ge=0, description="quotient: weight of the vector of a node's part")
    shards: int | None = Field(
        None, ge=1, description="tasks that share the columns of a part; unset: chosen by the plan; changes no result"
    )

    compatibility: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="fold in the matrix that tells which products of columns are edges, fitted on the pairs with this "
        "ridge, in mean eigenvalues (try 1); on two types into the targets' rows, at their norms. Unset: none",
    )

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Return the value of a form's own key."""

    def with_derived_keys(self) -> Self:
        """Return a copy in which the keys that are unset have the values that other keys give them."""
        return self

    def check(self, types: InputConfig) -> None:
        """Raise ValueError for what the form can't do."""

    def with_defaults(self, **defaults: Any) -> Self:
        """Return a copy in which keys that are unset have these values."""
        return self.model_copy(update={key: value for key, value in defaults.items() if getattr(self, key) is None})

    def chosen_form(self, types: InputConfig) -> MethodForm:
        """Return the first form in the table that the keys and the types leave.

        Raises
        ------
        ValueError : the form is another method's, or needs two types.
        """
        of_method = [form for form in self.forms if self.method in (form.method, "none")]
        candidates = [form for form in of_method if self.form in ("auto", form.choice)]
        if not candidates:
            raise ValueError(self._of_another_method())
        fitting = [form for form in candidates if form.sides == 1 or not types.is_plain]
        if not fitting:
            alternatives = [f"form = '{form.choice}'" for form in of_method if form.sides == 1]
            raise ValueError(
                f"embedding.form '{self.form}' needs two types, but source and target are both "
                f"'{types.source_type}'; use {alternatives[0] if alternatives else 'another embedding.method'}"
            )
        return fitting[0]

    def values_of(self, form: str) -> EmbeddingConfig:
        """Return the values for tasks: unset keys have those of the form, keys of other forms their defaults."""
        for method_form in self.forms:
            if method_form.form == form:
                return EmbeddingConfig(**dict(type(self)()) | dict(method_form.own_keys(self).with_derived_keys()))
        return self

    def _of_another_method(self) -> str:
        owner = next(form.method for form in self.forms if form.choice == self.form)
        own = [*dict.fromkeys(form.choice for form in self.forms if form.method == self.method and form.choice)]
        choices = f"one of {own}" if own else "no form"
        return (
            f"embedding.form is '{self.form}' and embedding.method '{self.method}': it is a form of {owner}; "
            f"set method = '{owner}', or leave form out ({self.method} takes {choices})"
        )


@dataclass(frozen=True, kw_only=True)
class MethodForm:
    """What the configuration asks of one form of a method."""

    method: str  # embedding.method
    form: str  # unique
    choice: str = ""  # embedding.form beside "auto", shared by the forms for one type and for two; "": there is none
    sides: Literal[1, 2]  # 2: sources and targets have different rows, on two types; 1: all nodes are alike
    #: Its own keys beside those of all methods. A check of one key stands in its type: the reader sees it first.
    keys: type[EmbeddingConfig]
    sums_rows: bool = False  # a source's row is a weighted sum of rows that a run has: the table ``fold_in`` holds them

    def own_keys(self, embedding: EmbeddingConfig) -> EmbeddingConfig:
        """Return the form's keys with its own defaults, of a section of all keys."""
        keys_of_form = self.keys.model_fields
        return self.keys(**{key: value for key, value in embedding if key in keys_of_form and value is not None})


def embedding_section(forms: Sequence[MethodForm]) -> type[EmbeddingConfig]:
    """Return the model of the section with the keys of all forms; where defaults of forms differ, a key is unset."""
    methods = dict.fromkeys(form.method for form in forms)
    choices = {method: [form.choice for form in forms if form.method == method and form.choice] for method in methods}
    about = "; ".join(f"of {method} {_any_of(names)}" for method, names in choices.items() if names)
    fields: dict[str, Any] = {
        "method": (_literal((*methods, "none")), Field(next(iter(methods)), description="embedding method")),
        "form": (
            _literal(("auto", *(name for names in choices.values() for name in names))),
            Field("auto", description=f"{about}; auto is the first that fits the types"),
        ),
    }
    for form in forms:
        for name, field in form.keys.model_fields.items():
            if name in EmbeddingConfig.model_fields:
                continue
            before = fields.setdefault(name, (field.annotation, field))[1]
            if before.default != field.default:
                unset = copy(field)
                unset.default = None
                fields[name] = (field.annotation, unset)
    section = create_model("EmbeddingSection", __base__=_ClosedSection, **fields)
    section.forms = tuple(forms)
    return section


class _ClosedSection(EmbeddingConfig):
    model_config = ConfigDict(extra="forbid")


def _literal(values: Iterable[str]) -> Any:
    return Literal[tuple(dict.fromkeys(values))]


def _any_of(names: Sequence[str]) -> str:
    *first, last = dict.fromkeys(names)
    return f"{', '.join(first)} or {last}" if first else last
