"""The alternatives of 'plan': other cuts and numbers of shards, priced, and the one that a run takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from jobs.answers import amount, columns

if TYPE_CHECKING:
    from pipeline.config.model import PipelineConfig
    from pipeline.planning.cuts import Cut
    from pipeline.planning.pricing import Price
    from pipeline.planning.round_work import Work
    from pipeline.planning.sizes import Graph
    from pipeline.workspace import Workspace

#: Parts that a cut which isn't made yet is priced at, beside those that the bounds ask for.
_TRIED_PARTS = (4, 16)


@dataclass(frozen=True)
class Alternatives:
    """What may be done, and what a run does."""

    cut: Cut
    work: Work
    chosen: Price
    reason: str
    others: Sequence[Price]

    def facts(self) -> list[dict[str, Any]]:
        """Return all of them as JSON values, by parts and shards."""
        found = sorted([*self.others, self.chosen], key=lambda one: (one.parts, one.shards))
        return [
            {
                **asdict(one),
                "is_chosen": one is self.chosen,
                "reason": self.reason if one is self.chosen else None,
            }
            for one in found
        ]


def find_alternatives(
    config: PipelineConfig,
    graph: Graph,
    workspace: Workspace | None,
    parts: int,
    engine: str,
    slots: int,
    slowness: float,
) -> Alternatives:
    """Price the graph as one block, each level of its tree, and some numbers of shards.

    Parameters
    ----------
    parts : that the graph is cut into, or will be about.
    """
    from pipeline.planning.embedding_work import work_for
    from pipeline.planning.pricing import choose_shards, price, shard_counts
    from pipeline.stages.ppr_rows import FORMS as HASHED

    work, most = work_for(config, graph.nodes, graph.targets), config.partition.max_bytes
    cut, others = _cuts(config, graph, workspace, work, parts)
    if config.form in HASHED:
        pushes = _price_of_pushes(config, graph, workspace, slots, slowness)
        reason = "each task has the whole graph and some of the nodes, whatever the parts"
        return Alternatives(cut, work, pushes, reason, [])
    choice = choose_shards(cut, work, most, engine, slots, slowness, asked=config.embedding.shards)
    chosen = choice.price
    counts = [count for count in shard_counts(cut, work, slots) if work.exchanges and count != chosen.shards]
    prices = [price(cut, work, count, engine, slots, slowness) for count in counts]
    for other in others:
        best = choose_shards(other, work, most, engine, slots, slowness).price
        prices.append(best)
        if best.shards > 1:
            prices.append(price(other, work, 1, engine, slots, slowness))
    return Alternatives(cut, work, chosen, f"{_why_parts(config, cut)}; shards: {choice.reason}", prices)


def _price_of_pushes(
    config: PipelineConfig, graph: Graph, workspace: Workspace | None, slots: int, slowness: float
) -> Price:
    """Price hashed PPR; before the index is made, as if every edge weighed 1."""
    from pipeline.embedding.rows import Settings
    from pipeline.stages.embed import settings_of, walk_settings
    from pipeline.stages.ppr_rows import price_of_rows

    if workspace and workspace.finished("node_index"):
        settings = settings_of(config, workspace)
    else:
        every, mean = (0, graph.nodes), 2 * graph.edges / max(graph.nodes, 1)
        given = walk_settings(config)
        settings = Settings(config.embedding, config.form, graph.nodes, every, every, mean_strength=mean, **given)
    return price_of_rows(config, settings, graph.edges, slots, slowness, is_exact=graph.is_exact)


def table(facts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the alternatives as lines."""
    head = ("", "parts", "shards", "memory of a task", "floats moved a node", "CPU s", "wall s", "")
    rows = [head]
    for one in facts:
        most = "" if one["is_exact"] else "<= "
        rows.append(
            (
                "*" if one["is_chosen"] else "",
                f"{one['parts']}",
                f"{one['shards']}",
                most + amount(one["task_bytes"]),
                f"{most}{one['floats_moved_per_node']:,.0f}",
                f"{most}{one['cpu_seconds']:,.1f}",
                f"{most}{one['wall_seconds']:,.1f}",
                f"chosen: {one['reason']}" if one["is_chosen"] else "",
            )
        )
    return columns(rows)


def _why_parts(config: PipelineConfig, cut: Cut) -> str:
    wanted = config.partition
    if wanted.parts is not None:
        return "parts: as partition.parts says"
    if wanted.method == "none":
        return "parts: partition.method is 'none'"
    return "parts: one block fits" if cut.parts == 1 else "parts: as few as fit the bounds of [partition]"


def _cuts(
    config: PipelineConfig, graph: Graph, workspace: Workspace | None, work: Work, parts: int
) -> tuple[Cut, list[Cut]]:
    """Return the run's cut, and others. Modes that exchange no rows are not compared: they give other vectors."""
    from pipeline.planning.cuts import one_block
    from pipeline.planning.finished_cuts import cut_of_layout, cuts_of_tree

    whole = one_block(graph.nodes, graph.edges, is_exact=graph.is_exact)
    levels = cuts_of_tree(workspace) if workspace and workspace.finished("partition_tree") else []
    if workspace and workspace.finished("block_nodes"):
        own = cut_of_layout(workspace)
    elif levels and work.exchanges:
        own = levels[-1]
    else:
        own = whole if parts == 1 else _expected(config, graph, workspace, parts)
    if not work.exchanges:
        return own, []
    others = (
        [whole, *levels] if levels else [_expected(config, graph, workspace, tried) for tried in (1, *_TRIED_PARTS)]
    )
    return own, [other for other in others if other.parts != own.parts]


def _expected(config: PipelineConfig, graph: Graph, workspace: Workspace | None, parts: int) -> Cut:
    from pipeline.planning.cuts import Cut, hash_cut, one_block
    from pipeline.planning.finished_cuts import degrees_of

    if parts == 1:
        return one_block(graph.nodes, graph.edges, is_exact=graph.is_exact)
    if config.embedding.boundary in {"halo", "border"}:  # what is copied in, or joined, may be all of it
        return Cut([graph.nodes] * parts, [2 * graph.edges] * parts, 0, 0, 0, is_exact=False)
    if workspace and workspace.finished("node_index"):
        degrees: list[tuple[float, int]] = [*degrees_of(config, workspace)]
    else:
        ends = graph.edges if not config.input.is_plain else 2 * graph.edges
        degrees = [(ends / max(graph.nodes, 1), graph.nodes)]
    return hash_cut(graph.nodes, graph.edges, degrees, parts)
