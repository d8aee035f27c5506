"""The section of the configuration about personalised PageRank: lists of neighbours, vectors, and the walk index."""

from typing import Literal

from pydantic import Field, field_validator

from pipeline.config.sections import Section


class PprConfig(Section):
    """Personalised PageRank: where a walk is that jumps back to its source with chance ``restart`` at each step."""

    neighbors: bool = Field(False, description="publish ppr_neighbors: of each source, the nodes it is nearest to")
    restart: float = Field(
        0.15,
        gt=0,
        lt=1,
        description="chance of jumping back to the source at each step; 1 - damping (networkx: alpha). To recommend on "
        "two types .5 to .8 ranks better",
    )
    top_k: int = Field(100, ge=1, le=100_000, description="most neighbours in a list; at most the nodes of target_type")
    tolerance: float = Field(
        0.01, gt=0, lt=1, description="chebyshev, push: bound on the sum of a source's errors, over all nodes (l1)"
    )
    solver: Literal["auto", "chebyshev", "push", "walks"] = Field(
        "auto", description="auto is chebyshev or push, by an estimate of the work that log and metadata state"
    )
    push_threshold: float | None = Field(
        None,
        gt=0,
        description="push: largest error at a node for each unit of its weighted degree, in the place of tolerance; "
        "unset: tolerance over the sum of all degrees, and across parts 1e-4 over the mean degree; for hashed vectors "
        "the larger of 1 / nodes and 1e-5, over the mean degree, and float32's rounding besides",
    )
    walks: int = Field(10_000, ge=1, le=10**9, description="solver walks: walks from each source")
    source_type: str | None = Field(None, min_length=1, description="type of nodes that get a list; unset: all types")
    sources: str | None = Field(
        None, min_length=1, description="file of the ids that get a list, columns node_id and node_type; unset: all"
    )
    target_type: str | None = Field(
        None, min_length=1, description="type of the nodes listed; unset: that which edges point to"
    )
    exclude_known: bool = Field(False, description="leave the source's own neighbours in the graph out of its list")
    degree_correction: float = Field(
        0.0, ge=0, le=4, description="scores are multiplied by the listed node's number of neighbours to minus this"
    )
    edge_degree_power: float = Field(
        0.0,
        ge=-1,
        le=1,
        description="lists and walk index: before the walk, weights of edges are multiplied by (neighbours of one end "
        "x neighbours of the other) to this; above 0, walks prefer well connected nodes",
    )
    across: Literal["auto", "sources", "parts"] = Field(
        "auto",
        description="sources: each task has the whole graph and some sources; parts: each has a part of the graph and "
        "all sources; auto is sources if the graph fits partition.worker_bytes",
    )
    shards: int | None = Field(
        None, ge=1, description="tasks that sources are dealt out to; unset: by their cost; changes no result"
    )
    hash_columns: int = Field(
        2, ge=1, le=16, description="embedding.method ppr, hashed: columns that an entry of a node's PPR is added to"
    )
    walk_index: bool = Field(
        False, description="publish ppr_graph and ppr_walks: what 'graphquilt query ppr' answers batches from"
    )
    index_walks: int = Field(100, ge=1, le=65_535, description="walks from each node in the walk index")

    @field_validator("tolerance", mode="before")
    @classmethod
    def _some_error_is_left(cls, value: object) -> object:
        if value == 0:
            raise ValueError("it is 0; it must be above 0: an error of 0 takes infinitely many steps")
        return value

    @field_validator("restart", mode="before")
    @classmethod
    def _restart_is_a_chance(cls, value: object) -> object:
        if isinstance(value, int | float) and not isinstance(value, bool) and not 0 < value < 1:
            raise ValueError(
                f"it is {value}; it must be above 0 and below 1: the chance of jumping back to the source at each "
                "step, so that a damping factor (networkx' alpha) of .85 is a restart of .15"
            )
        return value
