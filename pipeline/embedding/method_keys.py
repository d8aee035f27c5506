"""Keys of [embedding] that several forms of methods share."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field

from pipeline.config.embedding import EmbeddingConfig
from pipeline.config.sections import InputConfig


def _at_least_one(value: float | str) -> float | str:
    if isinstance(value, float) and value < 1:
        raise ValueError(f"it must be at least 1 (1 means no zeros) or 'sqrt_n', not {value}")
    return value


Transition = Annotated[
    Literal["random_walk", "symmetric"] | None,
    Field(description="one type: D^-1 A or D^-1/2 A D^-1/2; unset: classic random_walk, low_pass symmetric"),
]
NormDegreePower = Annotated[
    float, Field(ge=-4, le=4, description="one type: if not 0, a row's norm becomes its degree to this power")
]
RowNorm = Annotated[
    float | None,
    Field(
        gt=0,
        description="spectral, one type: norm of a row, times degree^norm_degree_power; unset: sqrt(dim) / 2, "
        "which suits a regression at C = .05; at a library's C = 1, 1 to 2 does",
    ),
]
ItemNormPower = Annotated[
    float | None,
    Field(ge=-4, le=4, description="two types: q, an item's norm is its degree to this power; unset: by the form"),
]
EigenvaluePower = Annotated[
    float | None,
    Field(ge=0, le=4, description="spectral: columns (two types: the items') are scaled by |w|^this; unset: by form"),
]
Rank = Annotated[
    int | None,
    Field(
        ge=1,
        le=65_536,
        description="spectral: eigenpairs computed; low_pass: eigenvalues that pass; unset: dim, 4 dim",
    ),
]


class RandomRowKeys(EmbeddingConfig):
    """Of forms that start from random rows."""

    projection: Literal["sparse", "normal"] = Field("sparse", description="distribution of the random rows")
    sparsity: Annotated[float | Literal["sqrt_n"], AfterValidator(_at_least_one)] = Field(
        3.0, description="sparse: 1 / share of entries that are not zero; sqrt_n is sqrt(number of nodes)"
    )
    compute: Literal["float32", "half"] = Field(
        "float32", description="fastrp: type of the rows that a product reads; half: bfloat16, summed in float32"
    )
    attribute_share: float = Field(
        0.5, ge=0, le=1, description="fastrp: how much of a start row comes from the node's attributes, if it has some"
    )


class TwoSidedKeys(EmbeddingConfig):
    """Of forms of M = D_U^-a B D_I^-b."""

    user_degree_power: float = Field(0.4, ge=-4, le=4, description="two types: a in M = D_U^-a B D_I^-b")
    item_degree_power: float = Field(0.4, ge=-4, le=4, description="two types: b in M = D_U^-a B D_I^-b")


class SubspaceKeys(EmbeddingConfig):
    """Of forms of subspace iteration."""

    name: ClassVar[str]  # in errors

    iterations: int | None = Field(
        None, ge=1, le=64, description="spectral: products before the last; unset: by form and eigenvalues (3 to 9)"
    )
    oversampling: int = Field(16, ge=0, le=4_096, description="spectral: extra columns beside rank, for convergence")
    align: bool = Field(True, description="spectral: rotate into the coordinates of the last release")

    def check(self, types: InputConfig) -> None:
        """Refuse parts of the graph, and columns shared out."""
        refuse_cuts(self, self.name)
        if (self.shards or 1) > 1:
            raise ValueError(
                f"embedding.shards is {self.shards}: {self.name} makes its columns orthogonal to each other, so that "
                "no task can hold only some; leave shards out and cut the graph into parts"
            )


class EigenpairKeys(SubspaceKeys):
    """Of forms of eigenpairs."""

    rank: Rank = None
    reduction: Literal["auto", "truncate", "rotate"] = Field(
        "auto", description="spectral: how rank columns become dim: the leading ones, or all by a hashed rotation"
    )
    shift: float | None = Field(
        None, ge=0, le=4, description="spectral: multiple of the identity added while iterating, against negative ends"
    )
    warm_start: bool = Field(
        False, description="spectral: nights of a lineage start from the vectors of the night before, with one product"
    )

    def check(self, types: InputConfig) -> None:
        """Refuse fewer eigenpairs than columns too."""
        super().check(types)
        if self.rank is not None and self.rank < self.dim and self.reduction != "rotate":
            raise ValueError(
                f"embedding.rank is {self.rank} and embedding.dim {self.dim}: the columns beyond rank would be zero; "
                "raise rank, or lower dim"
            )


class TwoSidedEigenpairKeys(TwoSidedKeys, EigenpairKeys):
    """Of forms of eigenpairs on two types."""

    item_norm_power: ItemNormPower = None
    no_return: float = Field(
        1.0, ge=0, le=1, description="spectral, two types: share of diag(P) that is left out, steps back to their start"
    )
    item_row_power: float = Field(
        0.7, ge=0, le=1, description="spectral, two types, truncated: θ in i = V |V|^-θ d^q; 1 leaves d^q to rank"
    )
    rotated_row_power: float = Field(
        1.0, ge=0, le=1, description="spectral, two types, rotated: the same θ of rows that were rotated"
    )

    @property
    def rotates(self) -> bool:
        """Whether all eigenvectors are mixed into the columns."""
        return (self.rank or self.dim) > self.dim if self.reduction == "auto" else self.reduction == "rotate"

    def with_derived_keys(self) -> Self:
        """Truncate where there are as many eigenpairs as columns, else rotate."""
        reduction = "rotate" if self.rotates else "truncate"
        with_reduction = self.model_copy(update={"reduction": reduction})
        return with_reduction.with_defaults(rank=self.dim, iterations=3, shift=0.05)


class OneSidedEigenpairKeys(EigenpairKeys):
    """Of forms of eigenpairs on one type."""

    norm_degree_power: NormDegreePower = 0.0
    row_norm: RowNorm = None
    eigenvalues: Literal["both", "positive"] = Field(
        "both", description="spectral, one type: of both signs, for classifiers; positive: those that say who is near"
    )
    degree_offset: float = Field(
        0.5, ge=0, le=64, description="spectral, one type: mean degrees added to every degree, against tiny pieces"
    )
    accelerate: bool = Field(
        False, description="spectral, one type: products take momentum; 16 iterations then part flat spectra as 40 do"
    )

    def with_derived_keys(self) -> Self:
        """Truncate; how long to iterate depends on the signs that are asked for."""
        reduction = "truncate" if self.reduction == "auto" else self.reduction
        iterations, shift = (6, 0.0) if self.eigenvalues == "both" else (8, 0.3)
        with_reduction = self.model_copy(update={"reduction": reduction})
        return with_reduction.with_defaults(rank=self.dim, iterations=iterations, shift=shift)


def refuse_cuts(keys: EmbeddingConfig, name: str) -> None:
    """Raise ValueError where rows are to be made part by part, and the method takes the whole graph's spectrum."""
    if keys.boundary != "exchange":
        raise ValueError(
            f"embedding.boundary is '{keys.boundary}': {name} takes what the whole graph says of its spectrum; use "
            "boundary = 'exchange' (boundary_dtype = 'int8' sends a quarter of the bytes)"
        )
