"""The section of the configuration that says which vectors are computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from pipeline.config.sections import Section

#: What keys that are unset mean, by form and by what the form turns on.
_BY_FORM: Mapping[str, Mapping[str, float | str]] = {
    "classic": {"transition": "random_walk"},
    "plain_low_pass": {"transition": "symmetric"},
    "two_tower": {"item_norm_power": 0.12},
    "low_pass": {"item_norm_power": 0.2},
    "bipartite truncate": {"item_norm_power": 0.3, "iterations": 3, "shift": 0.05, "eigenvalue_power": 0.0},
    "bipartite rotate": {"item_norm_power": 0.2, "iterations": 3, "shift": 0.05, "eigenvalue_power": 0.5},
    "plain both": {"iterations": 6, "shift": 0.0, "eigenvalue_power": 0.75},
    "plain positive": {"iterations": 8, "shift": 0.3, "eigenvalue_power": 1.0},
    "hashed": {"item_norm_power": 0.3},
    "factorised truncate": {"item_norm_power": 0.2, "iterations": 3, "shift": 0.05},
    "factorised rotate": {"item_norm_power": 0.2, "iterations": 3, "shift": 0.05},
    "plain_factorised both": {"iterations": 6, "shift": 0.0},
    "plain_factorised positive": {"iterations": 8, "shift": 0.3},
}


class EmbeddingConfig(Section):
    """Which vectors are computed. The defaults that depend on the graph are set by ``form``."""

    method: Literal["fastrp", "spectral", "ppr", "none"] = Field("fastrp", description="embedding method")
    form: Literal["auto", "two_tower", "classic", "low_pass", "hashed", "factorised"] = Field(
        "auto",
        description="of fastrp, auto is two_tower where the types differ, else classic; of ppr factorised or hashed, "
        "auto is factorised",
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
    degree_power: float = Field(
        0.0,
        ge=-4,
        le=4,
        description="classic: β, random rows are scaled by degree to this power (normalizationStrength)",
    )
    transition: Literal["random_walk", "symmetric"] | None = Field(
        None, description="one type: D^-1 A or D^-1/2 A D^-1/2; unset: classic random_walk, low_pass symmetric"
    )
    normalize_powers: bool = Field(True, description="classic: rows of each power have norm 1 before they are added")
    standardize_columns: bool = Field(False, description="classic: columns of the sum get mean 0 and variance 1")
    norm_degree_power: float = Field(
        0.0, ge=-4, le=4, description="one type: if not 0, a row's norm becomes its degree to this power"
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
        if form in ("bipartite", "factorised"):
            rotates = changes["rank"] > self.dim if self.reduction == "auto" else self.reduction == "rotate"
            changes["reduction"] = "rotate" if rotates else "truncate"
            key = f"{form} {changes['reduction']}"
        elif form in ("plain", "plain_factorised"):
            changes["reduction"] = "truncate" if self.reduction == "auto" else self.reduction
            key = f"{form} {self.eigenvalues}"
        defaults = _BY_FORM.get(key, {})
        changes |= {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return self.model_copy(update=changes)

    def check_eigenpairs(self) -> None:
        """Refuse what an embedding of eigenpairs can't do.

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
                f"embedding.shards is {self.shards}: {self._name} makes its columns orthogonal to each other, so that "
                "no task can hold only some; leave shards out and cut the graph into parts"
            )

    def check_hashed(self) -> None:
        """Refuse what hashed PPR can't do.

        Raises
        ------
        ValueError : rows of parts of the graph, or columns shared out.
        """
        if self.boundary != "exchange":
            raise ValueError(
                f"embedding.boundary is '{self.boundary}': hashed walks through the whole graph, which each task maps; "
                "use boundary = 'exchange'"
            )
        if (self.shards or 1) > 1:
            raise ValueError(
                f"embedding.shards is {self.shards}: hashed makes all columns of a row at once; leave shards out "
                "(ppr.shards deals the nodes out to tasks)"
            )

    @property
    def _name(self) -> str:
        return self.form if self.method == "ppr" else self.method
