"""The whole chain on small data: written inputs, runs through the command line's own entry, published tables."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import logging
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import jobs.cli
import jobs.stage_run
from jobs.arguments import Options
from pipeline import storage
from pipeline.embedding.methods import CONFIG
from pipeline.engines.local import LocalEngine
from pipeline.stages.chain import STAGE_NAMES
from pipeline.stages.opening import OpenOptions, open_workspace
from pipeline.workspace import Workspace

#: Sections by name; those of an array of tables, such as [[relations]], one after the other.
Config = Mapping[str, Any]

#: 2000-01-01 in seconds: where the times of these tests begin.
EPOCH = 946_684_800


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, the object it printed, and its log."""

    code: int
    answer: Mapping[str, Any]
    log: str = field(default="", repr=False)

    @property
    def error(self) -> str:
        return str(self.answer.get("error", ""))

    @property
    def skipped(self) -> list[str]:
        return [stage["stage"] for stage in self.answer["stages"] if stage["skipped"]]

    def figures(self, stage: str) -> Mapping[str, Any]:
        return next(report["figures"] for report in self.answer["stages"] if report["stage"] == stage)


@dataclass(frozen=True)
class Published:
    """A release, read with pyarrow alone."""

    folder: Path
    table: pa.Table = field(repr=False)

    @property
    def ids(self) -> list[tuple[str, Any]]:
        return list(zip(self.table["node_type"].to_pylist(), self.table["node_id"].to_pylist(), strict=True))

    @property
    def rows(self) -> np.ndarray:
        embedding = self.table["embedding"].combine_chunks()
        return embedding.flatten().to_numpy().reshape(-1, embedding.type.list_size)

    def column(self, name: str) -> dict[tuple[str, Any], Any]:
        return dict(zip(self.ids, self.table[name].to_pylist(), strict=True))

    @property
    def of(self) -> dict[tuple[str, Any], np.ndarray]:
        return dict(zip(self.ids, self.rows, strict=True))

    @property
    def data(self) -> dict[str, bytes]:
        """The bytes of the data files, by name."""
        return {path.name: path.read_bytes() for path in sorted((self.folder / "node_embeddings").iterdir())}

    @property
    def metrics(self) -> dict[str, Any]:
        return json.loads((self.folder / "metrics.json").read_text())


@dataclass
class Chain:
    """A workspace, and commands on it. ``engine``: a running one, else each command opens the local one.

    ``address``: of the workspace; by default it is in the folder.
    """

    folder: Path
    engine: Any = None
    address: str | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def root(self) -> Path:
        return self.folder / "workspace"

    def write_config(self, config: Config) -> Path:
        path = self.folder / "config.toml"
        path.write_text(to_toml(config), encoding="utf-8")
        return path

    def options(self, config: Config, **changes: Any) -> Options:
        given: dict[str, Any] = {
            "config": self.write_config(config),
            "workspace": self.address or str(self.root),
            "engine": "local",
            "date": None,
            "workers": 1,
            "dask": None,
            "wait_s": 0.0,
            "overrides": (),
            "spark_conf": (),
            "is_json": True,
            "force_current": False,
        }
        date = changes.pop("date", None)
        return Options(**{**given, **changes, "date": dt.date.fromisoformat(date) if date else None})

    def run(self, config: Config, names: Sequence[str] = STAGE_NAMES, **changes: Any) -> Ended:
        """Run stages as the command line does."""
        options, printed = self.options(config, **changes), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, quiet() as said, contextlib.redirect_stdout(printed):
            if self.engine is not None:
                patch.setattr(jobs.stage_run, "open_engine", lambda *_: contextlib.nullcontext(self.engine))
            code = jobs.cli.execute(names, options)
        (line,) = printed.getvalue().splitlines()
        return Ended(code, json.loads(line), said.getvalue())

    def publish(self, config: Config, **changes: Any) -> Published:
        """Run all stages, which must succeed; return what is current."""
        ended = self.run(config, **changes)
        assert ended.code == 0, ended.error
        return self.published(Path(ended.answer["path"]))

    def published(self, folder: Path | None = None) -> Published:
        folder = folder or self.current_folder()
        assert folder is not None
        files = sorted((folder / "node_embeddings").iterdir())
        return Published(folder, pa.concat_tables(pq.read_table(file, partitioning=None) for file in files))

    def current(self, name: str = "default") -> dict[str, Any] | None:
        return storage.read_json(self.root / "published" / name / "CURRENT.json")

    def current_folder(self, name: str = "default") -> Path | None:
        current = self.current(name)
        return None if current is None else self.root / "published" / name / current["path"]

    def gate(self, date: str) -> dict[str, Any] | None:
        return storage.read_json(self.root / "runs" / date / "gate.json")

    def workspace(self, config: Config, date: str = "1970-01-01") -> Workspace:
        """The workspace as a run sees it, to look into its tables."""
        read = CONFIG.from_toml(self.write_config(config))
        day = dt.date.fromisoformat(date)
        return open_workspace(LocalEngine(), read, self.root, OpenOptions(day, "test", starts_with_ingest=True))


@contextlib.contextmanager
def quiet() -> Iterator[io.StringIO]:
    """Undo what a command does to its process: its handlers of log lines and of SIGTERM; yield what it logs."""
    before, raises = signal.getsignal(signal.SIGTERM), logging.raiseExceptions
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            yield said
    finally:
        signal.signal(signal.SIGTERM, before)
        logging.raiseExceptions = raises
        for name in ("pipeline", "jobs"):
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [], True


def to_toml(config: Config) -> str:
    """TOML of sections of plain values and of tables of them."""
    lines = []
    for section, values in config.items():
        if not isinstance(values, Mapping):
            lines += [line for one in values for line in (f"[[{section}]]", *to_toml({"": one}).splitlines()[1:])]
            continue
        plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
        lines += [f"[{section}]", *(f"{json.dumps(k)} = {json.dumps(v, ensure_ascii=False)}" for k, v in plain.items())]
        lines += [to_toml({f"{section}.{key}": values[key]}) for key in values if key not in plain]
    return "\n".join(lines) + "\n"


def write_rows(path: Path, columns: Mapping[str, Any]) -> Path:
    """Write columns as the suffix says: .parquet, .csv or .jsonl."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = columns if isinstance(columns, pa.Table) else pa.table(dict(columns))
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        lines = (json.dumps(row, ensure_ascii=False) for row in table.to_pylist())
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def with_changes(config: Config, **sections: Any) -> dict[str, Any]:
    """The config with some keys of some sections set, or arrays of tables."""
    merged: dict[str, Any] = dict(config)
    for name, section in sections.items():
        merged[name] = {**config.get(name, {}), **section} if isinstance(section, Mapping) else section
    return merged


def users_and_items(seed: int = 0, rows: int = 500, users: int = 60, items: int = 40) -> dict[str, np.ndarray]:
    """Rows of a bipartite graph with popular items and repeated pairs."""
    rng = np.random.default_rng(seed)
    return {"source": rng.integers(0, users, rows), "target": rng.zipf(1.4, rows) % items}


def friends(seed: int = 0, rows: int = 300, nodes: int = 50) -> dict[str, np.ndarray]:
    """Rows of a plain graph, in both directions, without loops."""
    rng = np.random.default_rng(seed)
    ends = np.stack([rng.integers(0, nodes, rows), rng.zipf(1.5, rows) % nodes])
    source, target = ends[:, ends[0] != ends[1]]
    return {"source": source, "target": target}


def config_for(path: Path, *, plain: bool = False, parts: int = 1, dim: int = 16, **sections: Any) -> dict[str, Any]:
    """A small chain's config."""
    types = {"source_type": "person", "target_type": "person"} if plain else {}
    given = {
        "input": {"path": str(path), **types},
        "partition": {"parts": parts},
        "embedding": {"dim": dim},
        "evaluate": {"source": "none"},
        "publish": {"report": False},
    }
    return with_changes(given, **sections)
