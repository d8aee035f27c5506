from __future__ import annotations

import itertools

import numpy as np

from pipeline.partitioning.homes import find_homes, splittable_hubs
from pipeline.partitioning.pieces import GraphPiece, Role


def hubs(pairs: list[tuple[int, int]], nodes: int, hub_degree: int) -> list[int]:
    left, right = np.array(pairs, np.int32).T.copy()
    degree = np.bincount(np.concatenate([left, right[left != right]]), minlength=nodes).astype(np.int64)
    return np.flatnonzero(splittable_hubs(left, right, degree > hub_degree)).tolist()


def test_a_hub_is_split_only_beside_a_node_that_is_none() -> None:
    clique = list(itertools.combinations(range(5), 2))
    assert hubs(clique, 6, hub_degree=3) == []
    assert hubs([*clique, (2, 5)], 6, hub_degree=3) == [2]
    assert hubs([*clique, (2, 5)], 6, hub_degree=5) == []  # not more than 5 neighbours
    assert hubs([(0, 0), (0, 1)], 2, hub_degree=1) == [0]  # a loop is one neighbour


def leaf(users: dict[int, list[int]]) -> GraphPiece:
    """The piece of some users and the items of each; node numbers are the given ones."""
    items = sorted({item for chosen in users.values() for item in chosen})
    node_ix = np.array(sorted([*items, *users]), np.int64)
    row = {int(node): number for number, node in enumerate(node_ix)}
    pairs = [(row[user], row[item]) for user, chosen in users.items() for item in chosen]
    left, right = np.array(pairs, np.int32).T.copy()
    role = np.array([Role.WHOLE if node in users else Role.SHARED for node in node_ix.tolist()], np.int8)
    return GraphPiece(node_ix, role, left, right)


def test_items_are_at_home_where_most_of_their_edges_are_and_ties_even_out() -> None:
    first = leaf({10: [0, 1, 2, 3, 4, 5], 11: [5]})
    second = leaf({12: [0, 1, 2, 3, 4, 5], 13: [4]})
    parts = find_homes(16, [(1, first), (2, second)])
    # 4 and 5 have most of their edges in one part; of the four ties, half move away from the lower part_id.
    assert parts.part_id[4:6].tolist() == [2, 1]
    assert sorted(parts.part_id[:4].tolist()) == [1, 1, 2, 2]
    assert parts.is_split[:6].all()
    assert parts.part_id[10:14].tolist() == [1, 1, 2, 2]
    assert not parts.is_split[6:].any()
    assert parts.part_id[[6, 7, 8, 9, 14, 15]].tolist() == [-1] * 6


def test_an_item_in_one_part_is_whole_and_a_single_tie_goes_to_the_lowest_part() -> None:
    parts = find_homes(14, [(1, leaf({10: [0, 1], 11: [1]})), (4, leaf({12: [0]}))])
    assert parts.part_id[:2].tolist() == [1, 1]
    assert parts.is_split[:2].tolist() == [True, False]


def test_no_balance_moves_a_home_away_from_most_of_its_edges() -> None:
    items = [0, 1, 2, 3]
    parts = find_homes(14, [(1, leaf({10: items, 11: items})), (2, leaf({12: items}))])
    assert parts.part_id[:4].tolist() == [1] * 4
