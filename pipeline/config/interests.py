"""The section of the configuration about the interests of sources."""

from pydantic import Field

from pipeline.config.sections import Section


class InterestsConfig(Section):
    """Several queries of a source in the place of one: of each cluster of its neighbours, one (kNN-Embed)."""

    clusters: int = Field(
        0,
        ge=0,
        description="publish user_interests: of each source, its share of weight and a query in each of its clusters; "
        "about so many clusters of the graph, by modularity; 0: no such table",
    )
    per_source: int = Field(8, ge=1, le=1_000, description="most clusters of a source: those with the largest weights")
    smoothing: float = Field(
        5.0,
        ge=0,
        description="m of (n + m s) / (sum of n + m): n is a source's weight in a cluster, s the mean share of the "
        "sources in its own cluster",
    )
    own_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the direction of the source's own row in a query; the rest is that of the mean of its "
        "neighbours' rows in the cluster",
    )
