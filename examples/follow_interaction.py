"""Print what becomes of one interaction, table by table. The workspace holds one date, computed once.

python examples/follow_interaction.py WORKSPACE SOURCE TARGET [--also NODE]
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

KINDS = ("home, whole", "home, split", "copy", "ghost")  # pipeline.blocks.RowKind


def read_files(date: Path, name: str) -> list[pa.Table]:
    """Read the files of a working table, in order."""
    files = sorted(date.glob(f"{name}/*/part-*"))
    return [pq.read_table(file) if file.suffix == ".parquet" else read_arrow(file) for file in files]


def read_arrow(file: Path) -> pa.Table:
    """Read a file that tasks map."""
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_file(source).read_all()


def rows_with(table: pa.Table, column: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the rows whose column has one of the values, as dicts."""
    matches: list[dict[str, Any]] = table.filter(pc.is_in(table[column], pa.array(values))).to_pylist()
    return matches


def pair_row(table: pa.Table, first: str, second: str, ends: Sequence[Any]) -> dict[str, Any]:
    """Return the one row that joins two nodes, in either order."""
    return next(row for row in rows_with(table, first, ends) if row[second] in ends and row[first] != row[second])


def follow(date: Path, ids: Sequence[str]) -> Iterator[str]:
    """Yield the lines: the first two ids are the ends of the interaction."""
    edge = pair_row(read_files(date, "edges")[0], "src_id", "dst_id", ids[:2])
    yield f"edges            {edge['src_id']} - {edge['dst_id']}: weight {edge['weight']}, events {edge['events']}"

    nodes = {row["node_id"]: row for row in rows_with(read_files(date, "node_index")[0], "node_id", ids)}
    for name in ids:
        node = nodes[name]
        ix, key = node["node_ix"], node["node_key"]
        yield f"node_index       {name}: node_ix {ix}, node_key {key}, degree {node['degree']}"
    number = {node["node_ix"]: name for name, node in nodes.items()}
    ends = [nodes[name]["node_ix"] for name in ids[:2]]
    pair = pair_row(read_files(date, "indexed_edges")[0], "src_ix", "dst_ix", ends)
    yield f"indexed_edges    {pair['src_ix']} - {pair['dst_ix']}: weight {pair['weight']}"

    leaves = [row for row in read_files(date, "partition_tree")[0].to_pylist() if row["is_leaf"]]
    paths = {row["part_id"]: row["part_path"] for row in leaves}
    for row in rows_with(read_files(date, "node_parts")[0], "node_ix", list(number)):
        kind = "split" if row["is_split"] else "whole"
        yield f"node_parts       {number[row['node_ix']]}: home {row['part_id']} ({paths[row['part_id']]}), {kind}"

    for leaf, block in zip(leaves, read_files(date, "block_nodes"), strict=True):
        for row in rows_with(block, "node_ix", list(number)):
            what = f"{KINDS[row['kind']]}, {row['entries']} stored neighbours"
            yield f"block_nodes      part {leaf['part_id']}: {number[row['node_ix']]}: {what}"

    for row in rows_with(read_files(date, "node_embeddings")[0], "node_id", ids):
        start = ", ".join(f"{entry:.4f}" for entry in row["embedding"][:3])
        yield f"node_embeddings  {row['node_id']}: [{start}, ...], norm {row['norm']:.4f}, {row['cluster_path']}"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("source", help="one end of the interaction")
    parser.add_argument("target", help="the other end")
    parser.add_argument("--also", action="append", default=[], help="a node to look at, too")
    options = parser.parse_args(argv)
    date = next(path for path in sorted((options.workspace / "runs").iterdir()) if path.is_dir())
    print("\n".join(follow(date, [options.source, options.target, *options.also])))


if __name__ == "__main__":
    main()
