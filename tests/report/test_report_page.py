"""The page, from facts that nobody vouches for, in a parser and in a real browser."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from pipeline.report.charts import Column, Curve, bar_chart, degree_curves, histograms, line_chart
from pipeline.report.cluster_map import MappedNodes, draw_map
from pipeline.report.compared_neighbors import ComparedNeighbors, show_neighbors
from pipeline.report.night import (
    ChangedKey,
    Headline,
    JudgedFigure,
    NightFacts,
    NodeCounts,
    PastValue,
    RejectedRows,
    StageCosts,
)
from pipeline.report.page import render
from pipeline.report.pictures import Picture
from pipeline.report.treemap import PartSize, draw_parts
from tests.conftest import missing
from tests.report.browser import Browser, find_browser, open_browser

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>&lt;b'{{ 7*7 }}</style></title>\u202e"
MADE_AT = dt.datetime(2024, 6, 2, 3, 0, tzinfo=dt.UTC)


def night(word: str = "shop", light: str = "green") -> NightFacts:
    """Facts with a word in each place that holds data of others."""
    past = [PastValue(f"2024-05-{day:02d}", 100.0 + day, day != 7) for day in range(1, 31)]
    gates = [
        JudgedFigure("min_row_ratio", f"rows of {word}", verdict, 131.0, 65.0, 130.0, word, past)
        for verdict in ("passed", "refused", "not judged")
    ]
    costs = {"seconds": 0.5, "cpu_seconds": 0.4, "peak_bytes": 2**30, "bytes": 2**20, "tasks": 3}
    waves = [{"name": f"{word} {number}", "longest": 0.2, **costs} for number in range(2)]
    return NightFacts(
        name=word,
        date="2024-06-01",
        release=word,
        light=light,  # type: ignore[arg-type]
        verdict=word,
        sentence=word,
        reasons=[word],
        compared_with=word,
        gates=gates,
        headlines=[Headline(word, 131.0, 130.0, "count", word, past)],
        rows={"kept": 90, "late": 5, "early": 0, "rejected": 5, "other": 0},
        rejected_rows=[RejectedRows(word, 5, word, word)],
        nodes=[NodeCounts(word, 131, 2, 1)],
        config_changes=[ChangedKey(word, word, word)],
        stages=[StageCosts(word, 1.0, 0.9, 2**30, 2**21, 6, waves)],
        warnings=[word],
        facts={word: word},
    )


def pictures(word: str = "thing", *, has_map: bool = True) -> list[Picture]:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    mapped = MappedNodes(rows, np.arange(60), np.arange(60) % 2, [word] * 60, [word, ""] * 30)
    degree = {word: rng.integers(0, 99, 60), "none": np.zeros(3, np.int64)}
    bodies = [
        draw_map(mapped)[0] if has_map else Markup(""),
        degree_curves(degree),
        histograms({word: rng.normal(size=60), "equal": np.ones(3)}, word),
        line_chart([Curve(word, [(8, 0.1), (16, 0.2)], has_dots=True)], word, word),
        bar_chart([Column(word, word, 0.5, word)], word, word),
        draw_parts([PartSize(word, 5, 9, 3, 1, 2), PartSize(f"{word}/1", 5, 4, 0, 0, 0)]),
        show_neighbors([ComparedNeighbors(word, word, [(word, 0.9)], [(f"{word}2", 0.8)])]),
    ]
    return [
        Picture(word, word, body, share="whole" if number < 2 else "third", legend=[("f0", word)])
        for number, body in enumerate(bodies)
    ]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        missing("browser", "there is no Chromium: apt-get install chromium")
    with open_browser(program, tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.mark.parametrize("light", ["green", "amber", "red"])
@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize("width", [390, 1440])
def test_a_browser_shows_it_without_a_complaint_or_a_request(
    browser: Browser, tmp_path: Path, light: str, is_dark: bool, width: int
) -> None:
    page = tmp_path / "night.html"
    page.write_text(render(night(HOSTILE, light), pictures(HOSTILE), MADE_AT), encoding="utf-8")
    browser.requests.clear()
    browser.open(page, width, 900, is_dark=is_dark)
    assert browser.requests == [page.as_uri()]
    assert browser.complaints == []
    assert browser.value("document.scripts.length + document.images.length") == 0
    # Nothing sticks out to the side; what is wider than the window scrolls in its own box.
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert HOSTILE in browser.value("document.querySelector('.sentence').textContent")
    background = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 3 * 128) == is_dark


def test_it_prints_on_paper(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "night.html"
    page.write_text(render(night(), pictures(), MADE_AT), encoding="utf-8")
    browser.open(page, 1440, 900)
    browser.print_to(tmp_path / "night.pdf")
    assert (tmp_path / "night.pdf").read_bytes().startswith(b"%PDF")


@given(st.text(min_size=1))
def test_words_of_others_stay_words(word: str) -> None:
    plain = render(night("x"), pictures("x", has_map=False), MADE_AT)
    page = render(night(word), pictures(word, has_map=False), MADE_AT)
    # No word opens or closes a tag: there are as many of them, whatever it says.
    assert page.count("<") == plain.count("<")
    assert page.count("<script") == 0
    assert page.count("<tr") == plain.count("<tr")


def test_the_light_and_the_bad_nights_are_there() -> None:
    page = render(night("x", "red"), [], MADE_AT)
    assert '<header class="verdict red">' in page
    assert (
        page.count('class="spark-bad"') == 2 + 1 + 1
    )  # the bad night of two gates and of a headline, and tonight's refusal
    assert "2 June 2024, 03:00 UTC" in page


def test_a_first_night_of_nothing_is_a_page_too() -> None:
    empty = replace(
        night(), date=None, release=None, compared_with=None, gates=[], headlines=[], rows={}, rejected_rows=[],
        nodes=[], config_changes=None, stages=[], warnings=[], facts={}, reasons=[],
    )  # fmt: skip
    page = render(empty, [], MADE_AT)
    assert "undated" in page
    assert "1970" not in page
    assert "no earlier release" in page
