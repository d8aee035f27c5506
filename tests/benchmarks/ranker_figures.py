"""What a ranker gains by the table on Gowalla: two releases, and the example's ranker on them.

    .venv-consumers/bin/python -m tests.benchmarks.ranker_figures --data ../shared/data/gowalla --out build/ranker

One release is of 80 % of the training pairs, with the others to fit and to choose by; one of all of them, with the test
pairs, which are read once. Prints what ``examples/consumers/ranker.py`` prints.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

CONFIG = """\
[input]
path = "{path}"
source = "src"
target = "dst"

[embedding]
form = "low_pass"
dim = 256

[evaluate]
source = "none"
"""


def publish(pairs: Path, folder: Path) -> Path:
    """Run the chain on pairs; return the workspace."""
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(CONFIG.format(path=pairs.resolve()))
    run = [sys.executable, "-m", "graphquilt", "run", "--config", str(folder / "config.toml")]
    subprocess.run([*run, "--workspace", str(folder / "work")], check=True)
    return folder / "work"


def ranker_options(data: Path, folder: Path) -> list[str]:
    """Make both releases; return the options of the ranker's example."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = pq.read_table(data / "train.parquet")
    is_hidden = np.random.default_rng(0).random(len(pairs)) < 0.2
    seen, hidden = folder / "seen.parquet", folder / "hidden.parquet"
    pq.write_table(pairs.filter(~is_hidden), seen)
    pq.write_table(pairs.filter(is_hidden), hidden)
    fit = [publish(seen, folder / "fit"), seen, hidden]
    test = [publish(data / "train.parquet", folder / "test"), data / "train.parquet", data / "test.parquet"]
    return ["--fit", *map(str, fit), "--test", *map(str, test)]


def main() -> None:
    """Read the command line, make the releases, run the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--users", default="5000")
    options = parser.parse_args()
    example = Path(__file__).parents[2] / "examples" / "consumers" / "ranker.py"
    words = [*ranker_options(options.data, options.out), "--users", options.users]
    subprocess.run([sys.executable, str(example), *words], check=True)


if __name__ == "__main__":
    main()
