"""Runs what pages show: a folder with what their commands read, and a reader of shell lines.

Commands run in this process. Those in ``NOT_RUN`` are only read, each for the reason that stands there.
"""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from graphquilt.locations import parse_location
from jobs.arguments import stage_parser
from pipeline import storage
from pipeline.stages.chain import STAGE_NAMES
from tests.docs.pages import ROOT
from tests.jobs.conftest import call
from tests.object_store import FaultProxy, make_bucket

CONFIG = """\
[input]
path = "interactions.parquet"
source = "user_id"
target = "item_id"
timestamp = "at"

[attributes.item]
path = "items.parquet"
id = "item_id"
categories = ["brand"]

[embedding]
dim = 16

[ppr]
neighbors = true

[codes]
enabled = true

[interests]
clusters = 8

[publish]
fold_in = true
compact = "int8"
"""
USERS = np.array([17, 42, *range(4700, 4758)])
NIGHTS = ("2024-05-31", "2024-06-01")
#: What pages show of tables in an object store.
STORE = "s3://lake/graphquilt"
_LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:]+ level=")
_RELEASE = re.compile(r"\d{4}-\d\d-\d\d-[0-9a-f]{12}")


# --- commands that are read and not run ------------------------------------------------------------------------


def _read_make(words: Sequence[str]) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(words[1:]) - {word for word in words if "=" in word} <= set(targets)


def _read_pip(words: Sequence[str]) -> None:
    files = (ROOT / "pyproject.toml", ROOT / "graphquilt" / "pyproject.toml")
    projects = [tomllib.loads(file.read_text(encoding="utf-8"))["project"] for file in files]
    extras_of = {project["name"]: set(project.get("optional-dependencies", ())) for project in projects}
    match = re.fullmatch(r"([\w-]+)(?:\[([\w,]+)\])?", words[-1])
    assert match is not None
    assert set(filter(None, (match[2] or "").split(","))) <= extras_of[match[1]]


def _read_spark_submit(words: Sequence[str]) -> None:
    job = next(position for position, word in enumerate(words) if word.endswith(".py"))
    assert (ROOT / words[job].removeprefix("local:///opt/graphquilt/")).is_file()  # in the image, or here
    stage_parser("spark").parse_args(words[job + 1 :])


def _read_benchmark(words: Sequence[str]) -> None:
    source = (ROOT / f"{words[2].replace('.', '/')}.py").read_text(encoding="utf-8")
    options = dict(re.findall(r'add_argument\("(--[\w-]+)"(.*)\)', source))
    own, for_run = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    if for_run:  # what the script hands to a run
        _read_run(["graphquilt", "run", "--config", "C", "--workspace", "W", *for_run])
    named = {word for word in own if word.startswith("--")}
    assert named <= set(options)
    assert {option for option, rest in options.items() if "required=True" in rest} <= named


def _read_picture(words: Sequence[str]) -> None:
    assert (ROOT / words[1]).is_file()


def _read_run(words: Sequence[str]) -> None:
    stage_parser("local").parse_args([word for word in words[2:] if word not in STAGE_NAMES])


def _read_nothing(words: Sequence[str]) -> None:
    pass


@dataclass(frozen=True)
class ReadOnly:
    """Why a command is not run, and how it is read instead."""

    reason: str
    read: Callable[[Sequence[str]], None]


#: By the beginning of a command, or a word that it contains.
NOT_RUN: Mapping[str, ReadOnly] = MappingProxyType(
    {
        "make": ReadOnly("makes environments, or runs all tests; the target must exist", _read_make),
        "docker": ReadOnly("needs a daemon and images; test_dockerfile.py reads the Dockerfile", _read_nothing),
        "pip": ReadOnly("needs a package index; the extras must exist", _read_pip),
        "spark-submit": ReadOnly("needs Spark or a cluster; the job must accept the options", _read_spark_submit),
        "python -m tests.benchmarks": ReadOnly("takes minutes; the script must have the options", _read_benchmark),
        ".venv-consumers/bin/python": ReadOnly("needs make consumers; the options must be there", _read_benchmark),
        "--engine spark": ReadOnly("needs Spark; the options must be right", _read_run),
        "--workers": ReadOnly("starts processes; the options must be right", _read_run),
        "--dask": ReadOnly("needs a Dask cluster; the options must be right", _read_run),
        "python docs/pictures": ReadOnly("takes minutes; test_pictures.py runs it on few rows", _read_picture),
        "python -m pytest": ReadOnly("these are the tests", _read_nothing),
        "airflow": ReadOnly("needs the Airflow environment; tests/dags runs the DAG", _read_nothing),
        "export": ReadOnly("sets up Airflow's environment; tests/dags reads these lines", _read_nothing),
        "git": ReadOnly("changes the clone", _read_nothing),
    }
)


def read_only(words: Sequence[str]) -> ReadOnly | None:
    """Return why a command is not run; None if it is."""
    line = " ".join(words)
    if line.startswith("graphquilt plan "):  # it starts nothing, whatever it is asked for
        return None
    for key, entry in NOT_RUN.items():
        begins_with_it = line.startswith(key) and (line + " ")[len(key)] in " ./"
        if begins_with_it or (key.startswith("--") and f" {key}" in line):
            return entry
    return None


# --- the folder ------------------------------------------------------------------------------------------------


def interactions(rows: int) -> pa.Table:
    """Return what 60 users did with 30 items of two groups, on three days."""
    rng = np.random.default_rng(0)
    user = rng.integers(0, 60, rows)
    item = (rng.integers(0, 15, rows) + 15 * (user % 2)) % 30
    noise = rng.random(rows) < 0.2
    item[noise] = rng.integers(0, 30, noise.sum())
    days = np.datetime64("2024-05-30", "us") + rng.integers(0, 3, rows) * np.timedelta64(1, "D")
    return pa.table({"user_id": USERS[user], "item_id": item + 14, "at": days + np.timedelta64(1, "h")})


def make_folder(folder: Path) -> None:
    """Write the inputs that pages name, and publish two nights of them."""
    for name in ("examples", "jobs"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "workspace").symlink_to("work")
    pairs = interactions(3_000)
    pq.write_table(pairs, folder / "interactions.parquet")
    pq.write_table(interactions(300).select(["user_id", "item_id"]), folder / "test.parquet")
    items = list(range(14, 44))
    pq.write_table(pa.table({"item_id": items, "brand": [f"b{n % 4}" for n in items]}), folder / "items.parquet")
    pq.write_table(pa.table({"item_id": [900, 901], "brand": ["b1", "b2"]}), folder / "new_items.parquet")
    (folder / "groups.csv").write_text("node,label\n" + "".join(f"{user},g{n % 2}\n" for n, user in enumerate(USERS)))
    (folder / "queries.csv").write_text("node_id,node_type\n4711,user\n4712,user\n")
    (folder / "config.toml").write_text(CONFIG)
    with contextlib.chdir(folder):
        for night in NIGHTS:
            done = call("run", "--config", "config.toml", "--workspace", "work", "--date", night)
            assert done.code == 0, done.err
    newest = sorted((folder / "work/published/default/releases").iterdir())[-1]
    (folder / "node_embeddings").symlink_to(newest / "node_embeddings")


class Sandbox:
    """A page's own copy of the folder. Commands run in it, one after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, Any] = {}

    def releases(self) -> list[str]:
        """Return the names of the published releases, newest first."""
        return sorted((path.name for path in (self.folder / "work/published/default/releases").iterdir()), reverse=True)

    def run_line(self, line: str) -> str:
        """Run one line of a bash block; return what it prints.

        Raises
        ------
        AssertionError : it ends with another exit code than 0.
        """
        words = split_line(line)
        if entry := read_only(words):
            entry.read(words)
            return ""
        names = iter(self.releases())
        words = [next(names) if _RELEASE.fullmatch(word) else word for word in words]
        if words[0] == "python":
            return self._run_script(words[1], words[2:])
        assert words[0] == "graphquilt", f"neither run nor in NOT_RUN: {line}"
        if words[1] == "init":
            Path(words[words.index("--out") + 1]).unlink(missing_ok=True)
        done = call(*words[1:])
        assert done.code == 0, f"{line}\n{done.err}"
        summary = [text for text in done.err.splitlines() if not _LOG_LINE.match(text)]
        return "\n".join([*summary, done.out]).replace(f"{Path.cwd()}/", "")

    def _run_script(self, path: str, arguments: Sequence[str]) -> str:
        out = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
            patch.setattr(sys, "argv", [path, *arguments])
            runpy.run_path(path, run_name="__main__")
        return out.getvalue()

    def run_python(self, text: str) -> None:
        """Run a python block with the names of the page's blocks before it."""
        if "spark." in text:
            return  # needs Spark; the engines' tests read tables with it
        if "path" not in self.names:
            self.names["path"] = call("current", "--workspace", "work").out.strip()
            self.names["lists_path"] = self.names["path"].replace("node_embeddings", "ppr_neighbors")
        exec(compile(text, "page", "exec"), self.names)

    def run_sql(self, text: str) -> None:
        """Run a query with Polars, whose SQL has what ours use of DuckDB's."""
        path = call("current", "--workspace", "work").out.strip()
        query = text.replace("<path>", path).replace("<lists>", path.replace("node_embeddings", "ppr_neighbors"))
        assert pl.SQLContext().execute(query, eager=True).height > 0


def fill_store(sandbox: Sandbox, store: FaultProxy) -> None:
    """Put what is published into the store that pages name."""
    with contextlib.suppress(ClientError):  # an earlier page has made the bucket
        make_bucket(store.upstream, STORE.removeprefix("s3://").split("/")[0])
    for file in storage.files_below(sandbox.folder / "work/published"):
        if file.name.endswith(".lock"):
            continue
        storage.write(
            parse_location(f"{STORE}/published/{file.name}"),
            (sandbox.folder / "work/published" / file.name).read_bytes(),
        )


def shell_lines(text: str) -> Iterator[str]:
    """Yield the commands of a bash block, continued lines joined."""
    for line in text.replace("\\\n", " ").splitlines():
        if split_line(line):
            yield line.strip()


def split_line(line: str) -> list[str]:
    """Return the words of a line without its comment. Inside a word, # is a character."""
    return shlex.split(re.sub(r"(^|\s)#.*$", "", line))


def copy_folder(template: Path, folder: Path) -> Sandbox:
    """Return a sandbox with its own copy of the folder."""
    shutil.copytree(template, folder, symlinks=True)
    return Sandbox(folder)
