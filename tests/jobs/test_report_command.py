"""The report that every run leaves, and the command that writes one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from graphquilt import EmbeddingTable, files
from graphquilt.locations import parse_location
from tests.jobs.conftest import call
from tests.object_store import FaultProxy, bucket, moto_endpoint, object_store  # noqa: F401

#: Attributes of a page that make a browser ask for something.
LOADING = {"src", "href", "srcset", "poster", "action", "data", "background", "xlink:href"}


class _Reader(HTMLParser):
    """Collects a page's words, and all that a browser would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in LOADING]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read_page(path: Path) -> _Reader:
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


@pytest.fixture
def verdict(own_shop: Any) -> Callable[..., dict[str, Any]]:
    """Run the second night again with some settings; return its verdict."""

    def run(*settings: str, date: str = "2024-03-02") -> dict[str, Any]:
        options = [word for setting in settings for word in ("--set", setting)]
        own_shop.call("run", "--config", own_shop.config, "--date", date, *options)
        found: dict[str, Any] = json.loads((own_shop.workspace / "runs" / date / "gate.json").read_text())
        return found

    return run


def test_a_published_night_has_its_report_beside_the_release(verdict: Any, own_shop: Any) -> None:
    found = verdict("embedding.dim=8")
    path = Path(found["report"])
    assert (found["verdict"], path.parent.name, path.name) == ("published", found["release"], "report.html")
    page = read_page(path)
    assert "Published" in page.words
    assert "embedding.dim" in page.words  # what changed against the night before
    assert set(page.loads) == {"data:,"}  # the icon that keeps browsers from asking for one
    assert page.handlers == []
    assert "script" not in page.tags
    # Readers and checks see the release as if there were none, and so does the run that finds it whole.
    assert own_shop.call("check", "--name", "shop", "--deep").code == 0
    assert verdict("embedding.dim=8")["report"] == str(path)


def test_a_refused_night_has_its_report_beside_the_verdict(verdict: Any, own_shop: Any) -> None:
    found = verdict("publish.gates.min_rows=100000")
    path = Path(found["report"])
    assert (found["verdict"], path.parent) == ("refused", own_shop.workspace / "runs" / "2024-03-02")
    words = " ".join(" ".join(read_page(path).words).split())
    assert "Refused 1 gate refused tonight's table." in words
    assert "publish.gates.min_rows wants at least 100000" in words
    assert "unreadable timestamp" in words


def test_no_person_is_named(verdict: Any) -> None:
    for settings in ([], ["publish.gates.min_rows=100000"]):
        assert "person-" not in Path(verdict("embedding.dim=8", *settings)["report"]).read_text()


def test_a_withdrawn_release_says_so(own_shop: Any, tmp_path: Path) -> None:
    out = tmp_path / "night.html"
    assert own_shop.call("rollback", "--name", "shop").code == 0
    assert own_shop.call("report", "--date", "2024-03-02", "--out", out).code == 0
    assert "Withdrawn" in read_page(out).words
    assert own_shop.call("report", "--out", out).code == 0  # what readers have: the night before
    assert {"Published", "1 March 2024"} <= set(read_page(out).words)


def test_a_night_of_bad_input_has_its_report_too(verdict: Any) -> None:
    found = verdict("input.max_rejected_share=0", date="2024-03-01")
    assert (found["verdict"], found["exit_code"]) == ("failed", 4)
    words = read_page(Path(found["report"])).words
    assert "Failed" in words
    assert any("input.max_rejected_share is 0" in word for word in words)


def test_persons_are_named_where_someone_asks_or_says_that_they_are_none(
    own_shop: Any, verdict: Any, tmp_path: Path
) -> None:
    out = tmp_path / "night.html"
    assert own_shop.call("report", "--out", out).code == 0
    assert "person-" not in out.read_text()
    assert "thing-" in out.read_text()  # the items
    assert own_shop.call("report", "--out", out, "--show-ids").code == 0
    assert "person-" in out.read_text()
    page = Path(verdict("embedding.dim=8", 'publish.person_types=["item"]')["report"]).read_text()
    assert ("person-" in page, "thing-" in page) == (True, False)


def test_neighbors_are_those_of_the_readers_table(own_shop: Any, tmp_path: Path) -> None:
    out = tmp_path / "night.html"
    assert own_shop.call("report", "--out", out).code == 0
    found = re.findall(r"<b>(thing-\d+)</b>.*?<td class=\"chips\">(.*?)</td>", out.read_text())
    assert len(found) == 10
    with EmbeddingTable.open(own_shop.workspace, name="shop") as table:
        for name, chips in found:
            listed = re.findall(r">(thing-\d+)<i>(-?[\d.]+)</i>", chips)
            expected = table.neighbors(name, "item", k=8)
            assert [float(score) for _, score in listed] == pytest.approx([score for _, score in expected], abs=6e-4)
            ties = {score for _, score in expected if [s for _, s in expected].count(score) > 1}
            assert [one for one, _ in listed if not ties] == [one for one, _ in expected if not ties]


def test_it_is_written_to_an_object_store_and_from_it(
    own_shop: Any,
    bucket: str,  # noqa: F811
    object_store: FaultProxy,  # noqa: F811
    tmp_path: Path,
) -> None:
    workspace = f"{bucket}/work"
    done = call("run", "--config", own_shop.config, "--workspace", workspace, "--date", "2024-03-02", "--json")
    assert done.code == 0, done.err
    report = parse_location(done.json["report"])
    assert str(report).endswith(f"published/shop/releases/{done.json['release']}/report.html")
    assert b"Map of the clusters" in files.read(report)
    calls = [f"{request.method} {request.path.partition('/work/')[2]}" for request in object_store.requests]
    stop = calls.index(f"PUT published/shop/releases/{done.json['release']}/report.html")
    start = max(number for number in range(stop) if calls[number] == "PUT runs/2024-03-02/gate.json")
    assert stop - start <= 15  # the vectors, the parts, the release's manifest, what readers have, the nights before
    refused = ("--set", "publish.gates.min_rows=100000")
    done = call("run", "--config", own_shop.config, "--workspace", workspace, "--date", "2024-03-02", *refused)
    assert done.code == 3
    assert b"Refused" in files.read(parse_location(f"{workspace}/runs/2024-03-02/report.html"))
    out = tmp_path / "night.html"
    assert call("report", "--workspace", workspace, "--date", "2024-03-02", "--out", out).code == 0
    assert "Refused" in out.read_text()
    assert call("check", "--workspace", workspace, "--name", "shop", "--deep").code == 0


def test_a_report_that_fails_fails_no_night(own_shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> str:
        raise RuntimeError("no ink")

    monkeypatch.setattr("pipeline.queries.night_report.render_night", fail)
    options = ("--config", own_shop.config, "--date", "2024-03-02", "--set", "embedding.dim=8")
    said = own_shop.call("run", *options)
    assert said.code == 0
    assert said.err.count("report=none warning: it could not be written: RuntimeError: no ink") == 1
    found = json.loads((own_shop.workspace / "runs" / "2024-03-02" / "gate.json").read_text())
    assert (found["verdict"], "report" in found) == ("published", False)


def test_secrets_in_messages_are_masked(own_shop: Any, verdict: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.errors import InputError

    def refuse(*_: object, **__: object) -> None:
        raise InputError("s3://key:hunter2@bucket/in.parquet can't be read, nor with password=hunter2</td>")

    monkeypatch.setattr("pipeline.stages.ingest.run", refuse)
    page = Path(verdict("embedding.dim=8", "input.max_rejected_share=0.5")["report"]).read_text()
    assert "can&#39;t be read" in page
    assert "hunter2" not in page


def test_without_reports_there_is_none(verdict: Any) -> None:
    assert "report" not in verdict("embedding.dim=8", "publish.report=false")


def test_the_command_writes_the_page_of_a_release_or_a_date(own_shop: Any, tmp_path: Path) -> None:
    releases = [one["release"] for one in own_shop.call("inspect", "--json").json["published"]["shop"]["releases"]]
    for options in (["--release", releases[0]], ["--date", "2024-03-02", "--compare", releases[0]], []):
        out = tmp_path / "night.html"
        said = own_shop.call("report", "--out", out, *options)
        assert said.code == 0, said.err
        assert read_page(out).tags[0] == "html"
    wrong = own_shop.call("report", "--compare", "no-such", "--out", tmp_path / "x.html")
    assert wrong.code == 2
    assert "has no release 'no-such'; --compare takes one of" in wrong.err
    assert not (tmp_path / "x.html").exists()
