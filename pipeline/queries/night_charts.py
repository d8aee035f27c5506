"""The charts of a report that are drawn from a night's figures: quality by class and width, and the parts."""

from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from pipeline import storage
from pipeline.queries.night_run import NightRun
from pipeline.report.amounts import count, describe_sample
from pipeline.report.charts import THIRD, Curve, bar_chart, line_chart, slice_columns
from pipeline.report.pictures import Picture
from pipeline.report.treemap import SHADES, PartSize, draw_parts


def draw_quality(metrics: Mapping[str, Any]) -> Iterator[Picture]:
    """Yield recall by activity, by popularity and by width, where pairs were scored."""
    figure = next((name for name in metrics.get("ranking", {}) if name.startswith("recall@")), None)
    if figure is None or not metrics["ranking"].get("users"):
        return
    title = figure.replace("recall", "Recall")
    whose = (
        " It is last night's table, scored on tonight's new pairs." if metrics["scored"] == "previous release" else ""
    )
    ranking = metrics["ranking"]
    sample = describe_sample(ranking["users"], ranking["population"], "sources")
    of_users = f"{whose} Of {sample}." if sample else whose
    slices = metrics.get("slices", {})
    if by := slices.get("by_activity"):
        body = bar_chart(slice_columns(by, figure, "nodes"), "neighbours of the source", title, width=THIRD)
        caption = f"Sources in four classes by how many neighbours they have, and how many sources each has.{of_users}"
        yield Picture(f"{title} by activity", caption, body, share="third")
    if by := slices.get("by_popularity"):
        body = bar_chart(slice_columns(by, figure, "nodes"), "neighbours of the target", title, 1, THIRD)
        caption = f"Share of test pairs that are hits. A class holds a quarter of them, and so many targets.{of_users}"
        yield Picture(f"{title} by popularity", caption, body, share="third")
    widths = metrics.get("widths", [])
    if len(widths) > 1:
        ndcg = figure.replace("recall", "ndcg")
        curves = [
            Curve(name, [(of_width["width"], of_width[key]) for of_width in widths], has_dots=True)
            for name, key in ((title, figure), (title.replace("Recall", "NDCG"), ndcg))
        ]
        yield Picture(
            "Quality by width",
            f"The first columns of the table alone, for the same {count(widths[0]['users'])} sources. A curve that is "
            f"flat at its end says that fewer columns would do.{whose}",
            line_chart(curves, "columns", "quality", zero=True, width=THIRD),
            share="third",
            legend=[(f"f{number}", curve.name) for number, curve in enumerate(curves)],
        )


def draw_partition(night: NightRun) -> Iterator[Picture]:
    """Yield the tree map of the parts, where the graph was cut and the tree is kept."""
    files = night.files_of_run("partition_tree")
    figures = night.stages.get("partition", {}).get("figures", {})
    if not files:
        return
    tree = storage.read_parquet(files).to_pylist()
    leaves = [part for part in tree if part["is_leaf"]]
    if len(leaves) < 2:
        text = "The graph is one block: nothing is cut, nothing is exchanged."
        yield Picture("Partition", text, Markup(""), share="whole")
        return
    parts = [
        PartSize(part["part_path"], part["nodes"], part["edges"], part["cut"], part["split_nodes"], part["ghosts"])
        for part in leaves
    ]
    top = figures["levels"][-1] if figures.get("levels") else {}
    caption = (
        f"{count(len(parts))} parts by their edges. In all {top.get('cut_percent', 0):.1f} % of edges are cut, a node "
        f"has {figures.get('copies_per_node', 0):.2f} copies, and the largest part is "
        f"{figures.get('imbalance', 1):.2f} times the mean."
    )
    legend = [
        (f"shade{shade}", f"{100 * shade // SHADES}–{100 * (shade + 1) // SHADES} % cut") for shade in range(SHADES)
    ]
    yield Picture("Partition", caption, draw_parts(parts), share="whole", legend=legend)
