"""The section of the configuration about discrete codes of nodes."""

from __future__ import annotations

from pydantic import Field

from pipeline.config.sections import Section


class CodesConfig(Section):
    """Clusters of the graph by modularity, merged from the bottom up: a code of each node, from coarse to fine."""

    enabled: bool = Field(False, description="publish node_codes: of each node with edges, its cluster and its code")
    share: float = Field(
        0.25,
        gt=0,
        le=1,
        description="most rows of a table with one row for each cluster and type of nodes in it, over the nodes; sets "
        "the resolution",
    )
    resolution: float | None = Field(
        None, gt=0, description="γ of the modularity, in the place of share; clusters are the smaller the larger it is"
    )
    max_size: int | None = Field(None, ge=1, description="most nodes of a cluster; unset: no bound")
    levels: int = Field(
        3, ge=1, le=16, description="length of a code; level l of L has clusters^(l / L) groups, the last the clusters"
    )
