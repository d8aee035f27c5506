"""What of a folder is data, what lies beside it, and what links do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import fs as pafs

from pipeline.errors import InputError
from pipeline.ingest import listing
from pipeline.ingest.listing import list_files
from pipeline.ingest.sources import SourceFile, list_sources, survey_sources
from tests.other_user import as_another_user

ROOT = Path(__file__).parents[2]
CSV = "source,target\n1,2\n"


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(CSV)


def names(path: Path | str) -> list[str]:
    return [source.relative for source in list_sources(str(path))]


@pytest.mark.parametrize(
    "beside",
    [
        *("README.md", "readme.txt", "README", "LICENSE", "LICENSE.txt", "CHANGELOG.md", "about.html", "paper.pdf"),
        *("_SUCCESS", ".DS_Store", ".a.csv.crc", "a.csv.crc", "a.csv.md5", "MD5SUMS", "sha256sums.txt", "Thumbs.db"),
        *("b.csv.tmp", "b.csv.partial", "b.csv._COPYING_", "b.csv.crdownload", "b.csv~", "a.csv.bak", ".a.csv.swp"),
        *("schema.json", "dataset_info.json", "_metadata", "_temporary/0/b.csv", ".cache/c.csv", "day=1/README.md"),
    ],
)
def test_what_lies_beside_the_data_is_ignored_and_named(tmp_path: Path, beside: str) -> None:
    put(tmp_path, "a.csv", "day=1/b.csv", beside)
    sources, ignored = survey_sources(str(tmp_path))
    assert [source.relative for source in sources] == ["a.csv", "day=1/b.csv"]
    assert len(ignored) == 1
    assert beside.startswith(ignored[0])  # a hidden folder is one thing
    assert survey_sources(f"{tmp_path}/**/*")[1] in (ignored, (beside,))


@pytest.mark.parametrize("name", ["events.xlsx", "events.zip", "a.xyz", "more/events.sqlite"])
def test_what_may_be_data_is_refused_not_ignored(tmp_path: Path, name: str) -> None:
    put(tmp_path, "a.csv", name)
    with pytest.raises(InputError, match="no known format"):
        list_sources(str(tmp_path))


def test_a_folder_of_things_beside_says_so(tmp_path: Path) -> None:
    put(tmp_path, "README.md", "a.csv.tmp")
    with pytest.raises(InputError, match=r"has no files.*ignored: README\.md, a\.csv\.tmp"):
        list_sources(str(tmp_path))


def test_a_file_asked_for_by_name_is_taken_whatever_it_is_called(tmp_path: Path) -> None:
    put(tmp_path, "_b.csv")
    assert names(tmp_path / "_b.csv") == ["_b.csv"]


FOLDERS = st.sampled_from(["", "a", "b", "b/c", "d"])
LINKS = st.lists(st.tuples(FOLDERS, FOLDERS), max_size=6)


@given(LINKS)
def test_whatever_links_there_are_each_file_is_read_once(tmp_path_factory: pytest.TempPathFactory, links: list) -> None:
    folder = tmp_path_factory.mktemp("links")
    put(folder, "a/1.csv", "b/2.csv", "b/c/3.csv", "d/4.csv", "5.csv")
    for number, (place, target) in enumerate(links):
        (folder / place / f"link{number}").symlink_to(folder / target)
    found = names(folder)
    assert found == ["5.csv", "a/1.csv", "b/2.csv", "b/c/3.csv", "d/4.csv"]


def test_a_link_out_of_the_folder_is_followed_and_two_to_one_file_count_once(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/x.csv", "in/a.csv")
    (tmp_path / "in" / "l1").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "l2").symlink_to(tmp_path / "elsewhere")
    sources, ignored = survey_sources(str(tmp_path / "in"))
    assert [source.relative for source in sources] == ["a.csv", "l1/x.csv"]
    assert ignored == ("l2/x.csv (a link to l1/x.csv)",)
    assert names(f"{tmp_path}/in/*2/*.csv") == ["l2/x.csv"]  # asked for by that name alone


@pytest.mark.parametrize("target", ["nowhere.csv", "b.csv"])
@pytest.mark.parametrize("asked", ["", "/b.csv", "/*.csv"])
def test_a_link_to_nowhere_is_refused_by_name(tmp_path: Path, target: str, asked: str) -> None:
    put(tmp_path, "a.csv")
    (tmp_path / "b.csv").symlink_to(target)  # to itself, in one case
    with pytest.raises(InputError, match=rf"b\.csv is a symbolic link to {target}"):
        list_sources(f"{tmp_path}{asked}")
    (tmp_path / "b.csv").rename(tmp_path / "b.csv.tmp")
    assert names(tmp_path) == ["a.csv"]


def test_files_that_vanish_while_they_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a.csv", "b.csv")
    walk, doomed = os.scandir, [1]

    def scan(folder: str) -> list[os.DirEntry[str]]:
        entries = list(walk(folder))
        if doomed[0]:
            doomed[0] -= 1
            for entry in entries:
                if entry.name == "b.csv":
                    os.rename(entry.path, tmp_path / "c.csv")
                elif entry.name == "c.csv":
                    os.rename(entry.path, tmp_path / "b.csv")
        return entries

    monkeypatch.setattr(listing.os, "scandir", scan)
    # As after a rename in the middle: neither name may be missing.
    assert [file.path[-5:] for file in list_files(pafs.LocalFileSystem(), str(tmp_path)).files] == ["a.csv", "c.csv"]
    doomed[0] = 9
    with pytest.raises(InputError, match="come and go"):
        list_files(pafs.LocalFileSystem(), str(tmp_path))


#: Lists and reads as a user who may not read everything. All is imported while it still can be.
READ_AS_NOBODY = """
import os, sys
from pipeline.errors import InputError
from pipeline.ingest.sources import digest, list_sources
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    print([digest(source) for source in list_sources(sys.argv[1])])
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("place", ["in", "in/deep", "in/deep/a.csv"])
def test_no_right_to_look_is_said_as_that(shared_folder: Path, place: str) -> None:
    as_another_user()
    put(shared_folder, "in/deep/a.csv")
    (shared_folder / place).chmod(0)
    command = [sys.executable, "-c", READ_AS_NOBODY, str(shared_folder / "in")]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert re.search(r"user .* \(?uid 65534\)? has no right to", said)
    assert f"{shared_folder / place} (" in said
    assert "mode 0000" in said
    assert "damaged" not in said


def test_when_a_file_is_settled() -> None:
    second = 10**9
    file = SourceFile("a", "/a", "csv", 1, mtime_ns=100 * second, inode=1, ctime_ns=105 * second)
    assert not file.is_settled(107 * second)
    assert file.is_settled(107 * second + 1)
    assert not file.is_settled(90 * second)  # a clock behind the server's
    assert SourceFile("a", "s3://b/a", "csv", 1, mtime_ns=100 * second, inode=None).is_settled(103 * second)
