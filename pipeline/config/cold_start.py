"""The section of the configuration about nodes that only attributes and side relations tell of."""

from typing import Literal

from pydantic import Field

from pipeline.config.sections import Section


class ColdStartConfig(Section):
    """Rows of nodes without an edge of the main relation, cold items and users: from attributes or other relations."""

    rows: Literal["own", "scaled", "map"] = Field(
        "own",
        description="own: what the method gives them. scaled: the same, as long as list_share asks. map: what a ridge "
        "regression says, fitted from hashed attributes to the directions of the rows of the type's nodes with edges; "
        "for any method",
    )
    list_share: float = Field(
        0.02,
        gt=0,
        le=1,
        description="scaled, map: most places in lists of 20 that the target type's cold nodes fill, and never more "
        "than their number gives in a random order; sets how long their rows are. tune chooses it",
    )
    norm: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="length of their rows in the place of list_share. scaled: a factor; map: their mean as a share of "
        "that of rows with edges, 1 for types that aren't listed",
    )
    ridge: float = Field(
        10.0, gt=0, le=1e12, description="map: penalty on its coefficients, as nodes with edges that say nothing"
    )
