"""A bit that flips inside of a column: whoever reads those bytes is told, and nobody else."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from graphquilt import EmbeddingTable, NeighborTable, TableError
from graphquilt.json_checksum import add_checksum
from tests.graphquilt.published_neighbors import publish_lists, random_lists
from tests.graphquilt.published_tables import publish_nodes, random_nodes

COUNTS = {"item": 30, "user": 40}

#: A table of 7 rows a row group, opened; its file; what reads some of its columns.
Made = tuple[Callable[[], Any], Path, dict[str, Callable[[Any], object]]]


def embeddings(root: Path) -> Made:
    nodes = random_nodes(np.random.default_rng(0), COUNTS)
    folder = publish_nodes(root, nodes).path
    first = next(one for one, row in zip(*nodes["user"], strict=True) if row.any())
    return (
        lambda: EmbeddingTable.open(folder),
        folder / "node_embeddings" / "part-00000.parquet",
        {
            "embedding": lambda table: table.lookup(nodes["user"][0], "user"),
            "node_id": lambda table: table.to_numpy("user"),
            "norm": lambda table: table.neighbors(first, "user", target_type="item"),
            "degree": lambda table: table.to_arrow("item", ["degree"]),
            "cluster_path": lambda table: table.to_arrow(),
        },
    )


def lists(root: Path) -> Made:
    given = random_lists(np.random.default_rng(0), COUNTS)
    folder = publish_lists(root, given).path
    return (
        lambda: NeighborTable.open(folder),
        folder / "ppr_neighbors" / "part-00000.parquet",
        {
            "neighbor_ids": lambda table: table.lookup(list(given["user"]), "user"),
            "scores": lambda table: table.lookup(list(given["item"]), "item"),
            "error_bound": lambda table: table.to_arrow(),
        },
    )


def ranges_of(path: Path, column: str) -> list[range]:
    """The bytes of a column, by row group."""
    ranges = []
    footer = pq.read_metadata(path)
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        for leaf in map(group.column, range(group.num_columns)):
            if leaf.path_in_schema.split(".")[0] == column:
                start = leaf.dictionary_page_offset or leaf.data_page_offset
                ranges.append(range(start, start + leaf.total_compressed_size))
    return ranges


def text_of(answer: object) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", str(answer))


def flip(path: Path, place: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


@pytest.mark.parametrize("make", [embeddings, lists])
def test_a_flip_anywhere_in_a_column_is_told_to_who_reads_it(make: Callable[[Path], Made], tmp_path: Path) -> None:
    open_table, path, questions = make(tmp_path)
    rng = random.Random(1)
    for column, ask in questions.items():
        answers, refusals = [], []
        for number, places in enumerate(ranges_of(path, column)):
            place, bit = rng.choice(places), rng.randrange(8)
            flip(path, place, bit)
            with open_table() as table:
                try:
                    answers.append(ask(table))
                except TableError as error:
                    refusals.append((number, str(error)))
                others = [name for name in table._groups.schema.names if name != column]
                table.to_arrow(columns=others)  # nobody else is stopped
            flip(path, place, bit)
        assert refusals  # of two types, a question may be about one
        for number, said in refusals:
            where = f"column {column} of row group {number} in {path} "
            assert said.startswith(f"{where}has other bytes than the manifest says. 'graphquilt check --deep'")
        with open_table() as table:
            whole = text_of(ask(table))
        assert [text_of(answer) for answer in answers] == [whole] * len(answers)


def test_a_release_of_before_is_read_without_sums(tmp_path: Path) -> None:
    open_table, path, questions = embeddings(tmp_path)
    place = path.parents[1] / "manifest.json"
    manifest = json.loads(place.read_text())
    for entry in manifest["files"]:
        entry.pop("columns_crc32", None)
    place.write_text(json.dumps(add_checksum(manifest), indent=2, ensure_ascii=False) + "\n")
    with open_table() as table:
        for ask in questions.values():
            ask(table)
