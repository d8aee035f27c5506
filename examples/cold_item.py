"""A shop whose new items nobody has clicked: they reach lists by their brands, with [cold_start].

python examples/cold_item.py FOLDER

Writes clicks and items into FOLDER, runs graphquilt on them with rows = "own" and "map", and prints what lists hold.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from graphquilt import EmbeddingTable

USERS, ITEMS, NEW, BRANDS, PLACES = 400, 160, 8, 8, 20

CONFIG = """[input]
path = "clicks.parquet"
source = "user"
target = "item"

[attributes.item]
path = "items.parquet"
categories = ["brand"]

[embedding]
method = "spectral"
dim = 16

[cold_start]
rows = "{rows}"

[evaluate]
source = "none"

[publish]
name = "{rows}"
"""


def write_shop(folder: Path) -> set[tuple[str, str]]:
    """Write clicks, four of five on items of the user's brand, and the brands of items, new ones among them."""
    rng = np.random.default_rng(7)
    user = np.repeat(np.arange(USERS), 8)
    own = rng.integers(0, ITEMS // BRANDS, user.size) * BRANDS + user % BRANDS
    item = np.where(rng.random(user.size) < 0.8, own, rng.integers(0, ITEMS, user.size))
    clicks = {(f"user-{u}", f"item-{i}") for u, i in zip(user.tolist(), item.tolist(), strict=True)}
    users, items = zip(*sorted(clicks), strict=True)
    pq.write_table(pa.table({"user": users, "item": items}), folder / "clicks.parquet")
    names = [f"item-{n}" if n < ITEMS else f"new-{n - ITEMS}" for n in range(ITEMS + NEW)]
    brands = [f"brand-{n % BRANDS}" for n in range(ITEMS + NEW)]
    pq.write_table(pa.table({"id": names, "brand": brands}), folder / "items.parquet")
    return clicks


def lists_of(table: EmbeddingTable, clicks: set[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the list of every user, without what was clicked."""
    lists = {}
    for user in (f"user-{n}" for n in range(USERS)):
        nearest = table.neighbors(user, "user", k=PLACES + 8, target_type="item")
        lists[user] = [item for item, _ in nearest if (user, item) not in clicks][:PLACES]
    return lists


def main() -> None:
    """Run both ways, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    clicks = write_shop(folder)
    for rows in ("own", "map"):
        config = folder / f"{rows}.toml"
        config.write_text(CONFIG.format(rows=rows), encoding="utf-8")
        command = [sys.executable, "-m", "graphquilt", "run", "--config", config, "--workspace", folder / "work"]
        subprocess.run([*map(str, command), "--json"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with EmbeddingTable.open(folder / "work" / "published" / rows) as table:
            lists = lists_of(table, clicks)
        new_pairs = {(user, item) for user, items in lists.items() for item in items if item.startswith("new-")}
        same = sum(int(user[5:]) % BRANDS == int(item[4:]) for user, item in new_pairs)
        print(f"{rows}: new items fill {len(new_pairs)} of {USERS * PLACES:,} places, {same} with users of their brand")
        for user, item in sorted(new_pairs)[:1]:
            place = lists[user].index(item) + 1
            brands = f"of brand-{int(item[4:])}, for {user}, who buys brand-{int(user[5:]) % BRANDS}"
            print(f"     {item} at place {place}, {brands}")


if __name__ == "__main__":
    main()
