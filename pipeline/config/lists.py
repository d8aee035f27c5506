"""The section of the configuration about lists by a filter of the graph."""

from typing import Literal

from pydantic import Field, field_validator

from pipeline.config.sections import Section


class ListsConfig(Section):
    """Lists of neighbours by a polynomial of the graph and its leading eigenvectors (ChebyCF)."""

    filter: Literal["plateau", "linear"] | None = Field(
        None,
        description="publish neighbors: of each source the nodes of the other side (one type: all) with the largest "
        "scores D^beta [h(P) + alpha V V^T] D^-beta r, r the source's edges, P two steps of a walk and V its leading "
        "eigenvectors; plateau: h is steep at both ends of the spectrum, linear: h(P) = P. PageRank's lists are "
        "ppr.neighbors",
    )
    top_k: int = Field(100, ge=1, le=100_000, description="most neighbours in a list; at most the nodes of target_type")
    rank: int = Field(256, ge=0, le=65_536, description="eigenvectors in V; at most the nodes of target_type")
    alpha: float = Field(0.2, ge=0, le=100, description="weight of V V^T beside h(P); 0 computes no eigenvectors")
    beta: float = Field(
        0.4, ge=0, le=1, description="power of degrees (sums of weights): above 0, popular nodes count less in r, and "
        "more in scores"
    )  # fmt: skip
    phi: float = Field(1.5, gt=0, le=16, description="plateau: 1 is linear; above, flatter between the ends")
    filter_degree: int = Field(8, ge=1, le=64, description="plateau: degree of the polynomial that h is")
    source_type: str | None = Field(
        None, min_length=1, description="type of nodes that get a list; unset: on two types that which isn't listed"
    )
    sources: str | None = Field(
        None, min_length=1, description="file of the ids that get a list, columns node_id and node_type; unset: all"
    )
    target_type: str | None = Field(
        None, min_length=1, description="type of the nodes listed; unset: that which edges point to"
    )
    exclude_known: bool = Field(True, description="leave the source's own neighbours in the graph out of its list")
    shards: int | None = Field(
        None, ge=1, description="tasks that sources are dealt out to; unset: by their cost; changes no result"
    )

    @field_validator("filter", mode="before")
    @classmethod
    def _page_rank_has_keys_of_its_own(cls, value: object) -> object:
        if value == "ppr":
            raise ValueError("it is 'ppr': set ppr.neighbors = true in its place; keys of these lists are in [ppr]")
        return value
