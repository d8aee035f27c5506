"""The tree of an earlier night that a night goes on with, and when it is given up."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline import codec, storage
from pipeline.config.model import PipelineConfig
from pipeline.partitioning.cutting import CutOptions, EarlierTree, IndexTables
from pipeline.partitioning.figures import PartitionFigures
from pipeline.stages.chain import stage_named
from pipeline.stages.taken_over import TakenOver
from pipeline.workspace import Workspace

TREE = TakenOver(
    "tree",
    "partition",
    ("node_parts", "partition_tree", "node_arrays"),
    reads=lambda config: stage_named("partition").reads_config(config),
)

#: All is cut anew where a measure of the tree has grown by more than its factor since all was cut.
MOST_GROWTH = {"copies_per_node": 1.25, "imbalance": 1.25, "leaves_per_full_leaf": 1.5}
#: Where it began below this one, it counts as this: no cut is worth a copy of every fifth node. Others are 1 at least.
_LEAST_COUNTED = 0.2


def measure(figures: PartitionFigures, options: CutOptions, tables: IndexTables) -> dict[str, float]:
    """Return the measures of a tree.

    Under bounds it is how many leaves there are for each that could be filled to its bound: leaves that are cut again
    are less full than others. ``partition.parts`` leaves their number alone, and they may differ.
    """
    if options.parts is None:
        full_leaves = options.bounds.excess(tables.nodes, tables.edge_count)
        return {"leaves_per_full_leaf": round(figures.parts / full_leaves, 4)}
    return {"copies_per_node": figures.copies_per_node, "imbalance": figures.imbalance}


@dataclass(frozen=True)
class TreeOrigin:
    """What a night says of its tree."""

    lineage: str  # and the keys of the partition: nights that share them may go on with the tree
    index: str  # fingerprint of the nodes that are at home in it
    tree_of: str | None  # date of the night that it goes on from; None: all was cut anew
    measures: Mapping[str, float]  # as they were when all was cut


@dataclass(frozen=True)
class NightTree:
    """The tree that a night goes on with."""

    earlier: EarlierTree
    origin: TreeOrigin
    date: dt.date

    def loss(self, measures: Mapping[str, float]) -> str:
        """Say what the tree has lost since all was cut; "" if it is still good."""
        for name, value in measures.items():
            first = self.origin.measures[name]
            if value > MOST_GROWTH[name] * max(first, _LEAST_COUNTED):
                return f"{name} is {value:.3f}, and was {first:.3f} when all was cut"
        return ""


def open_tree(workspace: Workspace) -> NightTree | None:
    """Return the tree that a run goes on with, checked.

    Raises
    ------
    StorageError : it is not there any more.
    """
    before = workspace.inputs.tree
    if before is None:
        return None
    run = TREE.open(workspace, before)
    tree = storage.read_parquet(run.files("partition_tree"))
    leaves = tree.filter(tree["is_leaf"])
    paths = [tuple(map(int, path.split("/"))) for path in leaves["part_path"].to_pylist()]
    earlier = EarlierTree(
        leaves=tuple(zip(leaves["part_id"].to_pylist(), paths, strict=True)),
        arrays=tuple(run.files("node_arrays")),
        parts=run.files("node_parts")[0],
    )
    figures = run.manifest("node_parts").figures
    origin = codec.from_values(TreeOrigin, {name: figures[name] for name in TreeOrigin.__dataclass_fields__})
    return NightTree(earlier, origin, before.date)


def describe_origin(
    config: PipelineConfig, workspace: Workspace, measures: Mapping[str, float], kept_tree: NightTree | None
) -> dict[str, object]:
    """Return what the manifest says of a run's tree, which is ``kept_tree`` from an earlier night or cut anew."""
    lineage = workspace.inputs.lineage
    if lineage is None:
        return {}
    key, index = TREE.key(config, lineage), workspace.fingerprints["index"]
    if kept_tree:
        return codec.to_values(TreeOrigin(key, index, str(kept_tree.date), kept_tree.origin.measures))
    return codec.to_values(TreeOrigin(key, index, None, measures))
