"""Make the bundled sample, the Debian package graph, from the package index that apt has.

    apt-get update && python3 examples/build_sample.py

Needs pyarrow and apt, no network of its own. The same index gives the same bytes.
"""

import argparse
import hashlib
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

EVENT_OF_FIELD = {
    "Pre-Depends": "pre-depends",
    "Depends": "depends",
    "Recommends": "recommends",
    "Suggests": "suggests",
}

SCHEMA = pa.schema(
    [
        pa.field("package", pa.string(), nullable=False),
        pa.field("needs", pa.string(), nullable=False),
        pa.field("event", pa.string(), nullable=False),
    ]
)

# "libc6:any (>= 2.36) [amd64] <!nocheck>" names libc6; all that follows the name narrows it.
NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")

# apt-helper reads an index whether apt keeps it plain or packed (lz4, xz, gz).
APT_HELPER = "/usr/lib/apt/apt-helper"

Relation = tuple[str, str, str]


def index_file(codename: str, component: str, architecture: str) -> Path:
    """The file in which apt keeps the package index of one release, component and architecture."""
    wanted = (
        "Created-By: Packages",
        f"Codename: {codename}",
        f"Component: {component}",
        f"Architecture: {architecture}",
    )
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(FILENAME)", *wanted],
        check=True,
        capture_output=True,
        text=True,
    )
    files = sorted(set(listed.stdout.split()))
    if len(files) != 1:
        raise SystemExit(
            f"apt lists {len(files)} indexes of {codename}/{component} for {architecture}; exactly 1 is "
            "needed. Run `apt-get update`, or name another release with --codename."
        )
    return Path(files[0])


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """The fields of each package of a Packages index, folded lines joined."""
    for block in text.split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line.startswith((" ", "\t")):
                fields[name] += line
            else:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        if fields:
            yield fields


def relations(text: str) -> Iterator[Relation]:
    """(package, needed package, event) for each relation; each of the alternatives "a | b" is one."""
    for fields in stanzas(text):
        for field, event in EVENT_OF_FIELD.items():
            for alternative in re.split(r"[,|]", fields.get(field, "")):
                if name := NAME.match(alternative.strip()):
                    yield fields["Package"], name.group(), event


def write(rows: Sequence[Relation], path: Path) -> None:
    """Write the rows, in the order given, as one small Parquet file."""
    columns = list(zip(*rows, strict=True))
    table = pa.Table.from_arrays([pa.array(column, pa.string()) for column in columns], schema=SCHEMA)
    pq.write_table(table, path, compression="zstd", compression_level=19, use_dictionary=True)


def main() -> None:
    """Read the index, write the sample, print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--codename", default="bookworm")
    parser.add_argument("--component", default="main")
    parser.add_argument("--architecture", default="amd64")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "sample" / "interactions.parquet")
    options = parser.parse_args()

    index = index_file(options.codename, options.component, options.architecture)
    text = subprocess.run([APT_HELPER, "cat-file", str(index)], check=True, capture_output=True).stdout
    # An index may list two versions of one package, and a package may name one need twice, with
    # a lower and an upper bound of its version: one relation each.
    rows = sorted(set(relations(text.decode("utf-8"))))
    if not rows:
        raise SystemExit(f"{index} holds no relation between packages; run `apt-get update`")
    write(rows, options.out)

    facts = {
        "index sha256": hashlib.sha256(text).hexdigest(),
        "rows": len(rows),
        "packages with needs": len({package for package, _, _ in rows}),
        "packages needed": len({needs for _, needs, _ in rows}),
        "packages in all": len({name for package, needs, _ in rows for name in (package, needs)}),
        "pairs": len({(package, needs) for package, needs, _ in rows}),
        **{f"rows {event}": count for event, count in sorted(Counter(row[2] for row in rows).items())},
        "bytes": options.out.stat().st_size,
    }
    sys.stdout.writelines(f"{name}: {value}\n" for name, value in facts.items())


if __name__ == "__main__":
    main()
