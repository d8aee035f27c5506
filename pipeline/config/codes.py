"""The section of the configuration about discrete codes of nodes."""

from typing import Any, Literal

from pydantic import Field

from pipeline.config.sections import Section


class CodesConfig(Section):
    """Clusters of the graph by modularity, or of the published rows by recursive splits: a code of each node."""

    enabled: bool = Field(False, description="publish node_codes: of each node with edges, its cluster and its code")
    source: Literal["graph", "vectors", "residuals"] = Field(
        "graph",
        description="what is clustered: the graph, by modularity, merged from the bottom up; the published rows of "
        "each type, by recursive balanced k-means; or these, and then what is left of them, a codebook a level",
    )
    share: float = Field(
        0.25,
        gt=0,
        le=1,
        description="most rows of a table with one row for each cluster and type of nodes in it, over the nodes; sets "
        "the resolution, or the number of clusters of vectors; of residuals, most rows of all codebooks",
    )
    resolution: float | None = Field(
        None,
        gt=0,
        description="graph: γ of the modularity, in the place of share; clusters are the smaller the larger it is",
    )
    max_size: int | None = Field(
        None, ge=1, description="most nodes of a cluster; unset: no bound, and of vectors about twice the mean"
    )
    levels: int = Field(
        3, ge=1, le=16, description="length of a code; level l of L has clusters^(l / L) groups, the last the clusters"
    )

    @property
    def of_graph(self) -> bool:
        """Whether a run makes codes of the graph."""
        return self.enabled and self.source == "graph"

    @property
    def of_vectors(self) -> bool:
        """Whether a run makes codes of its published rows."""
        return self.enabled and self.source != "graph"

    def keys(self) -> dict[str, Any]:
        """Return the keys that set the result; of the graph, without the source, as before there was another."""
        return self.model_dump(mode="json", exclude={"source"} if self.source == "graph" else None)
