"""The reference says what the program has: keys, tables, commands, options, gates."""

from __future__ import annotations

import json
import re

from graphquilt import __all__ as public_names
from graphquilt.__main__ import HELP
from jobs.arguments import stage_parser
from pipeline.config.model import key_reference
from pipeline.embedding.methods import CONFIG
from pipeline.stages.chain import STAGE_NAMES
from schemas import tables as working_tables
from schemas.contracts import TableContract
from tests.docs.pages import ROOT, anchors, cells, load_script, prose, tables

REFERENCE = ROOT / "docs" / "reference"


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the rows of the first table after a heading."""
    path = REFERENCE / page
    start = next(number for number, line in prose(path) if line.lstrip("# ") == heading and line.startswith("#"))
    run = next(run for run in tables(path) if run[0][0] > start)
    return [cells(line) for _, line in run[2:]]


def codes(cell: str) -> list[str]:
    """Return the code spans of a cell."""
    return re.findall(r"`([^`]+)`", cell)


def test_the_key_reference_is_the_config_s() -> None:
    page = (REFERENCE / "config.md").read_text(encoding="utf-8")
    assert load_script(REFERENCE / "config_keys.py").render(page) == page, "run python docs/reference/config_keys.py"
    assert page.count("\n| `") == len(key_reference(CONFIG))


def test_published_tables_have_the_columns_of_their_contracts() -> None:
    frozen = sorted((ROOT / "schemas" / "published").glob("*.json"))
    assert frozen
    for path in frozen:
        contract = json.loads(path.read_text(encoding="utf-8"))
        shown = rows("tables.md", contract["name"])
        assert [codes(row[0])[0] for row in shown] == [column["name"] for column in contract["columns"]]


def test_metadata_keys_are_those_of_the_contract() -> None:
    contract = json.loads((ROOT / "schemas" / "published" / "node_embeddings-v1.json").read_text(encoding="utf-8"))
    shown = [key for row in rows("tables.md", "Metadata") for key in codes(row[0])]
    assert sorted(shown) == contract["file_metadata"]["graphquilt"]


def test_every_working_table_is_described() -> None:
    names = {value.name for value in vars(working_tables).values() if isinstance(value, TableContract)}
    assert {codes(row[0])[0] for row in rows("tables.md", "Working tables")} == names


def test_every_command_is_described() -> None:
    listed = re.findall(r"^  ([a-z][a-z-]+) {2,}", HELP, re.MULTILINE)
    assert sorted(codes(row[0])[0] for row in rows("commands.md", "Commands")) == sorted(listed)


def test_every_common_option_is_described() -> None:
    options = {action.option_strings[0] for action in stage_parser("local")._actions} - {"-h"}
    shown = [codes(row[0])[0].split()[0] for row in rows("commands.md", "Options of everything that runs")]
    assert sorted(shown) == sorted(options)


def test_every_public_name_is_described() -> None:
    shown = [name for row in rows("commands.md", "Python") for name in codes(row[0])]
    assert sorted(shown) == sorted(public_names)


def test_gates_have_the_defaults_of_the_config() -> None:
    gates = CONFIG.model_validate({"input": {"path": "x"}}).publish.gates
    judged = {key: codes(row[1])[0] for row in rows("metrics-and-gates.md", "Gates") for key in codes(row[0])}
    assert judged == {key: json.dumps(getattr(gates, key)) for key in judged}
    page = (REFERENCE / "metrics-and-gates.md").read_text(encoding="utf-8")
    assert [key for key in type(gates).model_fields if f"`{key}" not in page] == []


def test_the_stages_are_named_in_order_in_the_readme() -> None:
    flow = (ROOT / "README.md").read_text(encoding="utf-8").split("```mermaid")[1].split("```")[0]
    assert tuple(re.findall(r"\|(\w+)\|", flow)) == STAGE_NAMES


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


def test_places_that_messages_name_are_there() -> None:
    """Messages and docstrings name pages as docs/....md, some with a heading in quotes."""
    for path in [*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "jobs").rglob("*.py"), *(ROOT / "airflow").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"docs/[\w/.-]+\.md", text):
            assert (ROOT / name).exists(), f"{path}: {name}"
        for name, anchor in re.findall(r"(docs/[\w/.-]+\.md)#([\w-]+)", text):
            assert anchor in anchors(ROOT / name), f"{path}: {name}#{anchor}"
        assert "README" not in text, f"{path}: name a page of docs/ instead"
