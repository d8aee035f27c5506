"""query embed: the row of a node, or of one that is not there yet."""

from argparse import ArgumentTypeError
from typing import Any

import numpy as np
import pytest

from graphquilt import EmbeddingTable
from jobs.commands.query_embed import parse_neighbors

WHERE = ("--name", "shop", "--type")


def test_the_row_of_a_node_is_the_tables_own(shop: Any) -> None:
    said = shop.call("query", "embed", "person-3", *WHERE, "user", "--json")
    assert said.code == 0, said.err
    with EmbeddingTable.open(shop.workspace, name="shop") as table:
        (own,), _ = table.lookup(["person-3"], "user")
    assert said.json["row"] == own.tolist()
    text = shop.call("query", "embed", "person-3", *WHERE, "user").out
    np.testing.assert_array_equal(np.array(text.split(), np.float32), own)


def test_the_row_of_a_new_node_is_that_of_the_library(shop: Any) -> None:
    given = ("query", "embed", *WHERE, "item", "--neighbors", "person-3:2,person-9,nobody:0.5")
    said = shop.call(*given, "--json")
    assert said.code == 0, said.err
    with EmbeddingTable.open(shop.workspace, name="shop") as table:
        wanted = table.fold_in({"person-3": 2.0, "person-9": 1.0}, "item")
    assert said.json["row"] == wanted.tolist()
    assert said.json["unknown"] == ["nobody"]
    assert said.json["neighbors"] == {"person-3": 2.0, "person-9": 1.0, "nobody": 0.5}
    assert said.json["is_exact"] is True
    first, second = shop.call(*given).out.splitlines()
    assert first == "# left out, unknown: nobody"
    np.testing.assert_array_equal(np.array(second.split(), np.float32), wanted)


def test_unknown_neighbors_alone_exit_4_and_are_named(shop: Any) -> None:
    said = shop.call("query", "embed", *WHERE, "item", "--neighbors", "nobody,no-one:3", "--json")
    assert said.code == 4
    assert "none of the 2 neighbours is known as 'user'; given: nobody, no-one" in said.json["error"]
    said = shop.call("query", "embed", "nobody", *WHERE, "user", "--json")
    assert said.code == 4
    assert "has no user with this id" in said.json["error"]


def test_a_type_that_cannot_be_folded_in_exits_4_and_says_what_to_set(shop: Any) -> None:
    said = shop.call("query", "embed", *WHERE, "user", "--neighbors", "thing-1", "--json")
    assert said.code == 4
    assert "publish.fold_in = true" in said.json["error"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("embed",), "neither an id nor --neighbors is given"),
        (("embed", "person-3", "--neighbors", "thing-1"), "both an id and --neighbors are given"),
        (("neighbors", "person-3", "--neighbors", "thing-1"), "there is no option --neighbors"),
        (("neighbors",), "the following arguments are required: ID"),
        (("embed", "--neighbors", "person-1:-2"), "must be above zero"),
        (("embed", "--neighbors", "person-1,,person-2"), "has an empty id"),
    ],
)
def test_wrong_usage_exits_2(shop: Any, arguments: tuple[str, ...], sentence: str) -> None:
    said = shop.call("query", *arguments, *WHERE, "item")
    assert said.code == 2
    assert sentence in said.err


def test_a_colon_before_a_number_is_a_weight() -> None:
    assert parse_neighbors("7") == {"7": 1.0}
    assert parse_neighbors("7:2.5,urn:x,urn:8:1,7:.5") == {"7": 3.0, "urn:x": 1.0, "urn:8": 1.0}
    with pytest.raises(ArgumentTypeError, match="empty id"):
        parse_neighbors(":3")
