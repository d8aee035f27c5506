"""The sections [publish] and [publish.gates]: where a table goes, and what it must show before."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from graphquilt.locations import Location, parse_location
from pipeline.config.sections import Section

#: What a gate is set to that is not to be judged.
OFF = "off"
Share = Annotated[float, Field(ge=0, le=1)] | Literal["off"]
Ratio = Annotated[float, Field(ge=0)] | Literal["off"]


class GatesConfig(Section):
    """What a table must show before readers get it.

    A bound left out is not checked. Those against the baseline, the release that readers have, have defaults, and
    "off" switches one off.
    """

    min_rows: int = Field(1, ge=0, description="fewest rows")
    max_zero_share: float | None = Field(
        None, ge=0, le=1, description="largest share of zero rows; of lists alone, of empty lists"
    )
    min_recall: float | None = Field(None, ge=0, le=1, description="lowest recall at the first k")
    min_ndcg: float | None = Field(None, ge=0, le=1, description="lowest NDCG at the first k")
    min_auc: float | None = Field(None, ge=0, le=1, description="lowest AUC against degree-matched negatives")
    min_rankme: float | None = Field(None, ge=0, description="lowest RankMe")
    max_row_change: float | None = Field(
        None, ge=0, description="largest relative change of rows since the last release"
    )
    same_id_type: bool = Field(True, description="refuse ids that turn from int64 to string or back")
    min_row_ratio: Ratio = Field(0.5, description="fewest rows, as a share of the baseline's")
    max_row_ratio: Ratio = Field(10.0, description="most rows, as a multiple of the baseline's")
    min_edge_ratio: Ratio = Field(0.5, description="fewest edges, as a share of the baseline's")
    max_edge_ratio: Ratio = Field(10.0, description="most edges, as a multiple of the baseline's")
    min_nodes_kept: Share = Field(
        0.9, description="share, of the baseline's nodes with a pair that is in tonight's window, that tonight has"
    )
    min_pairs_kept: Share = Field(
        0.9, description="share, of the baseline's pairs that are in tonight's window, that tonight has"
    )
    min_weights_kept: Share = Field(
        0.6, description="share, of pairs that both have and that no event was added to, that weigh what they did"
    )
    max_changed_weights_rise: Share = Field(
        0.15, description="how much larger the share of such pairs that weigh something else may be than last night's"
    )
    max_new_weight_ratio: Ratio = Field(
        10.0, description="most that an event of new pairs weighs next to one of others, as a multiple of last night's"
    )
    max_renewed_rise: Share = Field(
        0.4, description="how much larger the share of the baseline's pairs that have a new event may be"
    )
    min_attributes_kept: Share = Field(
        0.7, description="how alike nodes' attributes are to what they were, 1: the same, 0: nothing in common"
    )
    max_rejected_rise: Share = Field(0.02, description="how much larger the share of rejected rows may be")
    min_rankme_ratio: Ratio = Field(0.3, description="lowest RankMe of a type, as a share of the baseline's")
    min_neighbors_kept: Share = Field(
        0.1, description="share of the 20 nearest neighbours, or of listed ones, that nodes of both keep"
    )
    min_next_day_ratio: Ratio = Field(
        0.4, description="lowest next_day recall, NDCG and AUC above chance, as a share of the median of 7 nights"
    )
    min_next_day_auc: Share = Field(
        0.53,
        description="lowest next_day AUC where a tenth of the baseline's pairs, and 1,000, are new between its nodes",
    )
    without_verdict: Literal["refuse", "warn"] = Field(
        "refuse", description="what a gate does that is set and can't be judged; never on a first night"
    )


class PublishConfig(Section):
    """Where the table goes, what it must show, and how long old ones stay."""

    name: str = Field("default", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="published/<name>")
    to: str = Field(
        "", description="folder, or address on s3://, gs:// or az://, that published/<name> is in; '': the workspace"
    )
    gates: GatesConfig = Field(default_factory=GatesConfig, description="bounds checked before CURRENT moves")
    keep_releases: int = Field(7, ge=1, description="releases kept, the current one included; its baseline stays too")
    keep_runs: int = Field(3, ge=1, description="dates whose working tables are kept")
    min_age_hours: float = Field(24.0, ge=0, description="a younger release is never removed")
    rows_per_file: int = Field(4_000_000, ge=1, description="rows of a published Parquet file")
    fold_in: bool = Field(
        False, description="publish the table fold_in too: what a user's row is the weighted sum of, for new users"
    )
    compact: Literal["none", "int8"] = Field(
        "none", description="int8: publish the table node_embeddings_int8 too, rows in a quarter of the bytes"
    )
    event_timestamp: bool = Field(
        False, description="node_embeddings has the column event_timestamp too, the end of the data date"
    )
    exclude_ids: dict[str, tuple[int | str, ...]] = Field(
        default_factory=dict, description="by node type, ids left out of the next release"
    )
    node_types: tuple[str, ...] | None = Field(
        None, description="types whose nodes are published; unset: source_type and target_type of [input]"
    )
    report: bool = Field(True, description="write report.html beside the release, or beside a refused night's verdict")
    person_types: tuple[str, ...] | None = Field(
        None, description="node types whose ids no report names; unset: input.source_type, [] names all"
    )

    @field_validator("to")
    @classmethod
    def _is_address(cls, to: str) -> str:
        if to:
            parse_location(to)
        return to

    def root(self, workspace: Location) -> Location:
        """Return what ``published/`` is in, for a run in a workspace."""
        return parse_location(self.to) if self.to else workspace
