"""What a run measured -> the figures that each gate judges, and why one can't be judged tonight."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline import codec
from pipeline.config.model import PipelineConfig
from pipeline.ingest.figures import IngestFigures
from pipeline.metrics.baseline import OF_WEIGHTS, Baseline, changed_key, why_no_baseline
from pipeline.metrics.drift import FEWEST_NODES, ListRetention
from pipeline.metrics.graph_retention import FEWEST, AttributeRetention, GraphRetention, MedianRatio, Share
from pipeline.metrics.next_day import next_day_figures
from pipeline.publishing.gate import FIGURES, Figure
from pipeline.publishing.listing import note_of
from pipeline.release_tables.neighbors import FilteredListFigures
from pipeline.release_tables.node_embeddings import EmbeddingFigures
from pipeline.release_tables.ppr_neighbors import PublishedListFigures
from pipeline.workspace import Workspace
from schemas.published_tables import NEIGHBORS, NODE_EMBEDDINGS, PPR_NEIGHBORS

#: Rows or edges of the baseline, below which growth says nothing.
FEWEST_TO_GROW = 1_000
#: Pairs of which a share is compared with that of another night: two shares of fewer may differ by chance.
FEWEST_TO_RISE = 100
#: New pairs whose median weight says something of how weights are written.
FEWEST_NEW = 50

_OF_COUNTS = (
    *("max_row_change", "same_id_type", "min_row_ratio", "max_row_ratio", "min_edge_ratio", "max_edge_ratio"),
    "max_rejected_rise",
)
_OF_GRAPH = (
    *("min_nodes_kept", "min_pairs_kept", "min_weights_kept", "max_changed_weights_rise", "max_renewed_rise"),
    "max_new_weight_ratio",
)

_NEXT_DAY_ONLY = (
    "evaluate.source is 'next_day', which scores the last release; 'holdout' and 'file' score tonight's table"
)


def figures_for(config: PipelineConfig, workspace: Workspace, metrics: Mapping[str, Any]) -> dict[str, list[Figure]]:
    """Return the figures of each key of ``[publish.gates]``; ``metrics`` is what evaluate measured."""
    baseline = Baseline.of(workspace, config.publish)
    vectors = workspace.figures(NODE_EMBEDDINGS, EmbeddingFigures)
    has_vectors = vectors.metadata is not None
    # Without vectors lists are the rows, and an empty one says as little as a row of zeros.
    rows, zero_rows = (vectors.rows, vectors.zero_rows) if has_vectors else _counts_of_lists(config, workspace)
    last, drift = _last_values(baseline), metrics["drift"]
    return {
        "min_rows": [Figure("rows", rows)],
        "max_zero_share": [Figure("zero_share", zero_rows / max(1, rows))],
        **_of_tonight(config, metrics, has_vectors=has_vectors),
        **_counts(config, workspace, drift["kept"], rows, baseline),
        **_of_graph(config, workspace, drift["kept"], last, baseline),
        "min_attributes_kept": _attributes(drift["attributes"], last),
        "min_rankme_ratio": _rankme(metrics),
        "min_neighbors_kept": [*_neighbors(drift["vectors"], last), *_lists(drift["lists"], last)],
        **next_day_figures(config, workspace, metrics, baseline),
    }


def _counts_of_lists(config: PipelineConfig, workspace: Workspace) -> tuple[int, int]:
    """Return how many lists are published, and how many of them are empty."""
    if config.lists.filter is None:
        of_ppr = workspace.figures(PPR_NEIGHBORS, PublishedListFigures)
        return of_ppr.lists, of_ppr.empty_lists
    lists = workspace.figures(NEIGHBORS, FilteredListFigures)
    return lists.filtered_lists, lists.empty_filtered_lists


def _not_judged(why: str, keys: Iterable[str]) -> dict[str, list[Figure]]:
    return {key: [Figure(FIGURES[key], None, why_not=why)] for key in keys}


def _of_tonight(config: PipelineConfig, metrics: Mapping[str, Any], *, has_vectors: bool) -> dict[str, list[Figure]]:
    """Figures of tonight's table by itself."""
    k = config.evaluate.k[0]
    ranking = (metrics if has_vectors else metrics.get(config.list_table, {})).get("ranking", {})
    values = {
        "min_recall": ranking.get(f"recall@{k}"),
        "min_ndcg": ranking.get(f"ndcg@{k}"),
        "min_auc": metrics.get("link_prediction", {}).get("auc_degree_matched"),
    }
    why = None
    if config.evaluate.source == "next_day":
        why = _NEXT_DAY_ONLY
    elif config.evaluate.source == "none":
        why = str(metrics["note"])
    elif ranking.get("users") == 0:
        why = "no test pair is of a node that can be ranked for"
    least = min((of_type["rankme"] for of_type in metrics.get("rankme", {}).values()), default=None)
    return {
        **(_not_judged(why, values) if why else {key: [Figure(FIGURES[key], value)] for key, value in values.items()}),
        "min_rankme": [Figure("rankme", least, why_not=metrics["drift"]["vectors"].get("note"))],
    }


def _of_graph(
    config: PipelineConfig,
    workspace: Workspace,
    values: Mapping[str, Any],
    last: Mapping[str, float],
    baseline: Baseline | None,
) -> dict[str, list[Figure]]:
    """Figures of what is still there of the baseline's graph."""
    if why := values.get("note"):
        return _not_judged(why, _OF_GRAPH)
    retention = codec.from_values(GraphRetention, values)
    nights = _nights(workspace, baseline)
    new_weight = Share(retention.weights.of - retention.weights.kept, retention.weights.of)
    weights = [
        _share("weights_kept", retention.weights, last),
        _of_nights(_share("weights_changed", new_weight, last, FEWEST_TO_RISE), nights),
        _if_known(_new_weights(retention.new_weights, last)),
    ]
    if baseline and (why := changed_key("input", config, baseline, OF_WEIGHTS)):
        weights = [replace(figure, value=None, why_not=why) for figure in weights]
    return {
        "min_nodes_kept": [_share(f"nodes_kept of {name}", share, last) for name, share in retention.nodes.items()],
        "min_pairs_kept": [_share("pairs_kept", retention.pairs, last)],
        "min_weights_kept": weights[:1],
        "max_changed_weights_rise": weights[1:2],
        "max_renewed_rise": [_of_nights(_share("pairs_renewed", retention.renewed, last, FEWEST_TO_RISE), nights)],
        "max_new_weight_ratio": weights[2:],
    }


def _counts(
    config: PipelineConfig,
    workspace: Workspace,
    retention: Mapping[str, Any],
    rows: int,
    baseline: Baseline | None,
) -> dict[str, list[Figure]]:
    """Figures of how many rows and edges there are, beside the baseline's."""
    if baseline is None:
        return _not_judged(why_no_baseline(workspace), _OF_COUNTS)
    before, ingest = baseline.manifest, workspace.figures("edges", IngestFigures)
    then = before["stages"]["ingest"]["figures"]
    is_same_kind = (config.embedding.method != "none") == bool(before["metadata"])
    why = None if is_same_kind else f"release {baseline.release} has rows of another kind: vectors or lists"
    row_count = Figure("rows", rows if is_same_kind else None, before["rows"], why_not=why)
    change = abs(rows / max(1, before["rows"]) - 1) if is_same_kind else None
    edges = Figure("edges", ingest.pairs, then["pairs"])
    due_rows, due_edges = _due(retention, before)
    other_window = changed_key("input", config, baseline, ("window_days",))
    is_same_type = float(ingest.id_type == then["id_type"])
    return {
        "max_row_change": [Figure("row_change", change, why_not=why)],
        "same_id_type": [
            Figure("id_type", is_same_type, detail=f"{ingest.id_type} tonight, {then['id_type']} last night")
        ],
        "min_row_ratio": [_least(row_count, due_rows, other_window)],
        "max_row_ratio": [_most(row_count, other_window)],
        "min_edge_ratio": [_least(edges, due_edges, other_window)],
        "max_edge_ratio": [_most(edges, other_window)],
        "max_rejected_rise": [Figure("rejected_share", ingest.rejected_share, then["rejected_share"])],
    }


def _due(retention: Mapping[str, Any], before: Mapping[str, Any]) -> tuple[int, int] | tuple[None, None]:
    """Return how many of the baseline's rows and edges are still in tonight's window; None: not known."""
    if not retention.get("due"):
        return None, None
    nodes = {name: stop - first for name, (first, stop) in before["stages"]["index"]["figures"]["types"].items()}
    due = sum(share * nodes[name] for name, share in retention["due"]["node_shares"].items())
    return round(before["rows"] * due / max(1, sum(nodes.values()))), retention["due"]["pairs"]


def _least(figure: Figure, due: int | None, other_window: str | None) -> Figure:
    """Return a count to be held against what can be expected: the baseline's that is in tonight's window.

    A window that leaves nothing of the baseline's is compared with the baseline itself, if it is as long.
    """
    if due:
        return replace(figure, baseline=due, detail=f"{due:,} of last night's {figure.baseline:,} are in its window")
    return replace(figure, value=None, why_not=other_window) if other_window else figure


def _most(figure: Figure, other_window: str | None) -> Figure:
    if other_window:
        return replace(figure, value=None, why_not=other_window)
    if figure.baseline is None or figure.baseline >= FEWEST_TO_GROW:
        return figure
    return replace(figure, value=None, why_not=f"the last release has {figure.baseline:,}: young data may grow at will")


def _share(name: str, share: Share, last: Mapping[str, float], fewest: int = FEWEST) -> Figure:
    if share.of < fewest:
        return Figure(name, None, why_not=f"only {share.of} of the last release can be compared, too few for a share")
    return Figure(name, share.kept / share.of, last.get(name), detail=f"{share.kept:,} of {share.of:,}")


def _new_weights(medians: MedianRatio, last: Mapping[str, float]) -> Figure:
    name = "new_weights"
    if medians.of < FEWEST_NEW:
        return Figure(name, None, why_not=f"only {medians.of} pairs are new, too few for a median")
    detail = f"of {medians.of:,} pairs, as a multiple of the others'"
    return Figure(name, medians.ratio, last.get(name), detail=detail)


def _nights(workspace: Workspace, baseline: Baseline | None) -> float | None:
    """How long ago the baseline was, in the time that lay between it and its own; None without one."""
    before = baseline.manifest.get("baseline") if baseline else None
    if baseline is None or not before:
        return None
    data_date, date_before = dt.date.fromisoformat(baseline.data_date), dt.date.fromisoformat(before[:10])
    return (workspace.date - data_date).days / (data_date - date_before).days


def _of_nights(figure: Figure, nights: float | None) -> Figure:
    """Return a share of pairs to which something happens in a night, beside what last night's makes in as many."""
    if figure.baseline is None or nights is None:
        return _if_known(replace(figure, baseline=None))
    return replace(figure, baseline=1 - (1 - figure.baseline) ** nights)


def _if_known(figure: Figure) -> Figure:
    """A figure that is compared with last night's own; not judged, but kept for the next night, where there is none."""
    if figure.value is None or figure.baseline is not None:
        return figure
    return replace(figure, why_not=f"last night's {figure.name} is not known", is_early=True)


def _attributes(by_type: Mapping[str, Any], last: Mapping[str, float]) -> list[Figure]:
    if note := by_type.get("note"):
        return [Figure("attributes_kept", None, why_not=note)]
    figures = []
    for node_type, values in by_type.items():
        name, retention = f"attributes_kept of {node_type}", codec.from_values(AttributeRetention, values)
        if retention.nodes < FEWEST or not retention.of:
            figures.append(Figure(name, None, why_not=f"only {retention.nodes} nodes that had some are here tonight"))
        else:
            figures.append(
                Figure(name, retention.kept / retention.of, last.get(name), detail=f"{retention.nodes:,} nodes")
            )
    return figures


def _rankme(metrics: Mapping[str, Any]) -> list[Figure]:
    before = metrics["drift"]["vectors"].get("rankme_before")
    if before is None:
        return [Figure("rankme", None, why_not=metrics["drift"]["vectors"]["note"])]
    return [
        Figure(f"rankme of {name}", now["rankme"], before[name]["rankme"])
        for name, now in metrics["rankme"].items()
        if name in before and before[name]["rows"] >= FEWEST_NODES
    ] or [Figure("rankme", None, why_not=f"the last release has no {FEWEST_NODES} nodes of a type of tonight's")]


def _neighbors(overlaps: Mapping[str, Any], last: Mapping[str, float]) -> list[Figure]:
    if note := overlaps.get("note"):
        return [Figure("neighbors_kept", None, why_not=note)]
    if not overlaps["lists"]:
        return [Figure("neighbors_kept", None, why_not=f"fewer than {FEWEST_NODES} nodes are in both tables")]
    figures = []
    for overlap in overlaps["lists"]:
        name = f"neighbors_kept of {overlap['from']} among {overlap['to']}"
        figures.append(Figure(name, overlap["overlap@20"], last.get(name), detail=f"{overlap['nodes']:,} nodes"))
    return figures


def _lists(values: Mapping[str, Any], last: Mapping[str, float]) -> list[Figure]:
    name = "neighbors_kept of lists"
    if note := values.get("note"):
        return [Figure(name, None, why_not=note)]
    lists = codec.from_values(ListRetention, values)
    if lists.sources < FEWEST:
        return [Figure(name, None, why_not=f"fewer than {FEWEST} nodes have lists in both releases")]
    return [Figure(name, lists.kept / lists.of, last.get(name), detail=f"{lists.sources:,} lists")]


def _last_values(baseline: Baseline | None) -> dict[str, float]:
    """Return last night's figures, as its gates saw them."""
    if baseline is None:
        return {}
    gates: Sequence[Mapping[str, Any]] = note_of(baseline.folder, "gate.json").get("gates", ())
    return {gate["figure"]: gate["value"] for gate in gates if gate["value"] is not None}
