"""The forms of the spectral method, and what all forms of eigenpairs share."""

from typing import Self

from pipeline.config.embedding import EmbeddingConfig
from pipeline.embedding.fold_in_recipes import fold_in_of_eigenvectors, one_step_of_eigenvectors
from pipeline.embedding.method_keys import EigenvaluePower, OneSidedEigenpairKeys, TwoSidedEigenpairKeys
from pipeline.embedding.method_spec import MethodSpec, cosines, dot_products
from pipeline.embedding.spectral import Bipartite, Plain


class BipartiteKeys(TwoSidedEigenpairKeys):
    """Keys of eigenvectors on two types."""

    name = "spectral"
    eigenvalue_power: EigenvaluePower = None

    def with_derived_keys(self) -> Self:
        """Scale rotated columns of items, since they are of all eigenvectors."""
        norm_power, eigenvalue_power = (0.2, 0.5) if self.rotates else (0.3, 0.0)
        return super().with_derived_keys().with_defaults(item_norm_power=norm_power, eigenvalue_power=eigenvalue_power)


class PlainKeys(OneSidedEigenpairKeys):
    """Keys of eigenvectors on one type."""

    name = "spectral"
    eigenvalue_power: EigenvaluePower = None

    def with_derived_keys(self) -> Self:
        """Scale columns by their eigenvalues, those for classifiers by less."""
        return super().with_derived_keys().with_defaults(eigenvalue_power=0.75 if self.eigenvalues == "both" else 1.0)


BOTH_SIGNS = cosines(
    "rows have one norm, and columns of eigenvalues of both signs, which describe a node best: a linear "
    "classifier takes the rows as they are. A product of two rows counts negative eigenvalues with the wrong sign: "
    "for who is near, embedding.eigenvalues = 'positive' makes the better table"
)


def loses_what_no_walk_returns_to(embedding: EmbeddingConfig) -> str:
    """Say why a row of two sides can be zero."""
    if embedding.shift == 0:
        return "embedding.shift = 0 loses what no walk comes back to while iterating; set embedding.shift = 0.05"
    return (
        "no eigenvector that was found reaches them; set embedding.no_return = 0 (now "
        f"{embedding.no_return:g}), or raise embedding.dim (now {embedding.dim})"
    )


def loses_small_weights(embedding: EmbeddingConfig) -> str:
    """Say why a row of one side can be zero."""
    return (
        "their weights are too small next to the mean degree that is added to each; set "
        f"embedding.degree_offset = 0 (now {embedding.degree_offset:g})"
    )


BIPARTITE = MethodSpec(
    method="spectral",
    form="bipartite",
    sides=2,
    keys=BipartiteKeys,
    sums_rows=True,
    rounds=Bipartite(),
    buffers=3,  # as they come, orthonormal, and scaled or multiplied
    products=lambda _: dot_products(
        "a user's row is the weighted sum of its items' eigenvector rows, and an item's norm is set by its "
        "degree and by item_row_power, so that the dot product of a user and an item is a ranking score; between "
        "nodes of one type norms say how popular or active they are, and cosine leaves them out; a linear classifier "
        "does better on truncated columns, which are orthogonal, than on rotated ones"
    ),
    space=(
        *("rank", "reduction", "iterations", "oversampling", "no_return", "shift"),
        *("user_degree_power", "item_degree_power", "item_norm_power", "item_row_power", "eigenvalue_power"),
    ),
    later_keys={"rotated_row_power": 1.0},
    needs_means=True,
    has_own_axes=True,
    fold_in=fold_in_of_eigenvectors,
    zero_rows=loses_what_no_walk_returns_to,
)

_PRODUCTS_OF_ONE_SIDE = cosines(
    "rows have one norm: a node's direction among the leading eigenvectors says where in the graph it is, "
    "and its length there mostly its degree; a linear classifier takes the rows as they are"
)

PLAIN = MethodSpec(
    method="spectral",
    form="plain",
    sides=1,
    keys=PlainKeys,
    rounds=Plain(),
    buffers=4,
    products=lambda embedding: BOTH_SIGNS if embedding.eigenvalues == "both" else _PRODUCTS_OF_ONE_SIDE,
    space=(
        *("rank", "reduction", "eigenvalues", "iterations", "oversampling", "shift"),
        *("eigenvalue_power", "degree_offset", "norm_degree_power"),
    ),
    later_keys={"accelerate": False, "row_norm": None},
    needs_means=True,
    has_own_axes=True,
    fold_in=one_step_of_eigenvectors,
    zero_rows=loses_small_weights,
)
