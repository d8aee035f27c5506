"""The section of the configuration about nodes of which nothing but attributes is known."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.config.sections import Section


class ColdStartConfig(Section):
    """Rows of nodes with attributes and without an edge of the main relation: cold items and users."""

    rows: Literal["own", "map"] = Field(
        "own",
        description="own: what the method gives them. map: what a ridge regression says, fitted from hashed attributes "
        "to the directions of the rows of the type's nodes with edges; for any method",
    )
    norm: float = Field(
        0.75,
        gt=0,
        le=1e6,
        description="map: length of the rows that it gives, as a share of the mean length of those with edges; "
        "tune chooses it",
    )
    ridge: float = Field(
        10.0, gt=0, le=1e12, description="map: penalty on its coefficients, as nodes with edges that say nothing"
    )
