"""Other cuts and numbers of shards, priced, and the one that a run takes."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config.model import PipelineConfig
from pipeline.embedding.settings import Settings
from pipeline.planning.cuts import Cut, cut_of_layout, cuts_of_tree, degrees_of, hash_cut, one_block
from pipeline.planning.embedding_work import Work, work_for
from pipeline.planning.hashed_costs import price_hashed_rows
from pipeline.planning.pricing import Price, choose_shards, price, shard_counts
from pipeline.planning.sizes import GraphCounts
from pipeline.workspace import Workspace

#: Parts that a cut which isn't made yet is priced at, beside those that the bounds ask for.
_TRIED_PARTS = (1, 4, 16)


@dataclass(frozen=True)
class Alternatives:
    """What may be done, and what a run does."""

    cut: Cut
    work: Work
    own_price: Price
    reason: str
    other_prices: Sequence[Price] = ()


def price_alternatives(
    config: PipelineConfig,
    graph: GraphCounts,
    workspace: Workspace | None,
    parts: int,
    engine: str,
    slots: int,
    hash_settings: Settings | None = None,
) -> Alternatives:
    """Price the graph as one block, each level of its tree, and some numbers of shards.

    Parameters
    ----------
    parts : that the graph is cut into, or will be about. hash_settings : the settings, of hashed PPR alone.
    """
    work, most = work_for(config, graph.nodes, graph.targets), config.partition.max_bytes
    cut, other_cuts = _cuts(config, graph, workspace, work, parts)
    if hash_settings:
        pushes = price_hashed_rows(config, hash_settings, graph.edges, slots, is_exact=graph.is_exact)
        reason = "each task has the whole graph and some of the nodes, whatever the parts"
        return Alternatives(cut, work, pushes, reason)
    choice = choose_shards(cut, work, most, engine, slots, shards=config.embedding.shards)
    counts = [count for count in shard_counts(cut, work, slots) if work.exchanges and count != choice.price.shards]
    other_prices = [price(cut, work, count, engine, slots) for count in counts]
    for other_cut in other_cuts:
        best = choose_shards(other_cut, work, most, engine, slots).price
        other_prices += [best] if best.shards == 1 else [best, price(other_cut, work, 1, engine, slots)]
    return Alternatives(cut, work, choice.price, f"{_parts_reason(config, cut)}; shards: {choice.reason}", other_prices)


def _parts_reason(config: PipelineConfig, cut: Cut) -> str:
    if config.partition.parts is not None:
        return "parts: as partition.parts says"
    if config.partition.method == "none":
        return "parts: partition.method is 'none'"
    return "parts: one block fits" if cut.parts == 1 else "parts: as few as fit the bounds of [partition]"


def _cuts(
    config: PipelineConfig, graph: GraphCounts, workspace: Workspace | None, work: Work, parts: int
) -> tuple[Cut, list[Cut]]:
    """Return the run's cut, and others. Modes that exchange no rows are not compared: they give other vectors."""
    levels = cuts_of_tree(workspace) if workspace and workspace.find_manifest("partition_tree") else []
    if workspace and workspace.find_manifest("block_nodes"):
        own = cut_of_layout(workspace)
    elif levels and work.exchanges:
        own = levels[-1]
    else:
        own = _expected_cut(config, graph, workspace, parts)
    if not work.exchanges:
        return own, []
    cuts = levels and [_expected_cut(config, graph, workspace, 1), *levels]
    cuts = cuts or [_expected_cut(config, graph, workspace, count) for count in _TRIED_PARTS]
    return own, [other_cut for other_cut in cuts if other_cut.parts != own.parts]


def _expected_cut(config: PipelineConfig, graph: GraphCounts, workspace: Workspace | None, parts: int) -> Cut:
    if parts == 1:
        return one_block(graph.nodes, graph.edges, is_exact=graph.is_exact)
    if config.embedding.boundary in {"halo", "border"}:  # what is copied in, or joined, may be all of it
        return Cut([graph.nodes] * parts, [2 * graph.edges] * parts, 0, 0, 0, is_exact=False)
    if workspace and workspace.find_manifest("node_index"):
        degrees: list[tuple[float, int]] = [*degrees_of(config, workspace)]
    elif graph.degrees:
        degrees = [*graph.degrees]
    else:
        ends = graph.edges if not config.input.is_plain else 2 * graph.edges
        degrees = [(ends / max(graph.nodes, 1), graph.nodes)]
    return hash_cut(graph.nodes, graph.edges, degrees, parts)
