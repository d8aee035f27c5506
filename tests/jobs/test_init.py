import contextlib
import csv
import datetime as dt
import gzip
import io
import json
import re
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.commands.config_text import toml_text
from jobs.commands.first_rows import first_rows
from jobs.commands.guess import guess_columns
from pipeline.config.model import key_reference
from pipeline.embedding.methods import CONFIG
from pipeline.errors import InputError
from pipeline.ingest.counts import total
from pipeline.ingest.parse import parse
from pipeline.ingest.parse_rules import parse_rules
from pipeline.ingest.pieces import split_tasks
from pipeline.ingest.rejected import Verdicts
from pipeline.ingest.sources import list_sources
from pipeline.ingest.timestamps import DIGIT_LAYOUTS, TimeForm, microseconds
from tests.jobs.public_headers import FILES, PublicFile, values_of


def interactions(rows: int = 200) -> pa.Table:
    rng = np.random.default_rng(3)
    return pa.table(
        {
            "event": [("view", "buy")[n % 2] for n in range(rows)],
            "rating": [1 + n % 5 for n in range(rows)],
            "user_id": [f"u{n}" for n in rng.integers(0, 20, rows)],
            "item_id": rng.integers(0, 15, rows),
            "ts": 1_700_000_000 + 3600 * np.arange(rows),
        }
    )


def write(table: pa.Table, path: Path) -> Path:
    if path.suffix == ".csv":
        pacsv.write_csv(table, path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    else:
        pq.write_table(table, path)
    return path


def text_of(file: PublicFile) -> dict[str, list[str]]:
    return {name: values_of(look, seed) for seed, (name, look) in enumerate(file.columns.items())}


def written(path: Path, columns: Mapping[str, Sequence[str]], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as published": str,
    "upper case": str.upper,
    "lower case": str.lower,
    "blanks": lambda name: re.sub(r"(?<=[a-z])(?=[A-Z])|[_-]", " ", name),
    "kebab": lambda name: re.sub(r"(?<=[a-z])(?=[A-Z])|[_ ]", "-", name),
}


@pytest.mark.parametrize("spelling", list(SPELLINGS))
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_columns_of_public_files_are_understood(file: PublicFile, spelling: str) -> None:
    spelt = {name: SPELLINGS[spelling](name) for name in file.columns}
    columns = {spelt[name]: pa.array([one or None for one in column]) for name, column in text_of(file).items()}
    guess = guess_columns(columns)
    assert (guess.values["source"], guess.values["target"]) == (spelt[file.source], spelt[file.target])
    types = guess.values["source_type"], guess.values["target_type"]
    assert (types[0] == types[1]) == (file.types[0] == file.types[1])
    if spelling == "as published":
        assert types == file.types
    found = {key: guess.values.get(key) for key in ("weight", "timestamp", "timestamp_unit")}
    assert found == {
        "weight": None if file.weight is None else spelt[file.weight],
        "timestamp": None if file.timestamp is None else spelt[file.timestamp],
        "timestamp_unit": file.unit,
    }
    assert {line for line in guess.remarks.get("event", ()) if line.startswith("event = ")} == (
        set() if file.event is None else {f'event = "{spelt[file.event]}"'}
    )
    assert set(guess.unused) == set(columns) - {*guess.values.values()} - {spelt.get(file.event or "")}
    for name, word in file.why_unused.items():
        assert word in guess.unused[spelt[name]]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_init_writes_of_public_files_is_read(file: PublicFile, tmp_path: Path, call: Callable[..., Any]) -> None:
    said = call("init", written(tmp_path / "in.csv", text_of(file)), "--out", tmp_path / "made.toml", "--json")
    assert said.code == 0, said.err
    config = CONFIG.from_toml(tmp_path / "made.toml")
    rules = parse_rules(config.input, dt.date(2030, 1, 1))
    tasks = split_tasks(list_sources(config.input.path))
    counts = total(parsed.counts for task in tasks for parsed in parse(task, rules))
    assert counts.read == len(next(iter(text_of(file).values())))
    assert counts.kept > 0
    assert counts.rejected_share <= config.input.max_rejected_share


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES[::9], ids=lambda file: file.name)
def test_what_init_writes_of_public_files_runs(file: PublicFile, tmp_path: Path, call: Callable[..., Any]) -> None:
    call("init", written(tmp_path / "in.csv", text_of(file)), "--out", tmp_path / "made.toml")
    done = call("run", "--config", tmp_path / "made.toml", "--workspace", tmp_path / "work", "--set", "embedding.dim=4")
    assert done.code == 0, done.err


def plain_lines(rows: int = 60) -> list[list[str]]:
    rng = np.random.default_rng(0)
    return [[f"{rng.integers(1, 30)}", f"{rng.integers(1, 30)}"] for _ in range(rows)]


def ratings(rows: int = 60) -> list[list[str]]:
    rng = np.random.default_rng(0)
    ends = plain_lines(rows)
    return [[*pair, f"{rng.integers(1, 6)}", f"{880_000_000 + 100 * n}"] for n, pair in enumerate(ends)]


def sessions() -> list[list[str]]:
    return [[n, "NA" if int(n) % 3 == 0 else n, m] for n, m in plain_lines()]


def text(rows: list[list[str]], delimiter: str) -> str:
    return "".join(delimiter.join(row) + "\n" for row in rows)


SNAP = b"# Directed graph (each unordered pair, once): web.txt\n# Nodes: 29 Edges: 60\n# FromNodeId\tToNodeId\n"


@pytest.mark.parametrize(
    ("name", "data", "keys"),
    [
        ("u.data", text(ratings(), "\t").encode(), {"delimiter": "\t", "header": False, "weight": "rating"}),
        ("ratings.dat", text(ratings(), "::").encode(), {"delimiter": "::", "source_type": "user", "header": False}),
        ("edges.txt", text(plain_lines(), " ").encode(), {"delimiter": "whitespace", "source_type": "node"}),
        ("edges.tsv", text(plain_lines(), "\t").encode(), {"header": False, "target_type": "node"}),
        ("a.csv", text([["user", "item"], *plain_lines()], ";").encode(), {"delimiter": ";", "source": "user"}),
        ("b.csv", text([["user", "item"], *plain_lines()], "|").encode("utf-16"), {"delimiter": "|"}),
        ("c.csv", text([["user", "item"], *plain_lines()], ",").encode("utf-16-le"), {"encoding": "utf-16-le"}),
        ("d.csv", "user,café\n".encode("cp1252") + text(plain_lines(), ",").encode(), {"encoding": "cp1252"}),
        ("e.inter", text([["user_id:token", "item_id:token"], *plain_lines()], "\t").encode(), {"source": "user_id"}),
        ("f.csv.gz", gzip.compress(text(ratings(), ",").encode()), {"timestamp": "timestamp", "timestamp_unit": "s"}),
        ("g.csv", text([["sessionId", "userId", "itemId"], *sessions()], ";").encode(),
         {"source": "userId", "null_values": ["NA"], "max_rejected_share": pytest.approx(0.5, abs=0.2)}),
        ("snap.txt.gz", gzip.compress(SNAP + text(plain_lines(), "\t").encode()),
         {"comment": "#", "delimiter": "\t", "header": False, "columns": ["FromNodeId", "ToNodeId"],
          "source": "FromNodeId", "target": "ToNodeId", "source_type": "node"}),
        ("market.txt", b"%%MatrixMarket matrix coordinate real symmetric\n%\n% src dst\n29 29 60\n"
         + text([[*pair, "0.5"] for pair in plain_lines()], " ").encode(),
         {"comment": "%", "delimiter": "whitespace", "columns": ["source", "target", "weight"], "weight": "weight"}),
        ("pattern.txt", b"%%MatrixMarket matrix coordinate pattern general\n29 40 60\n"
         + text(plain_lines(), " ").encode(), {"comment": "%", "columns": ["user", "item"], "target_type": "item"}),
        ("konect.txt", b"% asym unweighted\n" + text(plain_lines(), " ").replace("\n", " \n").encode(),
         {"comment": "%", "delimiter": "whitespace", "columns": ["source", "target"], "target_type": "node"}),
        ("out.txt", b"% bip weighted\n% 60 29 29\n" + text(ratings(), " ").encode(),
         {"comment": "%", "source_type": "user", "target_type": "item", "weight": "rating", "timestamp_unit": "s"}),
        ("mixed.txt", b"% sym positive\n" + "".join("{} {} {}\t{}\n".format(*row) for row in ratings()).encode(),
         {"comment": "%", "delimiter": "whitespace", "target_type": "node", "timestamp": "timestamp"}),
        ("names.csv", b"# made on Monday\nuser,item\n" + text(plain_lines(), ",").encode(),
         {"comment": "#", "header": None, "source": "user", "delimiter": None}),
        ("spaced.txt", b"# FromNodeId ToNodeId\n" + text(plain_lines(), "\t").encode(),
         {"comment": "#", "columns": ["FromNodeId", "ToNodeId"]}),
        ("prose.txt", b"# my graph\n" + text(plain_lines(), " ").encode(),
         {"comment": "#", "columns": ["source", "target"]}),
        ("tags.csv", "".join(f"#tag{a},{b}\n" if int(a) % 2 else f"{a},{b}\n" for a, b in plain_lines()).encode(),
         {"comment": None, "columns": ["source", "target"]}),
        ("email.txt", text([[*pair, f"{1_217_567_877 + n}"] for n, pair in enumerate(plain_lines())], " ").encode(),
         {"columns": ["source", "target", "timestamp"], "target_type": "node", "timestamp_unit": "s"}),
        ("buys.csv", text([[a, f"2{b}000", f"{1_217_567_877 + n}"] for n, (a, b) in enumerate(plain_lines())],
                          ",").encode(), {"columns": ["user", "item", "timestamp"], "target_type": "item"}),
        ("trust.csv", text([[*row[:2], f"{int(row[2]) - 3}", row[3]] for row in ratings()], ",").encode(),
         {"columns": ["source", "target", "weight", "timestamp"], "target_type": "node", "weight": None}),
        ("hashes.tsv", text([[f"f{int(a) * 2654435761:08x}", f"{int(b) * 2654435761:07x}f"] for a, b in plain_lines()],
                            "\t").encode(),
         {"header": False, "source_type": "user", "target_type": "item"}),
        ("proteins.tsv", text([[f"P{int(a):05d}", f"P{int(b):05d}"] for a, b in plain_lines()], "\t").encode(),
         {"header": False, "source_type": "node", "target_type": "node"}),
        ("h.tsv", b'user\titem\n1\t"7 inch\n' + text(plain_lines(), "\t").encode(), {"quote": "", "source": "user"}),
    ],
)  # fmt: skip
def test_text_is_read_as_it_is_written(
    name: str, data: bytes, keys: dict[str, Any], tmp_path: Path, call: Callable[..., Any]
) -> None:
    (tmp_path / name).write_bytes(data)
    said = call("init", tmp_path / name, "--out", tmp_path / "made.toml", "--json")
    assert said.code == 0, said.err
    assert {key: said.json["guessed"].get(key) for key in keys} == keys
    done = call("ingest", "--config", tmp_path / "made.toml", "--workspace", tmp_path / "work", "--json")
    assert done.code == 0, done.err
    figures = done.json["stages"][0]["figures"]
    assert figures["read"] == 60 + (name == "h.tsv")
    assert {*figures["rejected"]} <= {"null id", "self loop"}
    assert bool(figures["comment_lines"]) == ("comment" in said.json["guessed"])


def odd_files() -> dict[str, bytes]:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("a.csv", "user,item\n1,2\n")
    sink = pa.BufferOutputStream()
    nested = pa.table({"user": [{"id": 1}], "items": [[1, 2]], "m": [{"a": 1}], "n": pa.nulls(1), "b": [b"\xff"]})
    pq.write_table(nested, sink)
    parquet = sink.getvalue().to_pybytes()
    rng = np.random.default_rng(0)
    wide = ",".join(f"c{n}" for n in range(500)) + "\n" + ",".join(["1"] * 500) + "\n"
    return {
        "empty.csv": b"", "blank.csv": b"\n\n\n", "one.csv": b"user\n1\n2\n", "header.csv": b"user,item\n",
        "garbage.csv": rng.bytes(5000), "zeros.csv": b"\0" * 500, "zip.csv": zipped.getvalue(),
        "png.csv": b"\x89PNG\r\n\x1a\n" + rng.bytes(500), "cut.csv.gz": gzip.compress(rng.bytes(9000))[:700],
        "nogz.csv.gz": b"user,item\n1,2\n", "wide.csv": wide.encode(), "quote.csv": b'user,item\n1,"2\n3,4\n',
        "twice.csv": b"user,user\n1,2\n", "nulls.csv": b"user,item\n" + b",\n" * 50, "long.csv": b"x" * 300_000,
        "huge.csv": b"user,item\n" + b"9" * 40 + b",1\n" + b"1e999,2\n", "ragged.csv": b"user,item\n1,2,3\n4\n5,6\n",
        "names.csv": b",,\n1,2,3\n",
        "unnamed.csv": b",user,item\n0,1,2\n1,5,6\n", "emoji.csv": "👤,📦\n1,2\n3,4\n".encode(),
        "comment.txt": b"# a\n# b\n1 2\n", "bom.csv": b"\xef\xbb\xbf", "surrogate.json": b'{"a": "\\ud800", "b": 1}\n',
        "scalar.json": b"3\n", "array.json": b"[1, 2]", "broken.json": b'{"a": 1', "deep.json": b"[" * 20_000,
        "mixed.json": b'{"a": 1, "b": "x"}\n{"a": "y", "b": [1]}\n', "nested.json": b'{"a": {"b": 1}, "c": [1]}\n',
        "big.json": b'{"a": ' + b"9" * 5000 + b', "b": 2}\n', "nan.json": b'{"user": NaN, "item": 1}\n',
        "none.parquet": b"", "cut.parquet": parquet[:100], "nested.parquet": parquet,
        "text.parquet": b"user,item\n1,2\n",
    }  # fmt: skip


@pytest.mark.parametrize("name", list(odd_files()))
def test_no_file_makes_init_fail_without_a_word(name: str, tmp_path: Path, call: Callable[..., Any]) -> None:
    (tmp_path / name).write_bytes(odd_files()[name])
    said = call("init", tmp_path / name, "--out", tmp_path / "made.toml", "--json")
    assert said.code in (0, 4), said.err
    if said.code == 4:
        assert len(said.json["error"]) < 4_000
        assert str(tmp_path) in said.json["error"] or "two columns of ids" in said.json["error"]
    else:
        CONFIG.from_toml(tmp_path / "made.toml")


@given(st.binary(max_size=400), st.sampled_from(["x.csv", "x.tsv", "x.json", "x.parquet", "x.csv.gz", "x.dat"]))
@settings(max_examples=150)
def test_no_bytes_make_init_fail_without_a_word(data: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(data)
        with contextlib.suppress(InputError):
            guess_columns(first_rows(f"{folder}/{name}").columns)


@given(st.data())
@settings(max_examples=60)
def test_no_types_make_init_fail_without_a_word(data: st.DataObject) -> None:
    """Names, Arrow types and their bits at random."""
    types = [
        *(pa.int8(), pa.uint64(), pa.float32(), pa.bool_(), pa.string(), pa.large_string(), pa.binary(), pa.date32()),
        *(pa.timestamp("us", "Mars/Base"), pa.date64(), pa.timestamp("ns", "UTC"), pa.time64("us"), pa.duration("s")),
        *(pa.decimal128(20, 0), pa.decimal128(9, 3)),
        *(pa.list_(pa.int64()), pa.struct([("a", pa.string())]), pa.dictionary(pa.int32(), pa.string()), pa.null()),
        *(pa.binary(16), pa.float16(), pa.map_(pa.string(), pa.int64())),
    ]
    words = ["user", "item_id", "timestamp", "rating", "event", "index", "", "Unnamed: 0", "x", "ünï", "session"]
    n = data.draw(st.integers(0, 5))
    names = data.draw(st.lists(st.sampled_from(words), min_size=1, max_size=6))
    columns = {name: pa.nulls(n, data.draw(st.sampled_from(types))) for name in names}
    for name, column in columns.items():
        if data.draw(st.booleans()) and (pa.types.is_integer(column.type) or pa.types.is_string(column.type)):
            columns[name] = pa.array([str(one) for one in range(n)]).cast(column.type)
        elif pa.types.is_primitive(column.type) or pa.types.is_decimal(column.type):
            bits = data.draw(st.binary(min_size=16 * n, max_size=16 * n))
            columns[name] = pa.Array.from_buffers(column.type, n, [None, pa.py_buffer(bits)])
    with contextlib.suppress(InputError):
        guess_columns(columns)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_text_in_any_layout_is_looked_at(kind: pa.DataType, tmp_path: Path) -> None:
    columns = {"src": ["a", "b", "c"], "dst": ["x", "y", "z"], "at": ["2024-01-31", "2024-02-29", "2024-03-31"]}
    table = pa.table({name: pa.array(values, kind) for name, values in columns.items()})
    guess = guess_columns(first_rows(str(write(table, tmp_path / "in.parquet"))).columns)
    assert [guess.values[key] for key in ("source", "target", "timestamp")] == ["src", "dst", "at"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_what_init_writes_runs_unchanged(suffix: str, tmp_path: Path, call: Callable[..., Any]) -> None:
    source = write(interactions(), tmp_path / f"in.{suffix}")
    config = tmp_path / "made.toml"
    said = call("init", source, "--out", config, "--json")
    assert said.code == 0, said.err
    assert said.json["guessed"] == {
        "source": "user_id",
        "source_type": "user",
        "target": "item_id",
        "target_type": "item",
        "timestamp": "ts",
        "timestamp_unit": "s",
        "weight": "rating",
    }
    assert set(said.json["guessed"]) <= set(said.json["why"])
    work = ["--workspace", tmp_path / "work", "--set", "embedding.dim=8"]
    assert call("config", "--check", config).code == 0
    done = call("run", "--config", config, *work, "--json")
    assert done.code == 0, done.err
    assert done.json["published"]
    # The last of 200 hours after 2023-11-14 22:13:20.
    assert done.json["date"] == "2023-11-23"


def test_nothing_is_overwritten(tmp_path: Path, call: Callable[..., Any]) -> None:
    source = write(interactions(), tmp_path / "in.csv")
    (tmp_path / "made.toml").write_text("mine")
    said = call("init", source, "--out", tmp_path / "made.toml")
    assert said.code == 2
    assert "exists and is not overwritten" in said.err
    assert (tmp_path / "made.toml").read_text() == "mine"
    said = call("init", source, "--out", tmp_path / "no" / "made.toml")
    assert said.code == 2
    assert "can't be written" in said.err


def test_a_relative_path_is_found_from_elsewhere(
    tmp_path: Path, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    write(interactions(), tmp_path / "in.csv")
    monkeypatch.chdir(tmp_path)
    assert call("init", "in.csv", "--out", "configs/made.toml").code == 0
    monkeypatch.chdir("/")
    said = call("plan", "--config", tmp_path / "configs/made.toml", "--workspace", tmp_path / "work", "--json")
    assert said.code == 0, said.err
    assert said.json["input"]["files"] == 1


@pytest.mark.parametrize(
    ("columns", "source", "target", "types"),
    [
        (("src", "dst"), "src", "dst", ("node", "node")),
        (("target", "source"), "source", "target", ("node", "node")),
        (("package", "needs"), "package", "needs", ("package", "package")),
        (("movieId", "userId"), "userId", "movieId", ("user", "movie")),
        (("customer", "sku"), "customer", "sku", ("customer", "sku")),
        (("alpha", "beta"), "alpha", "beta", ("alpha", "beta")),
        (("note", "left_uuid", "right_uuid"), "left_uuid", "right_uuid", ("node", "node")),
        (("note", "shop_id", "town_id"), "shop_id", "town_id", ("shop", "town")),
    ],
)
def test_ends_are_told_by_name_or_place(
    columns: tuple[str, ...], source: str, target: str, types: tuple[str, str]
) -> None:
    values = {name: pa.array([f"{name} {n}" for n in range(20)]) for name in columns}
    guess = guess_columns(values)
    assert (guess.values["source"], guess.values["target"]) == (source, target)
    assert (guess.values["source_type"], guess.values["target_type"]) == types


def test_ends_that_share_values_are_of_one_type() -> None:
    values = {"alpha": pa.array(["x", "y", "z"]), "beta": pa.array(["y", "z", "x"])}
    assert guess_columns(values).values["source_type"] == "node"
    assert guess_columns(values).values["target_type"] == "node"


def test_float_ids_are_refused_with_the_columns() -> None:
    with pytest.raises(InputError, match=r"user_id \(double\), item_id \(string\)"):
        guess_columns({"user_id": pa.array([1.0]), "item_id": pa.array(["a"])})


@given(
    st.sampled_from(["s", "ms", "us", "ns"]),
    st.lists(st.integers(631_152_000, 4_133_980_799), min_size=1, max_size=20),  # 1990 to 2100
)
@settings(max_examples=60)
def test_the_unit_of_integers_is_told_by_magnitude(unit: str, seconds: list[int]) -> None:
    factor = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    moments = [second * factor for second in seconds]
    columns = {"src": pa.array(["a"] * len(moments)), "dst": pa.array(["b"] * len(moments)), "time": pa.array(moments)}
    assert guess_columns(columns).values["timestamp_unit"] == unit
    if unit != "ns":  # ingest reads integers of up to 18 digits as text
        columns["time"] = pa.array([str(moment) for moment in moments])
        assert guess_columns(columns).values["timestamp_unit"] == unit


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([1, 2, 3], "no seconds, ms, us or ns of our days"),
        ([True] * 3, "ingest reads no bool as a time"),
        (["soon", "later", "never"], "none of the forms tried reads them"),
    ],
)
def test_a_time_that_ingest_would_refuse_is_left_out(values: list[Any], why: str) -> None:
    guess = guess_columns({"src": pa.array(["a"] * 3), "dst": pa.array(["b"] * 3), "ts": pa.array(values)})
    assert "timestamp" not in guess.values
    assert why in guess.why["timestamp"]


@pytest.mark.parametrize(
    ("layout", "needs"),
    [
        ("%m/%d/%Y %H:%M", True), ("%d/%m/%Y", True), ("%d.%m.%Y %H:%M:%S", True), ("%Y/%m/%d", True), ("%Y%m%d", True),
        ("%m/%d/%Y %I:%M:%S %p", True), ("%b %d, %Y", True), ("%a %b %d %H:%M:%S +0000 %Y", True), ("%Y-%m-%d", False),
    ],
)  # fmt: skip
def test_the_form_of_written_times_is_told(layout: str, needs: bool) -> None:
    start = dt.datetime(2024, 1, 1, 5, 30, tzinfo=dt.UTC)
    moments = [start + dt.timedelta(days=2 * n, hours=n) for n in range(40)]
    ends = {"src": pa.array([f"a{n}" for n in range(40)]), "dst": pa.array([f"b{n}" for n in range(40)])}
    column = pa.array([moment.strftime(layout) for moment in moments])
    guess = guess_columns({**ends, "date": column})
    assert guess.values["timestamp"] == "date"
    form = guess.values.get("timestamp_format")
    assert (form is not None) == needs
    read = microseconds(column, TimeForm(layout=form), Verdicts(40), "date", "here")
    want = [dt.datetime.strptime(text, layout).replace(tzinfo=dt.UTC) for text in column.to_pylist()]
    assert read.tolist() == [round(moment.timestamp() * 1e6) for moment in want]


@pytest.mark.parametrize("kind", [pa.string(), pa.int64(), pa.float64()])
@pytest.mark.parametrize("layout", DIGIT_LAYOUTS)
def test_digits_of_a_date_are_told_in_any_type(layout: str, kind: pa.DataType) -> None:
    moments = [dt.datetime(2011, 12, 31, 5, 30) + dt.timedelta(days=n) for n in range(40)]
    date = pa.array([int(moment.strftime(layout)) for moment in moments]).cast(kind)
    ends = {"src": pa.array([f"a{n}" for n in range(40)]), "dst": pa.array([f"b{n}" for n in range(40)])}
    guess = guess_columns({**ends, "date": date})
    if layout == "%Y%m%d%H":  # seconds of the years 2033 and 2034
        assert guess.values["timestamp_unit"] == "s"
    else:
        assert (guess.values["timestamp"], guess.values["timestamp_format"]) == ("date", layout)


def test_a_form_that_can_be_read_in_two_ways_is_not_chosen() -> None:
    dates = pa.array(["01/02/2024", "03/04/2024", "11/12/2024"])
    guess = guess_columns({"src": pa.array(["a", "b", "c"]), "dst": pa.array(["d", "e", "f"]), "date": dates})
    assert "timestamp" not in guess.values
    assert "fit both '%m/%d/%Y' and '%d/%m/%Y': say which" in guess.why["timestamp"]


@pytest.mark.parametrize("values", [[0.0, 1.0, 2.0], [-1, 2, 3], ["much", "more", "most"], [None, 1, 2]])
def test_a_weight_that_ingest_would_reject_is_left_out(values: list[Any]) -> None:
    guess = guess_columns({"src": pa.array(["a"] * 3), "dst": pa.array(["b"] * 3), "weight": pa.array(values)})
    assert "weight" not in guess.values
    assert "weight" in guess.why["weight"]


def test_ids_of_text_formats_stay_text(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("a_id,b_id\n12345678901234567890,007\n")
    assert {str(column.type) for column in first_rows(str(tmp_path / "in.csv")).columns.values()} == {"string"}
    (tmp_path / "in.jsonl").write_text('{"a_id": 12345678901234567890, "b_id": 7}\n')
    assert first_rows(str(tmp_path / "in.jsonl")).columns["a_id"].to_pylist() == ["12345678901234567890"]


def test_a_lake_table_is_looked_at_by_its_log(tmp_path: Path, call: Callable[..., Any]) -> None:
    write_deltalake(tmp_path / "t", interactions(), partition_by=["event"])
    DeltaTable(tmp_path / "t").delete("rating = 5")
    said = call("init", tmp_path / "t", "--out", tmp_path / "made.toml")
    assert said.code == 0, said.err
    assert "t: Delta table, version 1, files: " in said.out
    found = first_rows(str(tmp_path / "t"))
    assert set(found.columns) == set(interactions().column_names)
    assert 5 not in found.columns["rating"].to_pylist()
    assert set(found.columns["event"].to_pylist()) <= {"view", "buy"}


def test_columns_told_by_folders_are_seen(tmp_path: Path) -> None:
    (tmp_path / "event=click").mkdir()
    write(interactions().select(["user_id", "item_id"]), tmp_path / "event=click" / "in.parquet")
    found = first_rows(str(tmp_path))
    assert found.columns["event"][0].as_py() == "click"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "has no rows"), ("a_id,b_id\n", "has no rows"), ("# a\n# b\n", "has no rows")],
)
def test_an_unusable_input_exits_4(text: str, sentence: str, tmp_path: Path, call: Callable[..., Any]) -> None:
    (tmp_path / "in.csv").write_text(text)
    said = call("init", tmp_path / "in.csv", "--out", tmp_path / "made.toml", "--json")
    assert said.code == 4, said.err
    assert sentence in said.json["error"]
    assert not (tmp_path / "made.toml").exists()


@given(
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=3, max_size=3, unique=True),
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=5),
)
@settings(max_examples=60)
def test_any_name_survives_the_file(names: list[str], kinds: list[str]) -> None:
    columns = {name: pa.array([f"{name}{n}" for n in range(len(kinds))]) for name in names}
    columns["event"] = pa.array(kinds)
    guess = guess_columns(columns)
    text = toml_text({"input": {"path": names[0], **guess.values}}, {("input", k): v for k, v in guess.remarks.items()})
    config = CONFIG.model_validate(tomllib.loads(text))
    assert config.input.source == guess.values["source"]
    assert config.input.path == names[0]


def test_the_file_has_every_key(tmp_path: Path, call: Callable[..., Any]) -> None:
    call("init", write(interactions(), tmp_path / "in.csv"), "--out", tmp_path / "made.toml")
    section, found = "", set()
    for line in (tmp_path / "made.toml").read_text().splitlines():
        if line.removeprefix("# ").startswith("["):
            section = line.removeprefix("# ").strip("[]")
        elif " =" in line:
            found.add((section, line.removeprefix("# ").split(" =")[0]))
    assert {(section.strip("[]"), key) for section, key, _, _ in key_reference(CONFIG)} <= found
