"""Published lists and pairs from files into arrays, and their figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import offsets_of
from pipeline.evaluation.list_metrics import ListMetrics, RankedLists, measure_lists
from pipeline.evaluation.position_lists import PositionLists
from pipeline.evaluation.ranking import GroundTruth
from pipeline.evaluation.sampling import sample_by_key
from pipeline.evaluation.scoring import ranking_figures
from pipeline.ingest.ids import keys_of
from pipeline.locations import Location
from pipeline.metrics.train_pairs import Ends, PairBatches, TrainPairs, both_ways


@dataclass(frozen=True, eq=False)
class ScoredLists:
    """Lists of the sources of test pairs, and pairs, as positions.

    node_key : (sources,) uint64. population : sources with test pairs before sampling.
    unknown_pairs : graphs of one type: test pairs with an end that no train pair and no list has; they are left out.
    """

    lists: RankedLists
    items: int
    train: PositionLists
    test: PositionLists
    unknown_items: NDArray[np.int64]
    item_degree: NDArray[np.int64]
    node_key: NDArray[np.uint64]
    population: int
    unknown_pairs: int

    def measure(self, ks: Sequence[int]) -> ListMetrics:
        """Recall, NDCG, hit rate and coverage of the lists without their train pairs."""
        truth = GroundTruth(self.test, self.unknown_items, population=self.population)
        return measure_lists(self.lists, self.items, self.train, truth, ks, self.item_degree)


def list_figures(quality: ListMetrics) -> dict[str, Any]:
    """Return the figures of lists as JSON values."""
    figures = ranking_figures(quality.metrics)
    del figures["unknown_users"]  # a source without a row has no list, and is counted so
    short = {str(k): count for k, count in zip(quality.metrics.ks, quality.short, strict=True)}
    return {**figures, "without_list": quality.without_list, "shorter_than": short}


def read_scored_lists(
    files: Sequence[Location],
    types: tuple[str, str],
    train: PairBatches,
    test: Ends,
    sample: int | None,
    seed: int,
    *,
    held_out: Ends | None = None,
) -> ScoredLists:
    """Read the lists of the sources of test pairs, or of ``sample`` of them, chosen by their keys.

    Between two types the items are all targets that a train pair or one of these lists has; a test pair with another
    target is never found, and counts. On graphs of one type an edge counts from both of its ends, test edges are
    never train edges, and no node is its own answer.

    Parameters
    ----------
    files : of a table of lists. types : that pairs lead from and to. test : ids of both ends.
    held_out : pairs among the train pairs that the lists were made without.

    Cost
    ----
    Memory: the test pairs, the training pairs of their sources, the ids of items, and the lists of the sources chosen.
    """
    is_plain = types[0] == types[1]
    kind = _common_type(files, train.kind, test)
    test = _distinct(both_ways(test, kind, is_plain=is_plain))
    train_pairs = TrainPairs.of(train, kind, pc.unique(test[0]), held_out, is_plain=is_plain)
    unknown_pairs = 0
    if is_plain:
        test, unknown_pairs = _edges_between(test, train_pairs.targets)  # all nodes: pairs lead both ways
    sources = pc.unique(test[0])
    keys = keys_of(types[0], sources)
    population = len(sources)
    if sample is not None and sample < population:
        positions = sample_by_key(keys, sample, seed)
        sources, keys = sources.take(pa.array(positions)), keys[positions]
    lists, offsets = _lists_of(files, types, sources)
    list_items = lists.cast(kind)
    items = pc.unique(pa.concat_arrays([train_pairs.targets, list_items]))
    test_source, test_item = _pairs_at(test, sources, items)
    train_source, train_item = _pairs_at(train_pairs.ends, sources, items)
    if is_plain:
        is_test = np.isin(train_source * len(items) + train_item, test_source * len(items) + test_item)
        train_source = np.concatenate([train_source[~is_test], np.arange(len(sources))])
        train_item = np.concatenate([train_item[~is_test], _at(sources, items)])
    is_item = test_item >= 0
    return ScoredLists(
        lists=RankedLists(offsets, _at(list_items, items)),
        items=len(items),
        train=PositionLists.from_pairs(train_source, train_item, len(sources)),
        test=PositionLists.from_pairs(test_source[is_item], test_item[is_item], len(sources)),
        unknown_items=np.bincount(test_source[~is_item], minlength=len(sources)),
        item_degree=np.concatenate([train_pairs.degree, np.zeros(len(items) - train_pairs.degree.size, np.int64)]),
        node_key=keys,
        population=population,
        unknown_pairs=unknown_pairs,
    )


def _edges_between(ends: Ends, nodes: pa.Array) -> tuple[Ends, int]:
    """Return the edges of one type whose ends are both among the nodes, without loops; and how many are not."""
    is_between = pc.and_(pc.is_in(ends[0], nodes), pc.is_in(ends[1], nodes))
    is_edge = pc.and_(is_between, pc.not_equal(ends[0], ends[1]))
    unknown = (len(is_between) - is_between.true_count) // 2  # each stands there both ways
    return (ends[0].filter(is_edge), ends[1].filter(is_edge)), unknown


def _pairs_at(ends: Ends, sources: pa.Array, items: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of some sources, as positions; -1 for an end that is no item."""
    source, item = _at(ends[0], sources), _at(ends[1], items)
    return source[source >= 0], item[source >= 0]


def rows_of_sources(files: Sequence[Location], node_type: str, node_id: pa.Array) -> pa.Table:
    """Return the rows of some nodes of a type in a table of lists, in the order of ``node_id``; absent ones are none.

    Ids may be text where those of the table are numbers. Lists are read of row groups that hold one of the nodes.
    """
    pieces = [storage.read_schema(files[0]).empty_table(), *_matching(files, node_type, node_id)]
    table = pa.concat_tables(pieces).combine_chunks()
    position = _at(table["node_id"].combine_chunks().cast(node_id.type), node_id)
    return table.take(pa.array(np.argsort(position, kind="stable")))


def _matching(files: Sequence[Location], node_type: str, node_id: pa.Array) -> Iterator[pa.Table]:
    for path in files:
        file = storage.open_parquet(path)
        for group in range(file.num_row_groups):
            nodes = file.read_row_group(group, columns=["node_type", "node_id"])
            is_named = pc.is_in(nodes["node_id"].cast(node_id.type), node_id)
            is_wanted = pc.and_(pc.equal(nodes["node_type"], node_type), is_named)
            if pc.any(is_wanted).as_py():
                yield file.read_row_group(group).filter(is_wanted)


def _lists_of(
    files: Sequence[Location], types: tuple[str, str], sources: pa.Array
) -> tuple[pa.Array, NDArray[np.int64]]:
    """Return the entries and offsets of lists of the target type, one a source; empty where the table has none."""
    rows = rows_of_sources(files, types[0], sources)
    rows = rows.filter(pc.equal(rows["neighbor_type"], types[1])).combine_chunks()
    column = rows["neighbor_ids"].combine_chunks()
    lengths = np.zeros(len(sources), np.int64)
    place = _at(rows["node_id"].combine_chunks().cast(sources.type), sources)
    lengths[place] = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    return column.flatten(), offsets_of(lengths)


def _common_type(files: Sequence[Location], train: pa.DataType, test: Ends) -> pa.DataType:
    """Numbers if all ids are, else text."""
    kinds = {storage.read_schema(files[0]).field("node_id").type, train, *(ids.type for ids in test)}
    return kinds.pop() if len(kinds) == 1 else pa.string()


def _distinct(ends: Ends) -> Ends:
    pairs = pa.table({"src": ends[0], "dst": ends[1]}).group_by(["src", "dst"], use_threads=False).aggregate([])
    return pairs["src"].combine_chunks(), pairs["dst"].combine_chunks()


def _at(ids: pa.Array, all_ids: pa.Array) -> NDArray[np.int64]:
    """Return the positions of ids among all, -1 where they are not there."""
    return pc.index_in(ids, all_ids).cast(pa.int64()).fill_null(-1).to_numpy()
